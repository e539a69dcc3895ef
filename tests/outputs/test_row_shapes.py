"""Rows of files are sorted by Python, rows of tables by SQL: both have to come to the same outcome."""

from __future__ import annotations

import json

import pytest

from airflow_gemini_batch.core.addresses import BigQueryAddress
from airflow_gemini_batch.outputs.classify import Outcome, classify_row
from airflow_gemini_batch.outputs.tables import BigQueryStorage
from tests.outputs.row_shapes import SHAPES
from tests.support.tables import bigquery_client, fill, make_dataset

# Whether an answer fits its schema is another matter.
OUTCOMES = [outcome for outcome in Outcome if outcome is not Outcome.INVALID]


def test_every_outcome_has_a_shape():
    assert {shape.outcome for shape in SHAPES} == set(OUTCOMES)


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: shape.name)
def test_python_sorts_the_row(shape):
    assert classify_row(shape.status, shape.response).outcome is shape.outcome


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: shape.name)
def test_python_sorts_the_row_with_its_response_as_text(shape):
    assert classify_row(shape.status, json.dumps(shape.response)).outcome is shape.outcome


@pytest.mark.parametrize("kind", ["JSON", "STRING"])
@pytest.mark.parametrize("outcome", OUTCOMES)
def test_sql_sorts_the_rows(gemini_batch_stack, outcome, kind):
    # A statement takes a while, so that all shapes of one outcome share a table. The first has one row, the
    # second two, the third four: a count that is wrong tells which of them were sorted otherwise.
    shapes = [shape for shape in SHAPES if shape.outcome is outcome]
    rows = []
    for number, shape in enumerate(shapes):
        null = shape.response is None
        text = None if null else json.dumps(shape.response)
        response = shape.response if kind == "JSON" else text
        rows += [{"status": shape.status, "response": response}] * 2 ** (number % 10)
    address = f"{make_dataset(gemini_batch_stack)}.rows"
    fill(gemini_batch_stack, address, {"status": "STRING", "response": kind}, rows)

    tally = BigQueryStorage(bigquery_client(gemini_batch_stack)).tally(BigQueryAddress.parse(address))

    names = [shape.name for shape in shapes]
    assert {found: count for found, count in tally.counts.items() if count} == {outcome: len(rows)}, names
