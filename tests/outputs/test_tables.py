"""BigQueryStorage with the real client, against the local server."""

from __future__ import annotations

import logging
import re
from typing import Any

import pytest
from google.cloud.bigquery import QueryJob

from airflow_gemini_batch.core.addresses import BigQueryAddress
from airflow_gemini_batch.exceptions import InvalidRequestError, SourceNotReadyError
from airflow_gemini_batch.outputs.classify import Outcome
from airflow_gemini_batch.outputs.tables import BigQueryStorage
from tests.outputs.row_shapes import candidate
from tests.support.slow_jobs import slow_jobs
from tests.support.tables import bigquery_client, fill, make_dataset

REQUESTS = {"isbn": "STRING", "request": "JSON"}
ANSWERS = {"response": "JSON", "status": "STRING"}
ROW: dict[str, Any] = {"isbn": "978-0", "request": {"contents": []}}


@pytest.fixture
def storage(gemini_batch_stack):
    return BigQueryStorage(bigquery_client(gemini_batch_stack))


@pytest.fixture
def dataset(gemini_batch_stack):
    return make_dataset(gemini_batch_stack)


@pytest.fixture
def table(gemini_batch_stack, dataset):
    """Append rows to the table of that name in the test's dataset, and return its address."""

    def table(name: str, columns: dict[str, str], rows: list[dict[str, Any]]) -> BigQueryAddress:
        return BigQueryAddress.parse(fill(gemini_batch_stack, f"{dataset}.{name}", columns, rows))

    return table


def test_version_changes_with_the_rows(storage, table):
    source = table("requests", REQUESTS, [ROW])
    (first,) = storage.versions([source])
    assert first.startswith(f"{source}#")
    assert storage.versions([source]) == [first]
    table("requests", REQUESTS, [ROW])
    (second,) = storage.versions([source])
    assert second != first


def test_version_changes_when_a_row_changes_and_their_number_does_not(gemini_batch_stack, storage, table):
    source = table("requests", REQUESTS, [ROW])
    (first,) = storage.versions([source])
    client = bigquery_client(gemini_batch_stack)
    client.query_and_wait(f"UPDATE {source.sql} SET isbn = '978-1' WHERE TRUE")
    assert storage.versions([source]) != [first]


def test_version_of_a_table_made_again_is_another(gemini_batch_stack, storage, table):
    source = table("requests", REQUESTS, [ROW])
    (first,) = storage.versions([source])
    bigquery_client(gemini_batch_stack).delete_table(source.dotted)
    table("requests", REQUESTS, [ROW])
    assert storage.versions([source]) != [first]


def test_view_is_refused_with_the_way_out(gemini_batch_stack, storage, table):
    source = table("requests", REQUESTS, [ROW])
    view = source.with_table("requests_view")
    client = bigquery_client(gemini_batch_stack)
    client.query_and_wait(f"CREATE VIEW {view.sql} AS SELECT * FROM {source.sql}")
    with pytest.raises(InvalidRequestError, match=r"is a view, .* Write its rows to a table first"):
        storage.versions([view])


def test_empty_table_can_be_waited_for(storage, table):
    source = table("requests", REQUESTS, [])
    with pytest.raises(SourceNotReadyError, match=f"source {source}: the table is empty"):
        storage.versions([source])


@pytest.mark.parametrize("name", ["absent", "no_such_dataset.absent"])
def test_missing_table_can_be_waited_for(storage, dataset, name):
    parent = dataset if "." not in name else dataset.rpartition(".")[0]
    source = BigQueryAddress.parse(f"{parent}.{name}")
    with pytest.raises(SourceNotReadyError, match=f"source {source}: there is no such table"):
        storage.versions([source])


def test_requests_are_the_rows(storage, table):
    assert storage.count_requests([table("requests", REQUESTS, [ROW] * 7)]) == 7


def test_requests_of_a_table_that_is_gone_can_be_waited_for(storage, dataset):
    # The same error as for a file that is gone: an operator takes its answers all the same, a sensor waits.
    with pytest.raises(SourceNotReadyError):
        storage.count_requests([BigQueryAddress.parse(f"{dataset}.absent")])


def test_destination_may_be_a_new_table_or_the_dataset_itself(storage, dataset):
    storage.check_destination(BigQueryAddress.parse(f"{dataset}.answers"))


def test_destination_that_exists_is_refused_with_the_way_out(storage, table):
    with pytest.raises(InvalidRequestError, match=r"the table already exists.* or drop the table first"):
        storage.check_destination(table("answers", ANSWERS, []))


def test_destination_without_a_dataset_is_refused_with_the_way_out(storage):
    address = BigQueryAddress("demo-project", "no_such_dataset", "answers")
    with pytest.raises(
        InvalidRequestError, match=r"dataset demo-project\.no_such_dataset does not exist. Create it"
    ):
        storage.check_destination(address)


def test_tally_of_no_table_is_none_and_of_an_empty_one_is_zero(storage, table, dataset):
    assert storage.tally(BigQueryAddress.parse(f"{dataset}.absent")) is None
    assert storage.tally(table("answers", ANSWERS, [])).rows == 0


@pytest.mark.parametrize("kind", ["JSON", "STRING"])
def test_tally_counts_by_outcome_and_shows_why(storage, table, kind):
    rejected = 'Bad Request: {"error": {"code": 400, "message": "Please use a valid role: user, model."}}'
    answers = [
        ("", candidate()),
        ("", candidate()),
        (rejected, {}),
        ("busy", {}),
        ("", candidate("SAFETY", {"role": "model"})),
        ("", None),
    ]
    import json

    rows = [
        {
            "status": status,
            "response": response if kind == "JSON" or response is None else json.dumps(response),
        }
        for status, response in answers
    ]
    tally = storage.tally(table("answers", {**ANSWERS, "response": kind}, rows))
    assert tally.counts == {
        Outcome.OK: 2,
        Outcome.RETRYABLE: 1,
        Outcome.REJECTED: 1,
        Outcome.BLOCKED: 1,
        Outcome.TRUNCATED: 0,
        Outcome.INVALID: 0,
        Outcome.MISSING: 1,
    }
    assert f"rejected: {rejected}" in tally.samples
    assert "retryable: busy" in tally.samples
    assert "blocked: the answer was blocked: SAFETY" in tally.samples
    assert not any(sample.startswith("ok") for sample in tally.samples)


def test_long_reasons_are_shown_in_part(storage, table):
    (sample,) = storage.tally(table("answers", ANSWERS, [{"status": "x" * 5000, "response": {}}])).samples
    assert len(sample) < 400


def test_other_columns_do_not_matter(storage, table):
    columns = {**ANSWERS, "outcome": "STRING", "request": "STRING", "processed_time": "TIMESTAMP"}
    row = {"response": candidate(), "status": "", "outcome": "rejected", "request": "{}"}
    assert storage.tally(table("answers", columns, [row])).answered == 1


def test_statement_that_takes_long_is_told(storage, table, caplog):
    caplog.set_level(logging.INFO)
    source = table("requests", REQUESTS, [ROW])
    output = table("answers", {**REQUESTS, **ANSWERS}, [{**ROW, "response": candidate(), "status": ""}])
    with slow_jobs(QueryJob):
        storage.summarize(output, [source]).count_usage()
        statements = len(re.findall(r"The BigQuery job \S+ is still running after 0 s", caplog.text))
        storage.count_requests([source])
    assert statements
    assert len(re.findall("is still running", caplog.text)) == statements + 1
