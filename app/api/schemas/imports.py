"""An import from the hub as callers ask for it, and its source as they see it."""

from typing import Literal

from pydantic import computed_field

from app.api.requests.columns import Columns
from app.api.schemas.base import Answer
from app.core import licenses
from app.core.jobs.spec import Closed, ShortText


class HubSource(Closed):
    """A split of a dataset on the Hugging Face Hub. Only data files are read; scripts never run."""

    type: Literal["hub"]
    """Kind of source; there is only the hub so far."""
    repo: ShortText
    """Repository of the dataset: `owner/name`."""
    split: ShortText = "train"
    """Split to import."""
    revision: ShortText | None = None
    """Branch, tag or commit. Null: the main branch, at the commit it has now."""
    config: ShortText | None = None
    """Configuration (subset) of the dataset. Null: the default or only one; of several without a
    default, one must be named."""


class ImportSpec(Closed):
    """A dataset to import, and how to read it."""

    source: HubSource
    """Where to import from."""
    name: ShortText | None = None
    """Name for people. Null: that of the repository."""
    columns: Columns | None = None
    """Column mapping from the canonical column to the file's. Null: the columns have their
    canonical names."""


class SourceFile(Answer):
    """One file of an import."""

    path: str
    """Path of the file in the repository."""
    bytes: int
    """Size in bytes."""
    digest: str
    """Hash of the content, checked when the file was fetched: `sha256:` and the SHA-256, or `git:`
    and the SHA-1 of the git blob, in hexadecimal."""


class SourceOut(Answer):
    """Where a dataset was imported from: a split at one commit, down to the hash of each file."""

    type: Literal["hub"]
    """Kind of source: the Hugging Face Hub."""
    repo: str
    """Repository of the dataset: `owner/name`."""
    config: str | None
    """Configuration (subset) of the dataset; null where it has none."""
    split: str
    """Split that was imported."""
    revision: str
    """Commit that the import is pinned to: 40 hexadecimal digits."""
    license: str | None
    """Licence that the repository's dataset card states, for example `cc-by-nc-4.0`; several are
    separated by commas. Null where it states none."""
    files: list[SourceFile]
    """Files of the split, in the order in which their rows follow each other."""

    @computed_field
    def license_note(self) -> str | None:
        """What to know before using the data: that the licence excludes commercial use, or that
        none is stated. Null where there is nothing to note."""
        return licenses.note(self.license)
