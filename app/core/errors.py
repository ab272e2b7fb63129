"""The errors a caller can get. Services raise them, `app.api.errors` renders them.

Failure
+- Invalid       the request cannot be carried out as written      (422, or 400)
+- NotFound      no such resource in the caller's project          (404)
+- Conflict      not allowed in the resource's current state       (409)
+- TooLarge      over a published limit                            (413)
+- Unavailable   a dependency is down; try again                   (503)
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Problem:
    """One thing wrong with a request or a row."""

    pointer: str
    """JSON pointer (RFC 6901) to the value, "" for the whole document."""
    code: str
    message: str
    hint: str = ""

    def as_dict(self) -> dict[str, str]:
        return asdict(self)


class Failure(Exception):
    """A coded error with one sentence that says what to do."""

    code = "failure"
    status = 500

    def __init__(self, detail: str, *, errors: Sequence[Problem] = (), **extra: Any) -> None:
        super().__init__(detail)
        self.detail = detail
        self.errors = tuple(errors)
        self.extra = extra
        """Further members of the problem document, such as `allowed`."""


class Invalid(Failure):
    code = "invalid_request"
    status = 422


class NotFound(Failure):
    code = "not_found"
    status = 404


class Conflict(Failure):
    code = "conflict"
    status = 409


class TooLarge(Failure):
    code = "too_large"
    status = 413


class Unavailable(Failure):
    code = "unavailable"
    status = 503
    retry_after_seconds = 5


class InvalidCursor(Invalid):
    code = "invalid_cursor"
    status = 400

    def __init__(self, cursor: str) -> None:
        super().__init__(f"No item {cursor!r} in this list; start again without `after`.")
