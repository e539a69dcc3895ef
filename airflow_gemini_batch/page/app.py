"""The pages: who may see what, and what is asked for them. GET only, and nothing is written anywhere.

Airflow's own rules decide: a user who may read the task instances and XComs of a DAG sees its jobs.
"""

from __future__ import annotations

from datetime import UTC, datetime, time, timedelta
from functools import cache
from importlib import resources
from typing import Annotated, Any
from urllib.parse import urlsplit

from airflow.api_fastapi.app import get_auth_manager
from airflow.api_fastapi.auth.managers.models.resource_details import DagAccessEntity
from airflow.api_fastapi.core_api.security import GetUserDep, requires_access_dag
from airflow.configuration import conf
from fastapi import Depends, FastAPI, HTTPException, Request, Response
from fastapi.responses import HTMLResponse
from starlette.exceptions import HTTPException as StarletteHTTPException

from airflow_gemini_batch.page.chart import by_day, charts
from airflow_gemini_batch.page.plugin import PREFIX
from airflow_gemini_batch.page.task_jobs import newest, of_task
from airflow_gemini_batch.page.under_way import JobReader, read_jobs
from airflow_gemini_batch.page.view import job_view

MOST_TASKS = 300
"""Task instances that the page shows."""

PERIODS = (1, 7, 30)
"""Days that a user may choose between."""

# Airflow shows the page in a frame of its own. Style and script are files of this package; there is no other content.
_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'self'; script-src 'self'; base-uri 'none'; form-action 'none'; "
        "frame-ancestors 'self'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}
_FILES = {"page.css": "text/css", "page.js": "text/javascript"}
_reader = JobReader(read_jobs)


def _readable_dags(user: GetUserDep) -> set[str]:
    return get_auth_manager().get_authorized_dag_ids(user=user, method="GET")


@cache
def page_app() -> FastAPI:
    """Return the application; the plugin mounts it below Airflow's."""
    app = FastAPI(
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        dependencies=[
            Depends(requires_access_dag(method="GET", access_entity=entity))
            for entity in (DagAccessEntity.TASK_INSTANCE, DagAccessEntity.XCOM)
        ],
    )
    app.middleware("http")(_secured)
    app.exception_handler(StarletteHTTPException)(_refused)
    app.get("/")(_jobs)
    app.get("/dags/{dag_id}/runs/{run_id:path}/tasks/{task_id}/{map_index}")(_task)
    app.get("/{name}")(_file)
    return app


async def _secured(request: Request, call_next: Any) -> Response:
    response: Response = await call_next(request)
    response.headers.update(_HEADERS)
    return response


async def _refused(_: Request, error: Any) -> Response:
    return _page("error.html", status=error.status_code, headers=error.headers, detail=str(error.detail))


def _jobs(request: Request, readable: Annotated[set[str], Depends(_readable_dags)]) -> Response:
    chosen = request.query_params.get("days", "")
    days = int(chosen) if chosen in map(str, PERIODS) else 7
    now = datetime.now(UTC)
    first_day = now.date() - timedelta(days=days - 1)
    tasks, is_cut = newest(readable, datetime.combine(first_day, time(), UTC), MOST_TASKS)
    jobs = _reader.read(task.waited_for for task in tasks if task.waited_for)
    summed = by_day(tasks, now.date(), days)
    return _page(
        "jobs.html",
        views=[job_view(task, jobs.get(task.waited_for) if task.waited_for else None, now) for task in tasks],
        days=days,
        periods=PERIODS,
        first_day=first_day,
        last_day=now.date(),
        charts=charts(summed.days),
        without_cost=summed.without_cost,
        most=MOST_TASKS if is_cut else 0,
    )


def _task(dag_id: str, run_id: str, task_id: str, map_index: str) -> Response:
    # For a task that is not mapped, Airflow leaves its own placeholder in the address.
    index = int(map_index) if map_index.isascii() and map_index.isdecimal() else -1
    task, summary = of_task(dag_id, run_id, task_id, index)
    job = _reader.read([task.waited_for]).get(task.waited_for) if task and task.waited_for else None
    return _page(
        "task.html",
        view=job_view(task, job, datetime.now(UTC)) if task else None,
        facts=task.facts if task else None,
        summary=summary,
    )


def _file(name: str) -> Response:
    if name not in _FILES:
        raise HTTPException(404, "There is no such page.")
    file = resources.files("airflow_gemini_batch.page") / "static" / name
    return Response(file.read_bytes(), media_type=_FILES[name])


def _page(template: str, *, status: int = 200, headers: Any = None, **content: Any) -> HTMLResponse:
    base = urlsplit(conf.get("api", "base_url", fallback="") or "").path.rstrip("/")
    html = _templates().get_template(template).render(base=f"{base}/", prefix=PREFIX, **content)
    return HTMLResponse(html, status, headers=headers)


@cache
def _templates() -> Any:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    return Environment(
        loader=PackageLoader("airflow_gemini_batch.page"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
