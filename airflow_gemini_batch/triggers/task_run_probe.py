"""The check of all jobs of one task in one DAG run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from airflow_gemini_batch.core.defaults import DEFAULT_FOLLOW_UP_WAIT
from airflow_gemini_batch.core.labels import DATE_LABEL, airflow_labels, date_value, names
from airflow_gemini_batch.core.labels import former_airflow_labels as former
from airflow_gemini_batch.exceptions import SourceNotReadyError
from airflow_gemini_batch.jobs.listed import submissions_of, whole_readiness
from airflow_gemini_batch.jobs.manifest import Manifest
from airflow_gemini_batch.jobs.readiness import Readiness, never, not_yet, nothing, ready
from airflow_gemini_batch.jobs.state import BatchJob
from airflow_gemini_batch.triggers.lookup import judged, labelled

if TYPE_CHECKING:
    from airflow_gemini_batch.hooks.gemini_batch import GeminiBatchHook

_ENDED = ("success", "failed", "skipped", "upstream_failed", "removed")
_FAILED = ("failed", "upstream_failed")


@dataclass(frozen=True, slots=True)
class TaskRunProbe:
    """Checks all jobs of a task in one run of its DAG: those of its map indexes, and their follow-ups.

    Airflow knows how many map indexes there are, whether a failed one is tried again, and whether a follow-up still
    comes, so it is asked first. The task's results then name the jobs, also one that an overlapping run has created.
    What Airflow knows nothing of, a run in another Airflow say, is looked for by labels.

    :param task_id: the task; without, all tasks of the DAG.
    :param run_id: the run; without, the run of ``logical_date``.
    :param logical_date: in ISO format.
    :param labels: labels that the jobs carry besides.
    :param expected_jobs: how many submissions there are at least in a run that Airflow does not know.
    :param follow_up_wait: how long a follow-up is waited for in such a run, in seconds after a job's end.
    """

    dag_id: str
    task_id: str | None = None
    run_id: str | None = None
    logical_date: str | None = None
    labels: Mapping[str, str] | None = None
    expected_jobs: int = 1
    follow_up_wait: float = DEFAULT_FOLLOW_UP_WAIT

    def __str__(self) -> str:
        run = self.run_id or f"the run of {self.logical_date}"
        return f"{self.dag_id}.{self.task_id} in {run}" if self.task_id else f"{self.dag_id} in {run}"

    @property
    def _date(self) -> datetime | None:
        return datetime.fromisoformat(self.logical_date) if self.logical_date else None

    def check(self, hook: GeminiBatchHook) -> Readiness:
        """Ask Airflow for the task's state, then read its jobs."""
        from airflow_gemini_batch.version_compat import task_states

        try:
            runs = task_states(self.dag_id, self.task_id, self.run_id, self._date)
            if not runs and self.task_id and task_states(self.dag_id, None, self.run_id, self._date):
                return never(f"{self.dag_id} has no task {self.task_id} in this run")
        except LookupError:
            runs = {}
        except Exception as error:
            return not_yet(f"could not ask Airflow for the state of {self}: {type(error).__name__}: {error}")
        if not runs:
            return self._of_labels(hook)
        # There is one run of a logical date.
        run_id, states = max(runs.items())
        return self._of_states(hook, run_id, states)

    def _of_labels(self, hook: GeminiBatchHook) -> Readiness:
        client = hook.get_conn()
        labels = airflow_labels(self.dag_id, self.task_id, self.run_id)
        if not self.run_id and self._date:
            labels[DATE_LABEL] = date_value(self._date)
        jobs = labelled(client, {**(self.labels or {}), **labels})
        if self.run_id:
            jobs += self._former(hook, self.run_id)
        found = submissions_of(jobs)
        if len(found) < self.expected_jobs:
            return not_yet(
                f"Airflow knows nothing of {self}, and {len(found)} jobs in {client.parent} carry its labels"
            )
        return whole_readiness([judged(hook, one, self.follow_up_wait) for one in found])

    def _former(self, hook: GeminiBatchHook, run_id: str) -> list[BatchJob]:
        """Return the jobs of earlier releases."""
        parts = self.dag_id, self.task_id, run_id
        if former(*parts) == airflow_labels(*parts):
            return []
        jobs = labelled(hook.get_conn(), {**(self.labels or {}), **former(*parts)})
        return [job for job in jobs if names(job.labels, *parts)]

    def _of_states(self, hook: GeminiBatchHook, run_id: str, states: Mapping[str, str | None]) -> Readiness:
        where = f"{self} ({run_id})" if not self.run_id else str(self)
        failed = [key for key, state in states.items() if state in _FAILED]
        if failed and self.task_id:
            return never(f"{where} has failed: {_some(failed)}. Their logs say why")
        if going := [key for key, state in states.items() if state not in _ENDED]:
            return not_yet(f"{where} has not ended: {_some(going)}")
        done = [key for key, state in states.items() if state == "success"]
        if not done and self.task_id:
            return nothing(f"{where} was skipped: there was nothing to ask")
        manifests = self._manifests(run_id, done) if self.task_id and not self.labels else []
        if manifests:
            return ready(f"{where} has succeeded", run_id=run_id, **_result(manifests))
        client = hook.get_conn()
        labels = {**(self.labels or {}), **airflow_labels(self.dag_id, self.task_id, run_id)}
        jobs = [*labelled(client, labels), *self._former(hook, run_id)]
        if not jobs:
            return never(f"{where} has ended, but has submitted no batch job in {client.parent}")
        # The tasks have ended, so no follow-up comes.
        check = whole_readiness([one.readiness() for one in submissions_of(jobs)])
        return check if check.result is None else ready(check.reason, run_id=run_id, **check.result)

    def _manifests(self, run_id: str, keys: Sequence[str]) -> list[Manifest]:
        """Return the results of the task; nothing if one of them does not say what its jobs are."""
        from airflow_gemini_batch.version_compat import task_result

        task_id = self.task_id or ""
        indexes = sorted(-1 if key == task_id else int(key.removeprefix(f"{task_id}_")) for key in keys)
        try:
            results = [task_result(self.dag_id, run_id, task_id, index) for index in indexes]
        except Exception as error:
            raise SourceNotReadyError(
                f"could not ask Airflow for the result of {self}: {type(error).__name__}: {error}"
            ) from error
        try:
            return list(map(Manifest.from_json, results))
        except ValueError:
            return []


def _result(manifests: Sequence[Manifest]) -> dict[str, Any]:
    rounds = [round_ for manifest in manifests for round_ in manifest.rounds]
    first = rounds[0]
    return {
        "job_name": first.job_name,
        "state": first.state,
        "output": first.output,
        "jobs": [round_.job_name for round_ in rounds],
        "outputs": [round_.output for round_ in rounds if round_.output],
    }


def _some(keys: Sequence[str], most: int = 5) -> str:
    named = ", ".join(sorted(keys)[:most])
    return f"{named} and {len(keys) - most} more" if len(keys) > most else named
