from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from tests.testing.bigquery.patches.conftest import NASTY, Query

if TYPE_CHECKING:
    from google.cloud import bigquery

JSON_VALUE = {"aB": [1, None, {"text": NASTY}]}


@pytest.fixture
def table(dataset: str, query: Query) -> str:
    query("CREATE TABLE ds.t (k STRING NOT NULL, n INT64, j JSON)")
    return f"{dataset}.t"


def _rows(client: bigquery.Client, table: str) -> list[tuple[Any, ...]]:
    return [tuple(row.values()) for row in client.list_rows(table)]


@pytest.mark.parametrize("value", [JSON_VALUE, json.dumps(JSON_VALUE)], ids=["object", "text"])
def test_inserts_json(client: bigquery.Client, table: str, value: Any) -> None:
    assert client.insert_rows_json(table, [{"k": NASTY, "n": 1, "j": value}, {"k": "empty"}]) == []
    assert _rows(client, table) == [(NASTY, 1, JSON_VALUE), ("empty", None, None)]


def test_counts_inserted_rows_and_changes_etag(client: bigquery.Client, table: str) -> None:
    before = client.get_table(table)
    client.insert_rows_json(table, [{"k": "a"}])
    client.insert_rows_json(table, [{"k": "b"}])
    after = client.get_table(table)
    assert (before.num_rows, after.num_rows) == (0, 2)
    assert before.etag != after.etag


BAD_ROWS = [
    ({"k": "x", "oops": 1}, "oops", "no such field: oops."),
    ({"n": 1}, "k", "Missing required field: k."),
    ({"k": "x", "n": "many"}, "n", "Cannot convert value to integer (bad value): many"),
    ({"k": "x", "j": "{broken"}, "j", "Cannot convert value to json (bad value): {broken"),
]


@pytest.mark.parametrize(("row", "field", "message"), BAD_ROWS, ids=["unknown", "missing", "type", "json"])
def test_refuses_all_rows_for_one_bad_row(
    client: bigquery.Client, table: str, row: dict[str, Any], field: str, message: str
) -> None:
    errors = client.insert_rows_json(table, [{"k": "good"}, row])
    assert {error["index"]: error["errors"][0]["reason"] for error in errors} == {0: "stopped", 1: "invalid"}
    detail = next(error for error in errors if error["index"] == 1)["errors"][0]
    assert (detail["location"], detail["message"]) == (field, message)
    assert _rows(client, table) == []


def test_skips_bad_rows_when_told_to(client: bigquery.Client, table: str) -> None:
    errors = client.insert_rows_json(table, [{"n": 1}, {"k": "good"}], skip_invalid_rows=True)
    assert [error["index"] for error in errors] == [0]
    assert _rows(client, table) == [("good", None, None)]


def test_ignores_unknown_fields_when_told_to(client: bigquery.Client, table: str) -> None:
    assert client.insert_rows_json(table, [{"k": "x", "oops": 1}], ignore_unknown_values=True) == []
