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


class TemplateOut(Answer):
    name: str
    description: str
    is_custom: bool
    """One of this server's own, of its TUNESMITH_TEMPLATES_DIR."""
    needs: list[str]
    """Columns of a row."""
    text: str | None
    """Jinja over `messages`, as `apply_chat_template` renders it; null: `text` has none, the base
    has that of `chat`."""
    sha256: str | None
    special_tokens: list[str]
    """That it expects the base to know as one token each; else they are spelled out, and told."""
    problems: list[FieldProblem]
    """Why it cannot be used."""


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
