"""Ids on the command line: whole, or any beginning that only one job or dataset has."""

import re
from typing import Any

from app.cli.client import Server
from app.core.errors import Invalid, Problem

_WHOLE = re.compile(r"(job|ds)_[0-9a-f]{32}")
_MAX_PAGES = 10
_SHOWN = 10


class AmbiguousId(Invalid):
    code = "ambiguous_id"


class UnknownId(Invalid):
    code = "unknown_id"


def job_id(server: Server, given: str) -> str:
    """Return the id of the one job whose id begins like this. A whole id is returned unchecked."""
    if _WHOLE.fullmatch(given):
        return given
    page = server.get("/jobs", q=given, limit=100)
    return _only("job", given, [job for job in page["data"] if job["id"].startswith(given)])


def dataset_id(server: Server, given: str) -> str:
    """Return the id of the one dataset whose id begins like this."""
    if _WHOLE.fullmatch(given):
        return given
    found: list[Any] = []
    after: dict[str, str] = {}
    for _ in range(_MAX_PAGES):
        page = server.get("/datasets", limit=100, **after)
        found += [each for each in page["data"] if each["id"].startswith(given)]
        if not page["has_more"]:
            break
        after = {"after": page["data"][-1]["id"]}
    return _only("dataset", given, found)


def _only(what: str, given: str, found: list[Any]) -> str:
    for each in found:
        if each["id"] == given:
            return given
    if not found:
        raise UnknownId(
            f"No {what} has an id that begins with {given!r}. `tunesmith {what}s` lists them."
        )
    if len(found) > 1:
        raise AmbiguousId(
            f"{len(found)} {what}s have an id that begins with {given!r}; give more of it:",
            errors=[_candidate(each) for each in found[:_SHOWN]],
        )
    return str(found[0]["id"])


def _candidate(each: Any) -> Problem:
    return Problem(each["id"], "candidate", f"{each['status']}  {each.get('name') or ''}".rstrip())
