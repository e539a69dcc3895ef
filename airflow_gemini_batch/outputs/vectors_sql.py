"""The SQL that reads vectors and says what is wrong with them, whichever family of models made them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

from airflow_gemini_batch.core.model_families import (
    GEMINI_EMBEDDING,
    MOST_TOKENS,
    TEXT_EMBEDDING,
    ModelFamily,
)
from airflow_gemini_batch.outputs.classify import Outcome
from airflow_gemini_batch.outputs.classify_sql import SAMPLE_LENGTH, status_case, status_code, status_text
from airflow_gemini_batch.outputs.embeddings import EMPTY, LONGEST, NO_NUMBER, NO_VECTOR, SHORTEST, ZERO
from airflow_gemini_batch.sql.dialect import BIGQUERY, Dialect

Place = tuple[str, str]
"""An expression of type JSON, and a path in it."""


class VectorForm(NamedTuple):
    """Where the answers of a family have their vector.

    :param embedding: gives the expression for the object with the numbers, of the column ``answer``.
    :param tokens: where the number of tokens may stand, in that object (``embedding``) or in ``answer``.
    """

    embedding: Callable[[Dialect], str]
    tokens: tuple[Place, ...]


def _gemini_embedding(sql: Dialect) -> str:
    nested, flat = (sql.json_first("answer", path) for path in ("$.embedding", "$.embeddings"))
    return f"IF({sql.json_is('answer', '$.embedding', 'object')}, {nested}, {flat})"


VECTOR_FORMS: Mapping[ModelFamily, VectorForm] = {
    TEXT_EMBEDDING: VectorForm(
        lambda sql: sql.json_first("answer", "$.embeddings"), (("embedding", "$.statistics.token_count"),)
    ),
    GEMINI_EMBEDDING: VectorForm(
        _gemini_embedding, (("answer", "$.tokenCount"), ("answer", "$.usageMetadata.promptTokenCount"))
    ),
}

_FLAGS = (
    ("embedding", "$.statistics.truncated"),
    ("embedding", "$.truncated"),
    ("answer", "$.truncated"),
)


def read_vectors(
    family: ModelFamily,
    kept: str,
    source: str,
    status: str,
    answer: str,
    error: str,
    limit: int = MOST_TOKENS,
    most: int | None = None,
    sql: Dialect = BIGQUERY,
) -> str:
    """Return the WITH clauses that read vectors; the last one is ``gemini_batch_told``.

    Its columns are ``status_text`` (see :func:`.status_text`), ``token_count`` and ``truncated`` (NULL if the row does
    not tell), ``has_vector``, ``dimensions`` (how many numbers came), ``numbers`` (NULL for an item that is something
    else), and their ``length`` (L2; NULL if one is NULL).

    :param kept: items of a SELECT from the source that go along.
    :param source: what stands behind FROM.
    :param status: an expression over the source, as are the others.
    :param answer: of type JSON.
    :param error: of type STRING, as :func:`.error_text` gives it. It counts, as do ``error`` and ``status`` within the
        answer, unless there is a vector.
    :param limit: tokens of a text that the model reads. A text with so many counts as truncated where the row does not
        say whether it is.
    :param most: how many numbers are read; all of them if None.
    """
    form = VECTOR_FORMS[family]
    told = status_text("row_status", "row_error", "answer", "NOT has_vector", sql=sql)
    return f"""gemini_batch_found AS (
  SELECT {kept}, {status} AS row_status, {error} AS row_error, {sql.json_first(answer)} AS answer
  FROM {source}
), gemini_batch_embedded AS (
  SELECT *, {form.embedding(sql)} AS embedding
  FROM gemini_batch_found
), gemini_batch_counted AS (
  SELECT
    *,
    {sql.json_query("embedding", "$.values")} AS vector,
    {token_count(form.tokens, sql)} AS token_count
  FROM gemini_batch_embedded
), gemini_batch_heard AS (
  SELECT
    {sql.without("embedding", "vector")},
    {truncated(_FLAGS, limit, sql)} AS truncated,
    vector IS NOT NULL AND NOT {sql.json_is("vector", "$", "null")} AS has_vector,
    IFNULL({sql.json_length("vector")}, 0) AS dimensions,
    {sql.json_numbers("vector", most, LONGEST)} AS numbers
  FROM gemini_batch_counted
), gemini_batch_told AS (
  SELECT
    {sql.without("row_status", "row_error", "answer")},
    {told} AS status_text,
    IF({sql.has_null("numbers")}, NULL, {sql.norm("numbers")}) AS length
  FROM gemini_batch_heard
)"""


def token_count(places: tuple[Place, ...], sql: Dialect) -> str:
    """Return the expression for the number of tokens, which stands in one of some places."""
    return f"COALESCE({', '.join(f'NULLIF({sql.count(*place)}, 0)' for place in places)})"


def truncated(places: tuple[Place, ...], limit: int, sql: Dialect) -> str:
    """Return the expression for whether a text of ``token_count`` lost its end, which one of some places may say."""
    flags = (
        f"IF({sql.json_is(json, path, 'boolean')}, {sql.cast(sql.json_value(json, path), 'BOOL')}, NULL)"
        for json, path in places
    )
    return f"COALESCE({', '.join(flags)}, IF(token_count >= {limit}, TRUE, NULL))"


def vector_case(sql: Dialect, faulty: str = "FALSE") -> str:
    """Return the CASE expression that makes an outcome of the columns of :func:`read_vectors`.

    :param faulty: the condition that a vector can't be used.
    """
    return f"""CASE
      {status_case(sql)}
      WHEN NOT has_vector THEN '{Outcome.MISSING}'
      WHEN {faulty} THEN '{Outcome.INVALID}'
      ELSE '{Outcome.OK}'
    END"""


def checked_vectors(
    source: str, dimensions: int | None, sql: Dialect = BIGQUERY, longest: float = LONGEST
) -> str:
    """Return the WITH clauses that say what is wrong with vectors; the last one is ``gemini_batch_judged``.

    It adds ``message`` (why a row failed; NULL if it is ok), ``outcome`` and ``status_code``.

    :param source: rows with the columns of :func:`read_vectors`.
    :param dimensions: as asked for, and read at most; ``None`` takes a vector as long as it is.
    :param longest: length (L2) of a vector that lands as it is.
    """
    short, bound = "", str(longest)
    if dimensions is not None:
        if longest != LONGEST:
            bound = f"IF(dimensions > {dimensions}, {LONGEST}, {longest})"
        message = _other_length(str(dimensions), "asked for", sql)
        short = f"\n      WHEN dimensions < {dimensions} THEN {message}"
    return f"""gemini_batch_faulted AS (
  SELECT
    *,
    CASE
      WHEN status_text != '' THEN SUBSTR(status_text, 1, {SAMPLE_LENGTH})
      WHEN NOT has_vector THEN '{NO_VECTOR}'
      WHEN dimensions = 0 THEN '{EMPTY}'
      WHEN length IS NULL OR length > {bound} THEN '{NO_NUMBER}'
      WHEN length < {SHORTEST} THEN '{ZERO}'{short}
    END AS message
  FROM {source}
), gemini_batch_judged AS (
  SELECT *, {status_code(sql)} AS status_code, {vector_case(sql, "message IS NOT NULL")} AS outcome
  FROM gemini_batch_faulted
)"""


def usual_length(source: str) -> str:
    """Return the query for the length that most vectors have, ``usual``; no row if there are none.

    :param source: rows with ``outcome`` and ``dimensions``.
    """
    return f"""SELECT dimensions AS usual
  FROM {source}
  WHERE outcome = '{Outcome.OK}'
  GROUP BY dimensions
  ORDER BY COUNT(*) DESC, dimensions DESC
  LIMIT 1"""


def of_one_length(source: str, usual: str, sql: Dialect = BIGQUERY) -> str:
    """Return the WITH clause ``gemini_batch_alike``, which refuses vectors that are not as long as most are.

    It has all columns of the source, which are ``outcome``, ``message``, ``dimensions`` and others.

    :param usual: name of the row of :func:`usual_length`.
    """
    odd = f"outcome = '{Outcome.OK}' AND dimensions != (SELECT usual FROM {usual})"
    message = _other_length(f"(SELECT usual FROM {usual})", "of most", sql)
    return f"""gemini_batch_alike AS (
  SELECT * REPLACE (IF({odd}, '{Outcome.INVALID}', outcome) AS outcome, IF({odd}, {message}, message) AS message)
  FROM {source}
)"""


def _other_length(wanted: str, whose: str, sql: Dialect) -> str:
    came, expected = (sql.cast(number, "STRING") for number in ("dimensions", wanted))
    return sql.concat("'the vector has '", came, "' dimensions, not the '", expected, f"' {whose}'")


def fitted_numbers(rows: str, dimensions: int | None, sql: Dialect = BIGQUERY) -> str:
    """Return the expression for the numbers that land: those of a vector that was cut are brought to length 1 (L2).

    These models put what matters most first.

    :param rows: alias of rows of :func:`checked_vectors`.
    """
    if dimensions is None:
        return f"{rows}.numbers"
    # A length of 0 is not landed, but may be computed with.
    scaled = sql.each(f"{rows}.numbers", "number", f"number / NULLIF({rows}.length, 0)")
    return f"IF({is_shortened(rows, dimensions)}, {scaled}, {rows}.numbers)"


def is_shortened(rows: str, dimensions: int | None) -> str:
    """Return whether a vector came longer than asked; parameters as of :func:`fitted_numbers`."""
    return "FALSE" if dimensions is None else f"{rows}.dimensions > {dimensions}"
