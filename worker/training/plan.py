"""Reads and validates a run's plan, and computes the fingerprint that checkpoints must match."""

import hashlib
import json
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from app.core.datasets.tokens.templates import is_named
from app.core.jobs.protocol import FrozenTemplate, Plan
from app.core.templates.template import ours
from worker.training.failures import BadPlan

_NOT_TRAINING = {
    *("name", "tags", "priority", "limits", "sample_prompts", "recipe"),
    *("max_skip_share", "on_long_prompt"),
}
"""Fields of a spec that do not affect what is learned."""
_CHOICES = {"load_best"}
"""Fields of `training` that do not either: they choose among what was learned."""


def read_plan(run_dir: Path) -> Plan:
    try:
        # From JSON text, not from objects: there strict types accept 1 for a float.
        return Plan.model_validate_json((run_dir / "plan.json").read_bytes())
    except OSError as error:
        raise BadPlan(f"The plan in {run_dir} cannot be read: {error.strerror}.") from error
    except ValidationError as error:
        evidence = "; ".join(f"{each['loc']}: {each['msg']}" for each in error.errors()[:5])
        raise BadPlan("The plan is not valid.", evidence=evidence) from error


def frozen_template(plan: Plan) -> FrozenTemplate:
    """The plan's template; a built-in one if a plan written by hand has none. Raises BadPlan."""
    name, given = plan.spec.template, plan.template
    if given is None:
        if name not in ours():
            raise BadPlan(f"The plan does not contain the text of the template {name!r}.")
        return ours()[name].frozen()
    digest = None if given.text is None else hashlib.sha256(given.text.encode()).hexdigest()
    if given.name != name or given.sha256 != digest or (is_named(name) and digest is None):
        raise BadPlan(f"The plan's template does not match the name {name!r} and its sha256.")
    return given


def fingerprint(plan: Plan) -> str:
    """SHA-256 of what must be the same for a run to resume from another run's checkpoint."""
    left_out: Any = dict.fromkeys(_NOT_TRAINING, True) | {"training": _CHOICES}
    spec = plan.spec.model_dump(mode="json", exclude=left_out)
    held_out = plan.validation_rows.sha256 if plan.validation_rows else None
    parts = [spec, plan.rows.sha256, held_out, plan.base.id, plan.base.revision]
    if is_named(plan.spec.template):
        parts.append(frozen_template(plan).sha256)
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()
