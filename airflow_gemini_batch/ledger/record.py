"""One run in the ledger: what it asks, what it may cost, and what its jobs have cost."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from math import fsum, isfinite
from typing import Any, Literal, Self, get_args

import orjson

VERSION = 1
RUN_LENGTH = 32

Kind = Literal["run", "canary"]

BUILDING, LANDED, FAILED, REFUSED = "building", "landed", "failed", "refused"
"""States of a run: its requests are built, and it reserves money; all its answers have landed; some jobs gave no
result, so their cost is not known; a budget has refused it, so it asks nothing."""


def run_id_of(dag_id: str, run_id: str, target: str, kind: Kind = "run", group: str = "") -> str:
    """Return what names a run in the ledger, the same for each try of each task of it: 32 hexadecimal digits.

    :param group: what the runs of one DAG run for the same target differ in, such as the id of the task group and its
        map index.
    """
    content = orjson.dumps([dag_id, run_id, target, kind, group])
    return hashlib.sha256(content).hexdigest()[:RUN_LENGTH]


@dataclass(frozen=True, slots=True)
class Spent:
    """What a submission has taken: a first job and its follow-ups.

    :param time: when its first job was created.
    :param usd: US dollars; ``None`` where that is not known.
    :param expected_usd: its share in the estimate, which counts where the cost is not known.
    :param unpriced: models without a rate, whose tokens are not in ``usd``.
    :param tokens: by kind.
    :param jobs: resource names of all its jobs.
    """

    time: datetime
    usd: float | None = None
    expected_usd: float | None = None
    unpriced: tuple[str, ...] = ()
    tokens: Mapping[str, int] = field(default_factory=dict)
    jobs: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON types."""
        return {
            "time": self.time.isoformat(),
            "usd": self.usd,
            "expected_usd": self.expected_usd,
            "unpriced": list(self.unpriced),
            "tokens": dict(self.tokens),
            "jobs": list(self.jobs),
        }

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Self:
        """Read what :meth:`to_json` has written, in this release or in another."""
        return cls(
            _time(content["time"]),
            _money(content.get("usd")),
            _money(content.get("expected_usd")),
            tuple(map(str, content.get("unpriced") or ())),
            _counts(content.get("tokens")),
            tuple(map(str, content.get("jobs") or ())),
        )


@dataclass(frozen=True, slots=True)
class RunRecord:
    """One run of a DAG for one target.

    As JSON it has these fields, ``version``, and for those who read it with SQL ``cost_usd`` (null where it is not
    known), ``tokens`` and ``jobs`` as well.

    :param run: of :func:`run_id_of`.
    :param kind: ``run``, or ``canary`` for a sample.
    :param labels: of the user, by which budgets find it.
    :param question: the id of its question; empty where it has none.
    :param definition: the question as JSON, from which it can be read again.
    :param started: when its requests were built last. What it reserves counts from then.
    :param ended: when its answers landed.
    :param rows: rows of the build: those that it asks by kind (``new``, ``changed_data``, …), ``read``, ``kept`` and
        ``done``.
    :param outcomes: rows by outcome.
    :param expected_usd: the upper end of the estimate for its requests; ``None`` where there is no price.
    :param requests: a digest of the addresses of its requests: another one is another build.
    :param submissions: how many submissions ask these requests.
    :param outstanding: those of them of which there is no result (yet), so that nothing of them is in ``spent``.
    :param spent: what submissions have taken, by the name of their first job; those of earlier builds of the same run
        among them, when tasks were cleared.
    :param verdict: what was found of a canary: ``passed``, ``by``, figures.
    """

    run: str
    dag_id: str
    run_id: str
    target: str
    model: str
    started: datetime
    kind: str = "run"
    state: str = BUILDING
    ended: datetime | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    question: str = ""
    definition: Mapping[str, Any] | None = None
    rows: Mapping[str, int] = field(default_factory=dict)
    outcomes: Mapping[str, int] = field(default_factory=dict)
    expected_usd: float | None = None
    requests: str = ""
    submissions: int = 0
    outstanding: int = 0
    spent: Mapping[str, Spent] = field(default_factory=dict)
    verdict: Mapping[str, Any] | None = None

    @property
    def cost_usd(self) -> float | None:
        """What its jobs have cost; ``None`` unless that is known of all of them."""
        amounts = [one.usd for one in self.spent.values()]
        return None if self._outstanding or None in amounts else _sum(amounts)

    @property
    def outstanding_usd(self) -> float | None:
        """What the submissions without a result may cost, at the upper end; ``None`` where that is not known."""
        if not self._outstanding:
            return 0.0
        return None if self.expected_usd is None else self.expected_usd * self.outstanding / self.submissions

    @property
    def _outstanding(self) -> int:
        return 0 if self.state == REFUSED else self.outstanding

    @property
    def parts(self) -> Iterator[tuple[str, Spent]]:
        """What it has spent, by the name of the first job, and without a name what it may still spend."""
        yield from self.spent.items()
        if self._outstanding:
            yield "", Spent(self.started, expected_usd=self.outstanding_usd)

    @property
    def tokens(self) -> dict[str, int]:
        """Its tokens by kind."""
        return dict(sum((Counter(one.tokens) for one in self.spent.values()), Counter()))

    @property
    def jobs(self) -> list[str]:
        """The names of its jobs."""
        return [job for one in self.spent.values() for job in one.jobs]

    def has_labels(self, labels: Mapping[str, str]) -> bool:
        """Whether it has all of some labels."""
        return all(self.labels.get(name) == value for name, value in labels.items())

    def to_json(self) -> dict[str, Any]:
        """Return the record as JSON types."""
        return {
            "version": VERSION,
            "run": self.run,
            "kind": self.kind,
            "dag_id": self.dag_id,
            "run_id": self.run_id,
            "target": self.target,
            "labels": dict(self.labels),
            "question": self.question,
            "definition": None if self.definition is None else dict(self.definition),
            "model": self.model,
            "state": self.state,
            "started": self.started.isoformat(),
            "ended": self.ended.isoformat() if self.ended else None,
            "rows": dict(self.rows),
            "outcomes": dict(self.outcomes),
            "tokens": self.tokens,
            "expected_usd": self.expected_usd,
            "cost_usd": self.cost_usd,
            "requests": self.requests,
            "submissions": self.submissions,
            "outstanding": self.outstanding,
            "spent": {job: one.to_json() for job, one in self.spent.items()},
            "jobs": self.jobs,
            "verdict": None if self.verdict is None else dict(self.verdict),
        }

    @classmethod
    def from_json(cls, content: Any) -> Self:
        """Read a record of this release or of another, whose further fields are left out.

        Raises :class:`ValueError` for anything else.
        """
        try:
            return cls(
                run=_text(content["run"]),
                dag_id=_text(content["dag_id"]),
                run_id=_text(content["run_id"]),
                target=_text(content["target"]),
                model=_text(content["model"]),
                started=_time(content["started"]),
                kind=_text(content["kind"]),
                state=_text(content["state"]),
                ended=_time(content["ended"]) if content.get("ended") else None,
                labels={str(name): str(value) for name, value in (content.get("labels") or {}).items()},
                question=_text(content.get("question") or ""),
                definition=_mapping(content.get("definition")),
                rows=_counts(content.get("rows")),
                outcomes=_counts(content.get("outcomes")),
                expected_usd=_money(content.get("expected_usd")),
                requests=_text(content.get("requests") or ""),
                submissions=int(content["submissions"]),
                outstanding=min(int(content["outstanding"]), int(content["submissions"])),
                spent={str(job): Spent.from_json(one) for job, one in content["spent"].items()},
                verdict=_mapping(content.get("verdict")),
            )
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            reason = f"{error} is missing" if isinstance(error, KeyError) else str(error)
            raise ValueError(f"expected a record of a run, but {reason}: {content!r:.200}") from error


def checked_kind(kind: str) -> str:
    """Return the kind of a run; raises :class:`ValueError` for another text."""
    if kind not in get_args(Kind):
        raise ValueError(f"kind of a run: expected {' or '.join(get_args(Kind))}, got {kind!r}")
    return kind


def _sum(amounts: Any) -> float:
    # Far below the price of one token only the noise of floats is left.
    return round(fsum(amounts), 12)


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"a text is expected, not {value!r:.50}")
    return value


def _time(value: Any) -> datetime:
    time = datetime.fromisoformat(_text(value))
    return time if time.tzinfo else time.replace(tzinfo=UTC)


def _money(value: Any) -> float | None:
    if value is None:
        return None
    amount = float(value)
    if not (isfinite(amount) and amount >= 0):
        raise ValueError(f"an amount of dollars is expected, not {value!r:.50}")
    return amount


def _counts(content: Any) -> dict[str, int]:
    return {str(name): int(count) for name, count in (content or {}).items()}


def _mapping(content: Any) -> dict[str, Any] | None:
    return None if content is None else dict(content.items())
