"""Submissions as people read them: their jobs, their rows, and what they took."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from functools import reduce

from airflow_gemini_batch.core.addresses import BigQueryAddress, parse_address
from airflow_gemini_batch.core.model_families import (
    GEMINI_EMBEDDING,
    GENERATE_CONTENT,
    TEXT_EMBEDDING,
    ModelFamily,
)
from airflow_gemini_batch.core.summary import JobSummary, number_of
from airflow_gemini_batch.costs.prices import Cost
from airflow_gemini_batch.jobs.manifest import Manifest, Round
from airflow_gemini_batch.jobs.state import JobState
from airflow_gemini_batch.outputs.usage import Usage

JobUrl = Callable[[str], str]
"""Returns the page about a job in the console, by the job's name."""


_FAILED = {
    GENERATE_CONTENT: (
        "IFNULL(\n  JSON_VALUE(answers.response, '$.candidates[0].finishReason'), ''\n) != 'STOP'",
        '.response.candidates[0].finishReason != "STOP"',
    ),
    TEXT_EMBEDDING: ("IFNULL(answers.status, '') != ''", '.status != ""'),
    GEMINI_EMBEDDING: ("", ".response.embedding == null and .response.embeddings == null"),
}
"""What the rows without an answer have in common, for BigQuery and for jq."""


def failed_rows_query(rounds: Sequence[Round], family: ModelFamily) -> str:
    """Return what shows the rows of the first job that have no answer; empty without output.

    It is a statement for a table, and a command for files.
    """
    output = next((round_.output for round_ in rounds if round_.output), "")
    if not output:
        return ""
    in_table, in_file = _FAILED[family]
    address = parse_address(output)
    if isinstance(address, BigQueryAddress):
        return f"SELECT * FROM {address.sql} AS answers\nWHERE {in_table}\nLIMIT 100"
    files = shlex.quote(f"{output.rstrip('/')}/predictions.jsonl*")
    return f"gcloud storage cat {files} |\n  jq -c {shlex.quote(f'select({in_file})')}"


def job_summaries(shards: Iterable[Sequence[Round]], url: JobUrl) -> list[JobSummary]:
    """Describe the jobs of some submissions.

    :param shards: the rounds of each submission.
    """
    return [
        JobSummary(
            name=round_.job_name,
            state=JobState(round_.state).short,
            url=url(round_.job_name),
            shard=shard,
            follow_up=number,
            rows=round_.counts,
            output=round_.output,
            **dict(_times(round_.times)),
        )
        for shard, rounds in enumerate(shards, 1)
        for number, round_ in enumerate(rounds)
    ]


def _times(times: Mapping[str, str]) -> Iterator[tuple[str, datetime]]:
    for name in ("created", "started", "ended"):
        if text := times.get(name):
            yield name, datetime.fromisoformat(text)


def total_tokens(manifests: Iterable[Manifest]) -> dict[str, int]:
    """Return the tokens of all rows of some submissions, by kind; those of a cache are in those of prompts."""
    usages = (Usage.from_json(usage) for manifest in manifests for usage in manifest.usage.values())
    return tokens_by_kind(sum(usages, Usage()))


def tokens_by_kind(usage: Usage) -> dict[str, int]:
    """Return the tokens of some rows by kind."""
    return {
        "prompt": usage.prompt_tokens,
        "tool": usage.tool_tokens,
        "output": usage.output_tokens,
        "thoughts": usage.thoughts_tokens,
    }


def total_cost(manifests: Sequence[Manifest]) -> str:
    """Return what some submissions cost together, as text; empty where nothing is known."""
    known = [Cost.from_json(manifest.cost) for manifest in manifests if manifest.cost is not None]
    if not known:
        return ""
    left = len(manifests) - len(known)
    return str(reduce(Cost.__add__, known)) + (
        f", without {number_of(left, 'submission')} whose cost is not known" if left else ""
    )
