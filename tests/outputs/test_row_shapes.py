"""Rows of every shape: those of files, sorted by DuckDB, and those of tables, by BigQuery, have the same outcome."""

from __future__ import annotations

import json

import pytest

from airflow_gemini_batch.core.addresses import BigQueryAddress
from airflow_gemini_batch.core.keys import sent_key, text_of_key
from airflow_gemini_batch.core.model_families import GEMINI_EMBEDDING, TEXT_EMBEDDING
from airflow_gemini_batch.landing.schema_check import answer_text
from airflow_gemini_batch.outputs.classify import (
    Outcome,
    answer_candidate,
    classify_row,
    object_of,
    other_failure,
)
from airflow_gemini_batch.outputs.embeddings import read_embedding
from airflow_gemini_batch.outputs.tables import BigQueryStorage
from tests.outputs.lines import read_lines
from tests.outputs.row_shapes import SHAPES, cells
from tests.support.tables import bigquery_client, fill, make_dataset


def test_every_outcome_has_a_shape():
    assert {shape.outcome for shape in SHAPES} == set(Outcome)


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: shape.name)
def test_python_sorts_the_row(shape):
    found = classify_row(shape.status, shape.response, shape.error)
    assert found.outcome is shape.outcome
    assert shape.code in (None, found.code)
    assert bool(found.message) is not found.outcome.answered


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: shape.name)
def test_other_families_sort_what_failed_alike(shape):
    # A line without a vector: what counts is where it tells its error.
    if told := other_failure(shape.error, object_of(shape.response)):
        for family, answer in ((GEMINI_EMBEDDING, shape.response), (TEXT_EMBEDDING, [shape.response])):
            row = {family.answer_column: answer, "error": shape.error}
            assert read_embedding(family, row).result == told


@pytest.mark.parametrize(
    "shape", [one for one in SHAPES if one.outcome is Outcome.OK], ids=lambda one: one.name
)
def test_text_and_reason_are_those_of_the_candidate_that_counts(shape):
    candidate = answer_candidate(shape.response)
    assert (answer_text(shape.response), candidate["finishReason"]) == (shape.text, "STOP")


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: shape.name)
def test_python_sorts_the_row_with_its_response_as_text(shape):
    error = shape.error if isinstance(shape.error, str) else json.dumps(shape.error)
    assert classify_row(shape.status, json.dumps(shape.response), error).outcome is shape.outcome


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
