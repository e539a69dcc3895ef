"""What a finished task hands on: where the answers are and what became of the requests, never the rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

from airflow_gemini_batch.jobs.state import BatchJob, JobState, Stage
from airflow_gemini_batch.outputs.classify import Outcome, Tally

VERSION = 1


@dataclass(frozen=True, slots=True)
class Round:
    """One job of the submission."""

    job_name: str
    state: str
    source: Sequence[str]
    output: str
    counts: Mapping[str, int]
    surplus: Mapping[str, int] = field(default_factory=dict)

    @classmethod
    def of(cls, job: BatchJob, source: Sequence[str], tally: Tally, *, has_output: bool = True) -> Self:
        """Describe a job that has ended.

        :param has_output: whether there is anything at the place that the job names.
        """
        return cls(
            job_name=str(job.name),
            state=job.state.value,
            source=tuple(source),
            output=str(job.output or "") if has_output else "",
            counts={outcome.value: count for outcome, count in tally.counts.items()},
            surplus={"duplicate": tally.duplicates, "unknown": tally.unknown},
        )

    @property
    def had_answers(self) -> bool:
        """Whether there were answers when the job had ended."""
        return bool(self.output) and (
            JobState(self.state).stage is Stage.SUCCEEDED or self.counts.get(Outcome.OK, 0) > 0
        )


@dataclass(frozen=True, slots=True)
class Manifest:
    """The result of a submit task, as it goes to XCom.

    As JSON: ``version`` (int), ``identity``, ``model``, ``console_url`` (of the last job), ``outputs`` (list
    of ``gs://`` folders or ``bq://`` tables, one for each round; empty for a round without output), ``counts``
    (rows by outcome over all rounds; they add up to the requests of the first), ``rounds`` (list of ``job_name``,
    ``state``, ``source``, ``output``, ``counts`` and ``surplus``: rows counted in no outcome, ``duplicate`` or
    ``unknown``; the first round, then its follow-ups), ``usage`` (for each model version the fields of
    :class:`.Usage`, over all rows of all rounds, whatever became of them) and ``cost``
    (see :class:`~airflow_gemini_batch.costs.prices.Cost`, or ``None`` when it could not be counted). A job that ended
    badly and was replaced by another try's is in no round: the failure of its own try tells what it took.
    """

    identity: str
    model: str
    console_url: str
    counts: Mapping[str, int]
    rounds: Sequence[Round] = field(default_factory=tuple)
    usage: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    cost: Mapping[str, Any] | None = None
    version: int = VERSION

    def to_json(self) -> dict[str, Any]:
        """Return the manifest as JSON types."""
        return {
            "version": self.version,
            "identity": self.identity,
            "model": self.model,
            "console_url": self.console_url,
            "outputs": [one.output for one in self.rounds],
            "counts": dict(self.counts),
            "rounds": [
                {
                    "job_name": one.job_name,
                    "state": one.state,
                    "source": list(one.source),
                    "output": one.output,
                    "counts": dict(one.counts),
                    "surplus": dict(one.surplus),
                }
                for one in self.rounds
            ],
            "usage": {model: dict(tokens) for model, tokens in self.usage.items()},
            "cost": None if self.cost is None else dict(self.cost),
        }

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Self:
        """Read a manifest; raises :class:`ValueError` for what is none, or of a later version."""
        version = content.get("version") if isinstance(content, Mapping) else None
        if not isinstance(version, int):
            raise ValueError(f"this is no manifest of a batch job: {content!r:.200}")
        if version > VERSION:
            raise ValueError(
                f"the manifest has version {version}, this release reads up to {VERSION}: "
                "upgrade airflow-gemini-batch where it is read"
            )
        try:
            return cls(
                identity=content["identity"],
                model=content["model"],
                console_url=content["console_url"],
                counts=dict(content["counts"]),
                rounds=tuple(
                    Round(
                        job_name=one["job_name"],
                        state=one["state"],
                        source=tuple(one["source"]),
                        output=one["output"],
                        counts=dict(one["counts"]),
                        surplus=dict(one.get("surplus", {})),
                    )
                    for one in content["rounds"]
                ),
                usage={model: dict(tokens) for model, tokens in content.get("usage", {}).items()},
                cost=content.get("cost"),
                version=version,
            )
        except (KeyError, TypeError) as error:
            raise ValueError(
                f"this is no manifest of a batch job, it has no {error}: {content!r:.200}"
            ) from error
