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
    """Read from rows; fields a row has beyond these are never shown.

    The text under a field is its description in the contract: write it for someone who has never
    seen the code.
    """

    model_config = ConfigDict(from_attributes=True, use_attribute_docstrings=True)


class ListOf(Answer, Generic[T]):
    # A parametrized class has no docstring of its own.
    model_config = ConfigDict(json_schema_extra={"description": "A list, or one page of it."})

    data: list[T]
    """Entries of the list, in the order that the operation documents."""
    has_more: bool = False
    """Whether `limit` left entries out. Where the operation takes `after`, pass the `id` of the
    last entry (of an event, its `seq`) to get the next page."""


class FieldProblem(Answer):
    """One thing that is wrong with a request, a spec, a model or a template, and what to do."""

    pointer: str
    """JSON pointer (RFC 6901) to the value in the request body or, for a warning of a dry run, in
    the job spec. `?name` is a query parameter, `path:name` a path parameter, `header:name` a
    header; the empty string is the whole document."""
    code: str
    """Stable identifier in snake_case, for programs to act on. The documentation lists them all
    (errors.md)."""
    message: str
    """What is wrong, in one sentence for a person. The wording may change."""
    hint: str
    """What to do about it, for a person; the empty string where `message` says it all."""


class Problem(BaseModel):
    """An error, as a problem document (RFC 9457, `application/problem+json`).

    Some codes add members of their own: a conflict with a resource's state has `current`, that
    state, and `allowed`, the actions that it permits.
    """

    model_config = ConfigDict(extra="allow", use_attribute_docstrings=True)

    type: str
    """URN of the kind of problem: `urn:tunesmith:problem:` and the `code`."""
    title: str
    """Standard phrase of the HTTP status, for example `Not Found`."""
    status: int
    """HTTP status code of the response."""
    detail: str
    """What went wrong and what to do, in a sentence for a person. The wording may change: act on
    `code`."""
    instance: str
    """Path of the request that failed."""
    code: str
    """Stable identifier in snake_case, for programs to act on. The documentation lists them all
    (errors.md)."""
    errors: list[FieldProblem]
    """Every single thing that is wrong, where the code is about more than one value; else empty."""


Anything = dict[str, Any]
