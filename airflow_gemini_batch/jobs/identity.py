"""Which job belongs to which task run, and to which round of it.

A job costs money once it is created, and creation is not idempotent. So every job carries an identity, which any
later try of the same task computes again and looks for.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Self

from airflow_gemini_batch.core.labels import AFTER_LABEL, IDENTITY_LABEL, ROOT_LABEL, ROUND_LABEL
from airflow_gemini_batch.jobs.state import BatchJob

_DISPLAY_NAME_LONGEST = 128


@dataclass(frozen=True, slots=True)
class TaskRun:
    """One task of one DAG run; never its try number, since tries share one job."""

    dag_id: str
    run_id: str
    task_id: str
    map_index: int = -1


def fingerprint(
    *,
    model: str,
    model_parameters: Mapping[str, Any],
    source_versions: Sequence[str],
    destination: str,
    **settings: str,
) -> str:
    """Return the digest of everything that changes the answers, their address, or under whose account they are made.

    :param source_versions: one text for each file or table of requests, naming it and its version
        (``gs://…#generation``, ``bq://…#etag``), so that rebuilt requests give another fingerprint.
    :param destination: where the user wants the output; empty for "beside the requests".
    :param settings: account and key of the job; those that are empty change nothing.
    """
    return _digest(
        {
            "model": model,
            "model_parameters": dict(model_parameters),
            "source": sorted(source_versions),
            "destination": destination,
            **{name: value for name, value in settings.items() if value},
        }
    )


def content(*, model: str, model_parameters: Mapping[str, Any], source_versions: Sequence[str]) -> str:
    """Return 32 hexadecimal digits for what is asked, whoever asks and wherever the answers go.

    Built requests are named by their content and never written twice, so two runs that ask the same have the same.
    """
    return fingerprint(
        model=model, model_parameters=model_parameters, source_versions=source_versions, destination=""
    )[:32]


def identity(run: TaskRun, request_fingerprint: str, *, salt: str = "") -> str:
    """Return 32 hexadecimal digits: the same for every try of one task run with the same fingerprint.

    :param salt: what a forced rerun adds to get a new identity; the same for all tries that shall share the job.
    """
    return _digest({**asdict(run), "request": request_fingerprint, "salt": salt})[:32]


@dataclass(frozen=True, slots=True)
class RoundId:
    """One round of a submission: the first job, or one of its follow-ups.

    The job's labels hold all of it, so a task that resumes needs only the job.

    :param root: identity of the submission, and of its first job.
    :param number: 0 for the first job, from 1 for follow-ups.
    :param after: id of the job whose rows are sent again; empty for the first job.
    """

    root: str
    number: int = 0
    after: str = ""

    @classmethod
    def of(cls, job: BatchJob) -> Self:
        """Read the round from the labels of its job."""
        labels = job.labels
        return cls(
            root=labels.get(ROOT_LABEL) or labels.get(IDENTITY_LABEL, ""),
            number=int(labels.get(ROUND_LABEL, 0)),
            after=labels.get(AFTER_LABEL, ""),
        )

    @property
    def identity(self) -> str:
        """The identity of the round's own job, 32 hexadecimal digits.

        A follow-up's depends on ``after``, so that it is never taken for the follow-up of another job.
        """
        if not self.number:
            return self.root
        return _digest({"root": self.root, "round": self.number, "after": self.after})[:32]

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
        """A name for the files and tables of this round alone."""
        return f"{self.identity[:12]}_{self.number}"

    def next_after(self, job: BatchJob) -> RoundId:
        """Return the follow-up of this round, whose job is given."""
        return RoundId(self.root, self.number + 1, job.name.job_id)


def display_name(name: str, identity: str) -> str:
    """Return the job's display name: the readable ``name``, then the identity."""
    suffix = f" {identity}"
    return f"{name[: _DISPLAY_NAME_LONGEST - len(suffix)]}{suffix}"


def _digest(content: Mapping[str, Any]) -> str:
    text = json.dumps(content, sort_keys=True, ensure_ascii=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()
