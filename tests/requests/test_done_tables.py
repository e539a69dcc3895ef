from __future__ import annotations

import pytest

from airflow_gemini_batch.core.addresses import BigQueryAddress
from airflow_gemini_batch.exceptions import InvalidRequestError
from airflow_gemini_batch.requests.done import Mark, read_done_table
from tests.support.tables import bigquery_client, fill, make_dataset

COLUMNS = {"shelf": "INT64", "isbn": "STRING", "summary": "STRING", "batch_fingerprint": "STRING"}


@pytest.fixture
def target(gemini_batch_stack):
    return BigQueryAddress.parse(f"{make_dataset(gemini_batch_stack)}.enriched")


@pytest.mark.parametrize(
    ("key", "texts"), [(("isbn",), ["a", "b"]), (("isbn", "shelf"), ['["a","1"]', '["b","2"]'])]
)
def test_keys_come_as_text_with_their_fingerprint(gemini_batch_stack, target, key, texts):
    rows = [
        {"shelf": 1, "isbn": "a", "batch_fingerprint": "f1"},
        {"shelf": 2, "isbn": "b", "batch_fingerprint": "f2"},
        {"shelf": 3, "isbn": "c", "batch_fingerprint": None},
        {"shelf": 4, "isbn": None, "batch_fingerprint": "f4"},
    ]
    fill(gemini_batch_stack, str(target), COLUMNS, rows)
    found = read_done_table(bigquery_client(gemini_batch_stack), target, key)
    assert sorted(found) == [
        Mark(text, fingerprint, "target", "") for text, fingerprint in zip(texts, ["f1", "f2"], strict=True)
    ]


def test_absent_table_holds_nothing(gemini_batch_stack, target):
    assert list(read_done_table(bigquery_client(gemini_batch_stack), target, ("isbn",))) == []


def test_table_without_bookkeeping_is_refused_with_the_way_out(gemini_batch_stack, target):
    fill(gemini_batch_stack, str(target), {"isbn": "STRING"})
    with pytest.raises(InvalidRequestError, match=r"landed without bookkeeping.* Land with bookkeeping=True"):
        list(read_done_table(bigquery_client(gemini_batch_stack), target, ("isbn",)))
