"""Values of rows and their text: one table for Python and SQL."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from types import MappingProxyType
from typing import Any


@dataclass(frozen=True)
class ValueCase:
    """A value as Python and as GoogleSQL have it.

    :param sql: the value as an expression; ``None`` for what has no column in BigQuery.
    :param kind: the type of the column.
    :param text: what BigQuery gives, as its own evaluator has confirmed.
    """

    id: str
    value: Any
    text: str
    sql: str | None = None
    kind: str = "STRING"

    def __str__(self) -> str:
        return self.id


class _Text(str):
    __slots__ = ()


_NOON = datetime(2024, 5, 1, 12, 30, tzinfo=UTC)
_BERLIN = timezone(timedelta(hours=2))


def _float(name: str, value: float, text: str, sql: str | None = None) -> ValueCase:
    return ValueCase(name, value, text, sql or f"CAST('{value!r}' AS FLOAT64)", "FLOAT64")


def _timestamp(name: str, value: datetime, text: str, literal: str) -> ValueCase:
    return ValueCase(name, value, text, f"TIMESTAMP '{literal}'", "TIMESTAMP")


VALUE_CASES = [
    ValueCase("text", "007", "007", "'007'"),
    ValueCase("kind of text", _Text("a"), "a"),
    ValueCase("true", True, "true", "TRUE", "BOOL"),
    ValueCase("false", False, "false", "FALSE", "BOOL"),
    ValueCase("integer", -7, "-7", "-7", "INT64"),
    ValueCase("largest integer", 2**63 - 1, str(2**63 - 1), str(2**63 - 1), "INT64"),
    ValueCase("integer beyond 64 bits", 2**70, "1180591620717411303424"),
    _float("whole float", 2008.0, "2008"),
    _float("float", -0.25, "-0.25"),
    _float("tenth", 0.1, "0.1"),
    _float("float of 16 digits", 0.7999999999999999, "0.79999999999999993"),
    _float("float of 17 digits", 0.1 + 0.2, "0.30000000000000004"),
    _float("small float", 0.0001, "0.0001"),
    _float("smaller float", 0.00001, "1e-05"),
    _float("negative zero", -0.0, "0"),
    _float("float of 15 digits", 123456789012345.0, "123456789012345"),
    _float("1e15", 1e15, "1e+15"),
    _float("integer as float", 1234567890123456.0, "1234567890123456"),
    _float("1e22", 1e22, "1e+22"),
    _float("largest float", 1.7976931348623157e308, "1.7976931348623157e+308"),
    _float("least float", 5e-324, "4.94065645841247e-324"),
    _float("infinity", float("inf"), "inf"),
    _float("negative infinity", float("-inf"), "-inf"),
    ValueCase("decimal", Decimal("12.50"), "12.5", "NUMERIC '12.50'", "NUMERIC"),
    ValueCase("decimal below one", Decimal("-0.50"), "-0.5", "NUMERIC '-0.50'", "NUMERIC"),
    ValueCase("whole decimal", Decimal("100"), "100", "NUMERIC '100'", "NUMERIC"),
    ValueCase("decimal with zeros", Decimal("100.00"), "100", "NUMERIC '100.00'", "NUMERIC"),
    ValueCase("decimal with exponent", Decimal("1E+3"), "1000", "NUMERIC '1E+3'", "NUMERIC"),
    ValueCase("small decimal", Decimal("1E-9"), "0.000000001", "NUMERIC '0.000000001'", "NUMERIC"),
    ValueCase("decimal of zero", Decimal("-0.0"), "0", "NUMERIC '-0.0'", "NUMERIC"),
    ValueCase(
        "long decimal",
        Decimal("12345678901234567890123456789.5"),
        "12345678901234567890123456789.5",
        "NUMERIC '12345678901234567890123456789.5'",
        "NUMERIC",
    ),
    ValueCase("bytes", b"\x00\xff", "AP8=", "FROM_HEX('00ff')", "BYTES"),
    ValueCase("date", date(2024, 5, 1), "2024-05-01", "DATE '2024-05-01'", "DATE"),
    ValueCase("early date", date(99, 5, 1), "0099-05-01", "DATE '0099-05-01'", "DATE"),
    ValueCase("time", time(12, 30), "12:30:00", "TIME '12:30:00'", "TIME"),
    ValueCase("time with tenths", time(12, 30, 0, 500_000), "12:30:00.500", "TIME '12:30:00.5'", "TIME"),
    ValueCase(
        "time with microseconds", time(12, 30, 0, 123_400), "12:30:00.123400", "TIME '12:30:00.1234'", "TIME"
    ),
    ValueCase(
        "datetime", datetime(2024, 5, 1), "2024-05-01 00:00:00", "DATETIME '2024-05-01 00:00:00'", "DATETIME"
    ),
    ValueCase(
        "datetime with tenths",
        datetime(2024, 5, 1, 12, 30, 0, 500_000),
        "2024-05-01 12:30:00.500",
        "DATETIME '2024-05-01 12:30:00.5'",
        "DATETIME",
    ),
    _timestamp("timestamp", _NOON, "2024-05-01 12:30:00+00", "2024-05-01 12:30:00+00"),
    _timestamp(
        "timestamp of another zone",
        _NOON.astimezone(_BERLIN),
        "2024-05-01 12:30:00+00",
        "2024-05-01 14:30:00+02",
    ),
    _timestamp(
        "timestamp with tenths",
        _NOON.replace(microsecond=500_000),
        "2024-05-01 12:30:00.500+00",
        "2024-05-01 12:30:00.5+00",
    ),
    _timestamp(
        "timestamp with microseconds",
        _NOON.replace(microsecond=123_456),
        "2024-05-01 12:30:00.123456+00",
        "2024-05-01 12:30:00.123456+00",
    ),
    _timestamp(
        "timestamp with zeros",
        _NOON.replace(microsecond=120),
        "2024-05-01 12:30:00.000120+00",
        "2024-05-01 12:30:00.00012+00",
    ),
    ValueCase("list of texts", ["é", '"', "a/b"], r'["é","\"","a/b"]', """['é', '"', 'a/b']""", "ARRAY"),
    ValueCase("control characters", ["\n\x01"], r'["\n\u0001"]'),
    ValueCase(
        "line separators",
        ["\u2028\u2029"],
        r'["\u2028\u2029"]',
        "['\u2028\u2029']",
        "ARRAY",
    ),
    ValueCase("tuple of booleans", (True, False), "[true,false]", "[TRUE, FALSE]", "ARRAY"),
    ValueCase("empty list", [], "[]", "ARRAY<STRING>[]", "ARRAY"),
    ValueCase("list of dates", [date(2024, 5, 1)], '["2024-05-01"]', "[DATE '2024-05-01']", "ARRAY"),
    ValueCase(
        "list of large integers",
        [2**53, 2**53 + 1, -(2**53) - 1],
        '[9007199254740992,"9007199254740993","-9007199254740993"]',
        "[9007199254740992, 9007199254740993, -9007199254740993]",
        "ARRAY",
    ),
    ValueCase(
        "list of floats",
        [2008.0, 0.1, 1e-7, 1e15, float("inf"), float("-inf")],
        '[2008,0.1,1e-07,1e+15,"Infinity","-Infinity"]',
        "[CAST(2008 AS FLOAT64), 0.1, 1e-7, 1e15, CAST('inf' AS FLOAT64), CAST('-inf' AS FLOAT64)]",
        "ARRAY",
    ),
    ValueCase(
        "list of decimals",
        [Decimal("12.50"), Decimal("3.0")],
        '["12.5",3]',
        "[NUMERIC '12.50', NUMERIC '3.0']",
        "ARRAY",
    ),
    ValueCase("list of bytes", [b"\x00"], '["AA=="]', "[FROM_HEX('00')]", "ARRAY"),
    ValueCase(
        "list of timestamps",
        [_NOON, _NOON.replace(microsecond=500_000)],
        '["2024-05-01T12:30:00Z","2024-05-01T12:30:00.500Z"]',
        "[TIMESTAMP '2024-05-01 12:30:00+00', TIMESTAMP '2024-05-01 12:30:00.5+00']",
        "ARRAY",
    ),
    ValueCase(
        "list of datetimes",
        [datetime(2024, 5, 1, 12, 30)],
        '["2024-05-01T12:30:00"]',
        "[DATETIME '2024-05-01 12:30:00']",
        "ARRAY",
    ),
    ValueCase(
        "list of times",
        [time(12, 30, 0, 500_000)],
        '["12:30:00.500"]',
        "[TIME '12:30:00.5']",
        "ARRAY",
    ),
    ValueCase(
        "object",
        {"b": 1, "a": ["x"], "n": None},
        '{"b":1,"a":["x"],"n":null}',
        "STRUCT(1 AS b, ['x'] AS a, CAST(NULL AS STRING) AS n)",
        "STRUCT",
    ),
    ValueCase(
        "object in a list",
        [{"a": {"b": True}}],
        '[{"a":{"b":true}}]',
        "[STRUCT(STRUCT(TRUE AS b) AS a)]",
        "ARRAY",
    ),
    ValueCase(
        "object of scalars",
        {"f": 2008.0, "n": Decimal("1.50"), "b": b"\xff", "t": _NOON, "i": 2**53 + 1, "z": -0.0},
        '{"f":2008,"n":"1.5","b":"/w==","t":"2024-05-01T12:30:00Z","i":"9007199254740993","z":0}',
        "STRUCT(CAST(2008 AS FLOAT64) AS f, NUMERIC '1.50' AS n, FROM_HEX('ff') AS b, "
        "TIMESTAMP '2024-05-01 12:30:00+00' AS t, 9007199254740993 AS i, CAST('-0' AS FLOAT64) AS z)",
        "STRUCT",
    ),
    ValueCase(
        "JSON", {"a": [1, "é", None]}, '{"a":[1,"é",null]}', """JSON '{"a": [1, "é", null]}'""", "JSON"
    ),
    ValueCase("object of another class", {"a": MappingProxyType({"b": 1})}, '{"a":{"b":1}}'),
    ValueCase("number as a name", {1: "é"}, '{"1":"é"}'),
    ValueCase("long integer inside", [2**70], '["1180591620717411303424"]'),
    ValueCase("missing number inside", [float("nan")], "[null]"),
]
