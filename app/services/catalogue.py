"""Models, recipes and templates; models with the limits and defaults of a spec for them."""

from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import BaseModel

from app.core.jobs import recipes
from app.core.jobs.spec import LoraSpec, TrainingSpec
from app.core.models import ModelInfo, list_models
from app.core.settings import Settings
from app.core.templates import registry
from app.core.templates.template import Template

_BOUNDS = ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "enum")
_SECTIONS: Mapping[str, type[BaseModel]] = {"lora": LoraSpec, "training": TrainingSpec}


def models(settings: Settings) -> list[dict[str, Any]]:
    return [_render_model(model) for model in list_models(settings)]


def bundles() -> list[dict[str, Any]]:
    return [
        {
            "name": recipe.name,
            "description": recipe.description,
            "spec": recipes.spelled_out(recipe),
            "warnings": list(recipe.warnings),
        }
        for recipe in recipes.RECIPES.values()
    ]


def templates(settings: Settings) -> list[Template]:
    return registry.list_templates(settings.templates_dir)


def _render_model(model: ModelInfo) -> dict[str, Any]:
    limits = {
        f"/{section}/{name}": bounds
        for section, schema in _SECTIONS.items()
        for name, bounds in _limits(schema)
    }
    defaults = {section: schema().model_dump(mode="json") for section, schema in _SECTIONS.items()}
    if model.max_length is not None:
        limits["/training/max_length"]["maximum"] = model.max_length
        training = defaults["training"]
        training["max_length"] = min(training["max_length"], model.max_length)
    return {
        "id": model.id,
        "revision": model.revision,
        "hub_id": model.hub_id,
        "hub_revision": model.hub_revision,
        "architecture": model.architecture,
        "num_parameters": model.num_parameters,
        "max_length": model.max_length,
        "vocab_size": model.vocab_size,
        "has_chat_template": model.has_chat_template,
        "is_trainable": not model.problems,
        "problems": [problem.as_dict() for problem in model.problems],
        "limits": limits,
        "defaults": defaults,
    }


def _limits(schema: type[BaseModel]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the bounds of each field, including fields that also allow null."""
    for name, field in schema.model_json_schema()["properties"].items():
        forms = [field, *field.get("anyOf", ())]
        yield name, {key: form[key] for form in forms for key in _BOUNDS if key in form}
