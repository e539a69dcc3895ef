"""The jobs of submit tasks, as the tasks have left them in Airflow's database. It only reads."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from airflow_gemini_batch.operators.base import SUMMARY_KEY
from airflow_gemini_batch.operators.links import BatchJobLink, FollowUpJobLink
from airflow_gemini_batch.page.facts import Facts, facts_of
from airflow_gemini_batch.vertex.resource import VertexJobName

RESULT_KEY = "return_value"
_JOB_PAGE = re.compile(
    r"https://console\.cloud\.google\.com/vertex-ai/locations/(?P<location>[^/]+)/batch-predictions/(?P<job_id>[^/?]+)"
    r"\?project=(?P<project>.+)"
)
_TRIGGER = "airflow_gemini_batch.triggers.gemini_batch.GeminiBatchJobTrigger"


@dataclass(frozen=True, slots=True)
class WaitedFor:
    """The job that a task waits for, and the connection that the task asks with.

    :param submitted_at: when the job was created, in seconds since the epoch; ``None`` where that is not stored.
    """

    job_name: str
    gcp_conn_id: str
    impersonation_chain: str | tuple[str, ...] | None = None
    quota_project_id: str | None = None
    submitted_at: float | None = None

    @classmethod
    def of(cls, arguments: Mapping[str, Any]) -> WaitedFor:
        """Read the arguments of a trigger, or rendered ones of an operator with the name of the job."""
        chain, quota = arguments.get("impersonation_chain"), arguments.get("quota_project_id")
        submitted_at = arguments.get("submitted_at")
        return cls(
            str(arguments["job_name"]),
            str(arguments["gcp_conn_id"]),
            tuple(map(str, chain)) if isinstance(chain, (list, tuple)) else chain and str(chain),
            quota and str(quota),
            None if submitted_at is None else float(submitted_at),
        )


@dataclass(frozen=True, slots=True)
class TaskJob:
    """A submit task's instance, and what is known of its jobs.

    :param state: of the task instance; empty after it was cleared.
    :param is_under_way: whether the task has not ended.
    :param changed: when the task ended, or when it last stored the address of its job.
    :param job_url: what the task has stored as the page of its first job.
    :param follow_up_url: of its latest follow-up, empty without one.
    :param facts: of the result; ``None`` when there is none that can be read.
    :param waited_for: of a task that waits, in the triggerer or in its worker.
    :param model: as the task names it; empty after its end, and where it is not stored.
    """

    dag_id: str
    run_id: str
    task_id: str
    map_index: int
    state: str
    is_under_way: bool
    changed: datetime
    job_url: str
    follow_up_url: str = ""
    facts: Facts | None = None
    waited_for: WaitedFor | None = None
    model: str = ""


def newest(dag_ids: Collection[str], since: datetime, most: int) -> tuple[list[TaskJob], bool]:
    """Return the jobs under way, then those of tasks that ended later than ``since``, newest first.

    :param dag_ids: the DAGs whose tasks are read.
    :param most: how many task instances are returned.

    Also returns whether there are more than those.
    """
    from sqlalchemy import case, or_

    statement, columns = _statement()
    unfinished = _unfinished(columns.state)
    statement = (
        statement.where(columns.dag_id.in_(dag_ids), or_(unfinished, columns.timestamp >= since))
        .order_by(case((unfinished, 0), else_=1), columns.timestamp.desc())
        .limit(most + 1)
    )
    found = _read(statement)
    return found[:most], len(found) > most


def of_task(dag_id: str, run_id: str, task_id: str, map_index: int) -> tuple[TaskJob | None, str]:
    """Return the job of one task instance, if it has one, and what the task tells people, if it does."""
    statement, columns = _statement()
    found = _read(
        statement.where(
            columns.dag_id == dag_id,
            columns.run_id == run_id,
            columns.task_id == task_id,
            columns.map_index == map_index,
        )
    )
    return (found[0] if found else None), _summary(dag_id, run_id, task_id, map_index)


def _statement() -> tuple[Any, Any]:
    """Return the statement for all jobs, and the columns that conditions are about.

    A submit task stores the address of its job as soon as it knows one, so that this XCom finds the task instances.
    """
    from types import SimpleNamespace

    from airflow.models.renderedtifields import RenderedTaskInstanceFields as Rendered
    from airflow.models.taskinstance import TaskInstance
    from airflow.models.trigger import Trigger
    from airflow.models.xcom import XComModel
    from sqlalchemy import and_, select
    from sqlalchemy.orm import aliased, lazyload

    link, follow_up, result = aliased(XComModel), aliased(XComModel), aliased(XComModel)

    def beside(other: Any, key: str) -> Any:
        return and_(
            other.dag_run_id == link.dag_run_id,
            other.task_id == link.task_id,
            other.map_index == link.map_index,
            other.key == key,
        )

    def of_task_instance(other: Any) -> Any:
        return and_(
            TaskInstance.dag_id == other.dag_id,
            TaskInstance.run_id == other.run_id,
            TaskInstance.task_id == other.task_id,
            TaskInstance.map_index == other.map_index,
        )

    statement = (
        select(
            TaskInstance.dag_id,
            TaskInstance.run_id,
            TaskInstance.task_id,
            TaskInstance.map_index,
            TaskInstance.state,
            TaskInstance.end_date,
            link.timestamp,
            link.value.label("job_url"),
            follow_up.value.label("follow_up_url"),
            result.value.label("result"),
            Rendered.rendered_fields,
            Trigger,
        )
        .select_from(link)
        .join(TaskInstance, of_task_instance(link))
        .outerjoin(follow_up, beside(follow_up, FollowUpJobLink.key))
        .outerjoin(result, beside(result, RESULT_KEY))
        .outerjoin(Trigger, and_(Trigger.id == TaskInstance.trigger_id, Trigger.classpath == _TRIGGER))
        .outerjoin(Rendered, and_(of_task_instance(Rendered), _unfinished(TaskInstance.state)))
        .options(lazyload(Trigger.task_instance))
        .where(link.key == BatchJobLink.key)
    )
    columns = SimpleNamespace(
        dag_id=TaskInstance.dag_id,
        run_id=TaskInstance.run_id,
        task_id=TaskInstance.task_id,
        map_index=TaskInstance.map_index,
        state=TaskInstance.state,
        timestamp=link.timestamp,
    )
    return statement, columns


def _unfinished(state: Any) -> Any:
    from airflow.utils.state import State
    from sqlalchemy import or_

    return or_(state.is_(None), state.in_([str(one.value) for one in State.unfinished if one]))


def _read(statement: Any) -> list[TaskJob]:
    from airflow.utils.session import create_session

    with create_session(scoped=False) as session:
        return list(map(_task_job, session.execute(statement)))


def _task_job(row: Any) -> TaskJob:
    from airflow.utils.state import State

    rendered = row.rendered_fields if isinstance(row.rendered_fields, Mapping) else {}
    job_url, follow_up_url = _text(row.job_url), _text(row.follow_up_url)
    waited_for = None
    if row.Trigger is not None:
        waited_for = _waited_for(lambda: row.Trigger.kwargs)
    elif row.state == "running":
        waited_for = _waited_for(lambda: {**rendered, "job_name": _job_of(follow_up_url or job_url)})
    return TaskJob(
        dag_id=row.dag_id,
        run_id=row.run_id,
        task_id=row.task_id,
        map_index=row.map_index,
        state=row.state or "",
        is_under_way=row.state in State.unfinished,
        changed=row.end_date or row.timestamp,
        job_url=job_url,
        follow_up_url=follow_up_url,
        facts=facts_of(_value(row.result)),
        waited_for=waited_for,
        model=str(rendered.get("model", "")),
    )


def _waited_for(arguments: Callable[[], Mapping[str, Any]]) -> WaitedFor | None:
    """Return the job that is waited for; ``None`` when that can't be read, with another key of Airflow's say."""
    try:
        return WaitedFor.of(arguments())
    except Exception:
        return None


def _job_of(url: str) -> VertexJobName:
    """Return the job whose page in the console this is; raises :class:`ValueError` for any other text."""
    parts = _JOB_PAGE.fullmatch(url)
    if parts is None:
        raise ValueError("expected the page of a batch job")
    return VertexJobName(parts["project"], parts["location"], parts["job_id"])


def _summary(dag_id: str, run_id: str, task_id: str, map_index: int) -> str:
    from airflow.models.xcom import XComModel
    from airflow.utils.session import create_session
    from sqlalchemy import select

    with create_session(scoped=False) as session:
        return _text(
            session.scalar(
                select(XComModel.value).where(
                    XComModel.dag_id == dag_id,
                    XComModel.run_id == run_id,
                    XComModel.task_id == task_id,
                    XComModel.map_index == map_index,
                    XComModel.key == SUMMARY_KEY,
                )
            )
        )


def _text(stored: Any) -> str:
    value = _value(stored)
    return value if isinstance(value, str) else ""


def _value(stored: Any) -> Any:
    """Return a stored XCom as plain JSON, without making objects of any class that it names."""
    if isinstance(stored, str):
        try:
            return json.loads(stored)
        except ValueError:
            return stored
    return stored
