"""A dataset of books, and builds with the real client against the local server."""

from __future__ import annotations

import logging

import orjson
import pytest

from airflow_gemini_batch.core.addresses import BigQueryAddress
from airflow_gemini_batch.requests.bigquery.builder import TableBuild
from airflow_gemini_batch.requests.sources import parse_row_source
from tests.requests.plans import BOOKS
from tests.support.tables import bigquery_client, fill, make_dataset, read


@pytest.fixture
def client(gemini_batch_stack):
    return bigquery_client(gemini_batch_stack)


@pytest.fixture
def dataset(gemini_batch_stack):
    return BigQueryAddress.parse(make_dataset(gemini_batch_stack))


@pytest.fixture
def build(client):
    return TableBuild(client, logging.getLogger("build"))


@pytest.fixture
def table(gemini_batch_stack, dataset):
    """Fill a table of that name in the test's dataset and return it as a source of rows."""

    def table(rows, columns=BOOKS, name="books"):
        return parse_row_source(fill(gemini_batch_stack, f"{dataset}.{name}", columns, rows))

    return table


@pytest.fixture
def requests(gemini_batch_stack):
    """Read the requests of a report, by ISBN."""

    def requests(report):
        rows = [row for source in report.sources for row in read(gemini_batch_stack, source)]
        return {row["isbn"]: orjson.loads(row["request"]) for row in rows}

    return requests
