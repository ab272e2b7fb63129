"""An import from the hub as callers ask for it, and its source as they see it."""

from typing import Literal

from pydantic import computed_field

from app.api.requests.columns import Columns
from app.api.schemas.base import Answer
from app.core import licenses
from app.core.jobs.spec import Closed, ShortText


class HubSource(Closed):
    """Data files of a public repository; its scripts are never run."""

    type: Literal["hub"]
    repo: ShortText
    """`owner/name`."""
    split: ShortText = "train"
    revision: ShortText | None = None
    """A branch, a tag or a commit; null: the main branch."""
    config: ShortText | None = None


class ImportSpec(Closed):
    source: HubSource
    name: ShortText | None = None
    """Null: the repository's."""
    columns: Columns | None = None


class SourceFile(Answer):
    path: str
    """In the repository."""
    bytes: int
    digest: str
    """`sha256:` of its bytes, or `git:`, which is SHA-1 of git's blob; checked when it came."""


class SourceOut(Answer):
    """Where an import comes from, down to its bytes."""

    type: Literal["hub"]
    repo: str
    config: str | None
    split: str
    revision: str
    """The commit it is pinned to."""
    license: str | None
    """As the repository's card states it."""
    files: list[SourceFile]

    @computed_field
    def license_note(self) -> str | None:
        """Null where there is nothing to say about the licence."""
        return licenses.note(self.license)
