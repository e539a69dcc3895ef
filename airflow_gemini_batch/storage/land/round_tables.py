"""The tables of a manifest's rounds: the requests, and the answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from airflow_gemini_batch.core.addresses import Address, BigQueryAddress, parse_address
from airflow_gemini_batch.core.jobs import JobState, Stage
from airflow_gemini_batch.core.landing import LandingPlan
from airflow_gemini_batch.core.manifest import Manifest, Round
from airflow_gemini_batch.core.models import short_model_name
from airflow_gemini_batch.core.request_formats import RequestFormat
from airflow_gemini_batch.core.responses import Outcome
from airflow_gemini_batch.exceptions import InvalidRequestError, OutputNotReadyError, SourceNotReadyError
from airflow_gemini_batch.storage.bigquery import BigQueryStorage
from airflow_gemini_batch.storage.build.columns import check_key_types
from airflow_gemini_batch.storage.land.sql import AnswerTable, RequestTable
from airflow_gemini_batch.storage.land.targets import column_types

if TYPE_CHECKING:
    from google.cloud.bigquery import Table

_ANSWER_COLUMNS = {
    RequestFormat.GENERATE_CONTENT: ("response", "status"),
    RequestFormat.TEXT_EMBEDDING: ("content", "predictions", "status"),
}


def request_tables(manifest: Manifest, plan: LandingPlan, storage: BigQueryStorage) -> list[RequestTable]:
    """Return the tables of all requests: those of the first round, of which later rounds repeat some.

    Raises :class:`~airflow_gemini_batch.exceptions.SourceNotReadyError` for a table that is gone, and
    :class:`~airflow_gemini_batch.exceptions.InvalidRequestError` for one that has not the key columns.
    """
    found = []
    last = len(manifest.rounds) - 1
    for source in [source for one in manifest.rounds[:1] for source in one.source]:
        address = _table_address(source)
        table = storage.find(address)
        if table is None:
            raise SourceNotReadyError(
                f"the requests {address} are gone, and with them the keys of the answers. Nothing was landed. BigQuery "
                "restores a table for seven days (bq cp DATASET.TABLE@MILLISECONDS); or run the build task alone: "
                "the same rows make the same table again"
            )
        columns = column_types(table.schema)
        _check_present([*plan.key, plan.format.main_column], columns, address)
        check_key_types(plan.key, columns, where=str(address))
        last_job = manifest.rounds[last].job_name
        found.append(RequestTable(address, columns, _created(table), last_job, last, manifest.identity))
    return found


def answer_tables(manifest: Manifest, plan: LandingPlan, storage: BigQueryStorage) -> list[AnswerTable]:
    """Return the tables of answers, one for each round that has one.

    Raises :class:`~airflow_gemini_batch.exceptions.OutputNotReadyError` when there were answers and the table is gone,
    and :class:`~airflow_gemini_batch.exceptions.InvalidRequestError` for one that has not the columns.
    """
    found = []
    # Of an embedding job the key does not come back.
    names = [*(() if plan.embeds else plan.key), *_ANSWER_COLUMNS[plan.format]]
    for number, one in enumerate(manifest.rounds):
        address = _table_address(one.output) if one.output else None
        table = storage.find(address) if address else None
        if address and table is not None:
            columns = column_types(table.schema)
            _check_present(names, columns, address)
            model = short_model_name(manifest.model)
            found.append(
                AnswerTable(address, columns, _created(table), one.job_name, number, manifest.identity, model)
            )
        elif address and _had_answers(one):
            raise OutputNotReadyError(
                f"the answers of the batch job {one.job_name} are gone: there is no table {address}, and there "
                "was when the job ended. Nothing was landed. BigQuery restores a table for seven days (bq cp "
                "DATASET.TABLE@MILLISECONDS), or set force_rerun=True on the submit task to pay for a new job"
            )
    return found


def _had_answers(one: Round) -> bool:
    return JobState(one.state).stage is Stage.SUCCEEDED or one.counts.get(Outcome.OK, 0) > 0


def _table_address(uri: str) -> BigQueryAddress:
    address: Address = parse_address(uri)
    if not isinstance(address, BigQueryAddress) or not address.is_table:
        raise InvalidRequestError(
            f"{address} is no table: requests and answers have to be both in BigQuery tables, or both in files"
        )
    return address


def _check_present(names: Sequence[str], columns: Mapping[str, str], table: BigQueryAddress) -> None:
    if absent := [name for name in names if name not in columns]:
        raise InvalidRequestError(
            f"{table} has no column {', '.join(map(repr, absent))}; its columns are {', '.join(columns)}. "
            "The key of the landing has to be the one of the requests"
        )


def _created(table: Table) -> str:
    return str(table.created.isoformat())
