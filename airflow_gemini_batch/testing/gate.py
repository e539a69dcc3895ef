"""Who may ask a local server: the processes that were given its address, and no page in a browser.

A port of 127.0.0.1 is open to each program and each user of the machine, and to each web page that one of them looks
at. So the address of a server holds a random token, ``http://127.0.0.1:PORT/TOKEN``, which every client that takes a
base address sends along with the path.
"""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from typing import TYPE_CHECKING

from aiohttp import web

if TYPE_CHECKING:
    from aiohttp.typedefs import Handler

HOST = "127.0.0.1"

# What a page of any origin can send without a preflight request (https://fetch.spec.whatwg.org/#cors-safelisted-request-header),
# and a body without a type.
_TYPES_OF_PAGES = frozenset({"", "application/x-www-form-urlencoded", "multipart/form-data", "text/plain"})


def refusal(
    headers: Mapping[str, str], path: str, *, port: int, token: str, has_body: bool = False
) -> str | None:
    """Say why a request must not be answered and what to do; None for one that may.

    :param headers: those of the request, whatever the case of their names.
    :param path: the path as it was sent, with the token.
    """
    names = (f"{HOST}:{port}", f"localhost:{port}")
    if headers.get("Host", "").lower() not in names:
        return f"The Host header must be {names[0]} or {names[1]}. Ask the server by its own address."
    if headers.get("Origin", f"http://{HOST}:{port}").lower() not in [f"http://{name}" for name in names]:
        return "A page of another origin can't use this server."
    if headers.get("Sec-Fetch-Site", "none") not in ("none", "same-origin"):
        return "A page of another site can't use this server."
    _, segment, *rest = [*path.split("/", 2), ""]
    if not hmac.compare_digest(segment.encode(), token.encode()):
        return (
            "The address has a wrong token, or none. Take the address from LocalStack.environment(), or from what "
            "gemini-batch up prints: it is http://127.0.0.1:PORT/TOKEN, with another token after each start."
        )
    kind = headers.get("Content-Type", "").partition(";")[0].strip().lower()
    # The content of an upload may have any type.
    if has_body and kind in _TYPES_OF_PAGES and not rest[0].startswith("upload/"):
        return f"A body of type {kind or '(none)'} is not taken. Send it as application/json."
    return None


def guarded(application: web.Application, token: str, *, largest_body: int) -> web.Application:
    """Put an application behind the gate, below ``/TOKEN``.

    :param largest_body: most bytes of a body that is read whole; 0 for no limit.
    """

    @web.middleware
    async def gate(request: web.Request, handler: Handler) -> web.StreamResponse:
        port = request.get_extra_info("sockname", (HOST, 0))[1]
        reason = refusal(
            request.headers, request.rel_url.raw_path, port=port, token=token, has_body=request.body_exists
        )
        return await handler(request) if reason is None else _forbidden(reason)

    outer = web.Application(middlewares=[gate], client_max_size=largest_body)
    outer.add_subapp(f"/{token}", application)
    return outer


def base_url(request: web.Request) -> str:
    """Return the server's address as the client of an admitted request knows it, without a trailing slash."""
    return f"{request.url.origin()}/{request.rel_url.raw_path.split('/', 2)[1]}"


def path_within(request: web.Request) -> str:
    """Return the path of an admitted request, decoded, without the token."""
    return "/" + "/".join(request.path.split("/")[2:])


def _forbidden(reason: str) -> web.Response:
    """Answer 403 in the envelope that the clients of all three services read."""
    detail = {"message": reason, "domain": "global", "reason": "forbidden"}
    error = {"code": 403, "message": reason, "status": "PERMISSION_DENIED", "errors": [detail]}
    return web.json_response({"error": error}, status=403, headers={"X-Content-Type-Options": "nosniff"})
