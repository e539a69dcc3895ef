"""What a page shows of a manifest. Pure: a manifest is an XCom, which anybody who writes a DAG may have made up."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from airflow_gemini_batch.core.summary import JobSummary, duration
from airflow_gemini_batch.costs.prices import Cost
from airflow_gemini_batch.jobs.manifest import Manifest
from airflow_gemini_batch.jobs.summaries import job_summaries, total_tokens
from airflow_gemini_batch.outputs.classify import Outcome
from airflow_gemini_batch.vertex.resource import VertexJobName

_MOST = 2**53


@dataclass(frozen=True, slots=True)
class Facts:
    """Numbers and jobs of one submission that has ended.

    :param rows: by outcome, those with any.
    :param tokens: by kind.
    :param cost: ``None`` where it is not known.
    :param jobs: the first one, then its follow-ups.
    """

    model: str
    rows: Mapping[str, int]
    tokens: Mapping[str, int]
    cost: Cost | None
    jobs: Sequence[JobSummary]

    @property
    def answered(self) -> int:
        """Rows with an answer."""
        return self.rows.get(Outcome.OK, 0)

    @property
    def unanswered(self) -> int:
        """Rows without one."""
        return sum(self.rows.values()) - self.answered


def facts_of(result: Any) -> Facts | None:
    """Read the result of a submit task; ``None`` for anything that is not a manifest whose numbers are numbers."""
    try:
        manifest = Manifest.from_json(result)
        jobs = job_summaries([manifest.rounds], lambda name: VertexJobName.parse(name).console_url)
        return Facts(
            model=str(manifest.model),
            rows={str(name): number for name, value in manifest.counts.items() if (number := _count(value))},
            tokens={name: _count(value) for name, value in total_tokens([manifest]).items()},
            cost=_cost(manifest.cost),
            jobs=list(map(_checked, jobs)),
        )
    except Exception:
        # Whatever it is that a made-up manifest breaks, the page of all other jobs has to be there.
        return None


def _checked(job: JobSummary) -> JobSummary:
    """Return a job whose numbers and times can be shown."""
    for value in job.rows.values():
        _count(value)
    duration((job.queued_seconds or 0.0) + (job.run_seconds or 0.0))
    return job


def _count(value: Any) -> int:
    if type(value) is not int or not 0 <= value <= _MOST:
        raise ValueError("expected a number of rows or tokens")
    return value


def _cost(content: Any) -> Cost | None:
    if content is None:
        return None
    cost = Cost.from_json(content)
    if cost.amount is not None and not (math.isfinite(cost.amount) and 0 <= cost.amount <= _MOST):
        raise ValueError("expected an amount of money")
    str(cost)  # whose parts have to be text
    return cost
