"""A submission that has ended, as its result and as people read it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from airflow_gemini_batch.core.model_families import ModelFamily
from airflow_gemini_batch.core.models import short_model_name
from airflow_gemini_batch.core.summary import FailedRows, Summary, number_of
from airflow_gemini_batch.jobs.failures import end_of
from airflow_gemini_batch.jobs.identity import RoundId
from airflow_gemini_batch.jobs.manifest import Manifest, Round
from airflow_gemini_batch.jobs.rounds import EndedRound, merged
from airflow_gemini_batch.jobs.spending import Spending
from airflow_gemini_batch.jobs.state import BatchJob, Stage
from airflow_gemini_batch.jobs.submission import Submission
from airflow_gemini_batch.jobs.summaries import failed_rows_query, job_summaries, tokens_by_kind
from airflow_gemini_batch.outputs.classify import Tally
from airflow_gemini_batch.outputs.usage import Usage


@dataclass(frozen=True, slots=True)
class Finished:
    """A submission that has succeeded.

    :param manifest: its result.
    :param summary: what people read of it.
    """

    manifest: Manifest
    summary: Summary


def ended_summary(rounds: Sequence[EndedRound], spending: Spending, family: ModelFamily) -> Summary:
    """Describe the jobs of one submission that have ended; what happened and what comes next is left to say."""
    tally = merged(rounds)
    urls = {str(ended.job.name): ended.job.name.console_url for ended in rounds}
    shown = _rounds(rounds)
    return Summary(
        headline="",
        rows={
            **{str(outcome): count for outcome, count in tally.counts.items()},
            "repeated (not counted)": tally.duplicates,
            "unknown (not counted)": tally.unknown,
        },
        failures=[FailedRows(*_parted(sample)) for sample in tally.samples],
        tokens=tokens_by_kind(sum(spending.usage.values(), Usage())),
        cost=str(spending.cost or "unknown") if spending.usage else "",
        jobs=job_summaries([shown], urls.__getitem__),
        places={"Requests": "\n".join(map(str, rounds[0].requests))},
        query=failed_rows_query(shown, family) if tally.failed else "",
    )


def finished(
    job: BatchJob,
    rounds: Sequence[EndedRound],
    spending: Spending,
    summary: Summary,
    submission: Submission,
    *,
    needs_answers: bool,
    max_row_retries: int,
) -> Finished:
    """Describe a submission that has succeeded.

    :param job: the last one.
    :param summary: of :func:`ended_summary`.
    :param needs_answers: whether no land task takes the result.
    """
    tally = merged(rounds)
    manifest = Manifest(
        identity=RoundId.of(job).root,
        model=short_model_name(submission.model),
        console_url=job.name.console_url,
        counts={outcome.value: count for outcome, count in tally.counts.items()},
        rounds=tuple(_rounds(rounds)),
        usage={model: usage.to_json() for model, usage in spending.usage.items()},
        cost=spending.cost.to_json() if spending.cost else None,
        other_models=spending.other_models,
        question=submission.question,
    )
    warnings = (
        []
        if job.state.stage is Stage.SUCCEEDED
        else [f"Enough rows have an answer, although the last job {end_of(job)}"]
    )
    return Finished(
        manifest,
        replace(
            summary,
            headline=f"{tally.answered:,} of {tally.rows:,} rows answered.",
            warnings=warnings,
            next_step=_next_step(tally, submission.target, needs_answers, max_row_retries),
        ),
    )


def _rounds(rounds: Sequence[EndedRound]) -> list[Round]:
    return [
        Round.of(ended.job, list(map(str, ended.requests)), ended.tally, has_output=ended.has_output)
        for ended in rounds
    ]


def _next_step(tally: Tally, target: str | None, needs_answers: bool, max_row_retries: int) -> str:
    step = (
        "Land the answers with a land task, or read them with iter_responses."
        if needs_answers
        else f"The land task merges the answers into {target or 'the target'}."
    )
    if tally.to_retry:
        step += (
            f" {number_of(tally.to_retry, 'row')} may succeed when asked again, but not in this run "
            f"(max_row_retries={max_row_retries})."
        )
    return step


def _parted(sample: str) -> tuple[str, str]:
    """Return outcome and message of a sample of a :class:`~airflow_gemini_batch.outputs.classify.Tally`."""
    outcome, _, message = sample.partition(": ")
    return outcome, message
