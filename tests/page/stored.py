"""Rows of Airflow's database, as submit tasks leave them: written as they are, with names that no DAG could have."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from airflow_gemini_batch.jobs.manifest import Manifest, Round
from airflow_gemini_batch.operators.links import BatchJobLink
from airflow_gemini_batch.testing.dag_runs import prepare_database
from airflow_gemini_batch.triggers.gemini_batch import GeminiBatchJobTrigger

JOB = "projects/my-project/locations/us-central1/batchPredictionJobs/123"
CONSOLE = "https://console.cloud.google.com/vertex-ai/locations/us-central1/batch-predictions/123?project=my-project"


def manifest(**changes: Any) -> dict[str, Any]:
    """Return the result of a submit task."""
    times = {
        "created": "2026-01-01T10:00:00+00:00",
        "started": "2026-01-01T10:12:00+00:00",
        "ended": "2026-01-01T10:53:00+00:00",
    }
    counts = {"ok": 1200, "retryable": 0, "rejected": 3}
    first = Round(JOB, "JOB_STATE_SUCCEEDED", ["gs://b/r.jsonl"], "gs://b/out", counts, {}, times)
    usage = {"gemini-3.8-flash": {"rows": 1203, "prompt_tokens": 50000, "output_tokens": 7000}}
    whole = Manifest(
        "1f" * 16,
        "gemini-3.8-flash",
        CONSOLE,
        counts,
        [first],
        usage,
        {"amount": 0.1234, "currency": "USD", "rates_as_of": "2026-11", "unpriced": []},
    )
    return {**whole.to_json(), **changes}


def empty_database() -> None:
    """Remove all DAGs, runs, tasks, XComs and triggers."""
    from airflow.models import DagModel, DagRun, TaskInstance
    from airflow.models.dagbundle import DagBundleModel
    from airflow.models.trigger import Trigger
    from airflow.models.xcom import XComModel
    from airflow.utils.session import create_session
    from sqlalchemy import delete

    prepare_database()
    with create_session() as session:
        for model in (XComModel, TaskInstance, Trigger, DagRun, DagModel, DagBundleModel):
            session.execute(delete(model))


def store(
    dag_id: str = "shop",
    task_id: str = "submit",
    run_id: str = "manual__1",
    map_index: int = -1,
    *,
    state: str | None = "success",
    result: Any = None,
    url: Any = CONSOLE,
    others: Mapping[str, Any] | None = None,
    waits_for: str = "",
    rendered: Any = None,
    age: timedelta = timedelta(0),
) -> None:
    """Write one task instance with its XComs, and its DAG and run where they are not there yet.

    :param url: the address of its job's page; ``None`` for a task that has submitted nothing.
    :param waits_for: the job that its trigger waits for.
    :param rendered: its template fields.
    :param age: since it ended.
    """
    from airflow.models import DagModel, DagRun, TaskInstance
    from airflow.models.dagbundle import DagBundleModel
    from airflow.models.renderedtifields import RenderedTaskInstanceFields
    from airflow.models.trigger import Trigger
    from airflow.models.xcom import XComModel
    from airflow.utils.session import create_session
    from sqlalchemy import insert, select

    at = datetime.now(UTC) - age
    with create_session() as session:

        def add(model: Any, **values: Any) -> None:
            # Releases of Airflow have more and more columns.
            known = {name: value for name, value in values.items() if name in model.__table__.columns}
            session.execute(insert(model.__table__).values(**known))

        if not session.scalar(select(DagBundleModel.name)):
            add(DagBundleModel, name="dags-folder")
        if not session.scalar(select(DagModel.dag_id).where(DagModel.dag_id == dag_id)):
            add(
                DagModel,
                dag_id=dag_id,
                bundle_name="dags-folder",
                timetable_type="",
                max_active_tasks=1,
                max_consecutive_failed_dag_runs=0,
                has_task_concurrency_limits=False,
            )
        run = select(DagRun.id).where(DagRun.dag_id == dag_id, DagRun.run_id == run_id)
        if not session.scalar(run):
            add(DagRun, dag_id=dag_id, run_id=run_id, run_type="manual", run_after=at)
        trigger_id = None
        if waits_for:
            trigger = Trigger(
                *GeminiBatchJobTrigger(
                    job_name=waits_for,
                    submitted_at=(at - timedelta(hours=3)).timestamp(),
                    gcp_conn_id="my_connection",
                    impersonation_chain=["a@p.iam.gserviceaccount.com"],
                ).serialize()
            )
            session.add(trigger)
            session.flush()
            trigger_id = trigger.id
        names = {"dag_id": dag_id, "run_id": run_id, "task_id": task_id, "map_index": map_index}
        ended = at if state in ("success", "failed") else None
        add(TaskInstance, **names, state=state, end_date=ended, pool="p", trigger_id=trigger_id)
        if rendered is not None:
            add(RenderedTaskInstanceFields, **names, rendered_fields=rendered)
        xcoms = {BatchJobLink.key: url, "return_value": result, **(others or {})}
        for key, value in xcoms.items():
            if value is not None:
                add(XComModel, **names, dag_run_id=session.scalar(run), key=key, value=value, timestamp=at)
