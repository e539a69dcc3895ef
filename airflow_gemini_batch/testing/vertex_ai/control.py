"""Controls of the server that the real service does not have, under ``/local/v1``.

==========================  ======================================================================
``POST   faults``           plans a fault: ``name``, and as of :meth:`Faults.plan` ``on``, ``times``,
                            ``skip``, ``for_seconds``, ``job``, ``parameters``; answers its ``id``
``GET    faults``           what is still planned
``DELETE faults[/ID]``      forgets all of it, or one
``GET    fault-kinds``      the table of faults
``GET    readings``         how the server behaves where the service is not settled: :class:`Readings`
``PATCH  readings``         changes some of them; answers all
``POST   jobs:seed``        starts jobs without data: the fields of :class:`BareJobs`; answers ``names``
``GET    requests``         calls received, ``counts`` by method and the last ``calls``; ``?method=create``
``DELETE requests``         forgets them
==========================  ======================================================================
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import asdict, fields
from typing import Any

import orjson
from aiohttp import web

from airflow_gemini_batch.testing.vertex_ai.call_faults import error_answer
from airflow_gemini_batch.testing.vertex_ai.call_log import CallLog
from airflow_gemini_batch.testing.vertex_ai.errors import CallError
from airflow_gemini_batch.testing.vertex_ai.fault_table import FAULTS
from airflow_gemini_batch.testing.vertex_ai.faults import Faults
from airflow_gemini_batch.testing.vertex_ai.jobs.bare import BareJobs
from airflow_gemini_batch.testing.vertex_ai.readings import Readings
from airflow_gemini_batch.testing.vertex_ai.service import JobService

_FAULT_FIELDS = frozenset({"name", "on", "times", "skip", "for_seconds", "job", "parameters"})

_SEED_FIELDS = frozenset(field.name for field in fields(BareJobs))

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Controls:
    """The server's own endpoints."""

    def __init__(
        self, service: JobService, faults: Faults, readings: Readings, log: CallLog, *, project_number: str
    ) -> None:
        self._service = service
        self._readings = readings
        self._project_number = project_number
        self._faults = faults
        self._log = log

    def add_routes(self, application: web.Application) -> None:
        """Serve the endpoints from ``application``."""
        router = application.router
        router.add_get("/local/v1/fault-kinds", _answering(self._fault_kinds))
        router.add_post("/local/v1/faults", _answering(self._plan_fault))
        router.add_get("/local/v1/faults", _answering(self._planned_faults))
        router.add_delete("/local/v1/faults", _answering(self._clear_faults))
        router.add_delete("/local/v1/faults/{id}", _answering(self._clear_faults))
        router.add_get("/local/v1/readings", _answering(self._show_readings))
        router.add_patch("/local/v1/readings", _answering(self._set_readings))
        router.add_post("/local/v1/jobs:seed", _answering(self._seed_jobs))
        router.add_get("/local/v1/requests", _answering(self._requests))
        router.add_delete("/local/v1/requests", _answering(self._clear_requests))

    async def _fault_kinds(self, request: web.Request) -> web.StreamResponse:
        return web.json_response(
            {
                name: {
                    "strikes": kind.strikes.value,
                    "does": kind.does,
                    "parameters": dict(kind.parameters),
                    "on": list(kind.on),
                    "times": kind.times,
                }
                for name, kind in FAULTS.items()
            }
        )

    async def _plan_fault(self, request: web.Request) -> web.StreamResponse:
        wanted = await body_object(request, allowed=_FAULT_FIELDS)
        parameters = wanted.pop("parameters", {})
        try:
            fault = self._faults.plan(**wanted, **parameters)
        except (TypeError, ValueError) as error:
            raise CallError("INVALID_ARGUMENT", str(error)) from error
        return web.json_response({"id": fault.id})

    async def _planned_faults(self, request: web.Request) -> web.StreamResponse:
        return web.json_response({"faults": self._faults.planned()})

    async def _clear_faults(self, request: web.Request) -> web.StreamResponse:
        self._faults.clear(request.match_info.get("id"))
        return web.json_response({})

    async def _show_readings(self, request: web.Request) -> web.StreamResponse:
        return web.json_response(asdict(self._readings))

    async def _set_readings(self, request: web.Request) -> web.StreamResponse:
        changes = await body_object(request, allowed=frozenset(asdict(self._readings)))
        try:
            self._readings.set(**changes)
        except ValueError as error:
            raise CallError("INVALID_ARGUMENT", str(error)) from error
        return web.json_response(asdict(self._readings))

    async def _seed_jobs(self, request: web.Request) -> web.StreamResponse:
        wanted = await body_object(request, allowed=_SEED_FIELDS)
        try:
            bare = BareJobs(**wanted)
        except TypeError as error:
            raise CallError("INVALID_ARGUMENT", str(error)) from error
        jobs = self._service.seed(bare, self._project_number)
        return web.json_response({"names": [job.name for job in jobs]})

    async def _requests(self, request: web.Request) -> web.StreamResponse:
        method = request.query.get("method")
        return web.json_response({"counts": self._log.counts, "calls": self._log.calls(method)})

    async def _clear_requests(self, request: web.Request) -> web.StreamResponse:
        self._log.clear()
        return web.json_response({})


async def body_object(request: web.Request, *, allowed: frozenset[str]) -> dict[str, Any]:
    """Read the call's JSON object; refuses fields that are not allowed."""
    try:
        body = orjson.loads(await request.read() or b"{}")
    except orjson.JSONDecodeError as error:
        raise CallError("INVALID_ARGUMENT", f"The body is not JSON: {error}") from error
    if not isinstance(body, dict) or (unknown := body.keys() - allowed):
        wrong = sorted(unknown) if isinstance(body, dict) else type(body).__name__
        raise CallError("INVALID_ARGUMENT", f"The body is an object with {sorted(allowed)}, not {wrong}.")
    return body


def _answering(handler: Handler) -> Handler:
    async def answer(request: web.Request) -> web.StreamResponse:
        try:
            return await handler(request)
        except CallError as error:
            return error_answer(error)

    return answer
