"""Wait for a submission's jobs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from airflow_gemini_batch.exceptions import InvalidRequestError, as_invalid_request
from airflow_gemini_batch.sensors.base import ReadinessSensor

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

    from airflow_gemini_batch.triggers.probes import JobProbe
    from airflow_gemini_batch.triggers.task_run_probe import TaskRunProbe


class GeminiBatchJobSensor(ReadinessSensor):
    """Wait until all batch jobs of a task run, or of a submission, have ended with a result; fail when they do not.

    The jobs are given by the DAG and task that submit them, by the name of one of them, or by their labels. Of a task,
    those of one run count: all map indexes, with the follow-up jobs for rows that failed. It is the run of the same
    logical date as the sensor's own, unless another one is named. While it does not exist yet, the sensor waits; when
    the task was skipped, so is the sensor.

    Its result is a dict: ``jobs`` (list of names) and ``outputs`` (list of addresses) of all map indexes and rounds;
    ``job_name``, ``state`` and ``output`` of the first job alone; and, with ``external_dag_id``, the task's ``run_id``.

    :param job_name: ``projects/P/locations/L/batchPredictionJobs/ID``; the follow-ups of this job are waited for too.
    :param external_dag_id: the DAG that submits the jobs.
    :param external_task_id: the task that submits them; by default all tasks of the DAG, which then all have to end.
    :param external_run_id: the run of that DAG.
    :param external_logical_date: the logical date of that run, as a datetime or in ISO format; by default the sensor's.
    :param labels: labels that the jobs carry. Without a DAG, the jobs of the newest run with these labels count.
    :param expected_jobs: how many jobs there are at least, without follow-ups, where Airflow does not know it: with
        ``labels``, or for a DAG of another Airflow.
    """

    template_fields: Sequence[str] = (
        *ReadinessSensor.template_fields,
        "job_name",
        "external_dag_id",
        "external_task_id",
        "external_run_id",
        "external_logical_date",
        "labels",
    )

    def __init__(
        self,
        *,
        job_name: str | None = None,
        external_dag_id: str | None = None,
        external_task_id: str | None = None,
        external_run_id: str | None = None,
        external_logical_date: datetime | str | None = None,
        labels: Mapping[str, str] | None = None,
        expected_jobs: int = 1,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.job_name = job_name
        self.external_dag_id = external_dag_id
        self.external_task_id = external_task_id
        self.external_run_id = external_run_id
        self.external_logical_date = external_logical_date
        self.labels = labels
        self.expected_jobs = expected_jobs

    def probe(self, context: Context) -> JobProbe | TaskRunProbe:
        """Return the probe for the jobs."""
        from airflow_gemini_batch.triggers.probes import JobProbe
        from airflow_gemini_batch.triggers.task_run_probe import TaskRunProbe

        others = self.external_task_id or self.external_run_id or self.external_logical_date
        if bool(self.job_name) == bool(self.external_dag_id or self.labels) or (
            others and not self.external_dag_id
        ):
            raise InvalidRequestError(
                f"{self.task_id}: give either job_name, or external_dag_id (with external_task_id and, for another run "
                "than that of the same logical date, external_run_id or external_logical_date), or labels that find "
                "the jobs"
            )
        if self.job_name:
            with as_invalid_request("job_name"):
                self.hook.job_name(self.job_name)
            return JobProbe(job_name=self.job_name, follow_up_wait=self.follow_up_wait)
        labels = dict(self.labels or {})
        if not self.external_dag_id:
            return JobProbe(
                labels=labels, expected_jobs=self.expected_jobs, follow_up_wait=self.follow_up_wait
            )
        if self.external_dag_id == self.dag_id and not self.external_task_id:
            raise InvalidRequestError(
                f"{self.task_id}: give external_task_id. Without it the sensor waits for all tasks of {self.dag_id}, "
                "and so for itself"
            )
        return TaskRunProbe(
            dag_id=self.external_dag_id,
            task_id=self.external_task_id or None,
            run_id=self.external_run_id or None,
            logical_date=None if self.external_run_id else self._logical_date(context),
            labels=labels or None,
            expected_jobs=self.expected_jobs,
            follow_up_wait=self.follow_up_wait,
        )

    def _logical_date(self, context: Context) -> str:
        date = self.external_logical_date or context.get("logical_date")
        if isinstance(date, str):
            with as_invalid_request("external_logical_date"):
                date = datetime.fromisoformat(date)
        if date is None:
            raise InvalidRequestError(
                f"{self.task_id}: this run has no logical date, so it is not known which run of {self.external_dag_id} "
                "is meant. Give external_run_id or external_logical_date"
            )
        if date.tzinfo is None:
            date = date.replace(tzinfo=UTC)
        return date.astimezone(UTC).isoformat()
