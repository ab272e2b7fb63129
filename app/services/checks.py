"""Check of a spec against what exists: the model and its limits, the template and the datasets.

All problems are reported at once, before anything is stored.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from sqlalchemy.orm import Session

from app.core.datasets import bad_rows, skipping
from app.core.datasets.skipping import Skipped
from app.core.datasets.status import DatasetStatus
from app.core.datasets.tokens.templates import NO_TOOLS_HINT, cannot_write_tools
from app.core.db.models import Dataset
from app.core.errors import Invalid, Problem
from app.core.estimates.schedule import POLYNOMIAL_END
from app.core.jobs import recipes
from app.core.jobs.spec import JobSpec
from app.core.models import ModelInfo, find_model
from app.core.settings import Settings
from app.core.storage import Storage
from app.core.templates import registry
from app.services import datasets, partial_uploads
from app.services.caller import Caller
from app.services.partial_uploads import UploadIncomplete, UploadNotFound

SHOWN_PROBLEMS = 5


@dataclass(frozen=True)
class Checked:
    """A resolved spec that can be carried out."""

    spec: JobSpec
    base: ModelInfo
    rows: Dataset
    held_out: Dataset | None

    @property
    def _datasets(self) -> tuple[Dataset, ...]:
        return (self.rows, self.held_out) if self.held_out else (self.rows,)

    @property
    def is_data_ready(self) -> bool:
        """False while a dataset is still being validated."""
        return all(each.status != DatasetStatus.VALIDATING for each in self._datasets)

    @property
    def skipped(self) -> tuple[Skipped, ...]:
        """Skipped rows, one entry per validated dataset that has bad rows."""
        bad = [each for each in self._datasets if each.status == DatasetStatus.INVALID]
        return tuple(map(Skipped.of, bad))


class DatasetUnknown(Invalid):
    code = "dataset_unknown"


class DatasetInvalid(Invalid):
    code = "dataset_invalid"


class TooManySkipped(Invalid):
    code = skipping.CODE


class TemplateUnfit(Invalid):
    code = "template_unfit"


class TooLongForModel(Invalid):
    code = "max_length_too_long"


def check(
    session: Session, caller: Caller, spec: JobSpec, *, settings: Settings, storage: Storage
) -> Checked:
    """Resolve a spec. Raises Invalid with a pointer for each problem."""
    resolved = recipes.resolve(spec)
    failures: list[Invalid] = []
    model = _collect(failures, lambda: find_model(settings, spec.model, spec.model_revision))
    if model is not None:
        fitted = _collect(failures, lambda: _fit_length(spec, resolved, model))
        resolved = fitted or resolved
        _collect(failures, lambda: _check_chat(resolved, model))
    _collect(failures, lambda: registry.find(settings.templates_dir, resolved.template))
    _collect(failures, lambda: _check_evaluation(resolved))
    _collect(failures, lambda: _check_schedule(resolved))
    used = [
        _collect(failures, partial(_usable, session, caller, resolved, storage, at, name))
        for at, name in _datasets_of(resolved)
    ]
    if failures:
        raise _joined(failures)
    rows, *held_out = used
    return Checked(resolved, model, rows, held_out[0] if held_out else None)


def _collect(failures: list[Invalid], look: Callable[[], Any]) -> Any:
    try:
        return look()
    except Invalid as failure:
        failures.append(failure)
        return None


def _joined(failures: list[Invalid]) -> Invalid:
    """Return the only failure itself, else one that combines them all."""
    if len(failures) == 1:
        return failures[0]
    problems = [problem for failure in failures for problem in failure.errors]
    return Invalid(f"The spec has {len(problems)} problems; see `errors`.", errors=problems)


def _fit_length(spec: JobSpec, resolved: JobSpec, model: ModelInfo) -> JobSpec:
    """Check a given `max_length` against the model's; lower a default to it."""
    length = resolved.training.max_length
    if model.max_length is None or length <= model.max_length:
        return resolved
    if "max_length" in spec.training.model_fields_set:
        message = f"{model.id!r} supports at most {model.max_length} tokens, not {length}."
        hint = f"Set `max_length` to {model.max_length} or less."
        at = Problem("/training/max_length", TooLongForModel.code, message, hint)
        raise TooLongForModel(f"{message} {hint}", errors=[at])
    training = resolved.training.model_copy(update={"max_length": model.max_length})
    return resolved.model_copy(update={"training": training})


def _check_chat(spec: JobSpec, model: ModelInfo) -> None:
    if spec.template == "chat" and model.has_chat_template is False:
        message = f"{model.id!r} has no chat template."
        hint = 'Set `template` to "alpaca", or add a `chat_template.jinja` to the model.'
        problem = Problem("/template", TemplateUnfit.code, message, hint)
        raise TemplateUnfit(f"{message} {hint}", errors=[problem])


def _check_evaluation(resolved: JobSpec) -> None:
    """Refuse what needs a validation loss in a job that has none.

    Not in the schema: stored specs are parsed with it, and what a recipe sets counts too.
    """
    if resolved.validation is not None:
        return
    needing = {
        "early_stopping_patience": "Early stopping needs a validation loss",
        "eval_steps": "There is nothing to evaluate",
        "load_best": "The best checkpoint is the one with the lowest validation loss",
    }
    problems = [
        Problem(
            f"/training/{name}",
            "invalid_combination",
            f"{why}, but this job has no `validation`.",
            'Add `"validation": {"fraction": 0.1}`, or leave this field out.',
        )
        for name, why in needing.items()
        if getattr(resolved.training, name) not in (None, False)
    ]
    if problems:
        first = problems[0]
        raise Invalid(f"{first.message} {first.hint}", errors=problems)


def _check_schedule(spec: JobSpec) -> None:
    """Every other schedule has a step with the full learning rate, however few there are."""
    training = spec.training
    if training.lr_scheduler_type != "polynomial" or training.learning_rate > POLYNOMIAL_END:
        return
    message = f"`polynomial` falls to {POLYNOMIAL_END:g}: the learning rate must be higher."
    hint = 'Set `lr_scheduler_type` to "linear", or raise `learning_rate`.'
    raise Invalid(
        f"{message} {hint}",
        errors=[Problem("/training/learning_rate", "out_of_range", message, hint)],
        suggested_patch={"training": {"lr_scheduler_type": "linear"}},
    )


def _datasets_of(spec: JobSpec) -> list[tuple[str, str]]:
    held_out = spec.validation.dataset if spec.validation else None
    return [("/dataset", spec.dataset)] + ([("/validation/dataset", held_out)] if held_out else [])


def _usable(
    session: Session, caller: Caller, spec: JobSpec, storage: Storage, at: str, dataset_id: str
) -> Dataset:
    dataset = datasets.find(session, caller, dataset_id)
    if dataset is None:
        message = f"There is no dataset {dataset_id!r} in this project."
        hint = _whole_upload(session, caller, dataset_id) or "GET /datasets lists them."
        problem = Problem(at, DatasetUnknown.code, message, hint)
        raise DatasetUnknown(message, errors=[problem])
    skips = spec.on_invalid_row == "skip" and (dataset.num_valid_rows or 0) > 0
    if dataset.status == DatasetStatus.INVALID and not skips:
        raise _invalid(dataset, storage, at)
    if dataset.status == DatasetStatus.INVALID:
        _check_share(spec, dataset, storage, at)
    _check_template(spec, dataset, at)
    return dataset


def _whole_upload(session: Session, caller: Caller, upload_id: str) -> str:
    """Return a hint if this is the id of an upload. Raises UploadIncomplete if it is incomplete."""
    try:
        upload = partial_uploads.get(session, caller, upload_id)
    except UploadNotFound:
        return ""
    if upload.dataset_id is not None:
        return f"This upload has become dataset {upload.dataset_id!r}."
    raise UploadIncomplete(
        f"Upload {upload_id!r} is not a dataset yet: complete it and name the dataset it becomes.",
        current="receiving",
        allowed=["put parts", "complete", "delete"],
    )


def _check_template(spec: JobSpec, dataset: Dataset, at: str) -> None:
    """Check that the template fits the rows' columns, which are known only after validation."""
    message = misfit(dataset, spec.template) if dataset.features else None
    if message is None:
        return
    needed = needed_column(spec.template)
    if "messages" in (dataset.features or {}) and needed != "text":
        at, hint = "/template", NO_TOOLS_HINT
    elif at == "/dataset":
        other = '"alpaca" or "chat"' if needed == "text" else '"text"'
        at, hint = "/template", f"Its rows fit {other}."
    else:
        hint = f"Name a dataset whose rows have {needed!r}, as the training rows do."
    raise TemplateUnfit(message, errors=[Problem(at, TemplateUnfit.code, message, hint)])


def misfit(dataset: Dataset, template: str) -> str | None:
    """Return why the template cannot write the rows of the dataset, as far as columns tell."""
    features, needed = dataset.features or {}, needed_column(template)
    has_calls = "messages" in features
    if has_calls and needed != "text" and cannot_write_tools(template):
        return f"Template {template!r} cannot write the tool calls of {dataset.id!r}."
    if needed in features or (has_calls and needed != "text"):
        return None
    return f"Template {template!r} needs a column {needed!r}; {dataset.id!r} has none."


def needed_column(template: str) -> str:
    return "text" if template == "text" else "instruction"


def _invalid(dataset: Dataset, storage: Storage, at: str) -> DatasetInvalid:
    """Return an error with the first problems of the report; GET /datasets/{id}/report has all."""
    some_left = (dataset.num_valid_rows or 0) > 0
    hint = 'Set `on_invalid_row` to "skip" to train on the rest.' if some_left else ""
    message = f"Dataset {dataset.id!r} has rows that cannot be trained on."
    first = [Problem(at, DatasetInvalid.code, message, hint), *_first_bad(dataset, storage, at)]
    more = f" See GET /datasets/{dataset.id}/report."
    return DatasetInvalid(f"{message} {hint}{more}".replace("  ", " "), errors=first)


def _check_share(spec: JobSpec, dataset: Dataset, storage: Storage, at: str) -> None:
    skipped = Skipped.of(dataset)
    message = skipped.objection(spec.max_skip_share)
    if message is None:
        return
    first = Problem(at, TooManySkipped.code, message, skipping.HINT)
    raise TooManySkipped(
        f"{message} {skipping.HINT} See GET /datasets/{dataset.id}/report.",
        errors=[first, *_first_bad(dataset, storage, at)],
        share=round(skipped.share, 6),
        limit=spec.max_skip_share,
    )


def _first_bad(dataset: Dataset, storage: Storage, at: str) -> list[Problem]:
    return [
        Problem(
            at, str(found.get("code", "")), bad_rows.sentence(found), str(found.get("hint", ""))
        )
        for found in bad_rows.errors(storage, dataset.id)[:SHOWN_PROBLEMS]
    ]
