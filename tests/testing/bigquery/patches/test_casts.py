from __future__ import annotations

import pytest

from tests.testing.bigquery.patches.conftest import Query


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("2008.0", "2008"),
        ("CAST(2008 AS FLOAT64)", "2008"),
        ("CAST(0.1 AS FLOAT64)", "0.1"),
        ("CAST(-1200.50 AS FLOAT64)", "-1200.5"),
        ("CAST(100 AS FLOAT64)", "100"),
        ("1e20", "1e+20"),
        ("1.5e20", "1.5e+20"),
        ("NUMERIC '1.50'", "1.5"),
        ("NUMERIC '100'", "100"),
        ("100", "100"),
        ("'1.50'", "1.50"),
        ("TRUE", "true"),
        ("DATE '2024-05-10'", "2024-05-10"),
        ("TIMESTAMP '2024-05-10 12:00:00.50+00'", "2024-05-10 12:00:00.500+00"),
        ("TIME '12:00:00.1234'", "12:00:00.123400"),
        ("1e15", "1e+15"),
        ("CAST('-0' AS FLOAT64)", "0"),
        ("CAST(2.0 AS STRING)", "2"),
        ("NULL", None),
    ],
)
def test_casts_to_text(query: Query, value: str, text: str | None) -> None:
    assert query(f"SELECT CAST({value} AS STRING), SAFE_CAST({value} AS STRING)") == [(text, text)]


def test_casts_columns_to_text(query: Query) -> None:
    query("CREATE TABLE ds.books (year FLOAT64, price NUMERIC)")
    query("INSERT INTO ds.books (year, price) VALUES (2008, 12.50), (NULL, NULL)")
    texts = query("SELECT CAST(year AS STRING) AS y, CAST(b.price AS STRING) FROM ds.books AS b ORDER BY y")
    assert texts == [(None, None), ("2008", "12.5")]
