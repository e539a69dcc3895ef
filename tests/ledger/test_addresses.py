"""Where the ledger of a target is."""

from __future__ import annotations

import pytest

from airflow_gemini_batch.exceptions import InvalidRequestError, LedgerError
from airflow_gemini_batch.ledger.addresses import find_ledger, ledger_address, ledger_of
from tests.ledger.runs import record
from tests.support.requests_data import storage_client
from tests.support.tables import bigquery_client, fill, make_dataset


@pytest.mark.parametrize(
    ("target", "ledger"),
    [
        ("bq://my-project.shop.books", "bq://my-project.shop.books__runs"),
        ("gs://bucket/shop/books.parquet", "gs://bucket/shop/books__runs/"),
        ("gs://bucket/books.2026.jsonl", "gs://bucket/books.2026__runs/"),
        ("/data/shop.v2/books.NDJSON", "/data/shop.v2/books__runs/"),
        ("/data/shop.v2/books", "/data/shop.v2/books__runs/"),
        ("books.parquet", "books__runs/"),
    ],
)
def test_ledger_is_beside_its_target(target, ledger):
    for address in (ledger_address(target), ledger):
        assert ledger_of(address, lambda: None, lambda: None).address == ledger


def test_ledger_of_a_template_is_beside_what_it_renders_to():
    for target in ("bq://my-project.shop.books", "gs://bucket/books.jsonl"):
        assert ledger_address("{{ target }}").replace("{{ target }}", target) == ledger_address(target)


@pytest.mark.parametrize(
    ("address", "told"),
    [
        ("", "ledger: expected the address of a table or a folder, got ''"),
        (None, "ledger: expected the address of a table or a folder, got None"),
        (
            "bq://my-project.shop",
            "is a dataset: name the table as well, such as bq://my-project.shop.llm_runs",
        ),
        ("gs://bucket", "ledger: gs://bucket has to be a folder, gs://BUCKET/FOLDER/"),
        ("gs://bucket/a*/", "has to be a folder"),
        ("s3://bucket/runs/", "unknown scheme s3://"),
    ],
)
def test_addresses_that_are_not_a_ledger(address, told):
    with pytest.raises(InvalidRequestError) as error:
        ledger_of(address, lambda: None, lambda: None)
    assert told in str(error.value)


@pytest.fixture
def clients(gemini_batch_stack):
    return lambda: storage_client(gemini_batch_stack), lambda: bigquery_client(gemini_batch_stack)


@pytest.mark.parametrize(
    ("target", "shared"),
    [
        ("DATASET.books", "DATASET.llm_runs"),
        ("gs://BUCKET/books.parquet", "gs://BUCKET/llm/"),
        ("FOLDER/books.jsonl", "FOLDER/llm"),
    ],
)
def test_target_or_ledger_leads_to_the_ledger(gemini_batch_stack, bucket, tmp_path, clients, target, shared):
    places = {"DATASET": make_dataset(gemini_batch_stack), "BUCKET": bucket, "FOLDER": str(tmp_path)}
    for name, place in places.items():
        target, shared = target.replace(name, place), shared.replace(name, place)
    if target.startswith("bq://"):
        fill(gemini_batch_stack, target, {"title": "STRING"})
    for address in (target, shared):
        with pytest.raises(InvalidRequestError, match=f"{address}: there is no ledger of runs"):
            find_ledger(address, *clients)
    for address in (ledger_address(target), shared):
        ledger_of(address, *clients).put(record())
    found = [find_ledger(address, *clients).address for address in (target, ledger_address(target), shared)]
    assert found[:2] == [ledger_of(ledger_address(target), *clients).address] * 2
    assert found[2].rstrip("/") == shared.rstrip("/")


def test_ledger_that_can_t_be_asked_is_not_absent(clients):
    with pytest.raises(LedgerError, match="could not be read"):
        find_ledger("gs://no-such-bucket-1/books.parquet", *clients)
