"""What a job can name, as callers see it: models, recipes and templates."""

from app.api.schemas.base import Answer, Anything, FieldProblem


class ModelOut(Answer):
    """A base model of this server."""

    id: str
    """Name to give as `model`: the folder of a local model, or the hub id `owner/name`."""
    revision: str | None
    """Commit of the hub that the server allows. Null for a local folder, and where the job names
    the commit in `model_revision`."""
    hub_id: str | None
    """Repository of the hub that a local folder declares in its `tunesmith.json` to be a copy of.
    Adapters name it as their base. Null where none is declared, and for a model of the hub
    itself."""
    hub_revision: str | None
    """Commit of `hub_id`, as declared; null where none is."""
    architecture: str | None
    """Class name from the model's `config.json`, for example `LlamaForCausalLM`; null until the
    files are on the server."""
    num_parameters: int | None
    """Number of parameters, counted from the safetensors headers; null where they are not on the
    server."""
    max_length: int | None
    """Largest `training.max_length` that the model takes, in tokens; null where its configuration
    does not tell."""
    vocab_size: int | None
    """Size of the vocabulary; null where the configuration is not on the server or does not
    tell."""
    has_chat_template: bool | None
    """Whether the model has a chat template, which `template: "chat"` needs; null until the files
    are on the server."""
    is_trainable: bool
    """Whether jobs can name the model; if not, `problems` says why."""
    problems: list[FieldProblem]
    """Why the model is refused; empty where it is not."""
    limits: dict[str, Anything]
    """Allowed values for this model, by JSON pointer into a job spec: `minimum`, `maximum`,
    `exclusiveMinimum`, `exclusiveMaximum` and `enum`, as in JSON Schema."""
    defaults: dict[str, Anything]
    """`lora` and `training` as a job on this model gets them when its spec has neither."""


class RecipeOut(Answer):
    """A named bundle of defaults for a job spec."""

    name: str
    """Name to give as `recipe`."""
    description: str
    """What the recipe does, in one sentence for a person."""
    spec: Anything
    """Job spec with every default of the recipe filled in, without the fields that each job sets
    itself, such as `model` and `dataset`."""
    warnings: list[str]
    """Where a job of this recipe departs from the source of the recipe, in sentences for a
    person."""


class TemplateOut(Answer):
    """A prompt template: how a row becomes text."""

    name: str
    """Name to give as `template`."""
    description: str
    """What the template is, in one sentence for a person."""
    is_custom: bool
    """Whether the template is a file of this server's own, from its TUNESMITH_TEMPLATES_DIR."""
    needs: list[str]
    """Columns that every row must have."""
    text: str | None
    """Jinja source over `messages`, as `apply_chat_template` of transformers renders it. Null for
    `text`, which has none, and for `chat`, which is the template of the model."""
    sha256: str | None
    """SHA-256 of `text`, in hexadecimal; null where that is null."""
    special_tokens: list[str]
    """Tokens that the template expects the model to know as one token each. A model that does not
    sees them as several ordinary tokens, and the job warns of it."""
    problems: list[FieldProblem]
    """Why the template cannot be used; empty where it can."""
