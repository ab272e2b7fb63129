"""Parses the upload form as a stream: the bytes of the file go from the socket to the storage."""

import re
from collections.abc import AsyncIterator
from pathlib import PureWindowsPath
from typing import Any

from anyio import to_thread
from fastapi import Request
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.concurrency import run_in_threadpool

from app.api.deps import Adapters
from app.api.requests.columns import COLUMNS_SCHEMA, parse_columns
from app.api.requests.incoming import pulled, receive
from app.core.errors import Failure, Invalid, Problem, TooLarge
from app.core.ids import new_id
from app.core.storage import CHUNK_BYTES
from app.services import uploads
from app.services.uploads import Promise, Upload

FORMATS = ("auto", "json", "jsonl", "csv", "parquet")
FIELDS = ("file", "name", "format", "columns", "num_bytes", "sha256")
MAX_PARTS = 8
MAX_FIELD_BYTES = 1000
UPLOAD_BODY = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["file"],
                    "additionalProperties": False,
                    "properties": {
                        "file": {
                            "type": "string",
                            "format": "binary",
                            "description": "Data: JSON, JSON Lines, CSV or Parquet.",
                        },
                        "name": {
                            "type": "string",
                            "maxLength": 200,
                            "description": "Display name. Default: the name of the file.",
                        },
                        "format": {
                            "type": "string",
                            "enum": list(FORMATS),
                            "default": "auto",
                            "description": "Format of the file; `auto` detects it.",
                        },
                        "num_bytes": {
                            "type": "integer",
                            "minimum": 0,
                            "description": "Size of the file in bytes. If it differs, the upload "
                            "is rejected.",
                        },
                        "sha256": {
                            "type": "string",
                            "pattern": "^[0-9a-fA-F]{64}$",
                            "description": "SHA-256 of the file in hexadecimal. If it differs, the "
                            "upload is rejected.",
                        },
                        "columns": COLUMNS_SCHEMA,
                    },
                }
            }
        },
    }
}


class MalformedMultipart(Invalid):
    code = "malformed_multipart"
    status = 400


class NotMultipart(Failure):
    code = "unsupported_media_type"
    status = 415


class Form:
    """A form with one file and a few short fields, in any order."""

    def __init__(self, request: Request, max_file_bytes: int) -> None:
        self._stream: AsyncIterator[bytes] = request.stream()
        self._parser = _parser(request, self)
        self._max_file_bytes = max_file_bytes
        self._header_name, self._header_value = b"", b""
        self._disposition = b""
        self._part = ""
        self._parts = 0
        self._buffer = bytearray()
        self._file_bytes = 0
        self._ended = self._is_closed = False
        self.filename: str | None = None
        """None until the `file` part has been reached."""
        self.fields: dict[str, bytearray] = {}

    async def find_file(self) -> bool:
        """Read up to the file part. Returns False when the form ends without one."""
        while self.filename is None and not self._ended:
            await self._feed()
        return self.filename is not None

    async def next_chunk(self) -> bytes:
        """Return about one MiB of the file, or b"" once the whole form has been read."""
        while len(self._buffer) < CHUNK_BYTES and not self._ended:
            await self._feed()
        chunk = bytes(self._buffer)
        self._buffer.clear()
        return chunk

    async def _feed(self) -> None:
        chunk = await receive(self._stream)
        try:
            if chunk:
                self._parser.write(chunk)
            else:
                self._finish()
        except FormParserError as error:
            detail = f"The form is not valid multipart/form-data: {error}"
            raise MalformedMultipart(detail) from None

    def _finish(self) -> None:
        """End the form. The parser accepts a truncated form as complete, so check for its end."""
        self._parser.finalize()
        if not self._is_closed:
            raise MalformedMultipart("The form was cut off: its final boundary is missing.")
        self._ended = True

    def on_end(self) -> None:
        self._is_closed = True

    def on_part_begin(self) -> None:
        self._disposition = b""
        self._parts += 1
        if self._parts > MAX_PARTS:
            raise MalformedMultipart(f"The form has more than {MAX_PARTS} parts.")

    def on_header_field(self, data: bytes, start: int, end: int) -> None:
        self._header_name += data[start:end]

    def on_header_value(self, data: bytes, start: int, end: int) -> None:
        self._header_value += data[start:end]

    def on_header_end(self) -> None:
        if self._header_name.lower() == b"content-disposition":
            self._disposition = self._header_value
        self._header_name, self._header_value = b"", b""

    def on_headers_finished(self) -> None:
        _, options = parse_options_header(self._disposition)
        self._part = options.get(b"name", b"").decode("utf-8", "replace")
        if self._part not in FIELDS:
            message = f"Unknown part; the form accepts only {', '.join(FIELDS)}."
            raise _wrong(self._part, "unknown_field", message)
        if self._part in self.fields or (self._part == "file" and self.filename is not None):
            raise _wrong(self._part, "twice", "This field occurs twice.")
        if self._part == "file":
            self.filename = options.get(b"filename", b"").decode("utf-8", "replace")
        else:
            self.fields[self._part] = bytearray()

    def on_part_data(self, data: bytes, start: int, end: int) -> None:
        if self._part == "file":
            self._file_bytes += end - start
            if self._file_bytes > self._max_file_bytes:
                limit = self._max_file_bytes
                detail = f"The file exceeds the limit of {limit:,} bytes."
                raise TooLarge(detail, limit=limit, headers={"Connection": "close"})
            self._buffer += data[start:end]
            return
        field = self.fields[self._part]
        field += data[start:end]
        if len(field) > MAX_FIELD_BYTES:
            raise _wrong(self._part, "wrong_length", "This field is too long.")


async def receive_upload(request: Request, adapters: Adapters) -> Upload:
    """Store the file of an upload form. Nothing is left behind if that fails."""
    form, storage = Form(request, adapters.settings.max_upload_bytes), adapters.storage
    if not await form.find_file():
        raise _wrong("file", "missing", "The form needs a part `file` that contains the data.")
    dataset_id = new_id("ds")
    # A separate limiter, so that slow uploads do not occupy the threads of other requests.
    meter = await to_thread.run_sync(
        uploads.store, storage, dataset_id, pulled(form.next_chunk), limiter=adapters.uploads
    )
    try:
        name, kind = _name(form), _format(form)
        meter.verify(_promise(form))
        columns = _columns(form)
    except Invalid:
        await run_in_threadpool(uploads.discard, storage, dataset_id)
        raise
    return Upload(dataset_id, name, kind, meter.num_bytes, meter.sha256, columns)


def _parser(request: Request, form: Form) -> MultipartParser:
    kind, options = parse_options_header(request.headers.get("content-type"))
    curl = "With curl: -F file=@data.jsonl"
    if kind != b"multipart/form-data":
        shown = request.headers.get("content-type", "no content type")[:100]
        raise NotMultipart(
            f"Send the file as multipart/form-data with a part `file`, not {shown}. {curl}"
        )
    boundary = options.get(b"boundary")
    if not boundary:
        raise NotMultipart(
            "The Content-Type multipart/form-data has no boundary. Do not set this header "
            f"yourself; let your client generate it with the form. {curl}"
        )
    names = ("part_begin", "part_data", "header_field", "header_value", "header_end", "end")
    callbacks: Any = {f"on_{name}": getattr(form, f"on_{name}") for name in names}
    callbacks["on_headers_finished"] = form.on_headers_finished
    return MultipartParser(boundary, callbacks)


def _name(form: Form) -> str:
    """Return the field `name`, or else the file's name. Only a label, never used as a path."""
    given = form.fields.get("name")
    if given is None:
        base = PureWindowsPath(form.filename or "").name
        return re.sub(r"[\x00-\x1f\x7f]", "", base)[:200] or "dataset"
    name = _text("name", given)
    if not 1 <= len(name) <= 200 or "\0" in name:
        raise _wrong("name", "wrong_length", "A name must have 1 to 200 characters.")
    return name


def _format(form: Form) -> str:
    kind = _text("format", form.fields.get("format", bytearray(b"auto")))
    if kind not in FORMATS:
        raise _wrong("format", "not_allowed", f"This must be one of {', '.join(FORMATS)}.")
    return kind


def _promise(form: Form) -> Promise:
    num_bytes, sha256 = form.fields.get("num_bytes"), form.fields.get("sha256")
    if num_bytes is not None and not re.fullmatch(rb"[0-9]{1,18}", num_bytes):
        raise _wrong("num_bytes", "wrong_format", "This must be a whole number of bytes.")
    if sha256 is not None and not re.fullmatch(rb"[0-9a-fA-F]{64}", sha256):
        raise _wrong("sha256", "wrong_format", "A SHA-256 must have 64 hexadecimal digits.")
    return Promise(
        None if num_bytes is None else int(num_bytes),
        None if sha256 is None else sha256.decode().lower(),
    )


def _columns(form: Form) -> dict[str, str] | None:
    given = form.fields.get("columns")
    return None if given is None else parse_columns(_text("columns", given))


def _text(field: str, value: bytearray) -> str:
    try:
        return value.decode("utf-8")
    except UnicodeDecodeError:
        raise _wrong(field, "wrong_format", "This field is not valid UTF-8.") from None


def _wrong(field: str, code: str, message: str) -> Invalid:
    hint = f"Send the part `file` and optionally {', '.join(FIELDS[1:])}, each at most once."
    at = Problem(f"/{field}"[:200], code, message, hint)
    return Invalid("The upload form is invalid; see `errors`.", errors=[at])
