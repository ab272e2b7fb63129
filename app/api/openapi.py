"""Completes the contract: the problem document is the default response of every operation."""

from typing import Any

from fastapi import FastAPI

from app.api import spec_contract
from app.api.errors import MEDIA_TYPE
from app.api.schemas.base import Problem

_NAME = "#/components/schemas/Problem"
_RESPONSE = {
    "description": "A problem document (RFC 9457); `code` identifies the error.",
    "content": {MEDIA_TYPE: {"schema": {"$ref": _NAME}}},
}


def install(app: FastAPI) -> None:
    generate = app.openapi

    def with_problems() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = _add_problems(generate())
        return app.openapi_schema

    app.openapi = with_problems  # type: ignore[method-assign]


def _add_problems(schema: dict[str, Any]) -> dict[str, Any]:
    for path in schema["paths"].values():
        for operation in path.values():
            operation["responses"].pop("422", None)
            operation["responses"]["default"] = _RESPONSE
    known = schema.setdefault("components", {}).setdefault("schemas", {})
    known.pop("HTTPValidationError", None)
    known.pop("ValidationError", None)
    problem = Problem.model_json_schema(ref_template="#/components/schemas/{model}")
    known.update(problem.pop("$defs"))
    known["Problem"] = problem
    spec_contract.complete(known)
    return schema
