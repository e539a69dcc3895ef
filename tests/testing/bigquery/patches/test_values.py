"""Values of expressions. GoogleSQL's reference evaluator gave each of those that stand here."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from google.api_core.exceptions import BadRequest

from tests.testing.bigquery.patches.conftest import Query

if TYPE_CHECKING:
    from google.cloud import bigquery

_NOON = "TIMESTAMP '2024-05-10 12:00:00.5+00'"

VALUES: dict[str, Any] = {
    "DIV(7 - 1, 2)": 3,
    "DIV(1 + 6, 1 + 2)": 2,
    "DIV(-7, 2)": -3,
    "CAST(2.5 AS INT64)": 3,
    "CAST(-2.5 AS INT64)": -3,
    "CAST(0.5 AS INT64)": 1,
    "CAST(NUMERIC '2.5' AS INT64)": 3,
    "SAFE_CAST(1e19 AS INT64)": None,
    "SAFE_CAST(CAST('nan' AS FLOAT64) AS INT64)": None,
    "SAFE_CAST('2.5' AS INT64)": None,
    "SAFE_CAST('1e3' AS INT64)": None,
    "SAFE_CAST('1_000' AS INT64)": None,
    "SAFE_CAST(' 12 ' AS INT64)": 12,
    "SAFE_CAST('0x1F' AS INT64)": 31,
    "SAFE_CAST('9223372036854775808' AS INT64)": None,
    "SAFE_CAST('yes' AS BOOL)": None,
    "SAFE_CAST('1' AS BOOL)": None,
    "SAFE_CAST('t' AS BOOL)": None,
    "SAFE_CAST('TrUe' AS BOOL)": True,
    "CAST(1 AS BOOL)": True,
    "[1, 2][OFFSET(0)]": 1,
    "[1, 2][ORDINAL(2)]": 2,
    "[1, 2][SAFE_OFFSET(5)]": None,
    f"STRING({_NOON}, 'UTC')": "2024-05-10 12:00:00.500+00",
    f"STRING({_NOON})": "2024-05-10 12:00:00.500+00",
    f"STRING({_NOON}, 'America/Los_Angeles')": "2024-05-10 05:00:00.500-07",
    "STRING(TIMESTAMP '2024-05-10 12:00:00+00', 'Asia/Kolkata')": "2024-05-10 17:30:00+05:30",
    "STRING(TIMESTAMP '0099-05-10 12:00:00.000001+00', 'UTC')": "0099-05-10 12:00:00.000001+00",
    "STRING(DATE '2024-05-10')": "2024-05-10",
    "STRING(JSON '\"a\\\\nb\"')": "a\nb",
    "TO_JSON_STRING(1e15)": "1e+15",
    "TO_JSON_STRING(-0.0)": "0",
    "TO_JSON_STRING(2008.0)": "2008",
    "TO_JSON_STRING(5e-324)": "4.94065645841247e-324",
    "TO_JSON_STRING(CAST('nan' AS FLOAT64))": '"NaN"',
    "TO_JSON_STRING(CAST('-inf' AS FLOAT64))": '"-Infinity"',
    "TO_JSON_STRING(STRUCT(2008.0 AS a, -0.0 AS b, 1e20 AS c))": '{"a":2008,"b":0,"c":1e+20}',
    "TO_JSON_STRING(NUMERIC '2')": "2",
    "TO_JSON_STRING([NUMERIC '1.50', NUMERIC '2'])": '["1.5",2]',
    "TO_JSON_STRING(NUMERIC '12345678901234567890')": '"12345678901234567890"',
    "TO_JSON_STRING(b'abc')": '"YWJj"',
    "TO_JSON_STRING(STRUCT([b'abc'] AS b))": '{"b":["YWJj"]}',
    f"TO_JSON_STRING({_NOON})": '"2024-05-10T12:00:00.500Z"',
    "TO_JSON_STRING(STRUCT(DATETIME '2024-05-10T12:00:00.5' AS d, DATE '2024-05-10' AS e, TIME '12:00:00.1' AS f))": (
        '{"d":"2024-05-10T12:00:00.500","e":"2024-05-10","f":"12:00:00.100"}'
    ),
    "TO_JSON_STRING(9007199254740992)": "9007199254740992",
    "TO_JSON_STRING(STRUCT(-9007199254740993 AS a, 1 AS b))": '{"a":"-9007199254740993","b":1}',
    "TO_JSON_STRING([TRUE, NULL])": "[true,null]",
    "TO_JSON_STRING(STRUCT(NULL AS a, [1] AS b, STRUCT('x' AS y) AS c))": '{"a":null,"b":[1],"c":{"y":"x"}}',
    "TO_JSON_STRING(STRUCT(JSON '[1, 2.50]' AS j))": '{"j":[1,2.5]}',
    "TO_JSON_STRING(CAST(NULL AS ARRAY<INT64>))": "null",
    "TO_JSON(STRUCT(2008.0 AS a, b'abc' AS b, NUMERIC '1.50' AS n, 9007199254740993 AS i))": {
        "a": 2008.0,
        "b": "YWJj",
        "n": 1.5,
        "i": 9007199254740993,
    },
    'TO_JSON_STRING(PARSE_JSON(\'{"b": 1, "a": {"z": 1, "c": 2}}\'))': '{"a":{"c":2,"z":1},"b":1}',
    'PARSE_JSON(\'{"a": 1, "a": 2}\')': {"a": 1},
    "SAFE.PARSE_JSON(CONCAT('1e', '400'))": None,
    "SAFE.PARSE_JSON(CONCAT('[10', 'e308]'), wide_number_mode => 'round')": None,
    "SAFE.PARSE_JSON(CONCAT('0.12345678901', '23456789012345'))": None,
    "SAFE.PARSE_JSON(CONCAT('0.12345678901', '23456789012345'), wide_number_mode => 'round')": 0.12345678901234568,
    "SAFE.PARSE_JSON(CONCAT('184467440737095516', '15'))": 2**64 - 1,
    "SAFE.PARSE_JSON(CONCAT('184467440737095516', '16'))": None,
    "SAFE.PARSE_JSON('\"\\\\ud800\"')": None,
    "SAFE.PARSE_JSON('01')": None,
    "JSON_VALUE('{bad', '$.a')": None,
    "JSON_VALUE('', '$.a')": None,
    "JSON_QUERY('{bad', '$.a')": None,
    "JSON_EXTRACT_SCALAR('{bad', '$.a')": None,
    "ARRAY_LENGTH(JSON_QUERY_ARRAY('{bad', '$.a'))": None,
    "ARRAY_LENGTH(JSON_VALUE_ARRAY('{bad', '$.a'))": None,
    "TO_JSON_STRING(JSON_QUERY(JSON '{\"a\": 3}', '$.a'))": "3",
    'TO_JSON_STRING(JSON_QUERY(JSON \'{"a": {"y": 1e40, "x": 1e15}}\', \'$.a\'))': '{"x":1e+15,"y":1e+40}',
    "INT64(JSON '10.0')": 10,
    "FLOAT64(JSON '9007199254740993')": 9007199254740992.0,
}


@pytest.fixture(scope="module")
def values(client: bigquery.Client) -> dict[str, Any]:
    """The values of all expressions, in one statement."""
    (row,) = client.query_and_wait(f"SELECT {', '.join(f'{sql} AS v{n}' for n, sql in enumerate(VALUES))}")
    return dict(zip(VALUES, row.values(), strict=True))


@pytest.mark.parametrize("sql", VALUES)
def test_expression_has_the_value_that_bigquery_gives(values: dict[str, Any], sql: str) -> None:
    assert (values[sql], type(values[sql])) == (VALUES[sql], type(VALUES[sql]))


def test_json_of_a_named_query_stays_json(query: Query) -> None:
    query("CREATE TABLE ds.answers AS SELECT JSON '{\"a\": [1]}' AS response")
    sql = """WITH found AS (SELECT JSON_QUERY(response, '$.a') AS part FROM ds.answers)
        SELECT TO_JSON_STRING(part), JSON_TYPE(part[0]), part FROM found"""
    assert query(sql) == [("[1]", "number", [1])]


@pytest.mark.parametrize("count", [26, 60])
def test_chain_of_many_functions(query: Query, count: int) -> None:
    texts = [f"@p{n}" for n in range(count)]
    replaced = (
        f"{'REPLACE(' * count}'x0 x{count - 1}'{''.join(f', @x{n}, {text})' for n, text in enumerate(texts))}"
    )
    parameters = {f"p{n}": f"<{n}>" for n in range(count)} | {f"x{n}": f"x{n}" for n in range(count)}
    joined = "".join(f"<{n}>" for n in range(count))
    assert query(
        f"SELECT CONCAT({', '.join(texts)}), {' || '.join(texts)}, LENGTH({replaced})", **parameters
    ) == [(joined, joined, len("<0> <59>") if count == 60 else len("<0> <25>"))]


FAILURES = {
    "CAST('2.5' AS INT64)": "Bad int64 value: 2.5",
    "CAST('1' AS BOOL)": "Bad bool value: 1",
    "[1, 2][OFFSET(5)]": "Array index 5 is out of bounds",
    "[1, 2][ORDINAL(0)]": "Array index 0 is out of bounds",
    "PARSE_JSON('{\"a\": 1e400}')": "Invalid input to PARSE_JSON",
    "INT64(JSON '2.5')": "not an integer",
    "FLOAT64(JSON '\"1\"')": "not a number",
}


@pytest.mark.parametrize(("sql", "message"), FAILURES.items(), ids=FAILURES)
def test_expression_fails(query: Query, sql: str, message: str) -> None:
    with pytest.raises(BadRequest, match=message):
        query(f"SELECT {sql}")
