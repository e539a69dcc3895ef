from __future__ import annotations

import pytest
from google.cloud.bigquery import SchemaField

from airflow_gemini_batch.exceptions import InvalidRequestError
from airflow_gemini_batch.requests.bigquery.expressions import (
    check_key_types,
    key_text,
    quoted,
    text_of,
    types_of,
)


def test_types_have_the_names_of_googlesql():
    schema = [
        SchemaField("a", "STRING"),
        SchemaField("b", "INTEGER", mode="REQUIRED"),
        SchemaField("c", "FLOAT"),
        SchemaField("d", "BOOLEAN"),
        SchemaField("e", "RECORD", fields=[SchemaField("x", "STRING")]),
        SchemaField("f", "RECORD", mode="REPEATED", fields=[SchemaField("x", "STRING")]),
        SchemaField("g", "STRING", mode="REPEATED"),
        SchemaField("h", "GEOGRAPHY"),
    ]
    types = types_of(schema)
    assert list(types.values()) == [
        "STRING",
        "INT64",
        "FLOAT64",
        "BOOL",
        "STRUCT",
        "ARRAY",
        "ARRAY",
        "GEOGRAPHY",
    ]


@pytest.mark.parametrize(
    ("kind", "expression"),
    [
        ("STRING", "`x y`"),
        ("INT64", "CAST(`x y` AS STRING)"),
        ("FLOAT64", "CAST(`x y` AS STRING)"),
        ("TIMESTAMP", "STRING(`x y`, 'UTC')"),
        ("RANGE", "CAST(`x y` AS STRING)"),
        ("BYTES", "TO_BASE64(`x y`)"),
        ("GEOGRAPHY", "ST_ASTEXT(`x y`)"),
        ("ARRAY", "IF(`x y` IS NULL, NULL, TO_JSON_STRING(`x y`))"),
        ("STRUCT", "IF(`x y` IS NULL, NULL, TO_JSON_STRING(`x y`))"),
        ("JSON", "IF(`x y` IS NULL, NULL, TO_JSON_STRING(`x y`))"),
    ],
)
def test_value_becomes_text_as_its_type_allows(kind, expression):
    assert text_of("x y", kind) == expression


def test_key_of_several_columns_is_a_json_list_of_texts():
    assert key_text(["a", "b"], {"a": "STRING", "b": "INT64"}) == "TO_JSON_STRING([`a`, CAST(`b` AS STRING)])"


@pytest.mark.parametrize("name", ["a`b", "a\\"])
def test_name_that_would_end_its_quotes_is_refused(name):
    with pytest.raises(InvalidRequestError, match="not a column name"):
        quoted(name)


@pytest.mark.parametrize("kind", ["STRING", "INT64", "NUMERIC", "BOOL", "DATE", "TIMESTAMP"])
def test_plain_types_can_be_keys(kind):
    check_key_types(["k"], {"k": kind}, where="the query")


@pytest.mark.parametrize(
    ("kind", "hint"),
    [
        ("FLOAT64", "CAST(`k` AS STRING) AS `k`"),
        ("DATETIME", "CAST(`k` AS STRING) AS `k`"),
        ("RANGE", "CAST(`k` AS STRING) AS `k`"),
        ("BYTES", "TO_BASE64(`k`) AS `k`"),
        ("GEOGRAPHY", "ST_ASTEXT(`k`) AS `k`"),
        ("ARRAY", "TO_JSON_STRING(`k`)) AS `k`"),
        ("STRUCT", "TO_JSON_STRING(`k`)) AS `k`"),
        ("JSON", "TO_JSON_STRING(`k`)) AS `k`"),
    ],
)
def test_other_types_are_refused_as_keys_with_the_way_out(kind, hint):
    with pytest.raises(InvalidRequestError) as caught:
        check_key_types(["a", "k"], {"a": "STRING", "k": kind}, where="the query")
    assert str(caught.value).startswith(f"the key column 'k' of the query is of type {kind}, ")
    assert str(caught.value).endswith(hint)
