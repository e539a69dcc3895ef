"""The HTTP API of batchPredictionJobs, v1 and v1beta1, with Google's error envelope on every refusal."""

from __future__ import annotations

import logging
import re
import secrets
from collections.abc import Awaitable, Callable, Collection
from datetime import UTC, datetime
from typing import Any

import orjson
from aiohttp import web

from airflow_gemini_batch.testing.gate import path_within
from airflow_gemini_batch.testing.vertex_ai.call_faults import answer_with_faults, error_answer
from airflow_gemini_batch.testing.vertex_ai.call_log import Call, CallLog
from airflow_gemini_batch.testing.vertex_ai.errors import CallError
from airflow_gemini_batch.testing.vertex_ai.faults import Fault, Faults
from airflow_gemini_batch.testing.vertex_ai.jobs.create import Caller
from airflow_gemini_batch.testing.vertex_ai.jobs.job import timestamp
from airflow_gemini_batch.testing.vertex_ai.jobs.models import is_served
from airflow_gemini_batch.testing.vertex_ai.service import JobService
from airflow_gemini_batch.testing.vertex_ai.wire.proto_json import WireError, parse

_JOBS = "/{version:v1|v1beta1}/projects/{project}/locations/{location}/batchPredictionJobs"
_JOB = _JOBS + "/{id:[^/:]+}"
# Google's own REST clients ask for operations under /ui.
_OPERATION = "/{version:v1|v1beta1|ui}/projects/{project}/locations/{location}/operations/{id}"

# What Google's own libraries look at before they create a job.
_PUBLISHER_MODEL = "/{version:v1|v1beta1}/publishers/google/models/{id}"
_SCHEMAS = "gs://google-cloud-aiplatform/schema/predict/instance"
_MODEL = "/{version:v1|v1beta1}/projects/{project}/locations/{location}/models/{id}"

_LOCATION = re.compile(
    r"global|us|eu|(?:africa|asia|australia|europe|me|northamerica|southamerica|us)"
    r"-(?:north|south|east|west|central|northeast|northwest|southeast|southwest)\d{1,2}"
)
_DEFAULT_PAGE = 100
_LARGEST_PAGE = 1000
# Parameters of every Google API; what they ask for is what is answered anyway.
_SYSTEM_PARAMETERS = frozenset({"$alt", "alt", "key", "prettyPrint", "fields", "access_token", "quotaUser"})
_LIST_PARAMETERS = {
    "filter": "filter",
    "pageSize": "pageSize",
    "page_size": "pageSize",
    "pageToken": "pageToken",
    "page_token": "pageToken",
    "orderBy": "orderBy",
    "order_by": "orderBy",
    "readMask": "readMask",
    "read_mask": "readMask",
}

_log = logging.getLogger(__name__)

Handler = Callable[[web.Request, list[Fault]], Awaitable[web.StreamResponse]]


class BatchPredictionApi:
    """HTTP calls → the job service → answers.

    :param projects: id and number of the one project that exists.
    :param tuned_models: numbers of its tuned models.
    """

    def __init__(
        self,
        service: JobService,
        faults: Faults,
        log: CallLog,
        *,
        projects: tuple[str, str],
        tuned_models: Collection[str] = (),
    ) -> None:
        self._service = service
        self._faults = faults
        self._log = log
        self._project, self._project_number = projects
        self._tuned_models = tuned_models
        self._operations: dict[str, bytes] = {}

    def add_routes(self, application: web.Application) -> None:
        """Serve the API from ``application``; every path it does not know is a 404."""
        for verb, path, method, handler in (
            ("POST", _JOBS, "create", self._create),
            ("GET", _JOBS, "list", self._list),
            ("GET", _JOB, "get", self._get),
            ("POST", _JOB + ":cancel", "cancel", self._cancel),
            ("DELETE", _JOB, "delete", self._delete),
            ("GET", _OPERATION, "operation", self._operation),
            ("GET", _PUBLISHER_MODEL, "model", self._publisher_model),
            ("GET", _MODEL, "model", self._model),
        ):
            application.router.add_route(verb, path, self._answering(method, handler))
        application.router.add_route("*", "/{path:.*}", self._answering("unknown", self._unknown))

    def _answering(
        self, method: str, handler: Handler
    ) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
        async def answer(request: web.Request) -> web.StreamResponse:
            call = Call(method, timestamp(datetime.now(UTC)), path_within(request), request.query_string)
            self._log.add(call)
            faults = self._faults.strike_call(method, await self._display_name(request, method))

            async def act() -> web.StreamResponse:
                try:
                    return await handler(request, faults)
                except CallError as error:
                    return error_answer(error)
                except web.HTTPException:
                    raise
                except Exception as error:
                    _log.exception("%s %s failed in the local server", request.method, path_within(request))
                    return error_answer(CallError("INTERNAL", f"Internal error encountered: {error!r}"))

            response = await answer_with_faults(request, faults, act)
            dropped = request.transport is None or request.transport.is_closing()
            call.status = 0 if dropped else response.status
            return response

        return answer

    async def _display_name(self, request: web.Request, method: str) -> str:
        """Return what faults are matched against; empty where no job is named."""
        if method == "create":
            try:
                body = parse(await request.read())
            except WireError:
                return ""
            if not isinstance(body, dict):
                return ""
            return str(body.get("displayName") or body.get("display_name", ""))
        info = request.match_info
        job = self._service.store.get(info.get("location", ""), info.get("id", ""))
        return job.display_name if job else ""

    def _caller(self, request: web.Request) -> Caller:
        """Read who is asked for what; refuses calls without a token, and projects that are not ours."""
        _check_token(request)
        project, location = request.match_info["project"], request.match_info["location"]
        caller = Caller(self._project, self._project_number, location, self._tuned_models)
        if project not in caller.projects:
            raise CallError(
                "PERMISSION_DENIED",
                f"Permission denied on resource '//aiplatform.googleapis.com/projects/{project}/locations/"
                f"{location}' (or it may not exist).",
            )
        if not _LOCATION.fullmatch(location):
            raise CallError("NOT_FOUND", f"Location {location} is not found or access is unauthorized.")
        return caller

    async def _create(self, request: web.Request, faults: list[Fault]) -> web.StreamResponse:
        caller = self._caller(request)
        _parameters(request, {})
        job = await self._service.create(await _json(request), caller)
        return _json_answer(job.encoded)

    async def _get(self, request: web.Request, faults: list[Fault]) -> web.StreamResponse:
        caller = self._caller(request)
        _parameters(request, {})
        return _json_answer(self._service.get(caller, request.match_info["id"]).encoded)

    async def _list(self, request: web.Request, faults: list[Fault]) -> web.StreamResponse:
        caller = self._caller(request)
        asked = _parameters(request, _LIST_PARAMETERS)
        size = _page_size(asked.get("pageSize", ""))
        jobs, token = self._service.list(
            caller,
            text=asked.get("filter", ""),
            order=asked.get("orderBy", "").strip(),
            size=size,
            token=asked.get("pageToken", ""),
            faults=faults,
        )
        if "pageSize" not in asked and any(fault.name == "empty_list_without_page_size" for fault in faults):
            return _json_answer(b"{}")
        # An empty list is an empty object, as proto JSON leaves out what is not set.
        fields = []
        if jobs:
            fields.append(b'"batchPredictionJobs":[' + b",".join(job.encoded for job in jobs) + b"]")
        if token:
            fields.append(b'"nextPageToken":' + orjson.dumps(token))
        return _json_answer(b"{" + b",".join(fields) + b"}")

    async def _cancel(self, request: web.Request, faults: list[Fault]) -> web.StreamResponse:
        caller = self._caller(request)
        if await request.read() and await _json(request):
            raise CallError("INVALID_ARGUMENT", "Invalid JSON payload received. The body of cancel is empty.")
        self._service.cancel(caller, request.match_info["id"])
        return _json_answer(b"{}")

    async def _delete(self, request: web.Request, faults: list[Fault]) -> web.StreamResponse:
        caller = self._caller(request)
        job = self._service.delete(caller, request.match_info["id"])
        operation_id = str(secrets.randbelow(9 * 10**18) + 10**18)
        now = timestamp(datetime.now(UTC))
        operation = orjson.dumps(
            {
                "name": f"projects/{self._project_number}/locations/{job.request.location}/operations/{operation_id}",
                "metadata": {
                    "@type": "type.googleapis.com/google.cloud.aiplatform.v1.DeleteOperationMetadata",
                    "genericMetadata": {"createTime": now, "updateTime": now},
                },
                "done": True,
                "response": {"@type": "type.googleapis.com/google.protobuf.Empty"},
            }
        )
        self._operations[operation_id] = operation
        return _json_answer(operation)

    async def _operation(self, request: web.Request, faults: list[Fault]) -> web.StreamResponse:
        self._caller(request)
        operation = self._operations.get(request.match_info["id"])
        if operation is None:
            raise CallError("NOT_FOUND", f"The operation does not exist: {path_within(request)}")
        return _json_answer(operation)

    async def _publisher_model(self, request: web.Request, faults: list[Fault]) -> web.StreamResponse:
        _check_token(request)
        name, _, version = request.match_info["id"].partition("@")
        if not is_served(name):
            raise CallError("NOT_FOUND", f"The PublisherModel {name} does not exist.")
        # The kind of its rows, by which vertexai tells models from each other.
        schema = "text_embedding" if "embedding" in name else "text_generation"
        template = f"projects/{{user-project}}/locations/{{location}}/publishers/google/models/{name}"
        return web.json_response(
            {
                "name": f"publishers/google/models/{name}",
                "versionId": version or "default",
                "openSourceCategory": "PROPRIETARY",
                "launchStage": "GA",
                "publisherModelTemplate": template,
                "predictSchemata": {"instanceSchemaUri": f"{_SCHEMAS}/{schema}_1.0.0.yaml"},
            }
        )

    async def _model(self, request: web.Request, faults: list[Fault]) -> web.StreamResponse:
        caller = self._caller(request)
        number, _, version = request.match_info["id"].partition("@")
        name = f"projects/{caller.project_number}/locations/{caller.location}/models/{number}"
        if number not in self._tuned_models:
            raise CallError("NOT_FOUND", f"The Model does not exist: {name}")
        return web.json_response(
            {"name": name, "versionId": version or "1", "modelSourceInfo": {"sourceType": "GENIE"}}
        )

    async def _unknown(self, request: web.Request, faults: list[Fault]) -> web.StreamResponse:
        raise CallError(
            "NOT_FOUND", f"The requested URL {path_within(request)} was not found on this server."
        )


def _check_token(request: web.Request) -> None:
    if not re.fullmatch(r"Bearer \S+", request.headers.get("Authorization", "")):
        raise CallError(
            "UNAUTHENTICATED",
            "Request is missing required authentication credential. Expected OAuth 2 access token.",
        )


def _parameters(request: web.Request, known: dict[str, str]) -> dict[str, str]:
    asked = {}
    for name, value in request.query.items():
        if name in known:
            asked[known[name]] = value
        elif name not in _SYSTEM_PARAMETERS:
            raise CallError(
                "INVALID_ARGUMENT",
                f'Invalid JSON payload received. Unknown name "{name}": Cannot bind query parameter.',
            )
    return asked


def _page_size(text: str) -> int:
    if not text:
        return _DEFAULT_PAGE
    if not re.fullmatch(r"-?\d+", text):
        raise CallError("INVALID_ARGUMENT", f"Invalid value at 'page_size' (TYPE_INT32), \"{text}\"")
    size = int(text)
    if size < 0:
        raise CallError("INVALID_ARGUMENT", "The page size must not be negative.")
    return min(size, _LARGEST_PAGE) or _DEFAULT_PAGE


async def _json(request: web.Request) -> Any:
    try:
        return parse(await request.read())
    except WireError as error:
        raise CallError("INVALID_ARGUMENT", str(error)) from error


def _json_answer(body: bytes) -> web.Response:
    return web.Response(body=body, content_type="application/json", charset="utf-8")
