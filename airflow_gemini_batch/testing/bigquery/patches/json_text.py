"""JSON as BigQuery reads and writes it: two functions that DuckDB calls for each value.

What they give was compared with GoogleSQL's reference evaluator.
"""

from __future__ import annotations

import datetime as dt
import functools
import json
import math
from base64 import b64encode
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import duckdb

from airflow_gemini_batch.testing.bigquery.patches.tables import field_of

Writer = Callable[[Any], str]
_EXACT = 2**53  # integers beyond it are strings in what TO_JSON_STRING writes
_string = json.JSONEncoder(ensure_ascii=False).encode


def register(connection: Any) -> None:
    """Make the functions known to a connection of DuckDB: ``bigquery_json_text`` and ``bigquery_json_parsed``."""
    # Without types of its parameters, a function takes values of any type.
    options = {"return_type": "VARCHAR", "null_handling": "special"}
    connection.create_function("bigquery_json_text", _write, None, **options)
    connection.create_function("bigquery_json_parsed", _read, ["VARCHAR", "BOOLEAN"], **options)


def _write(*arguments: Any) -> str:
    """Write a value as JSON.

    The arguments are the value, DuckDB's name of its type, and whether the text is for a value of type JSON
    (``TO_JSON``) rather than for one of type STRING (``TO_JSON_STRING``).
    """
    value, kind, typed = arguments
    return "null" if value is None else _writer(kind, typed)(value)


def _read(text: str | None, rounding: bool) -> str | None:
    """Give a JSON text as a value of type JSON is written; NULL for what is not JSON.

    Keys are in order and the first of two wins. Without ``rounding``, a number that FLOAT64 and 64-bit integers can't
    hold exactly is refused; one beyond the largest FLOAT64 always is.
    """
    if text is None:
        return None
    try:
        written = _canonical(json.loads(text.removeprefix("\ufeff"), **_READING[rounding]))
        written.encode()  # half of a surrogate pair is refused
        return written
    except (ValueError, RecursionError):
        return None


def _first_wins(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    return dict(reversed(pairs))


def _number(text: str, *, rounding: bool) -> float:
    number = float(text)
    if math.isinf(number) or not (rounding or Decimal(text) == Decimal(repr(number))):
        raise ValueError(f"number overflow parsing {text!r}")
    return number


def _integer(text: str, *, rounding: bool) -> int | float:
    # Python refuses to read integers of thousands of digits.
    number = int(text) if len(text) <= 20 else 2**64
    return number if -(2**63) <= number < 2**64 else _number(text, rounding=rounding)


def _refuse(constant: str) -> None:
    raise ValueError(constant)


_READING: dict[bool, dict[str, Any]] = {
    rounding: {
        "object_pairs_hook": _first_wins,
        "parse_float": functools.partial(_number, rounding=rounding),
        "parse_int": functools.partial(_integer, rounding=rounding),
        "parse_constant": _refuse,
    }
    for rounding in (False, True)
}


def _canonical(value: Any) -> str:
    if isinstance(value, dict):
        return _object({name: _canonical(inner) for name, inner in value.items()}, ordered=True)
    if isinstance(value, list):
        return f"[{','.join(map(_canonical, value))}]"
    if isinstance(value, float):
        return _json_float(value)
    return _string(value)


def _object(members: dict[str, str], *, ordered: bool) -> str:
    pairs = sorted(members.items()) if ordered else members.items()
    return f"{{{','.join(f'{_string(name)}:{text}' for name, text in pairs)}}}"


@functools.lru_cache(maxsize=512)
def _writer(kind: str, typed: bool) -> Writer:
    with duckdb.connect() as connection:
        return _of_field(field_of("", duckdb.sqltype(kind, connection=connection)), typed)


def _of_field(field: Any, typed: bool) -> Writer:
    if field.mode == "REPEATED":
        item = _of_field(field.model_copy(update={"mode": "NULLABLE"}), typed)
        return lambda values: f"[{','.join('null' if value is None else item(value) for value in values)}]"
    if field.type == "RECORD":
        inner = {one.name: _of_field(one, typed) for one in field.fields}

        def write(struct: dict[str, Any]) -> str:
            members = {
                name: "null" if value is None else inner[name](value) for name, value in struct.items()
            }
            return _object(members, ordered=typed)

        return write
    return _scalars(typed).get(field.type, lambda value: _escaped(str(value)))


@functools.cache
def _scalars(typed: bool) -> dict[str, Writer]:
    return {
        "JSON": str,
        "BOOLEAN": lambda value: "true" if value else "false",
        "INTEGER": str if typed else _plain_integer,
        "FLOAT": _json_float if typed else _plain_float,
        "NUMERIC": _json_decimal if typed else _plain_decimal,
        "BYTES": lambda value: f'"{b64encode(value).decode()}"',
        "TIMESTAMP": lambda value: f'"{_clock(value.astimezone(dt.UTC).replace(tzinfo=None))}Z"',
        "DATETIME": lambda value: f'"{_clock(value)}"',
        "TIME": lambda value: f'"{_clock(value)}"',
        "STRING": _string if typed else _escaped,
    }


def _escaped(text: str) -> str:
    return _string(text).replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")


def _clock(value: dt.datetime | dt.time) -> str:
    # Fractions of a second come in groups of three digits.
    micros = value.microsecond
    return value.isoformat(
        timespec="microseconds" if micros % 1000 else "milliseconds" if micros else "seconds"
    )


def _plain_integer(value: int) -> str:
    return str(value) if -_EXACT <= value <= _EXACT else f'"{value}"'


def _plain_float(value: float) -> str:
    if not math.isfinite(value):
        return _json_float(value)
    text = f"{value:.15g}"
    text = text if float(text) == value else f"{value:.17g}"
    return "0" if text == "-0" else text


def _plain_decimal(value: Decimal) -> str:
    text = f"{value:f}"
    text = text.rstrip("0").rstrip(".") if "." in text else text
    return text if "." not in text and -_EXACT <= value <= _EXACT else f'"{text}"'


def _json_float(value: float) -> str:
    if not math.isfinite(value):
        return '"NaN"' if math.isnan(value) else '"Infinity"' if value > 0 else '"-Infinity"'
    text = repr(value + 0.0)  # no negative zero
    if 1e15 <= abs(value) < 1e16:
        sign, digits = ("-" if value < 0 else ""), text.strip("-").removesuffix(".0").rstrip("0")
        return f"{sign}{digits[0]}{'.' if digits[1:] else ''}{digits[1:]}e+15"
    return text


def _json_decimal(value: Decimal) -> str:
    whole = value == value.to_integral_value() and -(2**63) <= value < 2**64
    return str(int(value)) if whole else _json_float(float(value))
