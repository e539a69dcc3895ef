"""Rows of every shape: those of files, sorted by DuckDB, and those of tables, by BigQuery, have the same outcome."""

from __future__ import annotations

import json

import pytest

from airflow_gemini_batch.core.addresses import BigQueryAddress
from airflow_gemini_batch.core.keys import sent_key, text_of_key
from airflow_gemini_batch.outputs.classify import Outcome
from airflow_gemini_batch.outputs.tables import BigQueryStorage
from tests.outputs.lines import read_lines
from tests.outputs.row_shapes import SHAPES, cells
from tests.support.tables import bigquery_client, fill, make_dataset


def test_every_outcome_has_a_shape():
    assert {shape.outcome for shape in SHAPES} == set(Outcome)


@pytest.mark.parametrize("as_text", [False, True], ids=["object", "text"])
def test_duckdb_sorts_the_lines(tmp_path, as_text):
    lines = []
    for number, shape in enumerate(SHAPES):
        response = json.dumps(shape.response) if as_text else shape.response
        cells = {"status": shape.status, "error": shape.error, "response": response}
        given = {name: value for name, value in cells.items() if value is not None}
        lines.append(json.dumps({"key": sent_key(str(number)), "request": {}, **given}).encode())
    read = read_lines(tmp_path, lines, ["outcome", "message", "code", "answer_text"])
    assert read.unreadable == 0
    for shape, (_, outcome, message, code, text, _) in zip(
        SHAPES, sorted(read.rows, key=_number), strict=True
    ):
        assert outcome == shape.outcome, shape.name
        assert shape.code in (None, code), shape.name
        assert bool(message) is not shape.outcome.answered, shape.name
        assert text == shape.text or not shape.outcome.answered, shape.name


def _number(row):
    return int(text_of_key(row[0]))


@pytest.mark.parametrize("kind", ["JSON", "STRING"])
@pytest.mark.parametrize("outcome", Outcome)
def test_sql_sorts_the_rows(gemini_batch_stack, outcome, kind):
    # A statement takes a while, so that all shapes of one outcome share a table. The first has one row, the
    # second two, the third four: a count that is wrong tells which of them were sorted otherwise.
    shapes = [shape for shape in SHAPES if shape.outcome is outcome]
    rows = []
    for number, shape in enumerate(shapes):
        rows += [{"status": shape.status, **cells(shape, kind)}] * 2 ** (number % 8)
    address = f"{make_dataset(gemini_batch_stack)}.rows"
    columns = {"status": "STRING", "response": kind, "error": kind}
    fill(gemini_batch_stack, address, columns, rows)

    tally = BigQueryStorage(bigquery_client(gemini_batch_stack)).tally(BigQueryAddress.parse(address))

    names = [shape.name for shape in shapes]
    assert {found: count for found, count in tally.counts.items() if count} == {outcome: len(rows)}, names
