"""Tokens that are billed for rows, and their sums by model."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from operator import add
from typing import Any, NamedTuple, Self

from airflow_gemini_batch.core.columns import TOKEN_COLUMNS
from airflow_gemini_batch.outputs.classify import first_object

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


class ModelUsage(NamedTuple):
    """Tokens of one row.

    :param model: version of the model that answered; empty if the row does not name it.
    """

    model: str
    usage: Usage


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


def usage_of(response: Mapping[str, Any]) -> ModelUsage:
    """Return the model version and the token counts of one ``GenerateContentResponse``.

    What the response does not name is empty or 0, and so is a value that is not a count: one odd row must not stop the
    sum.
    """
    version = response.get("modelVersion")
    model = version if isinstance(version, str) else ""
    metadata = response.get("usageMetadata")
    if not isinstance(metadata, dict):
        return ModelUsage(model, Usage())
    details = metadata.get("promptTokensDetails")
    counts = (_count(metadata.get(name)) for name in TOKEN_COLUMNS.values())
    queries = _inside(first_object(response.get("candidates")), "groundingMetadata", "webSearchQueries")
    usage = counted_usage(
        *counts,
        audio=sum(
            _count(one.get("tokenCount"))
            for one in (details if isinstance(details, list) else ())
            if isinstance(one, dict) and one.get("modality") == AUDIO
        ),
        searches=len(queries) if isinstance(queries, list) else 0,
    )
    return ModelUsage(model, usage)


def counted_usage(
    prompt: int, output: int, thoughts: int, cached: int, tool: int, *, audio: int, searches: int
) -> Usage:
    """Return the token counts of one row; an empty one if it reports no tokens."""
    if not (prompt or output or thoughts or tool):
        return Usage()
    # The tiers ask for the whole input of the model, of which the tools' answers are a part.
    long = prompt + tool > LONG_PROMPT
    return Usage(
        1,
        prompt,
        output,
        thoughts,
        cached,
        *((prompt, output + thoughts, cached) if long else (0, 0, 0)),
        tool_tokens=tool,
        long_tool_tokens=tool if long else 0,
        audio_tokens=audio,
        long_audio_tokens=audio if long else 0,
        searches=searches,
    )


def text_embedding_usage(predictions: Any) -> Usage:
    """Return the token counts of a row of a text-embedding model, from its ``predictions``.

    They are a list of ``{"embeddings": {"statistics": {"token_count": …}}}``, one for each text.
    """
    tokens = 0
    for prediction in predictions if isinstance(predictions, list) else ():
        tokens += _count(_inside(prediction, "embeddings", "statistics", "token_count"))
    return Usage(1, tokens) if tokens else Usage()


def gemini_embedding_usage(response: Any) -> Usage:
    """Return the token counts of a row of a gemini-embedding model, from its ``response``.

    Some releases report ``tokenCount``, others ``usageMetadata.promptTokenCount``.
    """
    tokens = _count(_inside(response, "tokenCount")) or _count(
        _inside(response, "usageMetadata", "promptTokenCount")
    )
    return Usage(1, tokens) if tokens else Usage()


def _inside(value: Any, *names: str) -> Any:
    for name in names:
        value = value.get(name) if isinstance(value, dict) else None
    return value


def _count(value: Any) -> int:
    """Return a number of tokens; in JSON it may be a number, or a string as for any int64."""
    if type(value) is int:
        return value if value > 0 else 0
    if isinstance(value, str) and value.isdecimal():
        return int(value)
    return int(value) if isinstance(value, float) and 0 < value < 2**53 else 0
