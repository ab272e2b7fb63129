"""Peak memory of the real trainer's process beside what the plan says it will be."""

import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from app.core.datasets import encoding
from app.core.datasets.formats import read_rows
from app.core.datasets.tokenizer import RowTokenizer
from app.core.jobs.run import Base, Plan, RowsFile
from app.core.jobs.spec import JobSpec
from bench.models import make_model, write_rows
from worker.training.packing import alone, packed

REPOSITORY = Path(__file__).parents[1]


@dataclass(frozen=True)
class Case:
    name: str
    model: str
    batch: int = 4
    length: int = 256
    packing: bool = True
    checkpointing: bool = False
    quantization: str = "none"
    r: int = 8
    dropout: float = 0.05
    optim: str = "adamw_torch"
    precision: str = "auto"
    dora: bool = False
    targets: Any = "all-linear"
    held_out: bool = False
    steps: int = 2

    def spec(self) -> JobSpec:
        return JobSpec.model_validate(
            {
                "model": "bench", "dataset": "ds", "quantization": self.quantization,
                "validation": {"fraction": 0.2} if self.held_out else None,
                "lora": {
                    "r": self.r, "lora_dropout": self.dropout, "use_dora": self.dora,
                    "target_modules": self.targets,
                },
                "training": {
                    "per_device_train_batch_size": self.batch, "max_length": self.length,
                    "packing": self.packing, "gradient_checkpointing": self.checkpointing,
                    "optim": self.optim, "precision": self.precision, "max_steps": self.steps,
                },
            }
        )  # fmt: skip


@dataclass(frozen=True)
class Measured:
    peak: int
    phases: dict[str, int]
    seconds: float
    widest: int
    num_tokens: int


def measure(case: Case, models: Path, device: str = "cpu") -> Measured:
    base = make_model(case.model, models)
    with tempfile.TemporaryDirectory(prefix="tunesmith-bench-") as folder:
        rows = Path(folder) / "rows.jsonl"
        # Rows of a third of the length make packed ones share a sequence.
        letters = case.length if case.packing else case.length - 110
        count = write_rows(rows, max(16, case.batch * 8), letters)
        plan = Plan(
            job_id="bench", spec=case.spec(), base=Base(path=str(base), id="bench"),
            rows=RowsFile(path=str(rows), dataset="ds", sha256="0" * 64, num_rows=count),
            device=device,
        )  # fmt: skip
        widest, num_tokens = lengths(plan)
        run_dir = Path(folder) / "run"
        run_dir.mkdir()
        (run_dir / "plan.json").write_text(plan.model_dump_json())
        begin = time.monotonic()
        phases = run(run_dir)
        seconds = time.monotonic() - begin
    return Measured(max(phases.values()), phases, seconds, widest, num_tokens)


def lengths(plan: Plan) -> tuple[int, int]:
    """Tokens of the longest sequence, and of all rows."""
    tokenizer = RowTokenizer.from_folder(Path(plan.base.path))
    rows = list(enumerate(read_rows(Path(plan.rows.path))))
    examples = encoding.encode(rows, "alpaca", "completion", tokenizer)
    training = plan.spec.training
    lay_out = packed if training.packing else alone
    sequences = lay_out(examples, training.max_length)
    return (
        max(len(each.input_ids) for each in sequences),
        sum(len(each.input_ids) for each in examples),
    )


def run(run_dir: Path) -> dict[str, int]:
    """Highest resident memory of each phase of `python -m worker.training`, in bytes."""
    with (run_dir / "trainer.log").open("wb") as log:
        environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(REPOSITORY)}
        environment |= {
            k: v for k, v in os.environ.items() if k.startswith(("OMP", "MALLOC", "GLIBC"))
        }
        process = subprocess.Popen(
            [sys.executable, "-m", "worker.training", str(run_dir)],
            cwd=run_dir, env=environment, stdout=log, stderr=log,
        )  # fmt: skip
    phases: dict[str, int] = {}
    phase = "starting"
    while process.poll() is None:
        peak = highest(process.pid)
        phases[phase] = max(peak, phases.get(phase, 0))
        now = newest_phase(run_dir / "reports.jsonl") or phase
        if now != phase:
            phase = now
            forget(process.pid)
        time.sleep(0.03)
    if process.returncode:
        raise RuntimeError((run_dir / "trainer.log").read_text()[-3000:])
    return phases


def highest(pid: int) -> int:
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except (OSError, ProcessLookupError):
        return 0
    line = next((line for line in status.splitlines() if line.startswith("VmHWM")), "VmHWM 0")
    return int(line.split()[1]) * 1024


def forget(pid: int) -> None:
    """Let the kernel count the highest anew."""
    try:
        Path(f"/proc/{pid}/clear_refs").write_text("5")
    except OSError:
        return


def newest_phase(reports: Path) -> str | None:
    if not reports.is_file():
        return None
    for line in reversed(reports.read_text().splitlines()):
        if '"phase"' in line[:40]:
            return json.loads(line)["data"]["phase"]
    return None
