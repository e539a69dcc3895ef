"""Send an object's content: whole or a range, straight from disk."""

from __future__ import annotations

import asyncio
import re
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import TYPE_CHECKING

from aiohttp import web

from airflow_gemini_batch.testing.gcs.conditions import Preconditions, integer
from airflow_gemini_batch.testing.gcs.errors import StorageError
from airflow_gemini_batch.testing.gcs.resources import etag
from airflow_gemini_batch.testing.gcs.store import Source

if TYPE_CHECKING:
    from airflow_gemini_batch.testing.gcs.records import ObjectKey, StoredObject
    from airflow_gemini_batch.testing.gcs.store import ObjectStore

_BLOCK = 1 << 18
_RANGE = re.compile(r"bytes=(\d*)-(\d*)")
_FIELD_HEADERS = {
    "cacheControl": "Cache-Control",
    "contentDisposition": "Content-Disposition",
    "contentEncoding": "Content-Encoding",
    "contentLanguage": "Content-Language",
    "contentType": "Content-Type",
}


async def download(store: ObjectStore, key: ObjectKey, request: web.Request) -> web.StreamResponse:
    """Answer a GET or HEAD for content.

    The content goes out as it was stored: a gzip-encoded object is never unpacked for a client that does not
    accept gzip.

    :raises StorageError: 404, 304, 412, or 416 for a range that starts behind the end.
    """
    conditions = Preconditions.from_query(request.query)
    source = Source(key, integer(request.query, "generation"), conditions)
    stored, file = await asyncio.to_thread(store.open, source)
    with file:
        size = stored.content.size
        span = byte_range(request.headers.get("Range"), size)
        start, end = span or (0, size)
        response = web.StreamResponse(status=206 if span else 200, headers=content_headers(stored))
        response.content_length = end - start
        if span:
            response.headers["Content-Range"] = f"bytes {start}-{end - 1}/{size}"
        await response.prepare(request)
        if request.method != "HEAD":
            file.seek(start)
            while start < end:
                block = await asyncio.to_thread(file.read, min(_BLOCK, end - start))
                await response.write(block)
                start += len(block)
        await response.write_eof()
        return response


def byte_range(header: str | None, size: int) -> tuple[int, int] | None:
    """Read a Range header as (first byte, one behind the last), cut to ``size``.

    :returns: None for the whole content: without the header, and, as HTTP has it, when it makes no sense or
        asks for several ranges.
    :raises StorageError: 416 when no byte of the content is in the range.
    """
    match = _RANGE.fullmatch(header.strip()) if header else None
    if match is None or match.groups() == ("", ""):
        return None
    first, last = match.groups()
    if not first:
        start, end = max(size - int(last), 0), size
    else:
        start, end = int(first), min(int(last) + 1, size) if last else size
        if last and int(last) < start:
            return None
    if start >= size:
        headers = {"Content-Range": f"bytes */{size}"}
        message = f"Request range not satisfiable: {header!r} of {size} bytes"
        raise StorageError(416, "requestedRangeNotSatisfiable", message, headers=headers)
    return start, end


def content_headers(stored: StoredObject) -> dict[str, str]:
    """Response headers that describe the stored content; the checksums are of the whole, also for a range."""
    content, fields = stored.content, stored.fields
    md5 = f",md5={content.md5}" if content.md5 else ""
    return {
        "Accept-Ranges": "bytes",
        "ETag": f'"{etag(stored.generation, stored.metageneration)}"',
        "Last-Modified": format_datetime(datetime.fromisoformat(stored.updated).astimezone(UTC), usegmt=True),
        "X-Goog-Generation": str(stored.generation),
        "X-Goog-Hash": f"crc32c={content.crc32c}{md5}",
        "X-Goog-Metageneration": str(stored.metageneration),
        "X-Goog-Storage-Class": str(fields.get("storageClass", "STANDARD")),
        "X-Goog-Stored-Content-Encoding": str(fields.get("contentEncoding", "identity")),
        "X-Goog-Stored-Content-Length": str(content.size),
        **{header: str(fields[field]) for field, header in _FIELD_HEADERS.items() if field in fields},
    }
