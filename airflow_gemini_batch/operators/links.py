"""The links from a task to its jobs and tables in the Google Cloud console."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow.providers.common.compat.sdk import BaseOperatorLink, XCom

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import BaseOperator, Context, TaskInstanceKey

    from airflow_gemini_batch.jobs.state import BatchJob
    from airflow_gemini_batch.landing.plan import LandingReport


class BatchJobLink(BaseOperatorLink):
    """The first job's page in the console, from the moment the job is known, also while the task waits."""

    name = "Vertex AI batch job"
    key = "vertex_ai_batch_job_url"

    def get_link(self, operator: BaseOperator, *, ti_key: TaskInstanceKey) -> str:
        """Return the address; empty while no job is known."""
        return XCom.get_value(ti_key=ti_key, key=self.key) or ""


class FollowUpJobLink(BatchJobLink):
    """The page of the latest follow-up job, which sends again the rows that failed temporarily."""

    name = "Vertex AI follow-up job"
    key = "vertex_ai_follow_up_job_url"


class TargetLink(BatchJobLink):
    """The page of the table that answers have landed in."""

    name = "BigQuery target"
    key = "gemini_batch_target_url"


class FailedRowsLink(BatchJobLink):
    """The page of the table of failures, when rows have failed."""

    name = "BigQuery failed rows"
    key = "gemini_batch_failed_rows_url"


def persist_target_links(context: Context, report: LandingReport) -> None:
    """Store the addresses of the tables' pages; files have none."""
    from airflow_gemini_batch.core.summary import console_page

    places = {
        TargetLink.key: report.target,
        FailedRowsLink.key: report.failed_target if report.failed else "",
    }
    for key, place in places.items():
        if url := console_page(place):
            context["ti"].xcom_push(key=key, value=url)


def persist_link(context: Context, job: BatchJob) -> None:
    """Store the address of a job's page, so that showing the link needs no call."""
    from airflow_gemini_batch.jobs.identity import RoundId

    link = FollowUpJobLink if RoundId.of(job).number else BatchJobLink
    context["ti"].xcom_push(key=link.key, value=job.name.console_url)
