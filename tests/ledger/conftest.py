"""Ledgers of each kind. What a test says of a ledger holds for all of them."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from airflow_gemini_batch.ledger.addresses import ledger_of
from airflow_gemini_batch.ledger.store import Ledger
from airflow_gemini_batch.ledger.table import COLUMNS
from tests.support.requests_data import storage_client
from tests.support.tables import bigquery_client, fill, make_dataset

KINDS = ("table", "bucket", "folder")


@pytest.fixture
def open_ledger(gemini_batch_stack) -> Callable[[str], Ledger]:
    def open_ledger(address: str) -> Ledger:
        return ledger_of(
            address, lambda: storage_client(gemini_batch_stack), lambda: bigquery_client(gemini_batch_stack)
        )

    return open_ledger


@pytest.fixture(params=KINDS)
def kind(request) -> str:
    return str(request.param)


@pytest.fixture
def place(kind, gemini_batch_stack, bucket, tmp_path) -> str:
    """The address of a ledger that is not there yet."""
    if kind == "table":
        return f"{make_dataset(gemini_batch_stack)}.texts__runs"
    return f"gs://{bucket}/shop/texts__runs/" if kind == "bucket" else f"{tmp_path}/shop/texts__runs/"


@pytest.fixture
def ledger(open_ledger, place) -> Ledger:
    return open_ledger(place)


@pytest.fixture
def write(kind, place, gemini_batch_stack, bucket, tmp_path) -> Callable[..., None]:
    """Write into the ledger what others, or another release, have written: a run and its record as text."""

    def write(run: str, text: str, name: str = "") -> None:
        if kind == "table":
            columns = {"run": "STRING", "started": "TIMESTAMP", "ended": "TIMESTAMP", "record": "JSON"}
            row: dict[str, Any] = {"run": run, "started": "2026-11-27T02:30:00Z", "record": json.loads(text)}
            assert columns.items() <= COLUMNS.items()
            fill(gemini_batch_stack, place, columns, [row])
        elif kind == "bucket":
            blob = (
                storage_client(gemini_batch_stack).bucket(bucket).blob(f"shop/texts__runs/{name or run}.json")
            )
            blob.upload_from_string(text)
        else:
            path = tmp_path / "shop" / "texts__runs" / f"{name or run}.json"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)

    return write
