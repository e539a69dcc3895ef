"""A build as people read it, with the estimate of its cost."""

from __future__ import annotations

from collections.abc import Sequence

from airflow_gemini_batch.core.summary import Summary, number_of
from airflow_gemini_batch.costs.estimate import Estimate, between
from airflow_gemini_batch.costs.plan import PlanLine
from airflow_gemini_batch.requests.row_kinds import RowKind
from airflow_gemini_batch.requests.spec import BuildPlan, BuildReport

_SHOWN_SOURCES = 3


def build_summary(
    plan: BuildPlan,
    report: BuildReport,
    expected: Estimate | None,
    prompt: str,
    lines: Sequence[PlanLine] = (),
) -> Summary:
    """Describe what was built.

    :param expected: what it costs; ``None`` without requests.
    :param prompt: of one request.
    :param lines: why rows are asked.
    """
    rows = {
        "to ask": report.requests,
        "not asked in this run": report.kept.rows,
        "done already": report.done,
        "failed for good before": report.failed_before,
        **{f"left out ({reason})": rows.count for reason, rows in report.bad.items()},
    }
    jobs = number_of(len(report.sources), "job")
    failed = f", and {report.failed_before} that failed for good," if report.failed_before else ""
    return Summary(
        headline=(
            f"{report.requests:,} of {report.rows:,} rows become requests, for {jobs}."
            if report.requests
            else f"There is nothing to ask: no new rows{failed} among {report.rows:,}."
        ),
        rows=rows,
        plan=[str(line) for line in lines] if report.every.keys() - {RowKind.NEW} else (),
        prompt=prompt,
        cost=_cost(expected) if expected else "",
        places={
            "Model": plan.model,
            **_sources(report),
            **({"Target": plan.target} if plan.target else {}),
            **({"Failures": plan.failures} if plan.failures and report.failed_before else {}),
        },
        next_step=_next_step(report),
    )


def _sources(report: BuildReport) -> dict[str, str]:
    flat = [one for source in report.sources for one in ([source] if isinstance(source, str) else source)]
    more = len(flat) - _SHOWN_SOURCES
    listed = [*flat[:_SHOWN_SOURCES], *([f"and {more:,} more"] if more > 0 else [])]
    return {"Requests": "\n".join(listed)} if listed else {}


def _cost(expected: Estimate) -> str:
    output = between(f"{expected.output_tokens_low:,}", f"{expected.output_tokens:,}")
    tokens = f"about {expected.prompt_tokens:,} prompt and {output} output tokens"
    return f"{expected.price} for {tokens}; {expected.basis}"


def _next_step(report: BuildReport) -> str:
    step = (
        f"The submit task runs {number_of(len(report.sources), 'job')}."
        if report.requests
        else "Nothing is submitted."
    )
    if report.failed_before:
        step += (
            f" {number_of(report.failed_before, 'row')} left out, since the same request has failed for good: change "
            "the prompt or the row, set ask_failed_again=1, or delete them from the failures, to ask again."
        )
    return step
