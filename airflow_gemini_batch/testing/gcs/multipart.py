"""The multipart/related form of an upload: a part with the metadata as JSON, a part with the content.

Only its head is parsed as it arrives. The content streams to disk with the closing delimiter behind it, which
is then cut off the file, so no content can be mistaken for a delimiter or has to be held in memory.
"""

from __future__ import annotations

import os
from email.message import Message
from typing import TYPE_CHECKING

from airflow_gemini_batch.testing.gcs.errors import StorageError
from airflow_gemini_batch.testing.gcs.resources import json_object

if TYPE_CHECKING:
    from pathlib import Path

    from aiohttp import StreamReader

    from airflow_gemini_batch.testing.gcs.store import Fields

_TAIL = 256


def boundary_of(content_type: str) -> bytes:
    """Read the boundary from a Content-Type header.

    :raises StorageError: 400 when it has none.
    """
    message = Message()
    message["Content-Type"] = content_type
    boundary = message.get_boundary()
    if boundary is None:
        raise StorageError.invalid(
            f"A multipart upload needs a boundary in its Content-Type: {content_type!r}"
        )
    return boundary.encode()


async def multipart_head(stream: StreamReader, boundary: bytes) -> tuple[Fields, str | None, bytes]:
    """Read up to the content: the metadata, the content's type, and the line ending in use.

    Clients differ in the line ending, and the one before the closing delimiter is not part of the content.
    """
    delimiter = b"--" + boundary
    line = await _line(stream)
    while line.strip() != delimiter:
        line = await _line(stream)
    line_end = b"\r\n" if line.endswith(b"\r\n") else b"\n"
    while (await _line(stream)).strip():
        pass
    body = bytearray()
    while (line := await _line(stream)).strip() != delimiter:
        body += line
    content_type = None
    while line := (await _line(stream)).strip():
        name, _, value = line.decode().partition(":")
        if name.lower() == "content-type":
            content_type = value.strip()
    return json_object(bytes(body)), content_type, line_end


async def _line(stream: StreamReader) -> bytes:
    try:
        line = await stream.readline()
    except ValueError:
        line = b""
    if not line:
        raise StorageError.invalid("A multipart upload needs a part with JSON and a part with the content")
    return line


def cut_closing(path: Path, boundary: bytes, line_end: bytes) -> None:
    """Take the closing delimiter off the end of a file that holds all that followed the head.

    :raises StorageError: 400 when it is not there, as then part of the content may be missing too.
    """
    closing = line_end + b"--" + boundary + b"--"
    with path.open("r+b") as file:
        size = file.seek(0, os.SEEK_END)
        start = file.seek(max(size - len(closing) - _TAIL, 0))
        found = file.read().rfind(closing)
        if found < 0:
            raise StorageError.invalid("The multipart upload has no closing boundary, its content is cut off")
        file.truncate(start + found)
