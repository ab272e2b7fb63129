"""Recipes: named sets of defaults, over which a caller's spec is merged."""

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
    """Values that differ from the schema's own defaults."""
    warnings: tuple[str, ...] = ()
    """How a job with this recipe differs from the recipe's source; the trainer reports those that
    apply.
    """


class UnknownRecipe(Invalid):
    code = "recipe_unknown"

    def __init__(self, name: str) -> None:
        near = get_close_matches(name, RECIPES, 1)
        hint = f'Did you mean "{near[0]}"?' if near else "GET /recipes lists them."
        problem = Problem("/recipe", self.code, f"No recipe {name!r}.", hint)
        super().__init__(f"No recipe {name!r}. {hint}", errors=[problem])


DEFAULT = Recipe(
    name="default",
    description="LoRA on every linear layer, loss on the answer only, packed rows kept separate.",
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
        "Packing masks other rows here; the tutorial's packing let each row attend to neighbours.",
        "LoRA targets all linear layers; the tutorial left `target_modules` unset: q and v only.",
        "Embeddings are not resized: that would put both tables, 0.8 GB, into the adapter.",
    ),
)

RECIPES: Mapping[str, Recipe] = {recipe.name: recipe for recipe in (DEFAULT, XGEN_7B_ALPACA)}


def resolve(spec: JobSpec) -> JobSpec:
    """Return the spec with every field filled in: the caller's values over the recipe's over the
    defaults. Raises UnknownRecipe.
    """
    recipe = RECIPES.get(spec.recipe)
    if recipe is None:
        raise UnknownRecipe(spec.recipe)
    return JobSpec.model_validate(merged(recipe.values, spec.model_dump(exclude_unset=True)))


def spelled_out(recipe: Recipe) -> dict[str, Any]:
    """Return a recipe as a full spec body, without the fields that only a job has."""
    spec = JobSpec.model_validate(merged(recipe.values, {"model": "-", "dataset": "-"}))
    own = {"model", "model_revision", "dataset", "name", "tags", "recipe", "sample_prompts"}
    return spec.model_dump(mode="json", exclude=own)


def merged(under: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """Merge `over` into a copy of `under`, nested objects key by key."""
    result = dict(under)
    for key, value in over.items():
        below = result.get(key)
        both = isinstance(below, Mapping) and isinstance(value, Mapping)
        result[key] = merged(below, value) if both else value  # type: ignore[arg-type]
    return result
