"""Wait for a job."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from airflow_gemini_batch.exceptions import InvalidRequestError, as_invalid_request
from airflow_gemini_batch.sensors.base import ReadinessSensor

if TYPE_CHECKING:
    from airflow_gemini_batch.triggers.probes import JobProbe


class GeminiBatchJobSensor(ReadinessSensor):
    """Wait until a batch job has ended with a result; fail at once when it ends in any other way.

    The job is given by its name, by the DAG, task and run that submitted it, or by its labels. Of several that match,
    the newest counts; without any, the sensor waits. Its result is a dict: ``job_name``, ``state``, ``output``.

    :param job_name: ``projects/P/locations/L/batchPredictionJobs/ID``.
    :param external_dag_id: the DAG that submits the job.
    :param external_task_id: the task that submits it.
    :param external_run_id: the run of that DAG; by default the newest job of any run counts.
    :param labels: labels that the job carries.
    """

    template_fields: Sequence[str] = (
        *ReadinessSensor.template_fields,
        "job_name",
        "external_dag_id",
        "external_task_id",
        "external_run_id",
        "labels",
    )

    def __init__(
        self,
        *,
        job_name: str | None = None,
        external_dag_id: str | None = None,
        external_task_id: str | None = None,
        external_run_id: str | None = None,
        labels: Mapping[str, str] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.job_name = job_name
        self.external_dag_id = external_dag_id
        self.external_task_id = external_task_id
        self.external_run_id = external_run_id
        self.labels = labels

    def probe(self) -> JobProbe:
        """Return the probe for the job."""
        from airflow_gemini_batch.core.labels import airflow_labels
        from airflow_gemini_batch.triggers.probes import JobProbe

        labels = {
            **(self.labels or {}),
            **airflow_labels(self.external_dag_id, self.external_task_id, self.external_run_id),
        }
        if bool(self.job_name) == bool(labels):
            raise InvalidRequestError(
                f"{self.task_id}: give either job_name, or external_dag_id (with external_task_id and "
                "external_run_id) or labels that find the job"
            )
        if self.job_name:
            with as_invalid_request("job_name"):
                self.hook.job_name(self.job_name)
            return JobProbe(job_name=self.job_name)
        return JobProbe(labels=labels)
