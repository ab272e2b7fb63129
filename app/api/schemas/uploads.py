"""Uploads in parts as callers announce and see them."""

from typing import Annotated

from pydantic import AfterValidator, Field, WithJsonSchema
from pydantic_core import PydanticCustomError

from app.api.requests.columns import Columns
from app.api.requests.multipart import FORMATS
from app.api.schemas.base import Answer, Moment
from app.core.db.models import PartialUpload
from app.core.jobs.spec import Closed, ShortText
from app.services import parts
from app.services.parts import Part


def _known_format(value: str) -> str:
    if value not in FORMATS:
        raise PydanticCustomError("enum", "One of those listed")
    return value


Format = Annotated[
    str,
    AfterValidator(_known_format),
    WithJsonSchema({"type": "string", "enum": list(FORMATS)}),
]


class UploadSpec(Closed):
    """A file that will be uploaded in parts, announced with the size and hash to check it by."""

    name: ShortText
    """Name of the dataset for people; names need not be unique."""
    format: Format = "auto"
    """Format of the file; `auto` detects it."""
    num_bytes: int = Field(ge=1)
    """Size of the whole file in bytes; at most what the server accepts (5 GiB unless it is set
    otherwise)."""
    sha256: str = Field(pattern=r"^[0-9a-fA-F]{64}$")
    """SHA-256 of the whole file, in hexadecimal. An upload with another hash never becomes a
    dataset."""
    columns: Columns | None = None
    """Column mapping from the canonical column to the file's. Null: the columns have their
    canonical names."""


class PartOut(Answer):
    """A part of an upload that has arrived whole."""

    number: int
    """Number of the part, from 1: parts are put together in this order."""
    num_bytes: int
    """Size of the part in bytes."""
    sha256: str
    """SHA-256 of the part, in hexadecimal."""


class UploadOut(Answer):
    """An upload in parts: what was announced, and what has arrived."""

    id: str
    """Identifier of the upload: `upl_` and 32 hexadecimal digits."""
    name: str
    """Name that the dataset will have."""
    format: str
    """Format of the file as announced; `auto` if it is to be detected."""
    columns: dict[str, str] | None
    """Column mapping as announced, from the canonical column to the file's; null where there is
    none."""
    num_bytes: int
    """Size of the whole file in bytes, as announced."""
    sha256: str
    """SHA-256 of the whole file in hexadecimal, as announced."""
    received_bytes: int
    """Sum of the sizes of the parts that have arrived, in bytes; 0 again once the upload is
    complete."""
    part_bytes: int
    """Suggested size of a part in bytes. Parts of other sizes are accepted, up to 512 MiB."""
    parts: list[PartOut]
    """Parts that have arrived, by number; empty once the upload is complete."""
    dataset: str | None
    """Id of the dataset that the upload has become; null until it is complete."""
    created_at: Moment
    """When the upload was announced, in UTC."""
    expires_at: Moment
    """When the upload is forgotten, in UTC: 24 hours after it was announced. Parts that were not
    completed by then are deleted; a dataset that was made stays."""

    @classmethod
    def of(cls, upload: PartialUpload, found: list[Part]) -> "UploadOut":
        return cls(
            id=upload.id,
            name=upload.name,
            format=upload.format,
            columns=upload.columns,
            num_bytes=upload.num_bytes,
            sha256=upload.sha256,
            received_bytes=sum(part.num_bytes for part in found),
            part_bytes=parts.suggested_bytes(upload.num_bytes),
            parts=[PartOut.model_validate(part) for part in found],
            dataset=upload.dataset_id,
            created_at=upload.created_at,
            expires_at=upload.expires_at,
        )
