"""The pipeline outside Airflow: a DAG's task groups, run in this process, without a database or a scheduler."""

from __future__ import annotations

import inspect
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from airflow_gemini_batch.exceptions import InvalidRequestError
from airflow_gemini_batch.jobs.patience import Patience
from airflow_gemini_batch.task_groups.pipeline import PipelineTaskGroup

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import DAG
    from rich.console import Console
    from rich.progress import Progress

    from airflow_gemini_batch.core.summary import Summary

_MOST_AT_ONCE = 32
_TEMPLATE = "{{"


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupResult:
    """What a task group has done.

    :param built: counts of the build, as in the build task's XCom ``report``.
    :param manifests: results of the jobs, for :func:`airflow_gemini_batch.iter_responses`.
    :param landed: where the answers are and how many, as the land task returns it; ``None`` when no row was asked.
    """

    built: Mapping[str, Any]
    manifests: Sequence[Mapping[str, Any]] = ()
    landed: Mapping[str, Any] | None = None


def run_here(
    dag: DAG, *, run: str | None = None, console: Console | None = None, patience: Patience | None = None
) -> dict[str, GroupResult]:
    """Run the task groups of a DAG here: build, submit, wait and land; return their results by ``group_id``.

    It waits for the jobs, however long they take, and shows how far it is. Calling it again after it was interrupted,
    or after this process has died, finds the jobs of the same run, and pays for nothing twice. An interruption lets
    the calls under way end and creates nothing more; the jobs go on.

    :param dag: a DAG that holds nothing but groups of this package. Its schedule does not matter, and templates
        (``{{ ds }}``) are not rendered: write the values.
    :param run: name of the run; by default today's date (UTC). A run with another name asks again about rows whose
        request has failed.
    :param console: where to show the progress; by default the terminal, or the notebook.
    :param patience: pauses and limits where the state of a job is unknown; by default those of the submit operator.

    Raises :class:`~airflow_gemini_batch.exceptions.InvalidRequestError` for a DAG that can't run here, and what the
    tasks raise.
    """
    groups = _groups(dag)
    run = run or f"{datetime.now(UTC):%Y-%m-%d}"
    return {name: _Run(dag, name, run, console, patience).result() for name in groups}


def _groups(dag: DAG) -> list[str]:
    groups = [group for group in dag.task_group.children.values() if isinstance(group, PipelineTaskGroup)]
    inside = {task.task_id for group in groups for task in group.iter_tasks()}
    if others := [task.task_id for task in dag.tasks if task.task_id not in inside]:
        raise InvalidRequestError(
            f"{others[0]} can't run outside Airflow: only the task groups of this package can. Leave the other tasks "
            "out of this DAG, or run it with dag.test()"
        )
    if not groups:
        raise InvalidRequestError(
            f"The DAG {dag.dag_id} has no task group of this package. Make a GeminiEnrichmentTaskGroup or a "
            "TextEmbeddingTaskGroup inside its `with` block"
        )
    tasks: Sequence[Any] = dag.tasks
    for task in tasks:
        values = getattr(task, "partial_kwargs", None) or vars(task)  # of a mapped task
        for name in task.template_fields:
            value = values.get(name)
            if isinstance(value, str) and _TEMPLATE in value:
                raise InvalidRequestError(
                    f"{task.task_id}: {name}={value!r:.200} is a template, which only Airflow renders. Write its value"
                )
    return [str(group.group_id) for group in groups]


@dataclass
class _TaskInstance:
    """What the operators read of a task instance, and where they leave what they have to say."""

    dag_id: str
    run_id: str
    task_id: str
    map_index: int = -1
    # Of an earlier call in the same run there may be jobs.
    try_number: int = 2
    max_tries: int = 0
    xcoms: dict[str, Any] = field(default_factory=dict)

    def xcom_push(self, key: str, value: Any) -> None:
        self.xcoms[key] = value


class _InterruptedError(Exception):
    """The call has been interrupted, and waiting threads end."""


class _Run:
    """One task group in one run."""

    def __init__(
        self, dag: DAG, group: str, run: str, console: Console | None, patience: Patience | None
    ) -> None:
        from rich.console import Console

        self._dag = dag
        self._group = group
        self._run = run
        self._console = console or Console()
        self._stop = threading.Event()
        self._patience = patience

    def result(self) -> GroupResult:
        build, submit, land = map(self._task, ("build_requests", "submit", "land_results"))
        if self._dag.has_task(f"{self._group}.build_canary"):
            raise InvalidRequestError(
                f"The task group {self._group} has a canary, which can't run outside Airflow. Leave canary= out "
                "here, or run the DAG with dag.test()"
            )
        with self._progress("preflight", None):
            if self._dag.has_task(f"{self._group}.preflight"):
                self._execute(self._task("preflight"))
        with self._progress("build requests", None):
            sources, xcoms = self._execute(build)
        report = xcoms.get("report", {})
        if not sources:
            return GroupResult(built=report)
        submit.partial_kwargs["question"], land.run = xcoms.get("question"), xcoms.get("run")
        manifests, errors = self._submit(submit, sources)
        if not manifests:
            raise errors[0]
        # The land task only counts them.
        for error in errors:
            self._console.print(f"A job failed: {error}", markup=False, highlight=False, soft_wrap=True)
        land.manifest, land.requests = manifests, sources
        with self._progress("land the answers", None):
            landed, _ = self._execute(land)
        return GroupResult(built=report, manifests=manifests, landed=landed)

    def _task(self, name: str) -> Any:
        return self._dag.get_task(f"{self._group}.{name}")

    def _submit(self, mapped: Any, sources: Sequence[Any]) -> tuple[list[Any], list[BaseException]]:
        """Submit a job for each source, wait for all; return their results, and the errors of those that failed."""

        def run(index: int) -> Any:
            task = mapped.unmap({"requests": sources[index]})
            task.deferrable = False
            task.patience = replace(self._patience or task.patience, sleep=self._sleep)
            return self._execute(task, index)[0]

        pool = ThreadPoolExecutor(min(_MOST_AT_ONCE, len(sources)), thread_name_prefix="gemini-batch")
        with self._progress("wait for the jobs", len(sources)) as done:
            jobs: list[Future[Any]] = [pool.submit(run, index) for index in range(len(sources))]
            try:
                for _ in as_completed(jobs):
                    done()
            except BaseException:
                self._stop.set()
                self._console.print("Stopped. The jobs under way go on; the same call waits for them again.")
                raise
            finally:
                pool.shutdown(wait=True, cancel_futures=True)
        errors = [error for job in jobs if (error := job.exception())]
        return [job.result() for job in jobs if not job.exception()], errors

    def _sleep(self, seconds: float) -> None:
        if self._stop.wait(seconds):
            raise _InterruptedError

    def _execute(self, task: Any, map_index: int = -1) -> tuple[Any, dict[str, Any]]:
        """Run a task; return its result and what it has pushed."""
        ti = _TaskInstance(self._dag.dag_id, self._run, task.task_id, map_index)
        task.tell = self._show
        # Airflow wraps the method with a warning that it is not called by Airflow.
        return inspect.unwrap(type(task).execute)(task, {"ti": ti}), ti.xcoms

    def _show(self, _: object, summary: Summary) -> None:
        self._console.print(str(summary), markup=False, highlight=False, soft_wrap=True)

    @contextmanager
    def _progress(self, step: str, total: int | None) -> Iterator[Callable[[], None]]:
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

        columns = (TextColumn("{task.description}"), BarColumn(), *([MofNCompleteColumn()] if total else []))
        progress: Progress
        with Progress(*columns, TimeElapsedColumn(), console=self._console, transient=True) as progress:
            bar = progress.add_task(f"{self._group}: {step}", total=total)
            yield lambda: progress.advance(bar)
