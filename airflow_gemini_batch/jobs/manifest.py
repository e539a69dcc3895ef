"""The result of a submit task: addresses of the answers and counts of the requests, never the rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Self

from airflow_gemini_batch.jobs.state import BatchJob, JobState, Stage
from airflow_gemini_batch.outputs.classify import Outcome, Tally

VERSION = 1


@dataclass(frozen=True, slots=True)
class Round:
    """One job of the submission, as the manifest describes it."""

    job_name: str
    state: str
    source: Sequence[str]
    output: str
    counts: Mapping[str, int]
    surplus: Mapping[str, int] = field(default_factory=dict)
    times: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, job: BatchJob, source: Sequence[str], tally: Tally, *, has_output: bool = True) -> Self:
        """Describe a job that has ended.

        :param has_output: whether the output that the job names exists.
        """
        return cls(
            job_name=str(job.name),
            state=job.state.value,
            source=tuple(source),
            output=str(job.output or "") if has_output else "",
            counts={outcome.value: count for outcome, count in tally.counts.items()},
            surplus={"duplicate": tally.duplicates, "unknown": tally.unknown},
            times={
                name: time.isoformat()
                for name, time in (
                    ("created", job.create_time),
                    ("started", job.start_time),
                    ("ended", job.end_time),
                )
                if time
            },
        )

    @property
    def had_answers(self) -> bool:
        """Whether the job left any answers."""
        return bool(self.output) and (
            JobState(self.state).stage is Stage.SUCCEEDED or self.counts.get(Outcome.OK, 0) > 0
        )


@dataclass(frozen=True, slots=True)
class Manifest:
    """The result of a submit task, as it goes to XCom.

    As JSON: ``version`` (int), ``identity``, ``model``, ``console_url`` (of the last job), ``outputs`` (list
    of ``gs://`` folders or ``bq://`` tables, one for each round; empty for a round without output), ``counts``
    (rows by outcome over all rounds; they add up to the requests of the first), ``rounds`` (list of ``job_name``,
    ``state``, ``source``, ``output``, ``counts``, ``surplus``: rows counted in no outcome, ``duplicate`` or
    ``unknown``, and ``times``: ``created``, ``started`` and ``ended`` in ISO format, as far as the service says; the
    first round, then its follow-ups), ``usage`` (for each model version the fields of
    :class:`.Usage`, over all rows of all rounds, answered or not), ``cost``
    (see :class:`~airflow_gemini_batch.costs.prices.Cost`, or ``None`` when it could not be counted),
    ``other_models`` (rows that another model than the one asked for has answered, by its version) and ``question`` (the
    id of what the rows were asked, of :class:`airflow_gemini_batch.requests.questions.Question`, or ``None``). A failed
    job that another try has replaced is in no round: the error message of its own try has its cost.
    """

    identity: str
    model: str
    console_url: str
    counts: Mapping[str, int]
    rounds: Sequence[Round] = field(default_factory=tuple)
    usage: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    cost: Mapping[str, Any] | None = None
    other_models: Mapping[str, int] = field(default_factory=dict)
    question: str | None = None
    version: int = VERSION

    def to_json(self) -> dict[str, Any]:
        """Return the manifest as JSON types."""
        return {
            "version": self.version,
            "identity": self.identity,
            "model": self.model,
            "console_url": self.console_url,
            "outputs": [round_.output for round_ in self.rounds],
            "counts": dict(self.counts),
            "rounds": [{**asdict(round_), "source": list(round_.source)} for round_ in self.rounds],
            "usage": {model: dict(tokens) for model, tokens in self.usage.items()},
            "cost": None if self.cost is None else dict(self.cost),
            "other_models": dict(self.other_models),
            "question": self.question,
        }

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Self:
        """Read a manifest; raises :class:`ValueError` for other content and for a later version."""
        version = content.get("version") if isinstance(content, Mapping) else None
        if not isinstance(version, int):
            raise ValueError(f"expected the manifest of a batch job, got {content!r:.200}")
        if version > VERSION:
            raise ValueError(
                f"the manifest has version {version}, and this release reads up to version {VERSION}. "
                "Upgrade airflow-gemini-batch where it is read"
            )
        try:
            return cls(
                identity=content["identity"],
                model=content["model"],
                console_url=content["console_url"],
                counts=dict(content["counts"]),
                rounds=tuple(
                    Round(
                        job_name=round_["job_name"],
                        state=round_["state"],
                        source=tuple(round_["source"]),
                        output=round_["output"],
                        counts=dict(round_["counts"]),
                        surplus=dict(round_.get("surplus", {})),
                        times=dict(round_.get("times", {})),
                    )
                    for round_ in content["rounds"]
                ),
                usage={model: dict(tokens) for model, tokens in content.get("usage", {}).items()},
                cost=content.get("cost"),
                other_models=dict(content.get("other_models", {})),
                question=content.get("question"),
                version=version,
            )
        except (KeyError, TypeError) as error:
            raise ValueError(
                f"expected the manifest of a batch job, but {error} is missing: {content!r:.200}"
            ) from error
