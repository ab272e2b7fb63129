"""The service itself, as callers see it: models, recipes, queue, workers, health."""

from typing import Literal

from app.api.schemas.base import Answer, Anything, FieldProblem, Moment


class ModelOut(Answer):
    id: str
    revision: str | None
    architecture: str | None
    num_parameters: int | None
    max_length: int | None
    """The longest `training.max_length` it takes."""
    vocab_size: int | None
    has_chat_template: bool | None
    """Needed for `template` "chat"; null until the model was downloaded."""
    is_trainable: bool
    problems: list[FieldProblem]
    """Why not."""
    limits: dict[str, Anything]
    """By JSON pointer into a job spec: `minimum`, `maximum`, `enum`, as in JSON Schema."""
    defaults: dict[str, Anything]
    """`lora` and `training` as a job without either gets them."""


class RecipeOut(Answer):
    name: str
    description: str
    spec: Anything
    """Every default spelled out."""
    warnings: list[str]


class WaitingOut(Answer):
    job: str
    name: str | None
    queue: str
    status: Literal["queued", "validating"]
    priority: int
    position: int | None
    reason: str
    estimated_start: Moment | None
    queued_at: Moment | None
    created_at: Moment


class WorkerOut(Answer):
    id: str
    hostname: str
    device: str
    queue: str
    version: str
    job: str | None
    started_at: Moment
    last_seen_at: Moment
    status: Literal["alive", "lost"]


class Health(Answer):
    status: Literal["ok"]


class Ready(Answer):
    """`degraded`: without a broker jobs are accepted and start a little later."""

    status: Literal["ok", "degraded"]
    checks: dict[str, Literal["ok", "failing"]]
