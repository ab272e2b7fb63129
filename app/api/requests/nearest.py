"""Suggests the field that an unknown name was probably meant to be."""

from collections.abc import Iterator, Mapping, Sequence
from difflib import get_close_matches
from typing import Any, get_args

from pydantic import BaseModel

CUTOFF = 0.75
"""Typos score above 0.8; different words that share letters (`status`, `tags`) score up to 0.6."""
_ALIASES: Mapping[str, str] = {
    "rank": "lora.r",
    "alpha": "lora.lora_alpha",
    "dropout": "lora.lora_dropout",
    "epochs": "training.num_train_epochs",
    "batch_size": "training.per_device_train_batch_size",
    "lr": "training.learning_rate",
    "max_seq_length": "training.max_length",
    "base_model": "model",
    "training_file": "dataset",
}
"""Names that other tools use for a field of a job spec, too different to be found as typos."""


def hint(models: Sequence[type[BaseModel]], path: Sequence[str | int]) -> str:
    """Suggest the nearest field; where none is near, name the place that lists all of them."""
    for model in models:
        if found := _nearest(model, path):
            return f"Did you mean `{found}`?"
    owner = f" of {models[0].__name__}" if models else ""
    return f"GET /openapi.json lists every field{owner}."


def inner(model: type[BaseModel], field: str) -> type[BaseModel] | None:
    """Return the model that a field contains, if any."""
    info = model.model_fields.get(field)
    return next(_models_in(info.annotation), None) if info else None


def _nearest(model: type[BaseModel], path: Sequence[str | int]) -> str | None:
    """Return a field's dotted name: an alias, else near in the same object, else near anywhere."""
    unknown, places = str(path[-1]), list(_places(model))
    alias = _ALIASES.get(unknown.lower())
    if alias in places:
        return alias
    level = "".join(f"{part}." for part in path[:-1])
    here = [place for place in places if place.rpartition(".")[0] == level[:-1]]
    return _closest(unknown, here) or _closest(unknown, places)


def _closest(unknown: str, places: Sequence[str]) -> str | None:
    by_name = {place.rpartition(".")[2]: place for place in reversed(places)}
    near = get_close_matches(unknown[:100], by_name, 1, CUTOFF)
    return by_name[near[0]] if near else None


def _places(model: type[BaseModel], at: str = "") -> Iterator[str]:
    """Yield every field by its dotted name, outer ones first."""
    yield from (f"{at}{name}" for name in model.model_fields)
    for name in model.model_fields:
        held = inner(model, name)
        if held is not None:
            yield from _places(held, f"{at}{name}.")


def _models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for argument in get_args(annotation):
        yield from _models_in(argument)
