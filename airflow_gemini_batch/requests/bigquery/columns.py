"""Columns of BigQuery rows: their types, their quoted names, and their values as text."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from airflow_gemini_batch.exceptions import InvalidRequestError

if TYPE_CHECKING:
    from google.cloud.bigquery import SchemaField

# The REST API has names of its own for some of GoogleSQL's types.
_SQL_NAMES = {"INTEGER": "INT64", "FLOAT": "FLOAT64", "BOOLEAN": "BOOL", "RECORD": "STRUCT"}

# What Vertex AI passes through, and what equals itself: FLOAT64 has NaN, and JSON and BYTES have no text of their own.
_KEY_TYPES = ("STRING", "INT64", "NUMERIC", "BIGNUMERIC", "BOOL", "DATE", "TIME", "TIMESTAMP")


def types_of(schema: Iterable[SchemaField]) -> dict[str, str]:
    """Return GoogleSQL's type of each column; ``ARRAY`` for a repeated one, whatever it repeats."""
    return {field.name: "ARRAY" if field.mode == "REPEATED" else single_type(field) for field in schema}


def single_type(field: SchemaField) -> str:
    """Return GoogleSQL's type of a column, or of what it repeats."""
    return _SQL_NAMES.get(field.field_type, str(field.field_type))


def quoted(column: str) -> str:
    """Return a column's name for use in a statement.

    Raises :class:`~airflow_gemini_batch.exceptions.InvalidRequestError` for a name that would end the quotes, which
    BigQuery allows for no column either.
    """
    if "`" in column or "\\" in column:
        raise InvalidRequestError(f"{column!r} is no name of a column: it holds a backtick or a backslash")
    return f"`{column}`"


def text_of(column: str, kind: str) -> str:
    """Return the expression that gives a column's value as text, NULL for NULL."""
    name = quoted(column)
    if kind == "STRING":
        return name
    if kind in ("ARRAY", "STRUCT", "JSON"):
        return f"IF({name} IS NULL, NULL, TO_JSON_STRING({name}))"
    if kind == "BYTES":
        return f"TO_BASE64({name})"
    if kind == "GEOGRAPHY":
        return f"ST_ASTEXT({name})"
    return f"CAST({name} AS STRING)"


def key_text(key: Sequence[str], types: Mapping[str, str]) -> str:
    """Return the expression for a row's key as one text, as :func:`airflow_gemini_batch.core.keys.key_text` has it."""
    texts = [text_of(column, types[column]) for column in key]
    return texts[0] if len(texts) == 1 else f"TO_JSON_STRING([{', '.join(texts)}])"


def check_key_types(key: Sequence[str], types: Mapping[str, str], *, where: str) -> None:
    """Raise :class:`~airflow_gemini_batch.exceptions.InvalidRequestError` for key columns that can't be keys."""
    faults = [
        f"the key column {column!r} of {where} is of type {types[column]}, which can't be a key: in a query, select "
        f"{text_of(column, types[column])} AS {quoted(column)}"
        for column in key
        if types[column] not in _KEY_TYPES
    ]
    if faults:
        raise InvalidRequestError("\n".join(faults))
