"""Useful tokens per CPU-second: our trainer against SFTTrainer, with TRL's defaults and in fp32.

Both train one epoch on the same rows of examples/data with the same base, LoRA and learning rate,
in one process, with the same dropout, four rows a step, and activation checkpointing, which is on
by default in both. TRL's defaults pad the rows to the longest and compute in bf16, which is slow on
a CPU without instructions for it: the second comparison is with fp32, in which ours computes. Ours
packs rows that do not attend to each other. Useful tokens are those of the rows, without padding.
Peak memory and the GPU are not measured here.
"""

import contextlib
import io
import json
import shutil
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Any

from app.core.jobs.protocol import Base, Plan, RowsFile
from app.core.jobs.spec import JobSpec
from bench.rounds import Side, compare

EXAMPLES = Path(__file__).parents[1] / "examples"
ROWS = 64
LENGTH = 256


def main() -> None:
    folder = Path(tempfile.mkdtemp(prefix="tunesmith-bench-"))
    try:
        plan = make_plan(folder)
        for name, theirs in (("trl_defaults", trl_defaults), ("trl_fp32", trl_fp32)):
            compare(
                f"packing, {name}",
                Side("tunesmith", lambda: rate(plan, folder, ours)),
                Side(name, partial(rate, plan, folder, theirs)),
                "useful tokens/CPU-s",
            )
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def make_plan(folder: Path) -> Plan:
    rows = json.loads((EXAMPLES / "data/tickets_train.json").read_text())[:ROWS]
    path = folder / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    base = next(each for each in sorted((EXAMPLES / "models").iterdir()) if each.is_dir())
    training = {
        "max_length": LENGTH, "per_device_train_batch_size": 4, "logging_steps": 1000,
    }  # fmt: skip
    spec = JobSpec.model_validate({"model": base.name, "dataset": "ds", "training": training})
    file = RowsFile(path=str(path), dataset="ds", sha256="0" * 64, num_rows=len(rows))
    return Plan(
        job_id="bench", spec=spec, base=Base(path=str(base), id=base.name), rows=file, device="cpu"
    )


def rate(plan: Plan, folder: Path, build: Any) -> float:
    """Useful tokens of one epoch per CPU-second of `train()`, without building the trainer."""
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        trainer, num_tokens = build(plan, folder / "out")
        begin = time.process_time()
        trainer.train()
    return num_tokens / (time.process_time() - begin)


def ours(plan: Plan, out: Path) -> tuple[Any, int]:
    from worker.training import prepare
    from worker.training.data import load_splits
    from worker.training.model import load_base, load_tokenizer
    from worker.training.packing import rows_of
    from worker.training.trainer import Tally

    tokenizer = load_tokenizer(plan)
    train = load_splits(plan, tokenizer).train
    laid = prepare.Laid(rows_of(train, LENGTH, "split"), [], LENGTH)
    base = load_base(plan, "cpu")
    trainer = prepare.build_trainer(plan, out, "cpu", base, tokenizer, laid, Tally())
    return trainer, sum(len(each.input_ids) for each in train)


def trl_defaults(plan: Plan, out: Path) -> tuple[Any, int]:
    return theirs(plan, out)


def trl_fp32(plan: Plan, out: Path) -> tuple[Any, int]:
    return theirs(plan, out, bf16=False)


def theirs(plan: Plan, out: Path, **changes: Any) -> tuple[Any, int]:
    from datasets import Dataset
    from trl.trainer.sft_config import SFTConfig
    from trl.trainer.sft_trainer import SFTTrainer

    from app.core.datasets.formats import read_rows
    from app.core.datasets.tokens.templates import alpaca_prompt
    from worker.training import adapter
    from worker.training.configs import lora_config
    from worker.training.data import load_splits
    from worker.training.model import load_base, load_tokenizer

    tokenizer = load_tokenizer(plan)
    rows = [
        {"prompt": alpaca_prompt(row), "completion": row["output"]}
        for row in read_rows(Path(plan.rows.path))
    ]
    config = SFTConfig(
        output_dir=str(out), per_device_train_batch_size=4, learning_rate=2e-4, max_length=LENGTH,
        use_cpu=True, **changes, report_to="none", save_strategy="no", disable_tqdm=True,
        logging_steps=1000, num_train_epochs=1,
    )  # fmt: skip
    base = load_base(plan, "cpu")
    trainer = SFTTrainer(
        model=base,
        args=config,
        train_dataset=Dataset.from_list(rows),
        processing_class=tokenizer,
        peft_config=lora_config(plan, base, adapter.choose(plan.spec.lora, base)),
    )
    tokens = sum(len(each.input_ids) for each in load_splits(plan, tokenizer).train)
    return trainer, tokens


if __name__ == "__main__":
    main()
