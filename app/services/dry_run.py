"""The answer before any GPU is touched: will this job work, will it fit, when will it be done?

Creates nothing. What would make the job fail at its start is refused here, with the same code.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy.orm import Session

from app.core import licenses, store_keys
from app.core.datasets import bad_rows
from app.core.datasets.layout import figures
from app.core.datasets.layout.figures import Answer
from app.core.db.models import Dataset
from app.core.db.session import commit
from app.core.errors import Invalid, Problem
from app.core.estimates.job import Estimates, read_estimates, steps_of
from app.core.estimates.needs import Needs
from app.core.estimates.shape import ModelShape, Unknown
from app.core.estimates.warnings import Facts, warnings_of
from app.core.events.log import Entry
from app.core.jobs import targets
from app.core.jobs.failures import FailureReport, RunFailed
from app.core.jobs.spec import JobSpec
from app.core.models import ModelInfo, find_model
from app.core.settings import Settings
from app.core.storage import Storage
from app.core.templates import registry
from app.services import checks, datasets, hardware
from app.services.caller import Caller
from app.services.counting.layouts import LayoutRequest, Layouts, Source
from app.services.hardware import Outlook

_POINTERS: Mapping[str, str] = {
    "prompt_too_long": "/training/max_length",
    "no_trained_tokens": "/training/max_length",
    "token_outside_vocabulary": "/model",
    "model_invalid": "/model",
    "target_modules_invalid": "/lora/target_modules",
}
_NOT_HERE = (
    "The files of the base are not here yet: nothing that depends on them is known, such as "
    "tokens, steps, memory and time."
)


class WouldFail(Invalid):
    """With the code, hint and suggested patch that the job's `failure` would have."""

    code = "job_would_fail"

    def __init__(self, failure: FailureReport) -> None:
        pointer = _POINTERS.get(failure.code, "/dataset")
        problem = Problem(pointer, failure.code, failure.message, failure.hint)
        why = f"{failure.message.rstrip('.')}. {failure.hint}".strip()
        super().__init__(
            f"The job would fail at its start: {why}",
            errors=[problem],
            suggested_patch=failure.suggested_patch,
            evidence=failure.evidence,
        )
        self.code = failure.code


@dataclass(frozen=True)
class Ground:
    """What a plan stands on, read before the connection is given back."""

    spec: JobSpec
    base: ModelInfo
    rows: Dataset
    held_out: Dataset | None
    notes: tuple[Problem, ...]
    """Of rows that are skipped, as the job will tell them, and of files that are not here yet."""
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
    ground = _ground(session, caller, spec, settings=settings, storage=storage)
    commit(session)
    answer = _lay_out(ground, settings, layouts)
    if answer is not None and answer.refusal is not None:
        raise WouldFail(answer.refusal)
    found = _estimates(ground, storage, answer)
    if isinstance(found, Estimates):
        _check_targets(ground.spec, found.shape)
    return _render_plan(ground, settings, answer or Answer(), found)


def _ground(
    session: Session, caller: Caller, spec: JobSpec, *, settings: Settings, storage: Storage
) -> Ground:
    checked = checks.check(session, caller, spec, settings=settings, storage=storage)
    resolved = checked.spec
    rows = datasets.judged(session, caller, resolved.dataset)
    named = resolved.validation.dataset if resolved.validation else None
    base = find_model(settings, resolved.model, resolved.model_revision)
    skipped = [each.entry(bad_rows.errors(storage, each.dataset_id)) for each in checked.skipped]
    return Ground(
        spec=resolved,
        base=base,
        rows=rows,
        held_out=datasets.judged(session, caller, named) if named else None,
        notes=(*map(_problem, skipped), *_about_files(base)),
        outlook=hardware.read(session, settings),
    )


def _lay_out(ground: Ground, settings: Settings, layouts: Layouts) -> Answer | None:
    """None while the base's files are not here."""
    if ground.base.path is None:
        return None
    template = registry.find(settings.templates_dir, ground.spec.template)
    asked = figures.FiguresRequest(
        spec=ground.spec,
        chat_template=template.chat_template,
        marks=list(template.special_tokens),
    )
    held_out = _source(ground.held_out) if ground.held_out else None
    return layouts.of(LayoutRequest(asked, _source(ground.rows), held_out, ground.base.path))


def _source(dataset: Dataset) -> Source:
    return Source(dataset.id, datasets.fingerprint(dataset))


def _estimates(ground: Ground, storage: Storage, answer: Answer | None) -> Estimates | Unknown:
    if ground.base.path is None or answer is None or answer.laid is None:
        return Unknown(_NOT_HERE)
    used = [ground.rows, *([ground.held_out] if ground.held_out else [])]
    size = sum(storage.size(store_keys.rows(each.id)) for each in used)
    return read_estimates(ground.base.path, ground.spec, answer.laid, size)


def _check_targets(spec: JobSpec, shape: ModelShape) -> None:
    try:
        targets.check(spec.lora.target_modules, shape.torch_linear)
    except RunFailed as refused:
        raise WouldFail(refused.report) from refused


def _render_plan(
    ground: Ground, settings: Settings, answer: Answer, found: Estimates | Unknown
) -> dict[str, Any]:
    spec, laid = ground.spec, answer.laid
    seconds = ground.outlook.seconds(found)
    needs = ground.outlook.needs(found, seconds, settings.runs_dir) if laid else Needs()
    facts = Facts(
        spec=spec,
        laid=laid,
        copies=answer.copies,
        dataset_license=(ground.rows.source or {}).get("license"),
        base_license=licenses.of_folder(ground.base.path) if ground.base.path else None,
        missing_marks=answer.missing_marks,
        needs=needs,
    )
    taken = steps_of(spec, laid) if laid else None
    return {
        "spec": spec,
        "dataset": _about_rows(ground, answer),
        "validation": _about_held_out(ground, answer),
        "steps": taken and taken.total,
        "steps_per_epoch": taken and taken.per_epoch,
        "memory": ground.outlook.memory(found),
        "disk_bytes": needs.disk_bytes,
        "seconds": seconds,
        "warnings": [each.as_dict() for each in (*ground.notes, *warnings_of(facts))],
    }


def _about_files(base: ModelInfo) -> Iterator[Problem]:
    if base.path is None:
        hint = "The first job on it fetches them."
        yield Problem("/model", "model_not_fetched", _NOT_HERE, hint)


def _problem(entry: Entry) -> Problem:
    data = entry.data or {}
    return Problem(data["pointer"], data["code"], entry.message, data["hint"])


def _about_rows(ground: Ground, answer: Answer) -> dict[str, Any]:
    """Of one pass over the rows to be trained; `rows` counts those held out too."""
    good, laid = ground.rows.num_valid_rows or 0, answer.laid
    told: dict[str, Any] = {
        "id": ground.rows.id,
        "rows": good,
        "skipped_rows": (ground.rows.num_rows or good) - good,
    }
    if laid is None:
        return told
    return told | {
        "trained_rows": laid.train.trained_rows,
        "tokens": laid.train.tokens,
        "trained_tokens": laid.train.trained_tokens,
        "truncated_rows": laid.truncated.count,
        "dropped_rows": laid.dropped.count,
        "eos_lost_rows": laid.eos_lost.count,
        "split_rows": laid.split.count,
        "unlike_prompt_rows": laid.unlike_prompt.count,
        "duplicate_rows": answer.copies and answer.copies.duplicates,
        "tokens_lost": laid.tokens_lost,
        "sequences": laid.train.sequences,
        "packed_sequences": laid.train.sequences if ground.spec.training.packing else None,
        "widest_sequence": laid.train.widest,
        "widest_batch_tokens": laid.train.widest
        * min(ground.spec.training.per_device_train_batch_size, laid.train.sequences),
    }


def _about_held_out(ground: Ground, answer: Answer) -> dict[str, Any] | None:
    if ground.spec.validation is None:
        return None
    part = answer.laid.held_out if answer.laid else None
    copies = answer.copies
    return {
        "id": ground.held_out and ground.held_out.id,
        "rows": part and part.rows,
        "measured_rows": part and part.trained_rows,
        "tokens": part and part.tokens,
        "trained_tokens": part and part.trained_tokens,
        "sequences": part and part.sequences,
        "overlap_rows": copies and copies.shared,
        "overlap_prompts": copies and copies.shared_prompts,
    }
