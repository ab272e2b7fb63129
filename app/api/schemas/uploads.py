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
    """What is going to come, and what will prove that it came whole."""

    name: ShortText
    format: Format = "auto"
    num_bytes: int = Field(ge=1)
    sha256: str = Field(pattern=r"^[0-9a-fA-F]{64}$")
    columns: Columns | None = None


class PartOut(Answer):
    number: int
    num_bytes: int
    sha256: str


class UploadOut(Answer):
    id: str
    name: str
    format: str
    columns: dict[str, str] | None
    num_bytes: int
    """Promised."""
    sha256: str
    received_bytes: int
    part_bytes: int
    """How large to make each part; others are taken too, up to 512 MiB."""
    parts: list[PartOut]
    dataset: str | None
    """Once it was completed; the parts are gone then."""
    created_at: Moment
    expires_at: Moment
    """What is not complete by then is deleted."""

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
