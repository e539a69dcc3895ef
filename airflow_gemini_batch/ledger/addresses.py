"""Where the ledger of a target is, and how it is opened."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from airflow_gemini_batch.core.addresses import BigQueryAddress, GcsAddress, parse_address
from airflow_gemini_batch.exceptions import InvalidRequestError, as_invalid_request
from airflow_gemini_batch.gcp.tables import Tables
from airflow_gemini_batch.ledger.files import FileLedger, LocalFolder, StoredFolder
from airflow_gemini_batch.ledger.store import Ledger, asking
from airflow_gemini_batch.ledger.table import TableLedger

if TYPE_CHECKING:
    from google.cloud import bigquery, storage

SUFFIX = "__runs"
# As landing.files.formats has them.
_TARGET_FILES = (".parquet", ".jsonl", ".ndjson", ".json")
_BESIDE_A_FILE = re.compile(
    rf"(.*)({'|'.join(map(re.escape, _TARGET_FILES))}){SUFFIX}/?\Z", re.IGNORECASE | re.DOTALL
)


def ledger_address(target: str) -> str:
    """Return the address at which :func:`ledger_of` opens the ledger beside a target.

    :param target: also as a template that is not rendered yet.
    """
    return target + SUFFIX


def ledger_of(
    address: str,
    storage_client: Callable[[], storage.Client],
    bigquery_client: Callable[[], bigquery.Client],
) -> Ledger:
    """Return the ledger at an address: a ``bq://`` table, or a folder, ``gs://…/`` or local.

    Beside ``gs://b/books.parquet`` it is ``gs://b/books__runs/``.

    :param storage_client: makes the client of ``google-cloud-storage``, when it is needed.
    :param bigquery_client: makes the client of ``google-cloud-bigquery``, when it is needed.

    Raises :class:`.InvalidRequestError` for another address.
    """
    with as_invalid_request("ledger"):
        if not isinstance(address, str) or not address.strip():
            raise ValueError(f"expected the address of a table or a folder, got {address!r}")
        address = _BESIDE_A_FILE.sub(rf"\1{SUFFIX}/", address)
        if "://" not in address:
            return FileLedger(_folder(address), LocalFolder(Path(address)))
        parsed = parse_address(address)
        if isinstance(parsed, GcsAddress):
            if parsed.has_wildcard or not parsed.path.strip("/"):
                raise ValueError(f"{address} has to be a folder, gs://BUCKET/FOLDER/")
            return FileLedger(_folder(address), StoredFolder(parsed, cache(storage_client)))
        if not parsed.is_table:
            raise ValueError(f"{address} is a dataset: name the table as well, such as {address}.llm_runs")
        return TableLedger(parsed, bigquery_client)


def find_ledger(
    address: str,
    storage_client: Callable[[], storage.Client],
    bigquery_client: Callable[[], bigquery.Client],
) -> Ledger:
    """Return the ledger that an address names, or the one of the target that it names.

    Raises :class:`.InvalidRequestError` when there is neither, and :class:`.LedgerError` when that is not known.
    """
    clients = storage_client, bigquery_client
    if address.startswith("bq://") and not address.endswith(SUFFIX):
        beside = ledger_of(ledger_address(address), *clients)
        with as_invalid_request():
            table = BigQueryAddress.parse(beside.address)
        with asking(beside.address, "read"):
            is_target = Tables(bigquery_client()).find(table) is not None
        ledger = beside if is_target else ledger_of(address, *clients)
    elif address.lower().endswith(_TARGET_FILES):
        ledger = ledger_of(ledger_address(address), *clients)
    else:
        ledger = ledger_of(address, *clients)
    if not ledger.exists():
        raise InvalidRequestError(
            f"{address}: there is no ledger of runs. Name a target whose runs keep one, or the ledger itself"
        )
    return ledger


def _folder(address: str) -> str:
    return f"{address.rstrip('/')}/"
