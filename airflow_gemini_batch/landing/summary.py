"""A landing as people read it."""

from __future__ import annotations

from collections.abc import Sequence

from airflow_gemini_batch.core.addresses import BigQueryAddress
from airflow_gemini_batch.core.outcomes import Outcome, failed_for_good
from airflow_gemini_batch.core.summary import FailedRows, Summary
from airflow_gemini_batch.jobs.manifest import Manifest
from airflow_gemini_batch.jobs.summaries import JobUrl, job_summaries, total_cost, total_tokens
from airflow_gemini_batch.landing.plan import LandingReport


def landing_summary(
    report: LandingReport,
    manifests: Sequence[Manifest],
    failures: Sequence[FailedRows],
    url: JobUrl,
    *,
    bookkeeping: bool,
) -> Summary:
    """Describe what has landed, with the totals of all jobs.

    :param failures: of :func:`~airflow_gemini_batch.landing.failed_rows.failed_rows`; without any, the messages of the
        report are shown.
    :param bookkeeping: whether the next build can know which rows are done.
    """
    if report.failed and not failures:
        parts = (sample.partition(": ") for sample in report.samples)
        failures = [FailedRows(outcome, message) for outcome, _, message in parts]
    failed = f", {report.failed:,} failed" if report.failed else ""
    places = {"Target": report.target}
    if report.failed:
        places["Failures"] = report.failed_target
    return Summary(
        headline=f"{report.landed:,} rows landed{failed}.",
        rows={str(outcome): count for outcome, count in report.counts.items()},
        failures=failures,
        tokens=total_tokens(manifests),
        cost=total_cost(manifests),
        jobs=job_summaries([manifest.rounds for manifest in manifests], url),
        places=places,
        query=latest_failures_query(report.failed_target) if report.failed else "",
        next_step=_next_step(report, failures, bookkeeping),
    )


def latest_failures_query(failed_target: str) -> str:
    """Return the statement that shows the rows that failed last; empty for failures in a file."""
    try:
        table = BigQueryAddress.parse(failed_target)
    except ValueError:
        return ""
    # The alias keeps a table from hiding a column that is called like it. ORDER BY reads what is selected.
    return f"SELECT * FROM {table.sql} AS failed\nORDER BY failed_time DESC\nLIMIT 100"


def _next_step(report: LandingReport, failures: Sequence[FailedRows], bookkeeping: bool) -> str:
    if not bookkeeping:
        return "The next run asks about all rows again: without bookkeeping nothing says which are done."
    step = "The next incremental run asks about new and changed rows"
    kinds = [(failed.outcome, failed.code, failed.count) for failed in failures if failed.count is not None]
    counts = kinds or [(outcome.value, None, count) for outcome, count in report.counts.items()]
    failed = [one for one in counts if one[0] != Outcome.OK]
    for_good = sum(count or 0 for outcome, code, count in failed if failed_for_good(outcome, code))
    again = sum(count or 0 for *_, count in failed) - for_good
    step += f", and again about {again:,} that failed temporarily." if again else " only."
    if for_good:
        step += (
            f" {for_good:,} failed for good: they are asked again when their request changes, with "
            "ask_failed_again=1, or when they are deleted from the failures."
        )
    return step
