"""Many requests in one: the multipart/mixed batches of google-cloud-storage and gcsfs."""

from __future__ import annotations

from email import message_from_bytes
from email.message import Message
from uuid import uuid4

from aiohttp import ClientSession, web
from yarl import URL

from airflow_gemini_batch.testing.gate import base_url
from airflow_gemini_batch.testing.gcs.errors import StorageError


async def batch(request: web.Request) -> web.Response:
    """Answer each request of a batch by sending it to this server, one after the other.

    :raises StorageError: 400 when the body is not a batch.
    """
    head = f"Content-Type: {request.headers.get('Content-Type', '')}\r\n\r\n".encode()
    parts = message_from_bytes(head + await request.read()).get_payload()
    if not isinstance(parts, list):
        raise StorageError.invalid("A batch must be multipart/mixed, with one part per request")
    boundary = f"batch_{uuid4().hex}"
    answer = b""
    async with ClientSession() as session:
        for part in parts:
            if not isinstance(part, Message):
                continue
            answer += f"--{boundary}\r\nContent-Type: application/http\r\n".encode()
            answer += f"Content-ID: <response-{_content_id(part)}>\r\n\r\n".encode()
            answer += await _answered(part, base_url(request), session) + b"\r\n"
    answer += f"--{boundary}--\r\n".encode()
    return web.Response(body=answer, headers={"Content-Type": f"multipart/mixed; boundary={boundary}"})


async def _answered(part: Message, base: str, session: ClientSession) -> bytes:
    """Send the HTTP request that is the text of a part; returns the answer as text of the same form."""
    payload = part.get_payload(decode=True)
    first_line, _, rest = payload.lstrip().partition(b"\n") if isinstance(payload, bytes) else (b"", b"", b"")
    try:
        method, target, _ = first_line.decode().split()
    except ValueError:
        raise StorageError.invalid(
            f"A part of a batch must begin with a request line, not {first_line!r}"
        ) from None
    inner = message_from_bytes(rest)
    # google-cloud-storage writes whole addresses into a batch, gcsfs paths without the token.
    path = URL(target, encoded=True).raw_path_qs.removeprefix(URL(base).raw_path)
    url = URL(base + path, encoded=True)
    body = inner.get_payload(decode=True) or None
    headers = {"Content-Type": inner.get_content_type()} if body else {}
    async with session.request(method, url, data=body, headers=headers) as response:
        content = await response.read()
        head = (
            f"HTTP/1.1 {response.status} {response.reason}\r\n"
            f"Content-Type: {response.headers.get('Content-Type', 'text/plain')}\r\n"
            f"Content-Length: {len(content)}\r\n\r\n"
        )
        return head.encode() + content


def _content_id(part: Message) -> str:
    return str(part.get("Content-ID", "")).strip("<> ")
