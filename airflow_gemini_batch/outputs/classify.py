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

ERROR_COLUMN = "error"
"""Where some rows tell their error, beside an empty ``status``. A source may have such a column of its own."""

TRUNCATED_FINISH_REASONS = {
    "MAX_TOKENS": "the answer reached maxOutputTokens",
    "CONTINUATION": "the answer reached the most tokens of one request",
}
"""Reasons why an answer lacks its end, each with the message."""

OTHER_PARTS = {
    "functionCall": "a function call",
    "toolCall": "a tool call",
    "inlineData": "an image or other media",
    "fileData": "a file",
    "codeExecutionResult": "the result of code",
    "executableCode": "code",
}
"""What a part holds that is not text, by its field; the first one that an answer without text has is told.

https://cloud.google.com/vertex-ai/generative-ai/docs/reference/rest/v1/Content#Part
"""

# Patterns are read by Python and by BigQuery (RE2), and stand in its raw strings, so without single quotes.
STATUS_CODE_PATTERN = r'"code"\s*:\s*"?(\d{1,10})\b'
OK_STATUS_PATTERN = r'\{\s*("code"\s*:\s*"?0[^{}]*)?\}|\[\s*\]|null|false'

_FAILED_PRECONDITION = r'(?:FAILED_PRECONDITION|"code"\s*:\s*"?9\b)'
TRANSIENT_PATTERN = "|".join(
    (
        "(?is)service agents? (?:is|are) being (?:provisioned|created)",
        f"{_FAILED_PRECONDITION}.*try again|try again.*{_FAILED_PRECONDITION}",
        r"(?:try again|retry) (?:later|soon|shortly|after|in (?:an? |some |\d))",
        # What the fetcher of https media says. URL_ROBOTED and URL_ERROR (not found, not allowed) stay.
        "URL_TIMEOUT|URL_UNREACHABLE",
        "URL_REJECTED[A-Z_-]*(?:THROTTLED|RATE_LIMITED|TOO_MANY|DEADLINE|TIMEOUT|OVERLOAD|UNAVAILABLE|RPC_)",
    )
)
"""Texts of failures that pass, whatever their code: the service sends many of them with the code 400."""

FINAL_PATTERN = "|".join(
    (
        "(?i)failed to parse JSON into proto",
        r"^(?:INVALID_ARGUMENT|NOT_FOUND|PERMISSION_DENIED|UNAUTHENTICATED|UNIMPLEMENTED|OUT_OF_RANGE)\b",
    )
)
"""Texts of failures that come again with the same request, and that may have no code."""

_LONGEST_MESSAGE = 300


@dataclass(frozen=True, slots=True)
class RowResult:
    """The outcome of one row and, unless it is ok, why.

    :param code: of the error that the row tells, an HTTP or a gRPC one; ``None`` where there is none.
    """

    outcome: Outcome
    message: str = ""
    code: int | None = None


_GOOD = RowResult(Outcome.OK)


def classify_row(status: Any, response: Any, error: Any = None) -> RowResult:
    """Sort one row of generated content.

    :param status: the row's ``status``: empty, ``"<Reason>: {json}"``, JSON of a ``google.rpc.Status``, an
        object, or free text.
    :param response: the row's ``response``: a ``GenerateContentResponse`` as an object or as JSON text,
        ``{}`` or ``None``.
    :param error: the row's ``error``, which few rows have, in the forms of a status. It counts, as do ``error`` and
        ``status`` within the response, unless a candidate says how it ended.
    """
    if failure := status_failure(status):
        return failure
    content = object_of(response)
    candidate = answer_candidate(content)
    if not (candidate and candidate.get("finishReason")) and (failure := other_failure(error, content)):
        return failure
    if not content:
        return RowResult(Outcome.MISSING, "the row has no response")
    if candidate is not None:
        return _from_candidate(candidate)
    if reason := object_of(content.get("promptFeedback")).get("blockReason"):
        return RowResult(Outcome.BLOCKED, f"the prompt was blocked: {reason}")
    return RowResult(Outcome.MISSING, "the response has no candidates")


def status_failure(status: Any) -> RowResult | None:
    """Return the failure in a row's ``status``; None if it is empty or means OK."""
    text = _text_of(status)
    return _from_status(text) if text else None


def other_failure(error: Any, answer: Mapping[str, Any]) -> RowResult | None:
    """Return the failure that stands in a row's ``error``, or in ``error`` or ``status`` of its answer."""
    failures = map(status_failure, (error, answer.get("error"), answer.get("status")))
    return next(filter(None, failures), None)


def _from_status(status: str) -> RowResult:
    found = re.search(STATUS_CODE_PATTERN, status)
    code = int(found[1]) if found else None
    # A failure without a code, or with one not known to be final, may be tried again: that costs one more row.
    final = code in REJECTED_CODES or re.search(FINAL_PATTERN, status)
    rejected = final and not re.search(TRANSIENT_PATTERN, status)
    return RowResult(Outcome.REJECTED if rejected else Outcome.RETRYABLE, status[:_LONGEST_MESSAGE], code)


def answer_candidate(response: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """Return the candidate that counts: the first one that ended well and has a text, else the first one."""
    candidates = response.get("candidates")
    for candidate in candidates if isinstance(candidates, list) else ():
        if (
            isinstance(candidate, Mapping)
            and candidate.get("finishReason") == "STOP"
            and _has_words(candidate)
        ):
            return candidate
    return first_object(candidates)


def candidate_text(candidate: Mapping[str, Any]) -> str:
    """Return what a candidate says, without the model's thoughts: its parts as one text."""
    return "".join(text for part in _spoken_parts(candidate) if isinstance(text := part.get("text"), str))


def _has_words(candidate: Mapping[str, Any]) -> bool:
    return bool(candidate_text(candidate).strip())


def _spoken_parts(candidate: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    parts = object_of(candidate.get("content")).get("parts")
    listed = [parts] if isinstance(parts, Mapping) else parts if isinstance(parts, list) else ()
    return [
        part for part in listed if isinstance(part, Mapping) and part.get("thought") not in (True, "true")
    ]


def _from_candidate(candidate: Mapping[str, Any]) -> RowResult:
    reason = str(candidate.get("finishReason") or "")
    if message := TRUNCATED_FINISH_REASONS.get(reason):
        return RowResult(Outcome.TRUNCATED, message)
    if reason in BLOCKED_FINISH_REASONS:
        return RowResult(Outcome.BLOCKED, f"the answer was blocked: {reason}")
    if reason != "STOP":
        return RowResult(Outcome.RETRYABLE, f"the model stopped early: finishReason is {reason or 'absent'}")
    if _has_words(candidate):
        return _GOOD
    parts = _spoken_parts(candidate)
    for name, words in OTHER_PARTS.items():
        if any(isinstance(part.get(name), Mapping) for part in parts):
            return RowResult(Outcome.INVALID, f"the answer holds {words} and no text")
    return RowResult(Outcome.RETRYABLE, "the model stopped without an answer")


def _text_of(status: Any) -> str:
    # Sorted, as BigQuery keeps the names of a JSON object.
    text = (
        status.strip()
        if isinstance(status, str)
        else orjson.dumps(status, default=str, option=orjson.OPT_SORT_KEYS).decode()
    )
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
