"""Downloads: streamed from the store, with ETag, Range, If-Range and a safe file name."""

import re
from dataclasses import dataclass
from urllib.parse import quote

from fastapi import Request
from fastapi.responses import Response, StreamingResponse

from app.core.errors import Failure, NotFound
from app.core.storage import Storage

# Control characters, path separators, quotes, and bidirectional marks, which reverse text so that
# `exe.gpj` is displayed as `jpg.exe`.
_UNSAFE = re.compile(
    '[\\x00-\\x1f\\x7f-\\x9f/\\\\"\\u061c\\u200e\\u200f\\u2028-\\u202e\\u2066-\\u2069]'
)
_DEVICE = re.compile(r"(con|prn|aux|nul|com[0-9]|lpt[0-9])(\..*)?", re.IGNORECASE)
"""Names that Windows treats as devices, whatever the extension."""
_RANGE = re.compile(r"bytes=\s*(\d*)-(\d*)\s*", re.IGNORECASE)


@dataclass(frozen=True)
class Download:
    key: str
    num_bytes: int
    sha256: str
    filename: str
    media_type: str = "application/octet-stream"


class ContentMissing(NotFound):
    code = "content_missing"


class RangeNotSatisfiable(Failure):
    code = "range_not_satisfiable"
    status = 416


def respond(request: Request, storage: Storage, download: Download) -> Response:
    """Return the whole file, the one requested range, or 304.

    A request for several ranges gets the whole file.
    """
    etag = f'"{download.sha256}"'
    headers = {
        "ETag": etag,
        "Accept-Ranges": "bytes",
        "Cache-Control": "private, no-cache",
        "Content-Disposition": disposition(download.filename),
    }
    if _is_known(request.headers.get("if-none-match"), etag):
        return Response(status_code=304, headers=headers)
    _check_exists(storage, download)
    requested = _requested_range(request, etag, download.num_bytes)
    start, end = requested or (0, download.num_bytes)
    headers["Content-Length"] = str(end - start)
    if requested:
        headers["Content-Range"] = f"bytes {start}-{end - 1}/{download.num_bytes}"
    status = 206 if requested else 200
    if request.method == "HEAD":
        return Response(status_code=status, headers=headers, media_type=download.media_type)
    body = storage.read(download.key, start, end)
    return StreamingResponse(body, status, headers, download.media_type)


def disposition(filename: str) -> str:
    """Return a Content-Disposition (RFC 6266) with an ASCII fallback and the UTF-8 name."""
    base = _UNSAFE.sub("_", filename).strip(". ") or "download"
    if _DEVICE.fullmatch(base):
        base = f"_{base}"
    # Some browsers decode percent signs in the ASCII name.
    plain = re.sub("[?%]", "_", base.encode("ascii", "replace").decode())
    return f"attachment; filename=\"{plain}\"; filename*=UTF-8''{quote(base, safe='')}"


def _check_exists(storage: Storage, download: Download) -> None:
    """Raise before the first header is sent: a stream that breaks off cannot report an error."""
    try:
        size = storage.size(download.key)
    except FileNotFoundError:
        size = -1
    if size != download.num_bytes:
        raise ContentMissing("The content of this file is missing from the storage.")


def _is_known(if_none_match: str | None, etag: str) -> bool:
    if if_none_match is None:
        return False
    known = [tag.strip().removeprefix("W/") for tag in if_none_match.split(",")]
    return "*" in known or etag in known


def _requested_range(request: Request, etag: str, size: int) -> tuple[int, int] | None:
    """Return start and exclusive end; None for the whole file."""
    if_range = request.headers.get("if-range")
    if if_range is not None and if_range.strip() != etag:
        return None
    match = _RANGE.fullmatch(request.headers.get("range", ""))
    if match is None:
        return None
    # 20 digits exceed the size of any file; int() of thousands of digits is slow.
    first, last = (text[:20] for text in match.groups())
    if first:
        start, end = int(first), min(int(last) + 1, size) if last else size
        if last and int(last) < int(first):
            return None
    elif last:
        start, end = max(size - int(last), 0), size
    else:
        return None
    if start >= end:
        raise RangeNotSatisfiable(
            f"The file has {size} bytes.", headers={"Content-Range": f"bytes */{size}"}
        )
    return start, end
