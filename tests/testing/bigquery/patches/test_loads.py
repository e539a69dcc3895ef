from __future__ import annotations

import base64
import datetime as dt
import io
import json
import time
from decimal import Decimal
from typing import Any

import pytest
from google.api_core.exceptions import BadRequest, Conflict, NotFound
from google.cloud import bigquery

from tests.testing.bigquery.patches.conftest import NASTY, Query, types_of

Field = bigquery.SchemaField

SCHEMA = [
    Field("key", "STRING", "REQUIRED"),
    Field("n", "INTEGER"),
    Field("f", "FLOAT"),
    Field("b", "BOOLEAN"),
    Field("request", "JSON"),
    Field("at", "TIMESTAMP"),
    Field("day", "DATE"),
    Field("price", "NUMERIC"),
    Field("raw", "BYTES"),
    Field("tags", "STRING", "REPEATED"),
    Field("nested", "RECORD", fields=[Field("innerName", "INTEGER")]),
]
ROWS = [
    {
        "key": NASTY,
        "n": 9007199254740993,
        "f": 1.5,
        "b": True,
        "request": {"contents": [{"text": NASTY}], "maxOutputTokens": None},
        "at": "2026-01-02T03:04:05Z",
        "day": "2026-01-02",
        "price": "0.000000075",
        "raw": base64.b64encode(b"\x00\xff").decode(),
        "tags": ["a", "b"],
        "nested": {"innerName": 1},
    },
    {"key": "empty"},
]
LOADED = [
    (
        NASTY,
        9007199254740993,
        1.5,
        True,
        {"contents": [{"text": NASTY}], "maxOutputTokens": None},
        dt.datetime(2026, 1, 2, 3, 4, 5, tzinfo=dt.UTC),
        dt.date(2026, 1, 2),
        Decimal("0.000000075"),
        b"\x00\xff",
        ["a", "b"],
        {"innerName": 1},
    ),
    ("empty", None, None, None, None, None, None, None, None, [], None),
]
CSV = 'key,n,text,f\r\nk1,5,"He said ""hi"", ok\nnext 😀 مرحبا",1.5\r\nk2,,"",\r\nk3,7,plain 你 {x} \\ it\'s,2\r\n'
CSV_SCHEMA = [Field("key", "STRING"), Field("n", "INTEGER"), Field("text", "STRING"), Field("f", "FLOAT")]
CSV_ROWS = [
    ("k1", 5, 'He said "hi", ok\nnext 😀 مرحبا', 1.5),
    ("k2", None, "", None),
    ("k3", 7, "plain 你 {x} \\ it's", 2.0),
]


def _load(
    client: bigquery.Client, table: str, text: str, source_format: str, **options: Any
) -> bigquery.LoadJob:
    config = bigquery.LoadJobConfig(source_format=source_format, **options)
    job = client.load_table_from_file(io.BytesIO(text.encode()), table, job_config=config)
    job.result()
    return job


def _json(client: bigquery.Client, table: str, text: str, **options: Any) -> bigquery.LoadJob:
    return _load(client, table, text, "NEWLINE_DELIMITED_JSON", **options)


def _rows(client: bigquery.Client, table: str) -> list[tuple[Any, ...]]:
    return [tuple(row.values()) for row in client.list_rows(table)]


@pytest.mark.parametrize("upload", ["json", "file"])
def test_loads_json_with_schema(client: bigquery.Client, dataset: str, upload: str) -> None:
    table = f"{dataset}.t"
    if upload == "json":
        job = client.load_table_from_json(ROWS, table, job_config=bigquery.LoadJobConfig(schema=SCHEMA))
        job.result()
    else:
        job = _json(client, table, "\n".join(map(json.dumps, ROWS)), schema=SCHEMA)
    assert job.output_rows == 2
    assert job.ended >= job.created
    assert client.get_table(table).num_rows == 2
    assert _rows(client, table) == LOADED
    assert {field.name: (field.field_type, field.mode) for field in client.get_table(table).schema} == {
        field.name: (field.field_type, field.mode) for field in SCHEMA
    }


def test_loads_json_with_autodetect(client: bigquery.Client, dataset: str) -> None:
    rows = [
        {
            "k": NASTY,
            "n": 1,
            "f": 1.5,
            "b": True,
            "at": "2026-01-02T03:04:05Z",
            "r": {"aB": 1},
            "l": ["x"],
            "m": 1,
        },
        {"k": "2", "n": None, "f": 2, "b": None, "at": None, "r": {"aB": None}, "l": [], "m": "mixed"},
    ]
    _json(client, f"{dataset}.t", "\n".join(map(json.dumps, rows)), autodetect=True)
    assert types_of(client, f"{dataset}.t") == {
        "k": "STRING",
        "n": "INTEGER",
        "f": "FLOAT",
        "b": "BOOLEAN",
        "at": "TIMESTAMP",
        "r": "RECORD",
        "l": "STRING",
        "m": "STRING",
    }
    assert [row[0] for row in _rows(client, f"{dataset}.t")] == [NASTY, "2"]


@pytest.mark.parametrize(
    ("text", "options"),
    [
        (CSV, {"schema": CSV_SCHEMA, "skip_leading_rows": 1, "allow_quoted_newlines": True}),
        (CSV.partition("\r\n")[2], {"schema": CSV_SCHEMA}),
        (CSV, {"autodetect": True}),
        (CSV, {"autodetect": True, "skip_leading_rows": 1}),
        (
            CSV.replace(",", "\t").replace('hi""\t', 'hi"",'),
            {"schema": CSV_SCHEMA, "skip_leading_rows": 1, "field_delimiter": "\t"},
        ),
    ],
    ids=["schema", "no header", "autodetect", "autodetect below header", "tabs"],
)
def test_loads_csv(client: bigquery.Client, dataset: str, text: str, options: dict[str, Any]) -> None:
    job = _load(client, f"{dataset}.t", text, "CSV", **options)
    assert job.output_rows == 3
    assert _rows(client, f"{dataset}.t") == CSV_ROWS
    assert list(types_of(client, f"{dataset}.t").items()) == [
        (each.name, each.field_type) for each in CSV_SCHEMA
    ]


def test_loads_csv_with_null_marker(client: bigquery.Client, dataset: str) -> None:
    schema = [Field("a", "STRING"), Field("j", "JSON")]
    _load(client, f"{dataset}.t", 'N,"{""aB"": 1}"\n"N",N\n', "CSV", schema=schema, null_marker="N")
    assert _rows(client, f"{dataset}.t") == [(None, {"aB": 1}), ("N", None)]


def test_loads_lines_as_they_are(client: bigquery.Client, dataset: str) -> None:
    lines = ['{"a": "x,\\"y\\""}', "no JSON, 'é' 😀", "cut\x01off", "x" * 3_000_000]
    _load(
        client,
        f"{dataset}.t",
        "\n".join(lines),
        "CSV",
        schema=[Field("line", "STRING")],
        field_delimiter="\x01",
        quote_character="",
        ignore_unknown_values=True,
    )
    found = [row.line for row in client.list_rows(f"{dataset}.t")]
    assert sorted(found) == sorted([*lines[:2], "cut", lines[3]])


def test_appends_truncates_and_refuses(client: bigquery.Client, dataset: str) -> None:
    table = f"{dataset}.t"
    _json(client, table, '{"a": "1", "n": 1}', schema=[Field("a", "STRING"), Field("n", "INTEGER")])
    assert _json(client, table, '{"n": 2}').output_rows == 1
    assert _rows(client, table) == [("1", 1), (None, 2)]
    with pytest.raises(Conflict):
        _json(client, table, '{"n": 3}', write_disposition="WRITE_EMPTY")
    before = client.get_table(table).etag
    _json(client, table, '{"n": 4, "new": true}', write_disposition="WRITE_TRUNCATE", autodetect=True)
    assert (_rows(client, table), types_of(client, table)) == (
        [(4, True)],
        {"n": "INTEGER", "new": "BOOLEAN"},
    )
    assert client.get_table(table).etag != before


@pytest.mark.parametrize(
    ("text", "options", "message"),
    [
        ('{"key": "x", "oops": 1}', {"schema": SCHEMA}, "No such field: oops"),
        ('{"n": 1}', {"schema": SCHEMA}, "Required field key cannot be null"),
        ('{"key": "x", "n": "many"}', {"schema": SCHEMA}, "Error while reading data"),
        ('{"key": "x"', {"schema": SCHEMA}, "Error while reading data"),
        ('{"key": "x"}', {}, "No schema specified"),
    ],
    ids=["unknown field", "required", "type", "broken", "no schema"],
)
def test_refuses_bad_rows_and_makes_no_table(
    client: bigquery.Client, dataset: str, text: str, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(BadRequest, match=message):
        _json(client, f"{dataset}.t", text, **options)
    with pytest.raises(NotFound):
        client.get_table(f"{dataset}.t")


def test_ignores_unknown_fields_when_told_to(client: bigquery.Client, dataset: str) -> None:
    _json(
        client,
        f"{dataset}.t",
        '{"a": "x", "o": 1}',
        schema=[Field("a", "STRING")],
        ignore_unknown_values=True,
    )
    assert _rows(client, f"{dataset}.t") == [("x",)]


def test_fails_for_missing_dataset(client: bigquery.Client) -> None:
    with pytest.raises(NotFound, match="nowhere"):
        _json(client, "nowhere.t", '{"a": 1}', autodetect=True)


def test_never_asks_the_real_cloud_storage(
    client: bigquery.Client, dataset: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("STORAGE_EMULATOR_HOST", raising=False)
    job = client.load_table_from_uri("gs://bucket/rows.csv", f"{dataset}.t")
    with pytest.raises(BadRequest, match="set STORAGE_EMULATOR_HOST"):
        job.result()


def test_loads_and_pages_many_rows(client: bigquery.Client, dataset: str, query: Query) -> None:
    lines = "\n".join(f'{{"key": "k{n}", "request": {{"contents": [{{"n": {n}}}]}}}}' for n in range(100_000))
    started = time.process_time()
    job = _json(client, f"{dataset}.t", lines, schema=[Field("key", "STRING"), Field("request", "JSON")])
    assert job.output_rows == 100_000
    assert time.process_time() - started < 5
    assert query(
        "SELECT COUNT(DISTINCT key), MAX(CAST(JSON_VALUE(request, '$.contents[0].n') AS INT64)) FROM ds.t"
    ) == [(100_000, 99_999)]

    query(
        "CREATE TABLE ds.wide AS SELECT key, TO_JSON(STRUCT(REPEAT('x', 2000) AS longText)) AS j FROM ds.t LIMIT 2000"
    )
    started = time.process_time()
    assert {len(row.j["longText"]) for row in client.list_rows(f"{dataset}.wide", page_size=500)} == {2000}
    assert time.process_time() - started < 2
