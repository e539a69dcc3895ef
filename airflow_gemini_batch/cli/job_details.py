"""One job with its follow-ups, as ``gemini-batch jobs show`` tells it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Self

from airflow_gemini_batch.cli.job_facts import facts_of, has_counts, summary_of, task_text
from airflow_gemini_batch.cli.job_rows import SubmissionRows, rows_of
from airflow_gemini_batch.core.labels import RUN_LABEL
from airflow_gemini_batch.core.summary import JobSummary, Summary
from airflow_gemini_batch.exceptions import JobServiceError
from airflow_gemini_batch.jobs.client import Connection
from airflow_gemini_batch.jobs.finished import ended_summary
from airflow_gemini_batch.jobs.listed import ListedSubmission, submission_of
from airflow_gemini_batch.jobs.polling import progress_text, utc_now
from airflow_gemini_batch.jobs.rounds import merged
from airflow_gemini_batch.jobs.state import BatchJob
from airflow_gemini_batch.triggers.lookup import submission_with


@dataclass(frozen=True, slots=True)
class Details:
    """A job, and the submission that it is a part of.

    :param warnings: what could not be asked.
    :param rows: ``None`` if they have not been read.
    """

    job: BatchJob
    submission: ListedSubmission
    warnings: tuple[str, ...] = ()
    rows: SubmissionRows | None = None

    @classmethod
    def read(cls, connection: Connection, job: BatchJob) -> Self:
        """Look for the other jobs of a job's submission."""
        try:
            return cls(job, submission_with(connection.get_conn(job.name), job))
        except JobServiceError as error:
            return cls(
                job, submission_of([job]), (f"Other jobs of its submission could not be looked for: {error}",)
            )

    def with_rows(self, connection: Connection, prices: str | None) -> Self:
        """Read the answers as well: see :func:`.rows_of`."""
        return replace(self, rows=rows_of(connection, self.submission, prices))

    @property
    def summary(self) -> Summary:
        """What people read."""
        job = self.job
        known = (
            ended_summary(self.rows.rounds, self.rows.spending, self.rows.family)
            if self.rows
            else Summary("")
        )
        places = {
            "Task": "\n".join(filter(None, (task_text(job), job.labels.get(RUN_LABEL)))),
            "Model": job.model,
            "Labels": "\n".join(f"{key}={value}" for key, value in sorted(job.labels.items())),
            "Requests": "\n".join(job.requests),
            "Destination": job.destination,
        }
        return replace(
            known,
            headline=f"{progress_text(job, utc_now())}.",
            error=str(job.error or ""),
            warnings=[*self.warnings, *(self.rows.warnings if self.rows else ())],
            jobs=known.jobs or [_summary_of(one) for one in self.submission.rounds],
            places={name: text for name, text in places.items() if text},
        )

    def to_json(self) -> dict[str, Any]:
        """Return all of it as JSON types; what was not read is ``null``."""
        now = utc_now()
        outcomes = tokens = cost = None
        if rows := self.rows:
            outcomes = {str(outcome): count for outcome, count in merged(rows.rounds).counts.items()}
            tokens = {model: usage.to_json() for model, usage in rows.spending.usage.items()}
            cost = rows.spending.cost.to_json() if rows.spending.cost else None
        return {
            **facts_of(self.job, now),
            "jobs": [facts_of(job, now) for job in self.submission.rounds],
            "outcomes": outcomes,
            "tokens": tokens,
            "cost": cost,
            "warnings": [*self.warnings, *(rows.warnings if rows else ())],
        }


def _summary_of(job: BatchJob) -> JobSummary:
    return summary_of(job) if has_counts(job) else replace(summary_of(job), rows={})
