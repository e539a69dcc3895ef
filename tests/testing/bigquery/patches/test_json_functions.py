from __future__ import annotations

from typing import Any

import pytest
from google.api_core.exceptions import BadRequest

from tests.testing.bigquery.patches.conftest import Query

EXPRESSIONS: list[tuple[str, Any]] = [
    ("JSON_TYPE(JSON '\"a\"')", "string"),
    ("JSON_TYPE(JSON '-3')", "number"),
    ("JSON_TYPE(JSON '3')", "number"),
    ("JSON_TYPE(JSON '0.5')", "number"),
    ("JSON_TYPE(JSON '123456789012345678901234567890')", "number"),
    ("JSON_TYPE(JSON 'true')", "boolean"),
    ("JSON_TYPE(JSON 'null')", "null"),
    ("JSON_TYPE(JSON '[]')", "array"),
    ("JSON_TYPE(JSON_QUERY(JSON '{\"a\": {}}', '$.a'))", "object"),
    ("JSON_TYPE(JSON_QUERY(JSON '{}', '$.a'))", None),
    ("SAFE.PARSE_JSON('[NaN]')", None),
    ("SAFE.PARSE_JSON('-Infinity')", None),
    ("SAFE.PARSE_JSON('[1, ]')", None),
    ("SAFE.PARSE_JSON('{\"a\": 1,}')", None),
    ('SAFE.PARSE_JSON(\'["NaN, \\\\"]", "inf"]\')', ['NaN, "]', "inf"]),
    ("SAFE.PARSE_JSON('[1, 2]', wide_number_mode => 'round')", [1, 2]),
    ("JSON_QUERY_ARRAY(JSON '{\"a\": {\"b\": 1}}', '$.a') IS NULL", True),
    ("ARRAY_LENGTH(JSON_QUERY_ARRAY(JSON '{\"a\": [1, null]}', '$.a'))", 2),
    ("ARRAY(SELECT JSON_VALUE(x) FROM UNNEST(JSON_QUERY_ARRAY(JSON '[1, \"a\"]')) AS x)", ["1", "a"]),
    ("SAFE_CAST(JSON_VALUE(JSON '3.0') AS INT64)", None),
    ("SAFE_CAST(JSON_VALUE(JSON '-3') AS INT64)", -3),
    ("SAFE_CAST(JSON_VALUE(JSON '3.5') AS FLOAT64)", 3.5),
]


@pytest.mark.parametrize(("expression", "value"), EXPRESSIONS, ids=[text for text, _ in EXPRESSIONS])
def test_answers_expression(query: Query, expression: str, value: Any) -> None:
    assert query(f"SELECT {expression}") == [(value,)]


def test_fails_for_almost_json(query: Query) -> None:
    with pytest.raises(BadRequest):
        query("SELECT PARSE_JSON('[NaN]')")


def test_rolls_back_a_transaction_that_fails(query: Query) -> None:
    query("CREATE TABLE ds.one AS SELECT 1 AS n")
    query("CREATE TABLE ds.two (n INT64 NOT NULL)")
    with pytest.raises(BadRequest):
        query(
            """BEGIN TRANSACTION;
            UPDATE ds.one SET n = 2 WHERE TRUE;
            INSERT INTO ds.two (n) VALUES (NULL);
            COMMIT TRANSACTION;"""
        )
    assert query("SELECT n FROM ds.one") == [(1,)]
