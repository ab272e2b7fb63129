"""A job spec: the closed schema of what a job can request.

Names are those of TrainingArguments, SFTConfig and LoraConfig. The defaults here are the recipe
`default`; `app.core.jobs.recipes` lays other recipes under what the caller set.
Nothing outside this schema ever reaches a training library.
"""

from typing import Annotated, Any, Literal

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
    """Unknown fields are errors, types are not coerced, numbers are finite.

    The text under a field is its description in the contract: write it for someone who has never
    seen the code.
    """

    model_config = ConfigDict(
        extra="forbid",
        strict=True,
        frozen=True,
        allow_inf_nan=False,
        use_attribute_docstrings=True,
    )


class LoraSpec(Closed):
    """The LoRA adapter, with the field names of PEFT's `LoraConfig`."""

    r: int = Field(16, ge=1, le=512)
    """Rank of the low-rank matrices. A higher rank trains more parameters; vLLM serves ranks above
    16 only with `--max-lora-rank`. Default from the tutorial "How to train an LLM with PyTorch"
    (2024)."""
    lora_alpha: int = Field(32, ge=1, le=4096)
    """Scaling of the adapter: its update is multiplied by `lora_alpha / r`, with `use_rslora` by
    `lora_alpha / sqrt(r)`. Default from the tutorial "How to train an LLM with PyTorch" (2024)."""
    lora_dropout: float = Field(0.05, ge=0, lt=1)
    """Probability of dropout on the input of the adapter during training; experts of a mixture have
    none. Default from the tutorial "How to train an LLM with PyTorch" (2024)."""
    target_modules: Literal["all-linear"] | Annotated[list[ModuleName], Field(min_length=1)] = (
        "all-linear"
    )
    """Layers that get an adapter: `all-linear`, or names of linear layers such as `q_proj`. Every
    linear layer is the default because attention layers alone do worse even at the same number of
    parameters ("LoRA Without Regret", 2025). That includes the experts of a mixture, but no router,
    and no layer that text does not pass (a vision tower). `lm_head` is refused."""
    use_rslora: bool = False
    """Scale with the square root of the rank (rank-stabilized LoRA, Kalajdzievski 2023), which
    helps at high ranks."""
    use_dora: bool = False
    """Train magnitude and direction of the weights separately (DoRA, Liu et al. 2024). Takes more
    memory and time."""


class TrainingSpec(Closed):
    """How to train, with the field names of transformers' `TrainingArguments` and TRL's
    `SFTConfig`."""

    num_train_epochs: float = Field(1, gt=0, le=100)
    """Passes over the training rows; may be a fraction. Ignored if `max_steps` is set."""
    max_steps: int | None = Field(None, ge=1)
    """Optimizer steps to train for, in place of `num_train_epochs`. Null: as many as the epochs
    take."""
    per_device_train_batch_size: int = Field(4, ge=1, le=1024)
    """Rows in one forward and backward pass, packed or not: more take more memory. A row that is
    split counts once. Default from the tutorial "How to train an LLM with PyTorch" (2024)."""
    gradient_accumulation_steps: int = Field(1, ge=1, le=1024)
    """Forward and backward passes per optimizer step. Multiplied by `per_device_train_batch_size`
    it gives the batch size; above 32 rows LoRA learns less ("LoRA Without Regret", 2025)."""
    learning_rate: float = Field(2e-4, gt=0, le=1)
    """Highest learning rate, reached after the warm-up. The default is about ten times what full
    fine-tuning takes, as LoRA needs ("LoRA Without Regret", 2025), and hardly depends on the
    rank."""
    lr_scheduler_type: Literal[
        "linear", "cosine", "constant", "constant_with_warmup", "polynomial"
    ] = "linear"
    """Schedule of the learning rate after the warm-up. `linear` falls to 0, as by default in
    transformers; `constant` has no warm-up. `polynomial` falls to 1e-7."""
    warmup_ratio: float = Field(0.1, ge=0, lt=1)
    """Share of all optimizer steps over which the learning rate rises from 0, rounded down to whole
    steps: the only step of a job is never part of it. Default from the tutorial "How to train an
    LLM with PyTorch" (2024)."""
    weight_decay: float = Field(0.0, ge=0, le=1)
    """Weight decay of the optimizer. Default of transformers."""
    max_grad_norm: float = Field(1.0, gt=0)
    """Norm to which gradients are clipped. Default of transformers."""
    optim: Literal["adamw_torch", "adamw_torch_fused", "adafactor", "sgd"] = "adamw_torch"
    """Optimizer. For each trained parameter AdamW keeps 8 bytes of state, Adafactor much less, SGD
    none."""
    max_length: int = Field(1024, ge=8, le=1_048_576)
    """Tokens of a row, prompt and answer together, and of a packed sequence. See
    `on_long_row` for longer rows. At most what the model takes; the default is lowered to that."""
    packing: bool = True
    """Put the rows of a batch into as few sequences of up to `max_length` tokens as possible, so
    that there is little padding. Rows do not see each other; steps and gradients are the same as
    without. False: one row to a sequence."""
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    """Number format of the computation. `auto`: `bf16` on a GPU, `fp32` on a CPU, where bf16 is
    several times slower unless the CPU has instructions for it (AVX512-BF16: about four times
    faster, measured on matrix products)."""
    gradient_checkpointing: bool = True
    """Recompute activations in the backward pass instead of keeping them: less memory, for about
    50 % more operations."""
    neftune_noise_alpha: float | None = Field(None, gt=0, le=100)
    """Strength of the noise added to embeddings in training (NEFTune, Jain et al. 2023, who use 5
    to 15). Null: no noise."""
    logging_steps: int = Field(1, ge=1)
    """Optimizer steps between two logged values of each metric."""
    eval_steps: int | None = Field(None, ge=1)
    """Optimizer steps between two evaluations. Null: at the end of each epoch. The last step is
    always evaluated; without `validation` nothing is."""
    save_strategy: Literal["epoch", "steps", "no"] = "epoch"
    """When to save a checkpoint: at the end of each `epoch`, every `save_steps` optimizer steps
    (`steps`), or `no`: only when the job has to stop and resume later. An attempt after a failure
    resumes from the last one."""
    save_steps: int | None = Field(None, ge=1)
    """Optimizer steps between two checkpoints. Given alone, it sets `save_strategy` to `steps`,
    which requires it; else null."""
    save_total_limit: int = Field(2, ge=2, le=100)
    """Number of checkpoints to keep, the newest. At least 2, because the older one must outlast the
    writing of the newer."""
    early_stopping_patience: int | None = Field(None, ge=1)
    """Evaluations in a row without a lower validation loss after which training stops. Needs
    `validation`. Null: never stop early."""
    load_best: bool | None = None
    """Publish the adapter of the evaluation with the lowest validation loss, not that of the last
    step. True needs `validation`. Null: true with `validation`, false without."""
    seed: int = Field(42, ge=0, le=2**31 - 1)
    """Seed of everything random: the rows held out, the initial adapter, the order of the rows and
    dropout. Default of transformers."""

    @model_validator(mode="before")
    @classmethod
    def _interval_alone_means_steps(cls, given: Any) -> Any:
        is_alone = isinstance(given, dict) and "save_strategy" not in given
        if is_alone and given.get("save_steps") is not None:
            return given | {"save_strategy": "steps"}
        return given

    @model_validator(mode="after")
    def _steps_go_with_their_strategy(self) -> "TrainingSpec":
        if (self.save_strategy == "steps") != (self.save_steps is not None):
            raise ValueError('set `save_steps` exactly when `save_strategy` is "steps"')
        return self


class Validation(Closed):
    """What to hold out for evaluation: a share of the rows, or a dataset of its own. Exactly one of
    the two is set."""

    fraction: float | None = Field(None, gt=0, le=0.5)
    """Share of the job's rows to hold out, drawn at random with `training.seed`; at least one row.
    Null where `dataset` is set."""
    dataset: str | None = Field(None, max_length=64)
    """Id of the dataset to evaluate on, all of it. Null where `fraction` is set."""

    @model_validator(mode="after")
    def _one_source(self) -> "Validation":
        if (self.fraction is None) == (self.dataset is None):
            raise ValueError("set either `fraction` or `dataset`")
        return self


class Limits(Closed):
    """What a job may use up before it ends."""

    max_seconds: int | None = Field(None, ge=1)
    """Seconds that all attempts of the job may run together; waiting does not count. Past it, a
    checkpoint is saved, and the adapter of the best evaluation so far, else that of the checkpoint,
    is verified and published, which takes further time: the job succeeds, with `stopped_by`
    `deadline`. It fails with `deadline_exceeded` if nothing was trained. Null: no limit."""
    max_retries: int = Field(2, ge=0, le=10)
    """Further attempts after one that ended for reasons of the machine, such as a lost worker. What
    the data or the spec causes is never tried again."""


class JobSpec(Closed):
    """A fine-tuning job. Only `model` and `dataset` are required; a field that is left out gets the
    value of the recipe, else the default given here."""

    model: str = Field(min_length=1, max_length=200)
    """Base model to fine-tune: a name from GET /models, or a hub id that the server allows."""
    model_revision: str | None = Field(None, pattern=r"^[0-9a-f]{40}$")
    """Commit of the model on the hub: 40 hexadecimal digits. Must be null for a local folder; may
    be null where the server allows exactly one commit."""
    dataset: str = Field(min_length=1, max_length=64)
    """Id of the dataset to train on. The job waits while it is being validated."""
    validation: Validation | None = None
    """What to hold out for evaluation. Null: nothing, and there is no validation loss."""
    recipe: ShortText = "default"
    """Name of the bundle of defaults to start from; GET /recipes lists them."""
    name: ShortText | None = None
    """Name for people; names need not be unique."""
    tags: Tags = Field(default_factory=dict)
    """Labels of your own, up to 16 pairs of key and value. GET /jobs filters by them."""
    priority: Priority = 0
    """Higher starts first; among equals the older job does."""
    template: ShortText = "alpaca"
    """Name of the prompt template that renders the rows; GET /templates lists them. The default has
    the wording of Stanford Alpaca."""
    train_on: Literal["completion", "all"] = "completion"
    """Tokens that count in the loss: `completion` the answers alone, as in Stanford Alpaca's
    script; `all` the prompts as well. Template `text` requires `all`."""
    quantization: Literal["none", "int8", "nf4"] = "none"
    """Quantization of the frozen base model by bitsandbytes, to save memory: `int8` (LLM.int8()) or
    `nf4` (4 bits with double quantization, as in QLoRA). The adapter is never quantized."""
    lora: LoraSpec = LoraSpec()
    """The LoRA adapter."""
    training: TrainingSpec = TrainingSpec()
    """How to train."""
    on_invalid_row: Literal["error", "skip"] = "error"
    """What to do about rows that cannot be trained on, because they are invalid or the chat
    template refuses them: `error` refuses the job, `skip` leaves the rows out, up to
    `max_skip_share`."""
    on_long_prompt: Literal["drop", "error"] = "drop"
    """What to do about rows whose prompt alone fills `max_length`: `drop` leaves the rows out, up
    to `max_skip_share`, and a warning names them; `error` refuses the job."""
    on_long_row: Literal["split", "truncate", "drop"] | None = None
    """What to do about rows longer than `max_length` whose prompt fits: `split` them into pieces
    that do not see each other, so that only the first token of each further piece is not trained;
    `truncate` them, which loses the rest of the answer and the EOS that teaches to stop; `drop`
    leaves them out. Null: `split` with `training.packing`, `truncate` without. A dry run says what
    each would lose."""
    max_skip_share: float = Field(0.1, ge=0, le=1)
    """Largest share of a dataset's rows that `on_invalid_row: "skip"` and `on_long_prompt: "drop"`
    may leave out together; with more the job is refused."""
    sample_prompts: list[Prompt] = Field(default_factory=list, max_length=16)
    """Instructions that the base model and the trained adapter answer after training, in the
    template of the job; see GET /jobs/{job_id}/samples."""
    limits: Limits = Limits()
    """What the job may use up before it ends."""

    @property
    def ships_best(self) -> bool:
        """`training.load_best` as resolved."""
        return self.validation is not None and self.training.load_best is not False

    @model_validator(mode="after")
    def _text_has_no_answer(self) -> "JobSpec":
        if self.template == "text" and self.train_on == "completion":
            raise ValueError('template "text" has no separate answer: set `train_on` to "all"')
        return self
