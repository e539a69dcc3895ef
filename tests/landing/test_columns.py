"""A column that is added to the list and forgotten in a statement fails loudly."""

from __future__ import annotations

import pytest

from airflow_gemini_batch.core.addresses import BigQueryAddress
from airflow_gemini_batch.core.columns import BOOKKEEPING, STAGED_OUTCOME
from airflow_gemini_batch.landing.bigquery.embedding_sql import embedding_staging_statement
from airflow_gemini_batch.landing.bigquery.inputs import RequestTable
from airflow_gemini_batch.landing.bigquery.staging_sql import staging_statement
from airflow_gemini_batch.landing.files.matching import staged_query
from tests.landing.landings import TEXT
from tests.landing.vectors import vector_plan

TABLE = BigQueryAddress("books-project", "shop", "books")
REQUESTS = [RequestTable(TABLE, {"isbn": "STRING"}, "2026-11-22T08:00:00+00:00", "jobs/1", 0, "s")]

STATEMENTS = {
    "answers in tables": lambda: staging_statement(TEXT, TABLE, REQUESTS, []),
    "vectors in tables": lambda: embedding_staging_statement(vector_plan(), TABLE, REQUESTS, []),
    "answers in files": lambda: staged_query(TEXT),
    "vectors in files": lambda: staged_query(vector_plan()),
}


@pytest.mark.parametrize("columns", [BOOKKEEPING, STAGED_OUTCOME], ids=["bookkeeping", "outcome"])
@pytest.mark.parametrize("name", STATEMENTS)
def test_column_without_a_value_is_named(monkeypatch, columns, name):
    STATEMENTS[name]()
    monkeypatch.setitem(columns, "batch_traffic_type", "STRING")
    with pytest.raises(NotImplementedError, match="no value for batch_traffic_type"):
        STATEMENTS[name]()
