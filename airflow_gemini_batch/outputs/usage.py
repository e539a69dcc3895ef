"""Tokens that are billed for rows, and their sums by model."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from operator import add
from typing import Any, NamedTuple, Self

LONG_PROMPT = 200_000
"""Some models bill all of a row with more input tokens than this (prompt and tools) at a higher rate."""

AUDIO = "AUDIO"
"""Modality of tokens that some models bill at a rate of their own."""


class Usage(NamedTuple):
    """Token counts of one row, or of many.

    :param rows: rows that reported tokens; a row that failed before the model saw it reports none.
    :param prompt_tokens: tokens of prompts, the cached ones and those of audio among them.
    :param output_tokens: tokens of answers, without thoughts.
    :param thoughts_tokens: tokens of thoughts, billed as output.
    :param cached_tokens: the part of ``prompt_tokens`` that came from a cache.
    :param long_prompt_tokens: the part of ``prompt_tokens`` in rows with more than :data:`LONG_PROMPT` input tokens.
    :param long_output_tokens: the part of output and thoughts in those rows.
    :param long_cached_tokens: the part of ``cached_tokens`` in those rows.
    :param tool_tokens: tokens that tools fed to the model (pages, search results), billed as input and not part of
        ``prompt_tokens``. The service's ``totalTokenCount`` leaves them out for some tools, so it is not read.
    :param long_tool_tokens: the part of ``tool_tokens`` in those rows.
    :param audio_tokens: the part of ``prompt_tokens`` that is audio.
    :param long_audio_tokens: the part of ``audio_tokens`` in those rows.
    :param searches: queries to Google Search, which has a fee of its own.
    """

    rows: int = 0
    prompt_tokens: int = 0
    output_tokens: int = 0
    thoughts_tokens: int = 0
    cached_tokens: int = 0
    long_prompt_tokens: int = 0
    long_output_tokens: int = 0
    long_cached_tokens: int = 0
    tool_tokens: int = 0
    long_tool_tokens: int = 0
    audio_tokens: int = 0
    long_audio_tokens: int = 0
    searches: int = 0

    def __add__(self, other: Usage) -> Usage:  # type: ignore[override]
        return Usage._make(map(add, self, other))

    def __str__(self) -> str:
        return (
            f"{self.prompt_tokens:,} prompt ({self.cached_tokens:,} of them cached), {self.tool_tokens:,} tool, "
            f"{self.output_tokens:,} output and {self.thoughts_tokens:,} thoughts tokens in {self.rows:,} rows"
        )

    def to_json(self) -> dict[str, int]:
        """Return the counts by field name."""
        return self._asdict()

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Self:
        """Read counts, absent ones as 0; raises :class:`ValueError` if a value is not a count."""
        try:
            return cls(**{name: int(content.get(name, 0)) for name in cls._fields})
        except (AttributeError, TypeError, ValueError) as error:
            raise ValueError(f"expected token counts, got {content!r:.200}") from error


UsageByModel = dict[str, Usage]
"""Token counts by model version, as the responses name it."""


def add_usage(totals: UsageByModel, model: str, usage: Usage) -> None:
    """Add counts to the totals of a model, in place; rows that reported no tokens leave no entry."""
    if usage.rows:
        before = totals.get(model)
        totals[model] = usage if before is None else before + usage


def merge_usage(*parts: Mapping[str, Usage]) -> UsageByModel:
    """Return the sum of several counts by model, such as those of a submission's jobs."""
    totals: UsageByModel = {}
    for part in parts:
        for model, usage in part.items():
            add_usage(totals, model, usage)
    return totals


def usage_by_model(rows: Iterable[Mapping[str, Any]]) -> UsageByModel:
    """Return the counts of rows with the columns of :func:`airflow_gemini_batch.outputs.usage_sql.added_up`."""
    return {row["model_version"]: Usage.from_json({**row, "rows": row["row_count"]}) for row in rows}
