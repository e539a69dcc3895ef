"""Receive an object's content: in one request, as multipart/related, or in resumable chunks.

Content goes to a staged file block by block and becomes an object only when all of it is there, so neither
its size nor a dropped connection does any harm. Resumable sessions live as long as the server: after a restart
they answer 404, and a client starts its upload again.
"""

from __future__ import annotations

import asyncio
import os
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from uuid import uuid4

from aiohttp import web

from airflow_gemini_batch.testing.gate import base_url
from airflow_gemini_batch.testing.gcs.conditions import Preconditions
from airflow_gemini_batch.testing.gcs.errors import StorageError
from airflow_gemini_batch.testing.gcs.multipart import boundary_of, cut_closing, multipart_head
from airflow_gemini_batch.testing.gcs.records import ObjectKey, StoredObject, measure
from airflow_gemini_batch.testing.gcs.resources import json_object, object_fields, object_resource

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from aiohttp import StreamReader

    from airflow_gemini_batch.testing.gcs.store import Fields, ObjectStore

_BLOCK = 1 << 20
_CHUNK_UNIT = 1 << 18
_CONTENT_RANGE = re.compile(r"bytes (?:\*|(\d+)-(\d+))/(?:\*|(\d+))")


@dataclass(frozen=True)
class Announced:
    """What a client says of an object before its content.

    :param checksums: base64 checksums by ``crc32c`` and ``md5``, those that the client sent.
    """

    key: ObjectKey
    fields: Fields
    conditions: Preconditions
    checksums: dict[str, str]


@dataclass
class Session:
    """A resumable upload under way; ``finished`` is kept to answer a client that missed the answer."""

    announced: Announced
    staged: Path
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    finished: StoredObject | None = None


class Uploads:
    """The upload half of the API, in front of a store."""

    def __init__(self, store: ObjectStore) -> None:
        self._store = store
        self._sessions: dict[str, Session] = {}

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Answer POST, PUT or DELETE on ``/upload/storage/v1/b/{bucket}/o``.

        :raises StorageError: 400 for what cannot be understood or fails its checksum, 404, 412.
        """
        upload_id = request.query.get("upload_id")
        if upload_id is not None:
            return await self._continue(request, upload_id)
        kind = request.query.get("uploadType", "media")
        if kind == "media":
            return await self._media(request)
        if kind == "multipart":
            return await self._multipart(request)
        if kind == "resumable":
            return await self._begin(request)
        raise StorageError.invalid(f"Unknown uploadType {kind!r}: use media, multipart or resumable")

    async def _media(self, request: web.Request) -> web.Response:
        announced = _announced(request, {}, request.headers.get("Content-Type"))
        await asyncio.to_thread(self._store.admit, announced.key, announced.conditions)
        staged = self._store.staged_file()
        try:
            await _append(request.content, staged)
            return _shown(await self._finish(announced, staged), request)
        finally:
            staged.unlink(missing_ok=True)

    async def _multipart(self, request: web.Request) -> web.Response:
        boundary = boundary_of(request.headers.get("Content-Type", ""))
        metadata, content_type, line_end = await multipart_head(request.content, boundary)
        announced = _announced(request, metadata, content_type)
        await asyncio.to_thread(self._store.admit, announced.key, announced.conditions)
        staged = self._store.staged_file()
        try:
            await _append(request.content, staged)
            await asyncio.to_thread(cut_closing, staged, boundary, line_end)
            return _shown(await self._finish(announced, staged), request)
        finally:
            staged.unlink(missing_ok=True)

    async def _begin(self, request: web.Request) -> web.Response:
        body = await request.read()
        announced = _announced(request, json_object(body), request.headers.get("X-Upload-Content-Type"))
        await asyncio.to_thread(self._store.admit, announced.key, announced.conditions)
        upload_id = uuid4().hex
        session = Session(announced, self._store.staged_file())
        self._sessions[upload_id] = session
        location = request.url.with_query(uploadType="resumable", upload_id=upload_id)
        return web.Response(headers={"Location": str(location), "X-GUploader-UploadID": upload_id})

    async def _continue(self, request: web.Request, upload_id: str) -> web.Response:
        session = self._sessions.get(upload_id)
        if session is None:
            message = f"No such upload session: {upload_id}. Start the upload again"
            raise StorageError(404, "notFound", message)
        async with session.lock:
            if request.method == "DELETE":
                self._discard(upload_id, session)
                return web.Response(status=499)
            if session.finished is None and await self._receive(session, request):
                try:
                    session.finished = await self._finish(_checked_by(session, request), session.staged)
                except StorageError:
                    self._discard(upload_id, session)
                    raise
            if session.finished is not None:
                return _shown(session.finished, request)
            received = _settle(session.staged)
            headers = {"Range": f"bytes=0-{received - 1}"} if received else {}
            return web.Response(status=308, headers=headers)

    async def _receive(self, session: Session, request: web.Request) -> bool:
        """Take in a chunk, or a question for the state; True when the content is complete."""
        header = request.headers.get("Content-Range")
        if header is None:
            session.staged.write_bytes(b"")
            await _append(request.content, session.staged)
            return True
        match = _CONTENT_RANGE.fullmatch(header.strip())
        if match is None:
            raise StorageError.invalid(f"Invalid Content-Range: {header!r}")
        first, _, total = match.groups()
        if first is not None:
            received = _settle(session.staged)
            if int(first) > received:
                message = (
                    f"The upload offset is {first}, which exceeds already uploaded size of {received} bytes"
                )
                raise StorageError(503, "backendError", message)
            await _append(request.content, session.staged, skip=received - int(first))
        size = session.staged.stat().st_size
        if total is not None and size > int(total):
            raise StorageError.invalid(f"{size} bytes were sent of an upload of {total}")
        return total is not None and size == int(total)

    async def _finish(self, announced: Announced, staged: Path) -> StoredObject:
        content = await asyncio.to_thread(measure, staged)
        for kind, actual in (("crc32c", content.crc32c), ("md5", content.md5)):
            expected = announced.checksums.get(kind, actual)
            if expected != actual:
                raise StorageError.invalid(
                    f"Provided {kind} {expected!r} doesn't match calculated {kind} {actual!r}"
                )
        return await asyncio.to_thread(
            self._store.put, announced.key, staged, content, announced.fields, announced.conditions
        )

    def _discard(self, upload_id: str, session: Session) -> None:
        self._sessions.pop(upload_id, None)
        session.staged.unlink(missing_ok=True)


def _announced(request: web.Request, metadata: Fields, content_type: str | None) -> Announced:
    fields = object_fields(metadata)
    if "contentEncoding" in request.query:
        fields["contentEncoding"] = request.query["contentEncoding"]
    fields.setdefault("contentType", content_type or "application/octet-stream")
    checksums = {
        kind: metadata[key] for key, kind in (("crc32c", "crc32c"), ("md5Hash", "md5")) if key in metadata
    }
    return Announced(
        key=ObjectKey(
            request.match_info["bucket"], str(request.query.get("name") or metadata.get("name") or "")
        ),
        fields=fields,
        conditions=Preconditions.from_query(request.query),
        checksums=checksums | _header_checksums(request),
    )


def _checked_by(session: Session, request: web.Request) -> Announced:
    """Add the checksums that came with the last chunk, once the client had read all of its content."""
    announced = session.announced
    checksums = announced.checksums | _header_checksums(request)
    return Announced(announced.key, announced.fields, announced.conditions, checksums)


def _header_checksums(request: web.Request) -> dict[str, str]:
    pairs = (
        part.strip().partition("=") for part in ",".join(request.headers.getall("X-Goog-Hash", [])).split(",")
    )
    return {kind: value for kind, _, value in pairs if kind in ("crc32c", "md5")}


async def _append(stream: StreamReader, path: Path, *, skip: int = 0) -> None:
    """Append what arrives to a file, without its first ``skip`` bytes."""
    with path.open("ab") as file:
        async for block in _blocks(stream):
            await asyncio.to_thread(file.write, block[skip:])
            skip = max(skip - len(block), 0)


async def _blocks(stream: StreamReader) -> AsyncIterator[bytes]:
    """Join what the network delivers in small pieces, so that a disk write is worth its thread."""
    buffer = bytearray()
    async for piece in stream.iter_any():
        buffer += piece
        if len(buffer) >= _BLOCK:
            yield bytes(buffer)
            buffer.clear()
    if buffer:
        yield bytes(buffer)


def _settle(path: Path) -> int:
    """Keep only whole units of 256 KiB of an unfinished upload, like the service; returns the size kept."""
    size = path.stat().st_size
    kept = size - size % _CHUNK_UNIT
    os.truncate(path, kept)
    return kept


def _shown(stored: StoredObject, request: web.Request) -> web.Response:
    return web.json_response(object_resource(stored, base_url(request)))
