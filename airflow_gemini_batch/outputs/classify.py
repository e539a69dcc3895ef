"""The outcome of one output row, whatever shape the service gave it.

Rows do not fail together with their job: a job that succeeded can hold nothing but errors, and a row with an
empty ``status`` can hold no answer.
"""

from __future__ import annotations

from dataclasses import dataclass, field

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


@dataclass(frozen=True, slots=True)
class RowResult:
    """The outcome of one row and, unless it is ok, why.

    :param code: of the error that the row tells, an HTTP or a gRPC one; ``None`` where there is none.
    """

    outcome: Outcome
    message: str = ""
    code: int | None = None


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
