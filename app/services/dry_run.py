"""The dry run: will this job work, will it fit, and how long will it take?

Creates nothing. What would make the job fail at its start is refused here, with the same code.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from sqlalchemy.orm import Session

from app.core import licenses, store_keys
from app.core.datasets import bad_rows
from app.core.datasets.layout.figures import Answer
from app.core.datasets.skipping import Skipped
from app.core.db.models import Dataset
from app.core.db.session import commit
from app.core.errors import Problem
from app.core.estimates.job import Estimates, read_estimates, steps_of
from app.core.estimates.needs import Needs
from app.core.estimates.schedule import learning_rates
from app.core.estimates.shape import Unknown
from app.core.estimates.steps import rows_per_step
from app.core.estimates.warnings import Facts, warnings_of
from app.core.events.log import Entry
from app.core.jobs.spec import JobSpec
from app.core.models import ModelInfo
from app.core.settings import Settings
from app.core.storage import Storage
from app.services import checks, datasets, hardware, refusals
from app.services.caller import Caller
from app.services.counting.layouts import Layouts
from app.services.hardware import Outlook

_NOT_FETCHED = (
    "The base model's files are not fetched yet: what depends on them is unknown, such as tokens, "
    "steps, memory and time."
)


@dataclass(frozen=True)
class Inputs:
    """What the answer is computed from, read before the connection is released."""

    spec: JobSpec
    base: ModelInfo
    rows: Dataset
    held_out: Dataset | None
    notes: tuple[Problem, ...]
    """Warnings about skipped rows, as the job will report them, and about files not fetched yet."""
    outlook: Outlook


def draw_plan(
    session: Session,
    caller: Caller,
    spec: JobSpec,
    *,
    settings: Settings,
    storage: Storage,
    layouts: Layouts,
) -> dict[str, Any]:
    """Raises what a POST of the spec would, and WouldFail for what its job would fail with."""
    inputs = _read_inputs(session, caller, spec, settings=settings, storage=storage)
    commit(session)
    refusals.check_base(inputs.spec, inputs.base)
    answer = _lay_out(inputs, settings, layouts)
    refusals.check_rows(answer)
    found = _estimates(inputs, storage, answer)
    return _render(inputs, settings, answer or Answer(), found)


def _read_inputs(
    session: Session, caller: Caller, spec: JobSpec, *, settings: Settings, storage: Storage
) -> Inputs:
    checked = checks.check(session, caller, spec, settings=settings, storage=storage)
    resolved = checked.spec
    rows = datasets.validated(session, caller, resolved.dataset)
    named = resolved.validation.dataset if resolved.validation else None
    skipped = [each.entry(bad_rows.errors(storage, each.dataset_id)) for each in checked.skipped]
    return Inputs(
        spec=resolved,
        base=checked.base,
        rows=rows,
        held_out=datasets.validated(session, caller, named) if named else None,
        notes=(*map(_problem, skipped), *_about_files(checked.base)),
        outlook=hardware.read(session, settings),
    )


def _lay_out(inputs: Inputs, settings: Settings, layouts: Layouts) -> Answer | None:
    """Return None until the base model's files have been fetched."""
    if inputs.base.path is None:
        return None
    request = refusals.layout_request(
        settings, inputs.spec, inputs.base.path, inputs.rows, inputs.held_out
    )
    return layouts.of(request)


def _estimates(inputs: Inputs, storage: Storage, answer: Answer | None) -> Estimates | Unknown:
    if inputs.base.path is None or answer is None or answer.laid is None:
        return Unknown(_NOT_FETCHED)
    used = [inputs.rows, *([inputs.held_out] if inputs.held_out else [])]
    size = sum(storage.size(store_keys.rows(each.id)) for each in used)
    return read_estimates(inputs.base.path, inputs.spec, answer.laid, size)


def _render(
    inputs: Inputs, settings: Settings, answer: Answer, found: Estimates | Unknown
) -> dict[str, Any]:
    spec, laid = inputs.spec, answer.laid
    seconds = inputs.outlook.seconds(found)
    needs = inputs.outlook.needs(found, seconds, settings.runs_dir) if laid else Needs()
    facts = Facts(
        spec=spec,
        laid=laid,
        copies=answer.copies,
        dataset_license=(inputs.rows.source or {}).get("license"),
        base_license=licenses.of_folder(inputs.base.path) if inputs.base.path else None,
        missing_marks=answer.missing_marks,
        needs=needs,
    )
    taken = steps_of(spec, laid) if laid else None
    return {
        "spec": spec,
        "dataset": _about_rows(inputs, answer),
        "validation": _about_held_out(inputs, answer),
        "steps": taken and taken.total,
        "steps_per_epoch": taken and taken.per_epoch,
        "rows_per_step": laid and min(rows_per_step(spec.training), laid.train.trained_rows),
        "learning_rate": taken and vars(learning_rates(taken.total, spec.training)),
        "memory": inputs.outlook.memory(found),
        "disk_bytes": needs.disk_bytes,
        "seconds": seconds,
        "warnings": [each.as_dict() for each in (*inputs.notes, *warnings_of(facts))],
    }


def _about_files(base: ModelInfo) -> Iterator[Problem]:
    if base.path is None:
        hint = "The first job that uses the model fetches them."
        yield Problem("/model", "model_not_fetched", _NOT_FETCHED, hint)


def _problem(entry: Entry) -> Problem:
    data = entry.data or {}
    return Problem(data["pointer"], data["code"], entry.message, data["hint"])


def _about_rows(inputs: Inputs, answer: Answer) -> dict[str, Any]:
    """Counts of one pass over the training rows; `rows` includes held-out ones."""
    good, laid = inputs.rows.num_valid_rows or 0, answer.laid
    counts: dict[str, Any] = {
        "id": inputs.rows.id,
        "rows": good,
        "skipped_rows": Skipped.of(inputs.rows).num_skipped,
    }
    if laid is None:
        return counts
    return counts | {
        "trained_rows": laid.train.trained_rows,
        "tokens": laid.train.tokens,
        "trained_tokens": laid.train.trained_tokens,
        "truncated_rows": laid.truncated.count,
        "dropped_rows": laid.dropped.count,
        "long_prompt_rows": laid.long_prompts.count,
        "refused_rows": laid.refused.count,
        "long_rows": laid.long_rows.count,
        "on_long_row": laid.long_row_costs,
        "too_long_rows": laid.too_long.count,
        "eos_lost_rows": laid.eos_lost.count,
        "split_rows": laid.split.count,
        "unlike_prompt_rows": laid.unlike_prompt.count,
        "answers": laid.answers,
        "untrained_answers": laid.answers_not_found,
        "duplicate_rows": answer.copies and answer.copies.duplicates,
        "tokens_lost": laid.tokens_lost,
        "sequences": laid.train.sequences,
        "packed_sequences": laid.train.sequences if inputs.spec.training.packing else None,
        "widest_sequence": laid.train.widest,
        "widest_batch_tokens": laid.train.batch_sequences * laid.train.batch_width,
    }


def _about_held_out(inputs: Inputs, answer: Answer) -> dict[str, Any] | None:
    if inputs.spec.validation is None:
        return None
    part = answer.laid.held_out if answer.laid else None
    copies = answer.copies
    return {
        "id": inputs.held_out and inputs.held_out.id,
        "rows": part and part.rows,
        "measured_rows": part and part.trained_rows,
        "tokens": part and part.tokens,
        "trained_tokens": part and part.trained_tokens,
        "sequences": part and part.sequences,
        "overlap_rows": copies and copies.shared,
        "overlap_prompts": copies and copies.shared_prompts,
    }
