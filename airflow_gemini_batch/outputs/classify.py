"""The outcome of one output row, whatever shape the service gave it.

Rows do not fail together with their job: a job that succeeded can hold nothing but errors, and a row with an
empty ``status`` can hold no answer.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson

from airflow_gemini_batch.core.outcomes import Outcome as Outcome  # re-exported
from airflow_gemini_batch.core.shown import shown

# HTTP codes, and the gRPC codes of a bare google.rpc.Status: https://github.com/googleapis/googleapis/blob/master/google/rpc/code.proto
REJECTED_CODES = frozenset({400, 401, 403, 404, 413, 3, 5, 6, 7, 9, 11, 12, 16})

# https://cloud.google.com/vertex-ai/generative-ai/docs/reference/rest/v1/GenerateContentResponse#FinishReason
BLOCKED_FINISH_REASONS = frozenset(
    {
        "SAFETY",
        "RECITATION",
        "BLOCKLIST",
        "PROHIBITED_CONTENT",
        "SPII",
        "LANGUAGE",
        "MODEL_ARMOR",
        "IMAGE_SAFETY",
        "IMAGE_PROHIBITED_CONTENT",
        "IMAGE_RECITATION",
    }
)

STATUS_CODE_PATTERN = r'"code"\s*:\s*(\d{1,10})\b'
OK_STATUS_PATTERN = r'\{\s*("code"\s*:\s*0[^{}]*)?\}'
_LONGEST_MESSAGE = 300


@dataclass(frozen=True, slots=True)
class RowResult:
    """The outcome of one row and, unless it is ok, why."""

    outcome: Outcome
    message: str = ""


_GOOD = RowResult(Outcome.OK)


def classify_row(status: Any, response: Any) -> RowResult:
    """Sort one row of generated content.

    :param status: the row's ``status``: empty, ``"<Reason>: {json}"``, JSON of a ``google.rpc.Status``, an
        object, or free text.
    :param response: the row's ``response``: a ``GenerateContentResponse`` as an object or as JSON text,
        ``{}`` or ``None``.
    """
    if failure := status_failure(status):
        return failure
    content = object_of(response)
    if not content:
        return RowResult(Outcome.MISSING, "the row has no response")
    candidate = first_object(content.get("candidates"))
    if candidate is not None:
        return _from_candidate(candidate)
    if reason := object_of(content.get("promptFeedback")).get("blockReason"):
        return RowResult(Outcome.BLOCKED, f"the prompt was blocked: {reason}")
    return RowResult(Outcome.MISSING, "the response has no candidates")


def status_failure(status: Any) -> RowResult | None:
    """Return the failure in a row's ``status``; None if it is empty or means OK."""
    text = _text_of(status)
    return _from_status(text) if text else None


def _from_status(status: str) -> RowResult:
    code = re.search(STATUS_CODE_PATTERN, status)
    # A failure without a code, or with one not known to be final, may be tried again: that costs one more row.
    rejected = code is not None and int(code[1]) in REJECTED_CODES
    return RowResult(Outcome.REJECTED if rejected else Outcome.RETRYABLE, status[:_LONGEST_MESSAGE])


def _from_candidate(candidate: Mapping[str, Any]) -> RowResult:
    reason = str(candidate.get("finishReason") or "")
    if reason == "MAX_TOKENS":
        return RowResult(Outcome.TRUNCATED, "the answer reached maxOutputTokens")
    if reason in BLOCKED_FINISH_REASONS:
        return RowResult(Outcome.BLOCKED, f"the answer was blocked: {reason}")
    if reason != "STOP":
        return RowResult(Outcome.RETRYABLE, f"the model stopped early: finishReason is {reason or 'absent'}")
    if not first_object(object_of(candidate.get("content")).get("parts")):
        return RowResult(Outcome.RETRYABLE, "the model stopped without an answer")
    return _GOOD


def _text_of(status: Any) -> str:
    text = orjson.dumps(status).decode() if isinstance(status, Mapping) else str(status or "").strip()
    # A google.rpc.Status with the code 0, or with none at all, means OK.
    return "" if re.fullmatch(OK_STATUS_PATTERN, text) else text


def decoded(value: Any) -> Any:
    """Return a value, decoded if it is JSON text; None for a text that is not JSON."""
    if not isinstance(value, (str, bytes)):
        return value
    try:
        return orjson.loads(value)
    except orjson.JSONDecodeError:
        return None


def object_of(value: Any) -> Mapping[str, Any]:
    """Return an object, decoded if it is JSON text; an empty one for any other value."""
    value = decoded(value)
    return value if isinstance(value, Mapping) else {}


def first_object(value: Any) -> Mapping[str, Any] | None:
    """Return the first of a list of objects, or the object itself; None for any other value."""
    first = value[0] if isinstance(value, list) and value else value
    return first if isinstance(first, Mapping) else None


@dataclass(slots=True)
class Tally:
    """Rows by outcome, with a few messages of failed rows.

    :param counts: rows by outcome.
    :param samples: messages of failed rows; at most :attr:`MAX_SAMPLES`, no two alike.
    :param duplicates: rows beyond the first for their request, counted in no outcome.
    :param unknown: rows that belong to no request, counted in no outcome.
    """

    MAX_SAMPLES = 5

    counts: dict[Outcome, int] = field(default_factory=lambda: dict.fromkeys(Outcome, 0))
    samples: list[str] = field(default_factory=list)
    duplicates: int = 0
    unknown: int = 0

    def add(self, result: RowResult, count: int = 1) -> None:
        """Count ``count`` rows of this result."""
        if not count:
            return
        self.counts[result.outcome] += count
        if result.message:
            self.show(result)

    def show(self, result: RowResult) -> None:
        """Keep the message of a row as a sample, without counting the row."""
        if len(self.samples) < self.MAX_SAMPLES:
            sample = f"{result.outcome}: {shown(result.message)}"
            if sample not in self.samples:
                self.samples.append(sample)

    def merge(self, other: Tally) -> None:
        """Count the rows of another tally as well."""
        for outcome, count in other.counts.items():
            self.counts[outcome] += count
        self.samples = list(dict.fromkeys([*self.samples, *other.samples]))[: self.MAX_SAMPLES]

    def followed_by(self, later: Tally) -> Tally:
        """Return the tally of this round and the next: a request that was sent again counts by its later outcome."""
        both = Tally(duplicates=self.duplicates + later.duplicates, unknown=self.unknown + later.unknown)
        both.merge(later)
        final = {outcome: 0 if outcome.retried else count for outcome, count in self.counts.items()}
        samples = [text for text in self.samples if not Outcome(text.partition(":")[0]).retried]
        both.merge(Tally(final, samples))
        return both

    def complete(self, requests: int) -> None:
        """Make the outcomes add up to the requests.

        Requests that no row answers are missing. If there are more rows than requests, nobody knows which ones are
        surplus, so surplus rows are taken from the good ones first.
        """
        absent = requests - self.rows
        self.add(RowResult(Outcome.MISSING, "the output has no row for the request"), max(absent, 0))
        for outcome in (Outcome.OK, *Outcome):
            surplus = min(self.counts[outcome], max(self.rows - requests, 0))
            self.counts[outcome] -= surplus
            self.unknown += surplus

    @property
    def rows(self) -> int:
        """All rows counted."""
        return sum(self.counts.values())

    @property
    def answered(self) -> int:
        """Rows with a usable answer."""
        return sum(count for outcome, count in self.counts.items() if outcome.answered)

    @property
    def failed(self) -> int:
        """Rows without a usable answer."""
        return self.rows - self.answered

    @property
    def to_retry(self) -> int:
        """Rows whose requests are worth another job."""
        return sum(count for outcome, count in self.counts.items() if outcome.retried)

    @property
    def failed_fraction(self) -> float:
        """Share of rows without a usable answer, 0 to 1; 0 if there are no rows."""
        return self.failed / self.rows if self.rows else 0.0

    def __str__(self) -> str:
        parts = [f"{count} {outcome}" for outcome, count in self.counts.items() if count]
        if surplus := [
            f"{n} {name}" for n, name in ((self.duplicates, "repeated"), (self.unknown, "unknown")) if n
        ]:
            parts.append(f"besides {' and '.join(surplus)} rows")
        return f"{self.rows} rows: {', '.join(parts) or 'none'}"
