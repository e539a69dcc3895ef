"""The link from a task to its job in the Google Cloud console."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow.providers.common.compat.sdk import BaseOperatorLink, XCom

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import BaseOperator, Context, TaskInstanceKey

    from airflow_gemini_batch.jobs.state import JobName


class BatchJobLink(BaseOperatorLink):
    """The batch job's page in the console, from the moment the job is known, also while the task waits."""

    name = "Vertex AI batch job"
    key = "vertex_ai_batch_job_url"

    @classmethod
    def persist(cls, context: Context, job_name: JobName) -> None:
        """Store the address, so that showing the link needs no call."""
        context["ti"].xcom_push(key=cls.key, value=job_name.console_url)

    def get_link(self, operator: BaseOperator, *, ti_key: TaskInstanceKey) -> str:
        """Return the address; empty while no job is known."""
        return XCom.get_value(ti_key=ti_key, key=self.key) or ""
