"""Plans, run directories and runs of the real trainer, for the tests in this folder."""

import json
import os
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from app.core.datasets.tokens.templates import alpaca_prompt
from app.core.jobs.protocol import Base, Plan, RowsFile
from app.core.jobs.spec import JobSpec
from worker.training.__main__ import attempt
from worker.training.reporter import Reporter
from worker.training.stop import StopRequest

REPOSITORY = Path(__file__).parents[2]
PUBLIC_ID = "tunesmith-tests/tiny-llama"


def make_tokenizer() -> Any:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    core = Tokenizer(models.BPE())
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    texts = [
        alpaca_prompt({"instruction": "", "input": "x"}),
        alpaca_prompt({"instruction": ""}),
    ]
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        special_tokens=["<s>", "</s>", "<pad>"],
        show_progress=False,
    )
    core.train_from_iterator(texts * 5, trainer)
    core.post_processor = processors.TemplateProcessing(
        single="<s> $A", special_tokens=[("<s>", core.token_to_id("<s>"))]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=core, bos_token="<s>", eos_token="</s>", pad_token="<pad>"
    )


def sum_rows(count: int) -> list[dict[str, Any]]:
    return [
        {"instruction": f"Say {n}", "output": "yes " * (n % 5 + 1) + str(n)} for n in range(count)
    ]


@dataclass
class Bench:
    """Creates plans and run directories, runs them in this process and reads their reports."""

    folder: Path
    base: Path
    made: int = 0
    defaults: dict[str, Any] = field(
        default_factory=lambda: {
            "num_train_epochs": 2,
            "per_device_train_batch_size": 2,
            "max_length": 96,
            "learning_rate": 5e-3,
        }
    )

    def plan(self, rows: list[Any] | None = None, **changes: Any) -> Plan:
        training = self.defaults | changes.pop("training", {})
        given = {name: changes.pop(name) for name in ("device", "resume_from") if name in changes}
        spec = {"model": "tiny", "dataset": "ds", "training": training, **changes}
        self.made += 1
        rows_file = self.rows_file(sum_rows(12) if rows is None else rows)
        validation_rows = (
            self.rows_file(sum_rows(3)) if "dataset" in spec.get("validation", {}) else None
        )
        return Plan(
            job_id=f"ftjob-{self.made}",
            spec=JobSpec.model_validate_json(json.dumps(spec)),
            base=Base(path=str(self.base), id=PUBLIC_ID),
            rows=rows_file,
            validation_rows=validation_rows,
            **{"device": "cpu", **given},
        )

    def rows_file(self, rows: list[Any]) -> RowsFile:
        path = self.folder / f"rows-{len(list(self.folder.iterdir()))}.jsonl"
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        return RowsFile(path=str(path), dataset="ds", sha256="0" * 64, num_rows=len(rows))

    def run_dir(self, plan: Plan, name: str | None = None) -> Path:
        folder = self.folder / (name or f"run-{len(list(self.folder.iterdir()))}")
        folder.mkdir()
        (folder / "plan.json").write_text(plan.model_dump_json(), encoding="utf-8")
        return folder

    def run(self, plan: Plan, run_dir: Path | None = None) -> "Outcome":
        """Run in this process what `python -m worker.training` runs in the environment it sets."""
        run_dir = run_dir or self.run_dir(plan)
        with (run_dir / "reports.jsonl").open("ab") as stream:
            status = attempt(run_dir, Reporter(stream), StopRequest(run_dir))
        return Outcome(run_dir, status)


@dataclass
class Outcome:
    run_dir: Path
    status: int

    @property
    def reports(self) -> list[dict[str, Any]]:
        lines = (self.run_dir / "reports.jsonl").read_text(encoding="utf-8").splitlines()
        return [json.loads(line) for line in lines]

    def of(self, kind: str) -> list[dict[str, Any]]:
        return [each["data"] for each in self.reports if each["type"] == kind]

    def logged(self, name: str) -> list[Any]:
        """The values of a metric, step by step."""
        values = [each["values"] for each in self.of("metrics")]
        return [each[name] for each in values if name in each]

    @property
    def failure(self) -> dict[str, Any]:
        return self.of("error")[-1]

    @property
    def warnings(self) -> list[str]:
        """Codes of all warnings, except those that every run as small as these gets."""
        small = {"rows_few", "validation_small", "epochs_many"}
        return [each["code"] for each in self.of("warning") if each["code"] not in small]

    @property
    def adapter(self) -> bytes:
        return (self.run_dir / "artifact" / "adapter_model.safetensors").read_bytes()


def start_trainer(run_dir: Path, **options: Any) -> "subprocess.Popen[bytes]":
    inherited = {"PATH": os.environ["PATH"], "PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1"}
    environment = inherited | options.pop("env", {})
    with (run_dir / "trainer.log").open("wb") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "worker.training", str(run_dir)],
            cwd=run_dir,
            env=environment,
            stdout=log,
            stderr=log,
            **options,
        )
