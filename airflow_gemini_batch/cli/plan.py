"""``gemini-batch plan``: what a DAG would ask now, and what that costs, before anything is paid."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Annotated, Any

import typer

from airflow_gemini_batch.cli.jobs import JsonOption
from airflow_gemini_batch.cli.screen import EXIT_CODES, escape, print_table, screen, table_of, telling_errors
from airflow_gemini_batch.core.shown import listed
from airflow_gemini_batch.core.summary import number_of
from airflow_gemini_batch.costs.plan import PlanLine
from airflow_gemini_batch.exceptions import InvalidRequestError
from airflow_gemini_batch.requests.spec import BuildReport

_RUN = "plan"


@dataclass(frozen=True, slots=True)
class TaskPlan:
    """What a build task would ask."""

    task: str
    target: str
    report: BuildReport
    lines: list[PlanLine]

    def to_json(self) -> dict[str, Any]:
        """Return the plan as JSON types."""
        plan = [line.to_json() for line in self.lines]
        return {"task": self.task, "target": self.target, **self.report.to_json(), "plan": plan}


def plan(
    dag_id: Annotated[str, typer.Argument(help="The DAG.")],
    group: Annotated[str | None, typer.Argument(help="One of its task groups. By default all.")] = None,
    dags: Annotated[
        str | None,
        typer.Option(metavar="PATH", help="A folder or file with DAGs. By default Airflow's folder."),
    ] = None,
    date: Annotated[
        datetime | None,
        typer.Option(formats=["%Y-%m-%d"], help="What {{ ds }} stands for. By default today."),
    ] = None,
    conf: Annotated[
        str | None,
        typer.Option(metavar="JSON", help="Parameters of the run, as in airflow dags trigger --conf."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Show which rows a DAG would ask now, why, and what that costs. Nothing is built or paid."""
    # Read when Airflow is imported. What its log tells of a build would hide the plan.
    os.environ.setdefault("AIRFLOW__LOGGING__LOGGING_LEVEL", "WARNING")
    with telling_errors():
        builds = list(_builds(dag_id, group, dags))
        context = _context(builds[0].dag, date, conf)
        plans = [_plan(task, context) for task in builds]
    if as_json:
        typer.echo(json.dumps([one.to_json() for one in plans]))
        return
    for one in plans:
        _print(one)


plan.__doc__ = f"{plan.__doc__}\n\n{EXIT_CODES}"


def _builds(dag_id: str, group: str | None, dags: str | None) -> Iterator[Any]:
    """Yield the build tasks of a DAG; raises :class:`.InvalidRequestError` when there are none."""
    from airflow_gemini_batch.operators.build import BuildRequestsOperator
    from airflow_gemini_batch.operators.preflight import PreflightOperator
    from airflow_gemini_batch.version_compat import dags_in

    found, errors = dags_in(dags)
    if dag_id not in found:
        broken = "".join(f"\n{file}: {error.strip().splitlines()[-1]}" for file, error in errors.items())
        raise InvalidRequestError(
            f"There is no DAG {dag_id!r}. The DAGs are: {listed(sorted(found)) or 'none'}"
            + (f"\nThese files could not be read:{broken}" if broken else "")
        )
    tasks = [
        task
        for task in found[dag_id].topological_sort()
        if isinstance(task, BuildRequestsOperator) and not isinstance(task, PreflightOperator)
    ]
    chosen = [task for task in tasks if group in (None, task.task_id, task.task_id.rpartition(".")[0])]
    if not chosen:
        names = listed(dict.fromkeys(task.task_id.rpartition(".")[0] or task.task_id for task in tasks))
        what = f"group {group!r} that builds" if group else "task that builds"
        raise InvalidRequestError(f"The DAG {dag_id} has no {what} requests. It has: {names or 'none'}")
    yield from chosen


def _context(dag: Any, date: datetime | None, conf: str | None) -> dict[str, Any]:
    """Return what templates find."""
    try:
        given = json.loads(conf or "{}")
    except ValueError as error:
        raise InvalidRequestError(f"--conf is not JSON: {error}") from None
    if not isinstance(given, dict):
        raise InvalidRequestError('--conf has to be an object, such as {"day": "2026-05-01"}')
    day = (date or datetime.now(UTC)).replace(tzinfo=UTC)
    params = {**_values(dag.params), **given}
    return {
        "dag": dag,
        "ds": f"{day:%Y-%m-%d}",
        "ds_nodash": f"{day:%Y%m%d}",
        "ts": day.isoformat(),
        "logical_date": day,
        "data_interval_start": day,
        "data_interval_end": day,
        "run_id": _RUN,
        "params": params,
        "var": {"value": _Variables(as_json=False), "json": _Variables(as_json=True)},
        "conn": _Connections(),
        "dag_run": SimpleNamespace(conf=given, run_id=_RUN, logical_date=day),
    }


@dataclass(frozen=True, slots=True)
class _Variables:
    """Airflow's variables as templates read them."""

    as_json: bool

    def __getattr__(self, name: str) -> Any:
        from airflow.models.variable import Variable

        return Variable.get(name, deserialize_json=self.as_json)

    def get(self, name: str, default: Any = None) -> Any:
        """Return a variable, or another value where there is none."""
        from airflow.models.variable import Variable

        return Variable.get(name, default_var=default, deserialize_json=self.as_json)


class _Connections:
    """Airflow's connections as templates read them."""

    def __getattr__(self, name: str) -> Any:
        from airflow.providers.common.compat.sdk import BaseHook

        return BaseHook.get_connection(name)


def _values(params: Any) -> Mapping[str, Any]:
    dumped: Mapping[str, Any] = params.dump()
    return dumped


def _plan(task: Any, context: Mapping[str, Any]) -> TaskPlan:
    from airflow.providers.common.compat.sdk import AirflowException, XComArg

    ti = SimpleNamespace(dag_id=task.dag_id, run_id=_RUN, task_id=task.task_id, map_index=-1)
    for name in task.template_fields:
        if isinstance(getattr(task, name), XComArg):
            raise InvalidRequestError(
                f"{task.task_id}: {name} is the result of another task, which is known in a run only. Run the DAG: the "
                "log of the build task shows its plan before anything is submitted"
            )
    try:
        task.render_template_fields({**context, "ti": ti, "task_instance": ti, "task": task})
        report, lines = task.plan({**context, "ti": ti})
    except (AirflowException, KeyError) as error:
        # What no other try can fix has become an error of Airflow's.
        raise InvalidRequestError(f"{task.task_id}: {error.args[0] if error.args else error}") from None
    return TaskPlan(task.task_id, str(task.target or ""), report, lines)


def _print(one: TaskPlan) -> None:
    report = one.report
    asked = f"{number_of(report.requests, 'row')} of {report.rows:,} would be asked"
    screen.print(f"[bold]{escape(one.task)}[/]: {asked}. Target: {escape(one.target)}", soft_wrap=True)
    table = table_of(("why", "rows", "asked in this run", "tokens", "cost"))
    for line in one.lines:
        table.add_row(escape(line.name), f"{line.rows:,}", f"{line.asked:,}", line.tokens, line.price)
    others = {
        "done already": report.done,
        "failed for good before": report.failed_before,
        "left out": report.dropped,
    }
    for name, count in others.items():
        if count:
            table.add_row(name, f"{count:,}", "0", "", "")
    print_table(table)
