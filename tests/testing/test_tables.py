"""Tables of the local BigQuery, filled from files: ``gemini-batch up --table``."""

from __future__ import annotations

import pyarrow
import pyarrow.parquet
import pytest

from airflow_gemini_batch.exceptions import InvalidRequestError
from airflow_gemini_batch.testing.tables import load_table, parse_table
from tests.support.tables import read

ROWS = [{"sku": "A1", "title": "Chair, oak", "price": 12}, {"sku": "A2", "title": "Büro", "price": 3}]


@pytest.fixture
def files(tmp_path):
    (tmp_path / "rows.csv").write_text('sku,title,price\nA1,"Chair, oak",12\nA2,Büro,3\n', encoding="utf-8")
    for name in ("rows.json", "rows.jsonl"):
        lines = [
            '{"sku": "A1", "title": "Chair, oak", "price": 12}',
            '{"sku": "A2", "title": "B\\u00fcro", "price": 3}',
        ]
        (tmp_path / name).write_text("\n".join(lines), encoding="utf-8")
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(ROWS), tmp_path / "rows.parquet")
    (tmp_path / "rows.txt").touch()
    (tmp_path / "broken.parquet").write_bytes(b"no Parquet")
    return tmp_path


@pytest.mark.parametrize("name", ["rows.csv", "rows.json", "rows.jsonl", "rows.parquet"])
def test_file_becomes_a_table(files, local_stack, name):
    table, file = parse_table(f"shop.products={files / name}")
    address = load_table(local_stack, table, file)
    assert address == "bq://demo-project.shop.products"
    assert sorted(read(local_stack, address), key=lambda row: row["sku"]) == ROWS


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("products=rows.csv", "DATASET.TABLE=FILE"),
        ("shop.products", "DATASET.TABLE=FILE"),
        ("a.b.c=rows.csv", "DATASET.TABLE=FILE"),
        ("shop.products=none.csv", "there is no file"),
        ("shop.products=rows.txt", "has to end in one of .csv"),
    ],
)
def test_what_is_refused_at_once(files, monkeypatch, text, words):
    monkeypatch.chdir(files)
    with pytest.raises(InvalidRequestError, match=words):
        parse_table(text)


def test_file_that_bigquery_cant_read(files, local_stack):
    with pytest.raises(InvalidRequestError, match=r"shop\.products.*broken\.parquet can't be loaded"):
        load_table(local_stack, "shop.products", files / "broken.parquet")
