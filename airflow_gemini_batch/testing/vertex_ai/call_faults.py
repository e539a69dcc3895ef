"""Striking API calls with the faults planned for them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from aiohttp import web

from airflow_gemini_batch.testing.vertex_ai.errors import CallError
from airflow_gemini_batch.testing.vertex_ai.faults import Fault

Act = Callable[[], Awaitable[web.StreamResponse]]

_HTML = "<!DOCTYPE html><html><head><title>Error</title></head><body>Service unavailable.</body></html>"


async def answer_with_faults(request: web.Request, faults: list[Fault], act: Act) -> web.StreamResponse:
    """Answer a call as its faults have it; several strike in the order in which they were planned."""
    for fault in faults:
        if fault.name == "delay":
            await asyncio.sleep(fault["seconds"])
        elif fault.name == "drop_before":
            return drop(request)
        elif fault.name == "error":
            return error_answer(_error(fault), retry_after=fault["retry_after"])
    response = await act()
    for fault in faults:
        match fault.name:
            case "delay_after":
                await asyncio.sleep(fault["seconds"])
            case "drop_after":
                return drop(request)
            case "error_after":
                response = error_answer(_error(fault))
            case "empty_answer":
                response = web.Response(content_type="application/json")
            case "html_answer":
                response = web.Response(text=_HTML, content_type="text/html")
    return response


def drop(request: web.Request) -> web.Response:
    """Cut the connection; the response that is returned reaches nobody."""
    if request.transport is not None:
        request.transport.abort()
    return web.Response()


def error_answer(error: CallError, *, retry_after: float = 0) -> web.Response:
    """Return the error envelope as an HTTP response."""
    headers = {"Retry-After": str(retry_after)} if retry_after else {}
    return web.json_response(error.envelope, status=error.http_status, headers=headers)


def _error(fault: Fault) -> CallError:
    return CallError(fault["status"], fault["message"] or f"Planned fault: {fault['status']}.")
