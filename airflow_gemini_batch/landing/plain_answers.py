"""Answers that plainly fit their schema, on DuckDB: a pattern tells them, and their values are read by declared types.

That takes a fourth of the time of looking at each field by itself. What the pattern does not match may fit
nevertheless: its fields have another order, or there are more of them, or a fence is around it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from airflow_gemini_batch.core.response_schema import AnswerColumn
from airflow_gemini_batch.landing.schema_check_sql import mismatch_expression
from airflow_gemini_batch.sql.dialect import DUCKDB, Literals

_LONGEST_PATTERN = 20_000

_SPACE = r"[ \t\r\n]*"
_STRING = (
    r'"(?:[^"\\\x00-\x1f]|\\(?:["\\/bfnrt]|u(?:[0-9a-cA-CefEF][0-9a-fA-F]{3}|[dD][0-7][0-9a-fA-F]{2}'
    r"|[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2})))*" + '"'
)
# As many digits as neither a whole number nor one with a fraction loses.
_KINDS = {
    "STRING": _STRING,
    "INTEGER": "-?[0-9]{1,18}",
    "NUMBER": "-?[0-9]{1,18}(?:[.][0-9]{1,30})?(?:[eE][+-]?[0-9]{1,2})?",
    "BOOLEAN": "(?:true|false)",
}
_BOUNDS = {"minimum": ">=", "maximum": "<=", "minItems": ">=", "maxItems": "<="}


def plain_value(schema: Mapping[str, Any], columns: Sequence[AnswerColumn], text: str) -> str:
    """Return the expression for a plain answer as a value of DuckDB; NULL for any other.

    It is a struct with the fields of the columns, or the value of the only column where it has no path.

    :param text: an expression for the answer as the model wrote it.
    """
    pattern = f"{_SPACE}{_pattern(schema)}{_SPACE}"
    if len(pattern) > _LONGEST_PATTERN:
        return f"json_transform(NULL, {_literal(_structure(columns))})"
    matches = f"regexp_full_match({text}, {_literal(pattern)})"
    return f"CASE WHEN {matches} THEN TRY(json_transform({text}, {_literal(_structure(columns))})) END"


def is_within_bounds(schema: Mapping[str, Any], columns: Sequence[AnswerColumn], value: str) -> str:
    """Return the condition that there is a plain answer, and that it keeps to the bounds of its schema.

    :param value: an expression for what :func:`plain_value` gives.
    """
    conditions = [f"{value} IS NOT NULL"]
    for column in columns:
        inner = schema if column.path is None else schema["properties"][column.path]
        if _is_bounded(inner):
            field = plain_column(column, value)
            conditions.append(f"({field} IS NULL OR {_bounds(inner, column, field)})")
    return f"({' AND '.join(conditions)})"


def plain_column(column: AnswerColumn, value: str) -> str:
    """Return the expression for the value of a column; ``value`` is one for what :func:`plain_value` gives."""
    return value if column.path is None else f"{value}.{DUCKDB.name(column.path)}"


def _literal(text: str) -> str:
    return Literals().bind(text)


def _pattern(schema: Mapping[str, Any]) -> str:
    """Return the pattern of RE2 for the JSON of a schema.

    Where a comma or an end is missing it matches as well, which is left to the parser. It does not match a comma at the
    end, nor a number beyond all others, which DuckDB's parser lets pass.
    """
    if "anyOf" in schema:
        pattern = f"(?:{'|'.join(map(_pattern, schema['anyOf']))})"
    elif schema["type"] == "OBJECT":
        pattern = _object(schema)
    elif schema["type"] == "ARRAY":
        pattern = rf"\[{_SPACE}(?:\]|(?:{_pattern(schema['items'])}{_SPACE}[,\]]{_SPACE})+)"
    elif allowed := schema.get("enum"):
        pattern = f"(?:{'|'.join(map(_quoted, allowed))})"
    else:
        pattern = _KINDS[schema["type"]]
    return f"(?:{pattern}|null)" if schema.get("nullable") else pattern


def _object(schema: Mapping[str, Any]) -> str:
    fields = schema["properties"]
    required = schema.get("required") or ()
    pattern = rf"\{{{_SPACE}"
    for name in schema.get("propertyOrdering") or fields:
        value = _pattern(fields[name])
        if name not in required:
            value = f"(?:{value}|null)"
        field = f",?{_SPACE}{_quoted(name)}{_SPACE}:{_SPACE}{value}{_SPACE}"
        pattern += field if name in required else f"(?:{field})?"
    return pattern + r"\}"


def _quoted(text: str) -> str:
    return re.escape(orjson.dumps(text).decode())


def _structure(columns: Sequence[AnswerColumn]) -> str:
    types: dict[str | None, Any] = {}
    for column in columns:
        type_ = DUCKDB.types[column.type]
        types[column.path] = [type_] if column.repeated else type_
    return json.dumps(types.get(None, types))


def _is_bounded(schema: Mapping[str, Any]) -> bool:
    inner = [*schema.get("anyOf", ()), *schema.get("properties", {}).values()]
    inner += [schema["items"]] if "items" in schema else []
    return any(schema.get(name) is not None for name in _BOUNDS) or any(map(_is_bounded, inner))


def _bounds(schema: Mapping[str, Any], column: AnswerColumn, value: str) -> str:
    """Return the condition that a value, which is not NULL, is within bounds."""
    if column.type == "JSON":
        return f"{mismatch_expression(schema, value, value, Literals(), DUCKDB)} IS NULL"
    if column.repeated:
        faulty = f"NOT ({_number_bounds(schema['items'], 'item')})"
        return f"{_number_bounds(schema, f'len({value})')} AND NOT {DUCKDB.has(value, 'item', faulty)}"
    return _number_bounds(schema, value)


def _number_bounds(schema: Mapping[str, Any], number: str) -> str:
    if "anyOf" in schema:
        return f"({' OR '.join(_number_bounds(option, number) for option in schema['anyOf'])})"
    given = {sign: schema[name] for name, sign in _BOUNDS.items() if schema.get(name) is not None}
    return " AND ".join(f"{number} {sign} {bound!r}" for sign, bound in given.items()) or "TRUE"
