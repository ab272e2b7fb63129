"""A job spec: the closed schema of what can be asked for.

Names are those of TrainingArguments, SFTConfig and LoraConfig. The defaults here are the recipe
`default`; `app.core.jobs.recipes` lays other recipes under what the caller set.
Nothing outside this schema ever reaches a training library.
"""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

SPEC_VERSION = 1

ShortText = Annotated[str, StringConstraints(min_length=1, max_length=200)]
ModuleName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_.]+$", max_length=200)]
TagKey = Annotated[str, StringConstraints(min_length=1, max_length=64)]
TagValue = Annotated[str, StringConstraints(max_length=512)]
Tags = Annotated[dict[TagKey, TagValue], Field(max_length=16)]
Priority = Annotated[int, Field(ge=-100, le=100)]
Prompt = Annotated[str, StringConstraints(min_length=1, max_length=4000)]


class Closed(BaseModel):
    """Unknown fields are errors, types are not coerced, numbers are finite."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)


class LoraSpec(Closed):
    r: int = Field(16, ge=1, le=512)
    """Rank."""
    lora_alpha: int = Field(32, ge=1, le=4096)
    """The update is scaled by lora_alpha / r (by lora_alpha / sqrt(r) with `use_rslora`)."""
    lora_dropout: float = Field(0.05, ge=0, lt=1)
    target_modules: Literal["all-linear"] | Annotated[list[ModuleName], Field(min_length=1)] = (
        "all-linear"
    )
    """Attention alone loses even at matched size ("LoRA Without Regret", 2025)."""
    use_rslora: bool = False
    use_dora: bool = False


class TrainingSpec(Closed):
    num_train_epochs: float = Field(1, gt=0, le=100)
    max_steps: int | None = Field(None, ge=1)
    """Optimizer steps; set, it wins over `num_train_epochs`."""
    per_device_train_batch_size: int = Field(4, ge=1, le=1024)
    gradient_accumulation_steps: int = Field(1, ge=1, le=1024)
    learning_rate: float = Field(2e-4, gt=0, le=1)
    """About ten times what full fine-tuning wants."""
    lr_scheduler_type: Literal[
        "linear", "cosine", "constant", "constant_with_warmup", "polynomial"
    ] = "linear"
    warmup_ratio: float = Field(0.1, ge=0, lt=1)
    """Share of all optimizer steps."""
    weight_decay: float = Field(0.0, ge=0, le=1)
    max_grad_norm: float = Field(1.0, gt=0)
    optim: Literal["adamw_torch", "adamw_torch_fused", "adafactor", "sgd"] = "adamw_torch"
    max_length: int = Field(1024, ge=8, le=1_048_576)
    """Tokens per row, prompt and answer together; also the length of a packed sequence."""
    packing: bool = True
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    """`auto`: bf16 on a GPU, fp32 on a CPU, where bf16 is several times slower."""
    gradient_checkpointing: bool = True
    neftune_noise_alpha: float | None = Field(None, gt=0, le=100)
    logging_steps: int = Field(1, ge=1)
    eval_steps: int | None = Field(None, ge=1)
    """Optimizer steps between evaluations; None: at each epoch's end."""
    save_strategy: Literal["epoch", "steps", "no"] = "epoch"
    save_steps: int | None = Field(None, ge=1)
    save_total_limit: int = Field(2, ge=2, le=100)
    """At least 2: the older one is deleted before the newer one is proven."""
    early_stopping_patience: int | None = Field(None, ge=1)
    """Evaluations without a better validation loss before training stops."""
    seed: int = Field(42, ge=0, le=2**31 - 1)

    @model_validator(mode="after")
    def _steps_go_with_their_strategy(self) -> "TrainingSpec":
        if (self.save_strategy == "steps") != (self.save_steps is not None):
            raise ValueError('set `save_steps` exactly when `save_strategy` is "steps"')
        return self


class Validation(Closed):
    """Where the held-out part comes from: a share of the rows, or a dataset of its own."""

    fraction: float | None = Field(None, gt=0, le=0.5)
    dataset: str | None = Field(None, max_length=64)

    @model_validator(mode="after")
    def _one_source(self) -> "Validation":
        if (self.fraction is None) == (self.dataset is None):
            raise ValueError("set either `fraction` or `dataset`")
        return self


class Limits(Closed):
    max_seconds: int | None = Field(None, ge=1)
    """Of training, over all attempts of a job; past it the job fails with `deadline_exceeded`."""
    max_retries: int = Field(2, ge=0, le=10)
    """Further attempts after one that died for reasons of the machine."""


class JobSpec(Closed):
    model: str = Field(min_length=1, max_length=200)
    """A name from GET /models, or a hub id the server allows."""
    model_revision: str | None = Field(None, pattern=r"^[0-9a-f]{40}$")
    """A commit of the hub; must be None for a local folder."""
    dataset: str = Field(min_length=1, max_length=64)
    validation: Validation | None = None
    recipe: ShortText = "default"
    name: ShortText | None = None
    tags: Tags = Field(default_factory=dict)
    priority: Priority = 0
    """Higher goes first."""
    template: ShortText = "alpaca"
    """A name from GET /templates."""
    train_on: Literal["completion", "all"] = "completion"
    """`completion`: loss on the answer only, as Stanford's script does."""
    quantization: Literal["none", "int8", "nf4"] = "none"
    """Of the frozen base (bitsandbytes)."""
    lora: LoraSpec = LoraSpec()
    training: TrainingSpec = TrainingSpec()
    on_invalid_row: Literal["error", "skip"] = "error"
    max_skip_share: float = Field(0.1, ge=0, le=1)
    """Of a dataset's rows, that `skip` may leave out; with more the job is refused."""
    sample_prompts: list[Prompt] = Field(default_factory=list, max_length=16)
    """Instructions that base and adapter answer after training, in the job's template."""
    limits: Limits = Limits()

    @model_validator(mode="after")
    def _text_has_no_answer(self) -> "JobSpec":
        if self.template == "text" and self.train_on == "completion":
            raise ValueError('template "text" has no separate answer: set `train_on` to "all"')
        return self
