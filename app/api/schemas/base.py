"""What all answers share."""

from datetime import datetime
from typing import Annotated, Any, Generic, TypeVar

from pydantic import BaseModel, ConfigDict, PlainSerializer, WithJsonSchema

from app.core.clock import rfc3339

T = TypeVar("T")

Moment = Annotated[
    datetime,
    PlainSerializer(rfc3339, return_type=str, when_used="always"),
    WithJsonSchema({"type": "string", "format": "date-time"}),
]
"""RFC 3339, UTC, `Z`."""


class Answer(BaseModel):
    """Read from rows; fields a row has beyond these are never shown."""

    model_config = ConfigDict(from_attributes=True)


class ListOf(Answer, Generic[T]):
    data: list[T]
    has_more: bool = False


class FieldProblem(Answer):
    pointer: str
    """JSON pointer into the body; `?name` for a query parameter."""
    code: str
    message: str
    hint: str


class Problem(BaseModel):
    """RFC 9457. Members beyond these depend on `code`: `current` and `allowed` on a conflict."""

    model_config = ConfigDict(extra="allow")

    type: str
    title: str
    status: int
    detail: str
    instance: str
    code: str
    errors: list[FieldProblem]


Anything = dict[str, Any]
