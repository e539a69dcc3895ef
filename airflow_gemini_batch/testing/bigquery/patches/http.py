"""Corrections that only the HTTP request shows, around bqemulator's application."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any
from urllib.parse import parse_qsl, urlencode

import duckdb
from aiohttp import web
from bqemulator.api.routes.jobs import _apply_default_dataset
from bqemulator.domain.errors import DomainError, NotFoundError, ResourceInUseError
from bqemulator.jobs.executor import JOB_RESULTS, JOB_SCHEMAS

from airflow_gemini_batch.testing.bigquery.patches import partitions
from airflow_gemini_batch.testing.bigquery.patches.request import Serving, ask_for, enter
from airflow_gemini_batch.testing.bigquery.patches.streaming import find_invalid_rows
from airflow_gemini_batch.testing.bigquery.patches.tables import drop, drop_expired
from airflow_gemini_batch.testing.gate import base_url, path_within

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Message, Receive, Send], Awaitable[None]]

_API = "/bigquery/v2/projects/"
_DATASET = re.compile(_API + r"(?P<project>[^/]+)/datasets(/(?P<dataset>[^/]+)(?P<rest>/.*)?)?$")
_JOBS = re.compile(_API + r"(?P<project>[^/]+)/jobs$")
_QUERIES = re.compile(_API + r"(?P<project>[^/]+)/queries$")
_INSERT_ALL = re.compile(_API + r"([^/]+)/datasets/([^/]+)/tables/([^/]+)/insertAll$")
_PERMISSIONS = re.compile(_API + r"([^/]+)/datasets/([^/]+)/tables/([^/]+):testIamPermissions$")
_ANONYMOUS_RESULTS = "_bqemu_anonymous"


class CorrectedApplication:
    """bqemulator's application, one request at a time.

    Its routes run partly in the event loop and partly in threads, over one DuckDB connection that holds one result:
    requests at the same time read each other's rows. Requests and answers are held whole, so a slow client does not
    hold up the others.

    :param application: the ASGI application of ``bqemulator.api.app.create_app``.
    :param serving: the server that it answers for, with the ``AppContext`` that the application was made of.
    """

    def __init__(self, application: Application, serving: Serving) -> None:
        self._application = application
        self._serving = serving
        self._turn = asyncio.Lock()

    async def handle(self, request: web.Request) -> web.Response:
        """Answer one request."""
        body = await request.read()
        async with self._turn:
            enter(self._serving)
            start, *rest = await self._answer(_scope(request), body)
        headers = {name.decode(): value.decode() for name, value in start["headers"]}
        # bqemulator knows nothing of the token.
        if location := headers.get("location"):
            headers["location"] = location.replace(str(request.url.origin()), base_url(request), 1)
        content = b"".join(message.get("body", b"") for message in rest)
        return web.Response(status=start["status"], headers=headers, body=content)

    def forget_results(self) -> None:
        """Free the results of this server's jobs, which bqemulator keeps for the life of the process."""
        catalog = self._serving.context.catalog
        # The catalog of a server that keeps its tables has one in memory besides.
        for _project, job_id in getattr(catalog, "_cache", catalog)._jobs:
            JOB_RESULTS.pop(job_id, None)
            JOB_SCHEMAS.pop(job_id, None)

    async def _answer(self, scope: dict[str, Any], body: bytes) -> list[Message]:
        try:
            drop_expired(self._serving.context)
            if scope["method"] == "POST" and (match := _INSERT_ALL.match(scope["path"])):
                return await self._insert(match.groups(), scope, body)
            if scope["method"] == "POST" and (match := _PERMISSIONS.match(scope["path"])):
                return self._grant(match.groups(), body)
            if scope["method"] == "GET" and (match := partitions.PATH.match(scope["path"])):
                return _json(200, partitions.summary(match, self._serving.context))
            return await self._run(*self._corrected(scope, body))
        except DomainError as error:
            return _json(error.http_status, error.to_bigquery_error())
        except Exception as error:
            # A 500 would be retried by the clients for ten minutes.
            code, reason = (400, "invalid") if isinstance(error, duckdb.Error) else (501, "notImplemented")
            message = f"The local BigQuery server can't do this: {type(error).__name__}: {error}"
            return _json(code, _envelope(code, reason, message))

    async def _insert(self, key: tuple[str, ...], scope: dict[str, Any], body: bytes) -> list[Message]:
        """Insert the valid rows of an insertAll request, or none, and report the others."""
        request = json.loads(body)
        project, dataset, table = key
        errors = find_invalid_rows((project, dataset, table), request, self._serving.context)
        invalid = {error["index"] for error in errors}
        if errors and not request.get("skipInvalidRows"):
            stopped = [{"reason": "stopped", "location": "", "debugInfo": "", "message": ""}]
            others = set(range(len(request["rows"]))) - invalid
            errors += [{"index": index, "errors": stopped} for index in sorted(others)]
            return _json(200, {"kind": "bigquery#tableDataInsertAllResponse", "insertErrors": errors})
        request["rows"] = [row for index, row in enumerate(request["rows"]) if index not in invalid]
        body = json.dumps(request).encode()
        messages = await self._run(_resized(scope, body), body)
        if errors and messages[0]["status"] == 200:
            return _json(200, {"kind": "bigquery#tableDataInsertAllResponse", "insertErrors": errors})
        return messages

    def _grant(self, key: tuple[str, ...], body: bytes) -> list[Message]:
        """Grant the permissions on a table that are asked for: nobody is asked for credentials here."""
        project, dataset, table = key
        if self._serving.context.catalog.get_table(project, dataset, table) is None:
            raise NotFoundError(f"Not found: Table {project}:{dataset}.{table}")
        return _json(200, {"permissions": json.loads(body)["permissions"]})

    async def _run(self, scope: dict[str, Any], body: bytes) -> list[Message]:
        messages: list[Message] = []
        pending = [{"type": "http.request", "body": body, "more_body": False}]

        async def receive() -> Message:
            if pending:
                return pending.pop()
            return {"type": "http.disconnect"}

        async def send(message: Message) -> None:
            messages.append(message)

        await self._application(scope, receive, send)
        if _QUERIES.match(scope["path"]):
            return _failed_query(messages)
        if scope["method"] == "GET" and _JOBS.match(scope["path"]):
            return self._located(messages)
        return messages

    def _located(self, messages: list[Message]) -> list[Message]:
        """Give each job of a list its location; all were in US."""
        listing = json.loads(b"".join(message.get("body", b"") for message in messages))
        for job in listing.get("jobs", []):
            reference = job["jobReference"]
            reference["location"] = self._serving.location_of(reference["jobId"])
        return _json(messages[0]["status"], listing)

    def _corrected(self, scope: dict[str, Any], body: bytes) -> tuple[dict[str, Any], bytes]:
        """Refuse a request that BigQuery refuses, fill in what it fills in, and give the request to answer."""
        path, posting = scope["path"], scope["method"] == "POST"
        if match := _DATASET.match(path):
            self._require_dataset(match)
            if scope["method"] == "GET":
                scope = _unpaged(scope)
            elif scope["method"] == "DELETE":
                self._prepare_deletion(match, scope)
            elif posting and not match["dataset"]:
                body = _changed(
                    body, lambda dataset: dataset.setdefault("location", self._serving.default_location)
                )
        elif posting and (match := _JOBS.match(path)):
            self._serving.admit(match["project"], json.loads(body).get("jobReference") or {})
        elif posting and (match := _QUERIES.match(path)):
            project = match["project"]
            body = _changed(body, lambda query: _qualify(query, project))
        return _resized(scope, body), body

    def _require_dataset(self, match: re.Match[str]) -> None:
        """Answer 404 for anything in a dataset that does not exist; it was an internal error or an empty list."""
        project, dataset = match["project"], match["dataset"]
        if not match["rest"] or dataset == _ANONYMOUS_RESULTS:
            return
        if self._serving.context.catalog.get_dataset(project, dataset) is None:
            raise NotFoundError(f"Not found: Dataset {project}:{dataset}")

    def _prepare_deletion(self, match: re.Match[str], scope: dict[str, Any]) -> None:
        """Drop the view that is to be deleted, or answer 400 for a dataset with tables.

        That was 404, which clients may take for deleted.
        """
        project, dataset, catalog = match["project"], match["dataset"], self._serving.context.catalog
        if match["rest"]:
            table = catalog.get_table(project, dataset, match["rest"].rpartition("/")[2])
            if table is not None:
                drop(table, self._serving.context)
            return
        whole = dict(parse_qsl(scope["query_string"].decode())).get("deleteContents", "").lower() == "true"
        if not whole and catalog.list_tables(project, dataset):
            raise ResourceInUseError(f"Dataset {project}:{dataset} is still in use")


def _scope(request: web.Request) -> dict[str, Any]:
    """Turn a request of aiohttp into the scope of an ASGI application."""
    return {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": request.method,
        "scheme": "http",
        "path": path_within(request),
        "query_string": request.rel_url.raw_query_string.encode(),
        "root_path": "",
        # aiohttp has unpacked the body.
        "headers": [
            (name.lower(), value)
            for name, value in request.raw_headers
            if name.lower() != b"content-encoding"
        ],
    }


def _changed(body: bytes, change: Callable[[dict[str, Any]], object]) -> bytes:
    document = json.loads(body)
    change(document)
    return json.dumps(document).encode()


def _resized(scope: dict[str, Any], body: bytes) -> dict[str, Any]:
    headers = [(name, value) for name, value in scope["headers"] if name != b"content-length"]
    return {**scope, "headers": [*headers, (b"content-length", str(len(body)).encode())]}


def _unpaged(scope: dict[str, Any]) -> dict[str, Any]:
    """Ask for whole lists of datasets and tables: they are cut at ``maxResults`` without a token for the rest."""
    if not re.search(r"/(datasets|tables)$", scope["path"]):
        return scope
    query = parse_qsl(scope["query_string"].decode())
    kept = [(name, value) for name, value in query if name != "maxResults"]
    return {**scope, "query_string": urlencode([*kept, ("maxResults", "1000000")]).encode()}


def _qualify(query: dict[str, Any], project: str) -> None:
    """Apply ``defaultDataset`` and the location of a synchronous query, where they were ignored."""
    ask_for(query.get("location"))
    query["query"] = _apply_default_dataset(query.get("query", ""), query, request_project_id=project)


def _failed_query(messages: list[Message]) -> list[Message]:
    """Answer a failed synchronous query with its error; it was an empty result that clients took for success."""
    body = b"".join(message.get("body", b"") for message in messages)
    if b'"errors"' not in body:
        return messages
    errors = json.loads(body).get("errors")
    if messages[0]["status"] != 200 or not errors:
        return messages
    reason, message = errors[0]["reason"], errors[0]["message"]
    code = {"notFound": 404, "duplicate": 409, "accessDenied": 403}.get(reason, 400)
    return _json(code, _envelope(code, reason, message))


def _envelope(code: int, reason: str, message: str) -> dict[str, Any]:
    details = [{"domain": "global", "reason": reason, "message": message}]
    return {"error": {"code": code, "message": message, "errors": details}}


def _json(status: int, document: dict[str, Any]) -> list[Message]:
    body = json.dumps(document).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    return [
        {"type": "http.response.start", "status": status, "headers": headers},
        {"type": "http.response.body", "body": body},
    ]
