"""Follow-up jobs: which round of a submission a job is, what its rows came to, and whether another one is due."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Self

from airflow_gemini_batch.core.addresses import Address
from airflow_gemini_batch.core.labels import AFTER_LABEL, IDENTITY_LABEL, ROOT_LABEL, ROUND_LABEL
from airflow_gemini_batch.jobs.identity import follow_up_identity
from airflow_gemini_batch.jobs.state import BatchJob, JobState, Stage
from airflow_gemini_batch.outputs.classify import Tally
from airflow_gemini_batch.outputs.summary import OutputSummary


@dataclass(frozen=True, slots=True)
class RoundId:
    """One round of a submission: the first job, or one of its follow-ups.

    All of it is in the job's labels, so that a task which resumes needs no more than the job.

    :param root: identity of the submission, and of its first job.
    :param number: 0 for the first job, from 1 for follow-ups.
    :param after: id of the job whose rows are sent again; empty for the first job.
    """

    root: str
    number: int = 0
    after: str = ""

    @classmethod
    def of(cls, job: BatchJob) -> Self:
        """Read it from a job."""
        labels = job.labels
        return cls(
            root=labels.get(ROOT_LABEL) or labels.get(IDENTITY_LABEL, ""),
            number=int(labels.get(ROUND_LABEL, 0)),
            after=labels.get(AFTER_LABEL, ""),
        )

    @property
    def identity(self) -> str:
        """The identity of the round's own job."""
        return follow_up_identity(self.root, self.number, self.after) if self.number else self.root

    @property
    def labels(self) -> dict[str, str]:
        """The labels of the round's job."""
        if not self.number:
            return {IDENTITY_LABEL: self.identity}
        return {
            IDENTITY_LABEL: self.identity,
            ROOT_LABEL: self.root,
            ROUND_LABEL: str(self.number),
            AFTER_LABEL: self.after,
        }

    @property
    def short_name(self) -> str:
        """A name for what belongs to this round alone."""
        return f"{self.identity[:12]}_{self.number}"

    def next_after(self, job: BatchJob) -> RoundId:
        """Return the round that follows this one's job."""
        return RoundId(self.root, self.number + 1, job.name.job_id)


@dataclass(frozen=True, slots=True)
class EndedRound:
    """One round whose job has ended.

    :param sources: where its requests lie.
    :param account: what became of them.
    :param has_output: whether the job's output exists.
    """

    job: BatchJob
    sources: Sequence[Address]
    summary: OutputSummary
    has_output: bool

    @property
    def tally(self) -> Tally:
        """The outcomes of its requests."""
        return self.summary.tally

    @property
    def can_be_followed(self) -> bool:
        """Whether its rows are a result to go on from, so that only the others need another job.

        An expired job with answers is one as well. One that failed or was cancelled is not: why it did has to be
        seen to first.
        """
        if self.summary.write_follow_up is None:
            return False
        expired = self.job.state is JobState.EXPIRED and self.tally.answered > 0
        return expired or self.job.state.stage is Stage.SUCCEEDED


def merged(rounds: Sequence[EndedRound]) -> Tally:
    """Return the outcomes over all rounds, first one first: they add up to the requests of the first."""
    return reduce(Tally.followed_by, (one.tally for one in rounds))
