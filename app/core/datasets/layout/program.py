"""python -m app.core.datasets.layout.program REQUEST MODEL ROWS OUT [HELD_OUT]

Lay out a canonical file for a job, as the trainer will, and write the figures. `REQUEST` is a
`FiguresRequest` as JSON. Runs as a sandboxed child.
"""

import sys
from pathlib import Path

from app.core.datasets.layout import copies
from app.core.datasets.layout.described import describe
from app.core.datasets.layout.encode import encode_rows, tokenizer_of
from app.core.datasets.layout.figures import Answer, FiguresRequest
from app.core.datasets.layout.outline import Outline
from app.core.datasets.layout.splits import lay_out
from app.core.datasets.layout.stored import read_rows
from app.core.datasets.tokens.tokenizer import RowTokenizer
from app.core.jobs.failures import BadModel, RunFailed
from app.core.jobs.spec import JobSpec
from app.core.models.limits import Limits
from app.core.sandbox.pace import paced


def answer(request: FiguresRequest, model: Path, rows: Path, held_out: Path | None) -> Answer:
    try:
        return _lay_out(request, model, rows, held_out)
    except RunFailed as refused:
        return Answer(refusal=refused.report)


def _lay_out(request: FiguresRequest, model: Path, rows: Path, held_out: Path | None) -> Answer:
    spec = request.spec
    tokenizer = tokenizer_of(model).with_chat_template(request.chat_template)
    encoded = outlines(rows, spec, tokenizer)
    held = outlines(held_out, spec, tokenizer) if held_out else None
    splits = lay_out(encoded, held, spec, _limits(model), request.invalid)
    return Answer(
        laid=describe(
            splits,
            spec.training.max_length,
            packed=spec.training.packing,
            long_rows=spec.on_long_row,
            batch=spec.training.per_device_train_batch_size,
        ),
        copies=copies.count(rows, held_out, spec),
        missing_marks=tokenizer.spelled_out(request.marks),
    )


def outlines(path: Path, spec: JobSpec, tokenizer: RowTokenizer) -> list[Outline]:
    with paced(read_rows(path, spec.template)) as rows:
        return [Outline.of(each) for each in encode_rows(rows, spec, tokenizer)]


def _limits(model: Path) -> Limits:
    try:
        return Limits.of_folder(model)
    except (OSError, ValueError) as error:
        message = "The base model cannot be loaded."
        raise BadModel(message, evidence=str(error)[:2000]) from error


def main(arguments: list[str]) -> int:
    request, model, rows, out, *held_out = arguments
    found = answer(
        FiguresRequest.model_validate_json(request),
        Path(model),
        Path(rows),
        Path(held_out[0]) if held_out else None,
    )
    Path(out).write_text(found.model_dump_json(by_alias=True), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
