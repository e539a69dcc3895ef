"""The outcome and the vector of one output row of an embedding job."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from airflow_gemini_batch.core.model_families import (
    GEMINI_EMBEDDING,
    MOST_TOKENS,
    TEXT_EMBEDDING,
    ModelFamily,
)
from airflow_gemini_batch.core.response_schema import AnswerColumn
from airflow_gemini_batch.outputs.classify import (
    Outcome,
    RowResult,
    decoded,
    first_object,
    object_of,
    other_failure,
    status_failure,
)
from airflow_gemini_batch.outputs.usage import Usage, gemini_embedding_usage, text_embedding_usage


class EmbeddedRow(NamedTuple):
    """The content of one output row.

    :param values: the numbers as they came, for :func:`fit_vector` to check; None unless the outcome is ok.
    :param token_count: tokens of the text; None if the row does not say.
    :param truncated: whether the text was too long and lost its end; None if the row does not tell.
    """

    result: RowResult
    values: Any = None
    token_count: int | None = None
    truncated: bool | None = None


class Vector(NamedTuple):
    """A vector that can be searched, or the reason why it cannot.

    :param values: empty when there is an error.
    :param shortened: whether it came longer than asked.
    """

    values: list[float]
    error: str | None = None
    shortened: bool = False

    @property
    def dimensions(self) -> int:
        """The length, which must be the same in a whole column."""
        return len(self.values)


_OK = RowResult(Outcome.OK)

DIMENSIONS = "dimensions"
"""Column with the length of the vector beside it."""

EMPTY = "the vector is empty"
ZERO = "the vector is zero"
NO_NUMBER = "the vector holds something that is not a finite number"
NO_VECTOR = "the row has no vector"
SHORTEST, LONGEST = 1e-150, 1e150
"""Bounds of a vector's length: beyond them the squares of its numbers are not FLOAT64."""

AMBIGUOUS = (
    "the same text was asked for with several titles or task types, and the output does not tell which of the vectors "
    "belongs to which"
)


def embedding_columns(vector_column: str) -> tuple[AnswerColumn, ...]:
    """Return the columns that a vector and its facts land in; their paths name what they hold."""
    return (
        AnswerColumn(vector_column, "FLOAT64", repeated=True, path="values"),
        *(
            AnswerColumn(name, kind, path=name)
            for name, kind in (("token_count", "INT64"), ("truncated", "BOOL"), (DIMENSIONS, "INT64"))
        ),
    )


class VectorForm(NamedTuple):
    """Where the answers of a family have their vector.

    :param wrote: whether a row of an output is one of the family's.
    :param embedding: takes the object that holds the numbers out of a decoded answer.
    :param usage: takes the tokens out of it.
    """

    wrote: Callable[[Mapping[str, Any]], bool]
    embedding: Callable[[Any], Any]
    usage: Callable[[Any], Usage]


def _gemini_embedding(answer: Any) -> Any:
    content = object_of(answer)
    return content.get("embedding") or content.get("embeddings")


VECTOR_FORMS: Mapping[ModelFamily, VectorForm] = {
    TEXT_EMBEDDING: VectorForm(
        lambda row: "predictions" in row or "instance" in row,
        lambda answer: (first_object(answer) or {}).get("embeddings"),
        text_embedding_usage,
    ),
    # A failed row looks like one of generated content, and means the same.
    GEMINI_EMBEDDING: VectorForm(
        lambda row: any(
            name in object_of(row.get("response")) for name in ("embedding", "embeddings", "tokenCount")
        ),
        _gemini_embedding,
        gemini_embedding_usage,
    ),
}


def read_embedding(family: ModelFamily, row: Mapping[str, Any], limit: int = MOST_TOKENS) -> EmbeddedRow:
    """Read one line of an output file, or one row of an output table.

    :param row: of the text-embedding family with ``predictions`` and ``status``, of the gemini-embedding family with
        ``response``, and ``status`` where it failed. All three may be JSON text. A row without a vector may tell its
        error elsewhere, as :func:`.classify_row` says.
    :param limit: tokens of a text that the model reads. A text with so many counts as truncated where the row does not
        say whether it is.
    """
    if failure := status_failure(row.get("status")):
        return EmbeddedRow(failure)
    form = VECTOR_FORMS[family]
    answer = decoded(row.get(family.answer_column))
    embedding = first_object(form.embedding(answer)) or {}
    values = embedding.get("values")
    if values is None:
        failure = other_failure(row.get("error"), first_object(answer) or {})
        return EmbeddedRow(failure or RowResult(Outcome.MISSING, NO_VECTOR))
    tokens = form.usage(answer).prompt_tokens or None
    places = (object_of(embedding.get("statistics")), embedding, first_object(answer) or {})
    truncated = next((flag for place in places if isinstance(flag := place.get("truncated"), bool)), None)
    if truncated is None and tokens and tokens >= limit:
        truncated = True
    return EmbeddedRow(_OK, values, tokens, truncated)


def fit_vector(values: Any, dimensions: int | None = None) -> Vector:
    """Check the numbers of a vector against what was asked for.

    A longer vector is cut and brought to length 1 (L2) again; these models put what matters most first. A shorter
    one, a zero vector, and one with anything but finite numbers have an error. The twin in SQL is
    :func:`airflow_gemini_batch.landing.bigquery.embedding_sql.embedding_staging_statement`.

    :param dimensions: as asked for; ``None`` takes the vector as long as it is.
    """
    if not isinstance(values, list) or not values:
        return Vector([], EMPTY)
    kept = values[:dimensions]
    length = _length(kept)
    if not length <= LONGEST:
        return Vector([], NO_NUMBER)
    if length < SHORTEST:
        return Vector([], ZERO)
    if dimensions is not None and len(values) < dimensions:
        return Vector([], f"the vector has {len(values)} dimensions, not the {dimensions} asked for")
    if len(kept) == len(values):
        return Vector(values)
    return Vector([value / length for value in kept], shortened=True)


def _length(values: list[Any]) -> float:
    """Return the L2 norm; NaN when not everything is a number."""
    try:
        # Finite only if every number is, so one pass in C, a fifth of the time of decoding, sees all errors.
        return math.hypot(*values)
    except (TypeError, OverflowError):
        return math.nan
