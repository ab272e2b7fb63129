"""Named bundles of defaults, and how a caller's spec is laid over one."""

from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

from app.core.errors import Invalid, Problem
from app.core.jobs.spec import JobSpec


@dataclass(frozen=True)
class Recipe:
    name: str
    description: str
    values: Mapping[str, Any]
    """What differs from the schema's own defaults."""
    warnings: tuple[str, ...] = ()
    """Where a job by this recipe departs from its source; the trainer tells those that hold."""


class UnknownRecipe(Invalid):
    code = "recipe_unknown"

    def __init__(self, name: str) -> None:
        near = get_close_matches(name, RECIPES, 1)
        hint = f'Did you mean "{near[0]}"?' if near else "GET /recipes lists them."
        problem = Problem("/recipe", self.code, f"No recipe {name!r}.", hint)
        super().__init__(f"No recipe {name!r}. {hint}", errors=[problem])


DEFAULT = Recipe(
    name="default",
    description="LoRA on every linear layer, loss on the answer only, rows packed but kept apart.",
    values={},
)

XGEN_7B_ALPACA = Recipe(
    name="xgen-7b-alpaca",
    description="The 2024 tutorial: XGen-7B on Alpaca, int8, r=16, packed at 1,024.",
    values={
        "template": "alpaca",
        "train_on": "all",
        "quantization": "int8",
        "lora": {"r": 16, "lora_alpha": 32, "lora_dropout": 0.05, "target_modules": "all-linear"},
        "training": {
            "num_train_epochs": 1,
            "per_device_train_batch_size": 4,
            "learning_rate": 2e-4,
            "lr_scheduler_type": "linear",
            "warmup_ratio": 0.1,
            "optim": "adamw_torch",
            "max_length": 1024,
            "packing": True,
            "precision": "auto",
            "logging_steps": 80,
            "save_strategy": "epoch",
        },
    },
    warnings=(
        "Packing keeps rows apart here; the tutorial's packing let each row see its neighbours.",
        "LoRA sits on all linear layers; the tutorial left `target_modules` unset: q and v only.",
        "Embeddings are not resized: that would put both tables, 0.8 GB, into the adapter.",
    ),
)

RECIPES: Mapping[str, Recipe] = {recipe.name: recipe for recipe in (DEFAULT, XGEN_7B_ALPACA)}


def resolve(spec: JobSpec) -> JobSpec:
    """The spec with every number filled in: the caller's, over the recipe's, over the defaults."""
    recipe = RECIPES.get(spec.recipe)
    if recipe is None:
        raise UnknownRecipe(spec.recipe)
    return JobSpec.model_validate(merged(recipe.values, spec.model_dump(exclude_unset=True)))


def spelled_out(recipe: Recipe) -> dict[str, Any]:
    """A recipe as a full spec body, without the fields only a job can have."""
    spec = JobSpec.model_validate(merged(recipe.values, {"model": "-", "dataset": "-"}))
    own = {"model", "model_revision", "dataset", "name", "tags", "recipe", "sample_prompts"}
    return spec.model_dump(mode="json", exclude=own)


def merged(under: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """`over` laid on `under`, nested objects merged key by key."""
    result = dict(under)
    for key, value in over.items():
        below = result.get(key)
        both = isinstance(below, Mapping) and isinstance(value, Mapping)
        result[key] = merged(below, value) if both else value  # type: ignore[arg-type]
    return result
