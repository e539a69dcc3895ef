"""The size of requests that exist already, in files or in a table, and the estimate made of it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import date
from typing import TYPE_CHECKING, Any, NamedTuple

import orjson

from airflow_gemini_batch.core.addresses import Address, BigQueryAddress, GcsAddress
from airflow_gemini_batch.core.defaults import LONGEST_LINE, SAMPLE_ROWS
from airflow_gemini_batch.core.jsonl import without_mark
from airflow_gemini_batch.core.model_families import (
    GEMINI_EMBEDDING,
    GENERATE_CONTENT,
    TEXT_EMBEDDING,
    ModelFamily,
)
from airflow_gemini_batch.costs.estimate import Estimate, OutputLimits, estimate
from airflow_gemini_batch.costs.prices import PriceTable
from airflow_gemini_batch.exceptions import InvalidRequestError, SourceNotReadyError

if TYPE_CHECKING:
    from airflow_gemini_batch.outputs.store import DataStore

_SAMPLED_FILES = 10

# A field may be spelled in either way: see requests.validation.proto_json.
_MEDIA = ("fileData", "file_data", "inlineData", "inline_data")


class RequestSize(NamedTuple):
    """The size of one request.

    :param characters: of its prompt, system instruction and title.
    :param media: number of files, within the request or referred to.
    :param max_output_tokens: the request's own limit, ``None`` without one.
    :param thinks: whether the model may think before it answers.
    :param tools: whether the model may use tools.
    """

    characters: int
    media: int = 0
    max_output_tokens: int | None = None
    thinks: bool = True
    tools: bool = False


def measure(request: Mapping[str, Any], family: ModelFamily) -> RequestSize:
    """Return the size of one request; unknown and broken parts count as empty.

    :param request: a GenerateContentRequest, an EmbedContentRequest, or ``{"content", "task_type", "title"}``.
    """
    return _MEASURES[family](request)


def _generation_size(request: Mapping[str, Any]) -> RequestSize:
    parts = [
        part
        for message in (
            *_listed(request.get("contents")),
            _either(request, "systemInstruction", "system_instruction"),
        )
        for part in _parts(message)
    ]
    limits = output_limits(_either(request, "generationConfig", "generation_config"))
    return RequestSize(
        _characters(parts),
        _media_count(parts),
        limits.max_output_tokens,
        limits.thinks,
        bool(request.get("tools")),
    )


def output_limits(config: Any) -> OutputLimits:
    """Return what a ``GenerationConfig`` says about the length of answers; one that is broken says nothing."""
    if not isinstance(config, Mapping):
        return OutputLimits()
    thinking = _either(config, "thinkingConfig", "thinking_config")
    budget = _either(thinking, "thinkingBudget", "thinking_budget") if isinstance(thinking, Mapping) else None
    most = _whole(_either(config, "maxOutputTokens", "max_output_tokens"))
    return OutputLimits(most if most and most > 0 else None, _whole(budget) != 0)


def _media_count(parts: Iterable[Mapping[str, Any]]) -> int:
    return sum(any(part.get(name) is not None for name in _MEDIA) for part in parts)


def _text_embedding_size(request: Mapping[str, Any]) -> RequestSize:
    return RequestSize(_length(request.get("content")) + _length(request.get("title")))


def _gemini_embedding_size(request: Mapping[str, Any]) -> RequestSize:
    config = _either(request, "embedContentConfig", "embed_content_config")
    nested = config.get("title") if isinstance(config, Mapping) else None
    parts = list(_parts(request.get("content")))
    return RequestSize(_characters(parts) + _length(nested or request.get("title")), _media_count(parts))


_MEASURES = {
    GENERATE_CONTENT: _generation_size,
    TEXT_EMBEDDING: _text_embedding_size,
    GEMINI_EMBEDDING: _gemini_embedding_size,
}


class SizeSample:
    """The first requests of a batch, measured to estimate the whole.

    :param family: of the batch's model.
    """

    def __init__(self, family: ModelFamily) -> None:
        self.lines = 0
        self.bytes = 0
        self.rows = 0
        self._family = family
        self._characters = 0
        self._media = 0
        self._limited = 0
        self._max_output_tokens = 0
        self._thinking = 0
        self._with_tools = 0

    def add_lines(self, lines: Iterable[bytes], limit: int = SAMPLE_ROWS) -> bool:
        """Measure the first lines of a request file; a line that is not a request is left out.

        :param lines: raw, blank ones included.
        :param limit: most lines to measure.

        Returns whether the end was reached.
        """
        end = self.lines + limit
        for line in lines:
            if not line.strip():
                continue
            if self.lines == end:
                return False
            self.lines += 1
            self.bytes += len(line)
            self._add(_object(without_mark(line)))
        return True

    def add_table_rows(self, rows: Iterable[Mapping[str, Any]]) -> None:
        """Measure rows of a request table; a request may be text or decoded already."""
        main = self._family.main_column
        for row in rows:
            self.lines += 1
            value = row.get(main)
            self._add(
                {**row, main: _object(value)} if not self._family.is_flat and isinstance(value, str) else row
            )

    def estimate(
        self,
        model: str,
        prices: PriceTable,
        rows: int | None = None,
        *,
        on: date,
        file_bytes: int | None = None,
    ) -> Estimate:
        """Estimate the tokens and the cost of a batch; without ``rows`` and ``file_bytes``, of the sample alone.

        :param rows: all rows of the batch.
        :param on: the day whose rates count.
        :param file_bytes: size of all its files, from which the number of rows is estimated.

        Raises :class:`~airflow_gemini_batch.exceptions.InvalidRequestError` when the sample holds lines or rows, and
        none of them is a request.
        """
        if self.lines and not self.rows:
            raise InvalidRequestError(
                f"none of the first {self.lines:,} rows is a request for {model}. Run gemini-batch validate on the "
                "file to see what is wrong."
            )
        if file_bytes is not None and self.bytes:
            rows = max(self.lines, round(file_bytes * self.lines / self.bytes))
        # The mean of the limits gives the same sum as the limits themselves, if every row has one.
        has_limit = 0 < self.rows == self._limited
        expected = estimate(
            model,
            prices,
            on=on,
            rows=self.lines if rows is None else rows,
            prompt_characters=self._characters,
            media=self._media,
            limits=OutputLimits(
                -(-self._max_output_tokens // self.rows) if has_limit else None,
                thinks=self._thinking > 0,
                tools=self._with_tools > 0,
            ),
            sampled_rows=self.rows,
            embeddings=self._family.embeds,
        )
        if file_bytes is None:
            return expected
        return replace(
            expected, basis=f"{expected.basis}; the number of rows is estimated from the size of the files"
        )

    def _add(self, row: Mapping[str, Any] | None) -> None:
        if row is None:
            return
        request = row if self._family.is_flat else row.get("request")
        if not isinstance(request, Mapping) or self._family.main_column not in row:
            return
        size = measure(request, self._family)
        self.rows += 1
        self._characters += size.characters
        self._media += size.media
        self._thinking += size.thinks
        self._with_tools += size.tools
        if size.max_output_tokens is not None:
            self._limited += 1
            self._max_output_tokens += size.max_output_tokens


def estimate_sources(
    store: DataStore,
    sources: Sequence[Address],
    model: str,
    family: ModelFamily,
    prices: PriceTable,
    *,
    on: date,
    sample_rows: int = SAMPLE_ROWS,
) -> Estimate:
    """Estimate a job from its first requests; reading them costs nothing.

    :param sources: files, or one table.
    :param on: the day whose rates count.
    :param sample_rows: number of requests to read.

    Raises :class:`~airflow_gemini_batch.exceptions.SourceNotReadyError` for a source that does not exist, and
    :class:`~airflow_gemini_batch.exceptions.InvalidRequestError` when none of the first rows is a request.
    """
    sample = SizeSample(family)
    if isinstance(sources[0], BigQueryAddress):
        # One job reads one table: jobs.submission.parse_requests refuses several.
        rows = _add_table(sample, store, sources[0], family, sample_rows)
        return sample.estimate(model, prices, rows, on=on)
    files = [each for each in sources if isinstance(each, GcsAddress)]
    file_bytes = _add_files(sample, store, files, sample_rows)
    return sample.estimate(model, prices, on=on, file_bytes=file_bytes)


def _add_table(
    sample: SizeSample, store: DataStore, source: BigQueryAddress, family: ModelFamily, limit: int
) -> int:
    """Measure the first rows of a table, and return the number of all rows."""
    table = store.tables.find(source)
    if table is None:
        raise SourceNotReadyError(f"source {source}: there is no such table")
    sample.add_table_rows(store.tables.first_rows(table, family.read_columns, limit))
    # The number of rows in the table's metadata leaves out the rows in the streaming buffer.
    rows = store.tables.count_requests([source]) if table.streaming_buffer else int(table.num_rows)
    return max(rows, sample.lines)


def _add_files(sample: SizeSample, store: DataStore, sources: Sequence[GcsAddress], limit: int) -> int | None:
    """Measure the first lines of the files, and return the size of all; ``None`` when these are all lines."""
    blobs = [blob for blob in store.files.objects(sources) if blob.size]
    chosen = blobs[:_SAMPLED_FILES]
    is_whole = len(chosen) == len(blobs)
    for blob in chosen:
        lines = store.files.raw_lines(blob, LONGEST_LINE)
        is_whole = sample.add_lines(lines, limit // len(chosen)) and is_whole
    return None if is_whole else sum(blob.size for blob in blobs)


def _object(line: bytes | str) -> Mapping[str, Any] | None:
    try:
        value = orjson.loads(line)
    except orjson.JSONDecodeError:
        return None
    return value if isinstance(value, Mapping) else None


def _either(message: Mapping[str, Any], camel_case: str, snake_case: str) -> Any:
    value = message.get(camel_case)
    return message.get(snake_case) if value is None else value


def _whole(value: Any) -> int | None:
    """Return a whole number, which JSON may hold as text; ``None`` for anything else."""
    if isinstance(value, str) and value.isdecimal():
        return int(value)
    return int(value) if type(value) in (int, float) else None


def _listed(value: Any) -> list[Any]:
    # One value may stand for a list of one.
    return value if isinstance(value, list) else [value]


def _parts(message: Any) -> Iterator[Mapping[str, Any]]:
    if isinstance(message, Mapping):
        for part in _listed(message.get("parts")):
            if isinstance(part, Mapping):
                yield part


def _characters(parts: Iterable[Mapping[str, Any]]) -> int:
    return sum(_length(part.get("text")) for part in parts)


def _length(text: Any) -> int:
    return len(text) if isinstance(text, str) else 0
