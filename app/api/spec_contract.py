"""Completes the schemas of the job spec in the contract: null and empty defaults, and units.

FastAPI drops a default that is null or made by a factory, and JSON Schema knows no units: `x-unit`.
"""

from typing import Any

from pydantic import BaseModel

from app.core.jobs.spec import JobSpec
from app.core.jobs.units import unit_of

Node = dict[str, Any]


def complete(schemas: Node) -> None:
    for model in models_of(JobSpec):
        for name, field in model.model_fields.items():
            node = schemas[model.__name__]["properties"][name]
            if not field.is_required() and "default" not in node:
                node["default"] = field.get_default(call_default_factory=True)
            if is_numeric(node) and (unit := unit_of(name)):
                node["x-unit"] = unit


def models_of(model: type[BaseModel]) -> list[type[BaseModel]]:
    """Return a model and the models of its fields, each once, in the order of the fields."""
    found = [model]
    for field in model.model_fields.values():
        for inner in _classes(field.annotation):
            found += [each for each in models_of(inner) if each not in found]
    return found


def is_numeric(node: Node) -> bool:
    kinds = {node.get("type"), *(branch.get("type") for branch in node.get("anyOf", ()))}
    return bool(kinds & {"integer", "number"})


def _classes(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [each for part in getattr(annotation, "__args__", ()) for each in _classes(part)]
