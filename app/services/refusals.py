"""What a job would fail with at its start, found before it runs: by a dry run and by POST alike.

A dry run counts tokens if nobody has yet; POST answers at once and uses what was counted.
"""

from collections.abc import Mapping
from pathlib import Path

from app.core.datasets.layout import figures
from app.core.datasets.layout.figures import Answer
from app.core.datasets.skipping import Skipped
from app.core.db.models import Dataset
from app.core.errors import Invalid, Problem
from app.core.estimates.shape import ModelShape, layer_names, read_shape
from app.core.jobs import targets
from app.core.jobs.failures import FailureReport, RunFailed
from app.core.jobs.spec import JobSpec
from app.core.models import ModelInfo
from app.core.settings import Settings
from app.core.templates import registry
from app.services import datasets
from app.services.checks import Checked
from app.services.counting.layouts import LayoutRequest, Layouts, Source

_POINTERS: Mapping[str, str] = {
    "prompt_too_long": "/training/max_length",
    "no_trained_tokens": "/training/max_length",
    "template_refuses_row": "/template",
    "too_many_rows_skipped": "/max_skip_share",
    "token_outside_vocabulary": "/model",
    "model_invalid": "/model",
    "tool_calls_hidden": "/template",
    "target_modules_invalid": "/lora/target_modules",
}


class WouldFail(Invalid):
    """Carries the code, hint and suggested patch that the job's `failure` would have."""

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


def check(checked: Checked, *, settings: Settings, layouts: Layouts) -> None:
    """Check what is known already; nothing is counted. Raises WouldFail."""
    spec, path = checked.spec, checked.base.path
    check_base(spec, checked.base)
    if path is not None and checked.is_data_ready:
        request = layout_request(settings, spec, path, checked.rows, checked.held_out)
        check_rows(layouts.counted(request))


def check_base(spec: JobSpec, base: ModelInfo) -> None:
    """Check what only the spec and the base model's files decide. Raises WouldFail."""
    if base.path is None:
        return
    shape = read_shape(base.path)
    layers = shape.linear_names if isinstance(shape, ModelShape) else layer_names(base.path)
    try:
        targets.check_type(spec.lora.target_modules, base.model_type)
        if layers:
            targets.check(spec.lora.target_modules, layers)
    except RunFailed as refused:
        raise WouldFail(refused.report) from refused


def check_rows(answer: Answer | None) -> None:
    """Raises WouldFail."""
    if answer is not None and answer.refusal is not None:
        raise WouldFail(answer.refusal)


def layout_request(
    settings: Settings, spec: JobSpec, model: Path, rows: Dataset, held_out: Dataset | None
) -> LayoutRequest:
    template = registry.find(settings.templates_dir, spec.template)
    parameters = figures.FiguresRequest(
        spec=spec,
        chat_template=template.chat_template,
        invalid=(Skipped.of(rows).num_skipped, Skipped.of(held_out).num_skipped if held_out else 0),
        marks=list(template.special_tokens),
    )
    return LayoutRequest(parameters, _source(rows), _source(held_out) if held_out else None, model)


def _source(dataset: Dataset) -> Source:
    return Source(dataset.id, datasets.fingerprint(dataset))
