"""Expressions over BigQuery rows: a column's name and text, a row's key, and the pieces of its request."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import orjson

from airflow_gemini_batch.core.columns import ColumnTypes
from airflow_gemini_batch.core.fingerprints import spelled_as_in_sql
from airflow_gemini_batch.core.media import (
    ADDRESS_PATTERN,
    ENDING_PATTERN,
    LONGEST_ADDRESS,
    MIME_TYPES,
    REFUSED_PATTERN,
)
from airflow_gemini_batch.exceptions import InvalidRequestError
from airflow_gemini_batch.gcp.statements import Parameters
from airflow_gemini_batch.requests.prompts import PromptTemplate
from airflow_gemini_batch.requests.templates import MediaSlot, RequestTemplate, TextSlot

if TYPE_CHECKING:
    from google.cloud.bigquery import SchemaField

# The REST API has names of its own for some of GoogleSQL's types.
_SQL_NAMES = {"INTEGER": "INT64", "FLOAT": "FLOAT64", "BOOLEAN": "BOOL", "RECORD": "STRUCT"}

ROWS = "gemini_batch_rows"
"""Alias of a table with columns of users, which qualifies each of them: in GoogleSQL an alias, or the name of a WITH
clause, hides a column of the same name."""

# What Vertex AI passes through, and what equals itself: FLOAT64 has NaN, and JSON and BYTES have no text of their own.
KEY_TYPES = ("STRING", "INT64", "NUMERIC", "BIGNUMERIC", "BOOL", "DATE", "TIME", "TIMESTAMP")


def types_of(schema: Iterable[SchemaField]) -> ColumnTypes:
    """Return GoogleSQL's type of each column; ``ARRAY`` for a repeated one, whatever it repeats."""
    return ColumnTypes(
        {field.name: "ARRAY" if field.mode == "REPEATED" else single_type(field) for field in schema}
    )


def single_type(field: SchemaField) -> str:
    """Return GoogleSQL's type of a column, or of what it repeats."""
    return _SQL_NAMES.get(field.field_type, str(field.field_type))


def quoted(column: str) -> str:
    """Return a column's name for use in a statement.

    Raises :class:`.InvalidRequestError` for a name that would end the quotes, which BigQuery allows for no column
    either.
    """
    if "`" in column or "\\" in column:
        raise InvalidRequestError(f"{column!r} is not a column name: it holds a backtick or a backslash")
    return f"`{column}`"


def text_of(column: str, kind: str, rows: str = "") -> str:
    """Return the expression that gives a column's value as text, NULL for NULL.

    :param rows: alias of the table, where the column is a user's.
    """
    name = f"{rows}.{quoted(column)}" if rows else quoted(column)
    if kind == "STRING":
        return name
    if kind in ("ARRAY", "STRUCT", "JSON"):
        return f"IF({name} IS NULL, NULL, TO_JSON_STRING({name}))"
    if kind == "BYTES":
        return f"TO_BASE64({name})"
    if kind == "GEOGRAPHY":
        return f"ST_ASTEXT({name})"
    if kind == "TIMESTAMP":
        return f"STRING({name}, 'UTC')"  # CAST takes the default time zone of the project
    return f"CAST({name} AS STRING)"


def key_text(key: Sequence[str], types: Mapping[str, str], rows: str = "") -> str:
    """Return the expression for a row's key as one text, as :func:`airflow_gemini_batch.core.keys.key_text` has it.

    :param rows: as for :func:`text_of`.
    """
    texts = [text_of(column, types[column], rows) for column in key]
    return texts[0] if len(texts) == 1 else f"TO_JSON_STRING([{', '.join(texts)}])"


def check_key_types(key: Sequence[str], types: Mapping[str, str], *, where: str) -> None:
    """Raise :class:`~airflow_gemini_batch.exceptions.InvalidRequestError` for key columns that can't be keys."""
    errors = [
        f"the key column {column!r} of {where} is of type {types[column]}, which can't be a key: in a query, select "
        f"{text_of(column, types[column])} AS {quoted(column)}"
        for column in key
        if types[column] not in KEY_TYPES
    ]
    if errors:
        raise InvalidRequestError("\n".join(errors))


def slot_columns(
    template: RequestTemplate, types: Mapping[str, str], parameters: Parameters
) -> dict[str, str]:
    """Return the expressions for what fills the slots of a template, by name: ``text_0``, ``file_1`` and so on.

    They read :data:`ROWS`.

    :param types: GoogleSQL's types of the columns.
    """
    return {
        name: rendered(part.text, types, parameters)
        if isinstance(part, TextSlot)
        else _file(part, types, parameters)
        for name, part in named_slots(template).items()
    }


def named_slots(template: RequestTemplate) -> dict[str, TextSlot | MediaSlot]:
    """Return the slots of a template by the names that they have in statements."""
    slots = [part for part in template.parts if not isinstance(part, str)]
    return {f"{'text' if isinstance(slot, TextSlot) else 'file'}_{n}": slot for n, slot in enumerate(slots)}


def request_text(
    template: RequestTemplate, parameters: Parameters, filled: Mapping[str, str] | None = None
) -> str:
    """Return the expression for the request's JSON text.

    It is NULL for a row with a file that can't be sent.

    :param filled: what fills the slots, by name; by default the columns of :func:`slot_columns`.
    """
    slots = iter(filled.values() if filled else named_slots(template))
    pieces = []
    for part in template.parts:
        if isinstance(part, str):
            pieces.append(parameters.bind(spelled_as_in_sql(part.encode()).decode()))
        else:
            slot = next(slots)
            pieces.append(f"TO_JSON_STRING({slot})" if isinstance(part, TextSlot) else slot)
    return f"CONCAT({', '.join(pieces)})"


def field_value(value: Any, template: RequestTemplate, parameters: Parameters) -> str:
    """Return the expression for one of a template's fields, over the columns of :func:`slot_columns`.

    An object is a STRUCT, a list an ARRAY, a whole number an INT64 and everything else a STRING.
    """
    if isinstance(value, PromptTemplate):
        slots = named_slots(template).items()
        return next(name for name, slot in slots if isinstance(slot, TextSlot) and slot.text == value)
    if isinstance(value, Mapping):
        inner = (f"{field_value(one, template, parameters)} AS {quoted(name)}" for name, one in value.items())
        return f"STRUCT({', '.join(inner)})"
    if isinstance(value, list):
        return f"[{', '.join(field_value(one, template, parameters) for one in value)}]"
    return str(value) if isinstance(value, int) else parameters.bind(value)


def rendered(template: PromptTemplate, types: Mapping[str, str], parameters: Parameters) -> str:
    """Return the expression for a text that is rendered of :data:`ROWS`; it is never NULL."""
    parts = [
        parameters.bind(part)
        if isinstance(part, str)
        else f"IFNULL({text_of(part.column, types[part.column], ROWS)}, {parameters.bind(part.default)})"
        for part in template.parts
    ]
    return f"CONCAT({', '.join(parts)})"


def _file(slot: MediaSlot, types: Mapping[str, str], parameters: Parameters) -> str:
    """Return the expression for what fills a slot: '' without a file, NULL for one that can't be sent."""
    uri = text_of(slot.column, types[slot.column], ROWS)
    if slot.mime_type is not None:
        kind = parameters.bind(orjson.dumps(slot.mime_type).decode())
    else:
        cases = "".join(
            f"""
          WHEN '{ending}' THEN '"{kind}"'"""
            for ending, kind in MIME_TYPES.items()
        )
        kind = f"""CASE LOWER(REGEXP_EXTRACT({uri}, r'{ENDING_PATTERN}')){cases}
        END"""
    return f"""CASE
      WHEN IFNULL({uri}, '') = '' THEN ''
      WHEN {_may_be_sent(uri, slot, parameters)} THEN CONCAT(
        ',{{"fileData":{{"mimeType":',
        {kind},
        ',"fileUri":',
        TO_JSON_STRING({uri}),
        '}}}}'
      )
    END"""


def _may_be_sent(uri: str, slot: MediaSlot, parameters: Parameters) -> str:
    """Return the condition that :func:`airflow_gemini_batch.core.media.address_fault` finds nothing."""
    conditions = [
        f"LENGTH({uri}) <= {LONGEST_ADDRESS}",
        f"REGEXP_CONTAINS({uri}, r'^(?:{ADDRESS_PATTERN})$')",
        f"NOT REGEXP_CONTAINS({uri}, r'{REFUSED_PATTERN}')",
    ]
    if slot.prefixes:
        begins = " OR ".join(f"STARTS_WITH({uri}, {parameters.bind(prefix)})" for prefix in slot.prefixes)
        conditions.append(f"({begins})")
    return " AND ".join(conditions)
