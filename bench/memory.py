"""Peak memory of the real trainer compared with its estimate, case by case.

`python -m worker.training RUN_DIR` runs as a separate process; the kernel's VmHWM is polled and
reset when a phase begins. 1 MB is a million bytes.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from app.core.datasets.layout import program
from app.core.datasets.layout.figures import FiguresRequest
from app.core.estimates import ModelShape, disk, memory, read_shape
from app.core.jobs.protocol import Base, Plan, RowsFile
from app.core.jobs.spec import JobSpec
from bench.models import make_model, write_rows

REPOSITORY = Path(__file__).parents[1]
_POLL_SECONDS = 0.02
_PROMPT = 110
"""Tokens of the Alpaca prompt with the benchmark's tokenizer, rounded up."""


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
    steps: int = 2
    accumulation: int = 4

    def spec(self) -> JobSpec:
        return JobSpec.model_validate(
            {
                "model": "bench", "dataset": "ds", "quantization": self.quantization,
                "lora": {
                    "r": self.r, "lora_dropout": self.dropout, "use_dora": self.dora,
                    "target_modules": self.targets,
                },
                "training": {
                    "per_device_train_batch_size": self.batch, "max_length": self.length,
                    "packing": self.packing, "gradient_checkpointing": self.checkpointing,
                    "optim": self.optim, "precision": self.precision, "max_steps": self.steps,
                    "gradient_accumulation_steps": self.accumulation,
                },
            }
        )  # fmt: skip


CASES = (
    Case("fp32", "wide"),
    Case("checkpointing", "wide", batch=8, checkpointing=True),
    Case("large vocabulary", "vocab", batch=2),
    Case("unpacked, no dropout", "deep", packing=False, dropout=0.0),
    Case("bf16 file, fp32", "large", batch=1, length=512),
    Case("nf4, rank 64", "wide", quantization="nf4", r=64),
    Case("int8", "wide", batch=2, quantization="int8"),
    Case("bf16, grouped heads", "qwen", precision="bf16"),
    Case("GPT-2", "gpt2"),
    Case("length 1024", "deep", batch=1, length=1024),
    Case("nf4, checkpointing", "large", quantization="nf4", checkpointing=True),
    Case("int8, bf16", "large", batch=1, quantization="int8", precision="bf16"),
    Case("DoRA", "wide", batch=2, dora=True),
    Case("adafactor, two targets", "deep", targets=["q_proj", "v_proj"], optim="adafactor"),
)
"""Cases used while the formulas were written."""
HELD_OUT = (
    Case("held out: unpacked, rank 64", "qwen", batch=2, packing=False, r=64, length=512),
    Case("held out: bf16, checkpointing", "large", precision="bf16", checkpointing=True),
    Case("held out: nf4, vocabulary", "vocab", batch=1, length=512, quantization="nf4"),
    Case("held out: length 1024", "wide", batch=1, length=1024, optim="adafactor", dropout=0.0),
    Case("held out: GPT-2, checkpointing", "gpt2", batch=8, checkpointing=True, packing=False),
)
"""Cases used only afterwards, to validate the formulas."""


@dataclass(frozen=True)
class Measured:
    phases: dict[str, int]
    """Peak resident memory of each phase, in bytes."""
    reports: list[dict[str, Any]]
    sequences: int
    widest: int
    num_tokens: int

    @property
    def peak(self) -> int:
        return max(self.phases.values())

    def of(self, kind: str) -> list[dict[str, Any]]:
        return [each["data"] for each in self.reports if each["type"] == kind]


@dataclass(frozen=True)
class Compared:
    case: Case
    shape: ModelShape
    measured: Measured

    @cached_property
    def estimated(self) -> memory.Memory:
        seen = self.measured
        return memory.estimate(
            self.shape,
            self.case.spec(),
            seen.widest,
            "cpu",
            sequences=seen.sequences,
            num_tokens=seen.num_tokens,
        )

    @property
    def error(self) -> float:
        """Relative error of the estimate; above 0 if it is too high."""
        return self.estimated.peak_bytes / self.measured.peak - 1

    @property
    def adapter_error(self) -> float:
        """Relative error of the adapter's size on disk, which is that of its parameters."""
        files = self.measured.of("artifact")[-1]["files"]
        real = next(each["bytes"] for each in files if each["kind"] == "adapter")
        return float(disk.adapter_bytes(self.shape, self.case.spec()) / real - 1)


def main() -> None:
    folder = Path(tempfile.mkdtemp(prefix="tunesmith-bench-"))
    try:
        compared = []
        for case in (*CASES, *HELD_OUT):
            compared.append(compare(case, folder / "models"))
            print(json.dumps(line(compared[-1])), flush=True)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    print("\nmemory: estimated and measured peak of a CPU trainer, MB")
    for each in compared:
        print(row(each))
    for name, cases in (("compared while writing", CASES), ("held out", HELD_OUT)):
        errors = sorted(abs(each.error) for each in compared if each.case in cases)
        print(f"{name}: {len(errors)} cases, largest error {errors[-1]:.1%}")


def compare(case: Case, models: Path) -> Compared:
    base = make_model(case.model, models)
    shape = read_shape(base)
    assert isinstance(shape, ModelShape), shape
    return Compared(case, shape, measure(case, base))


def line(compared: Compared) -> dict[str, Any]:
    return {
        "bench": "memory",
        "case": compared.case.name,
        "estimated_mb": megabytes(compared.estimated.peak_bytes),
        "measured_mb": megabytes(compared.measured.peak),
        "error": round(compared.error, 3),
        "adapter_file_error": round(compared.adapter_error, 4),
        "parts_mb": {k: megabytes(v) for k, v in vars(compared.estimated).items() if v},
        "phases_mb": {k: megabytes(v) for k, v in compared.measured.phases.items()},
    }


def row(compared: Compared) -> str:
    estimated, measured = compared.estimated.peak_bytes, compared.measured.peak
    name, model = compared.case.name, compared.case.model
    return (
        f"  {name:32} {model:6} {megabytes(estimated):6} {megabytes(measured):6}"
        f" {compared.error:+7.1%}"
    )


def megabytes(count: int) -> int:
    return round(count / 1e6)


def measure(case: Case, base: Path, device: str = "cpu") -> Measured:
    with tempfile.TemporaryDirectory(prefix="tunesmith-bench-") as folder:
        rows = Path(folder) / "rows.jsonl"
        letters = case.length if case.packing else case.length - _PROMPT
        count = write_rows(rows, max(16, case.batch * 8), letters)
        plan = Plan(
            job_id="bench", spec=case.spec(), base=Base(path=str(base), id="bench"),
            rows=RowsFile(path=str(rows), dataset="ds", sha256="0" * 64, num_rows=count),
            device=device,
        )  # fmt: skip
        run_dir = Path(folder) / "run"
        run_dir.mkdir()
        (run_dir / "plan.json").write_text(plan.model_dump_json())
        phases = run(run_dir)
        return Measured(phases, reports(run_dir), *lengths(plan))


def lengths(plan: Plan) -> tuple[int, int, int]:
    """Sequences of the largest batch, tokens of its longest, and tokens of all rows."""
    request = FiguresRequest(spec=plan.spec)
    laid = program.answer(request, Path(plan.base.path), Path(plan.rows.path), None).laid
    assert laid is not None
    return laid.train.batch_sequences, laid.train.batch_width, laid.train.tokens


def run(run_dir: Path) -> dict[str, int]:
    with (run_dir / "trainer.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "worker.training", str(run_dir)],
            cwd=run_dir,
            env={"PATH": os.environ["PATH"], "PYTHONPATH": str(REPOSITORY)},
            stdout=log,
            stderr=log,
        )
    phases: dict[str, int] = {}
    phase = "starting"
    while process.poll() is None:
        phases[phase] = max(highest(process.pid), phases.get(phase, 0))
        begun = [each["data"]["phase"] for each in reports(run_dir) if each["type"] == "phase"]
        if begun and begun[-1] != phase:
            phase = begun[-1]
            forget(process.pid)
        time.sleep(_POLL_SECONDS)
    if process.returncode:
        raise RuntimeError((run_dir / "trainer.log").read_text()[-3000:])
    return phases


def reports(run_dir: Path) -> list[dict[str, Any]]:
    path = run_dir / "reports.jsonl"
    text = path.read_text() if path.is_file() else ""
    return [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("\n")]


def highest(pid: int) -> int:
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except (OSError, ProcessLookupError):
        return 0
    found = next((line for line in status.splitlines() if line.startswith("VmHWM")), "VmHWM 0")
    return int(found.split()[1]) * 1024


def forget(pid: int) -> None:
    """Reset the kernel's peak (proc(5), clear_refs)."""
    try:
        Path(f"/proc/{pid}/clear_refs").write_text("5")
    except OSError:
        return


if __name__ == "__main__":
    main()
