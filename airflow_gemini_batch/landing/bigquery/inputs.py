"""The tables that a manifest's rounds left: requests and answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from airflow_gemini_batch.core.addresses import Address, BigQueryAddress, parse_address
from airflow_gemini_batch.core.models import short_model_name
from airflow_gemini_batch.core.shown import listed
from airflow_gemini_batch.exceptions import InvalidRequestError, OutputNotReadyError, SourceNotReadyError
from airflow_gemini_batch.gcp.tables import Tables
from airflow_gemini_batch.jobs.manifest import Manifest
from airflow_gemini_batch.landing.bigquery.targets import column_types
from airflow_gemini_batch.landing.plan import LandingPlan
from airflow_gemini_batch.requests.bigquery.expressions import check_key_types


@dataclass(frozen=True, slots=True)
class RequestTable:
    """Requests of one submission.

    :param columns: GoogleSQL's types by name.
    :param created: when the table was made, in ISO 8601; the time of rows that no job answered.
    :param last_job: the job that its requests were sent with last.
    :param last_round: that job's number, from 0.
    :param submission: identity of the submission.
    :param question: id of what its rows were asked; ``None`` where it is not known.
    """

    table: BigQueryAddress
    columns: Mapping[str, str]
    created: str
    last_job: str
    last_round: int
    submission: str
    question: str | None = None


@dataclass(frozen=True, slots=True)
class AnswerTable:
    """The output of one job.

    :param columns: GoogleSQL's types by name.
    :param created: when the table was made, in ISO 8601; the time of rows that do not say when they came.
    :param round: the job's number among those of its submission, from 0.
    :param submission: identity of the submission.
    :param model: plain name of the model.
    """

    table: BigQueryAddress
    columns: Mapping[str, str]
    created: str
    job: str
    round: int
    submission: str
    model: str


@dataclass(frozen=True, slots=True)
class Collected:
    """Tables that the rows of all requests and of all answers were collected in; empty where nothing was."""

    requests: Sequence[BigQueryAddress] = ()
    answers: Sequence[BigQueryAddress] = ()


NOTHING_COLLECTED = Collected()


def request_tables(manifest: Manifest, plan: LandingPlan, storage: Tables) -> list[RequestTable]:
    """Return the tables of all requests: those of the first round, of which later rounds repeat some.

    Raises :class:`~airflow_gemini_batch.exceptions.SourceNotReadyError` for a table that is gone, and
    :class:`~airflow_gemini_batch.exceptions.InvalidRequestError` for one without the key columns.
    """
    found = []
    last = len(manifest.rounds) - 1
    for source in [source for round_ in manifest.rounds[:1] for source in round_.source]:
        address = _table_address(source)
        table = storage.find(address)
        if table is None:
            raise SourceNotReadyError(
                f"the requests {address} are gone, and with them the keys of the answers. Nothing was landed. BigQuery "
                "restores a table for seven days (bq cp DATASET.TABLE@MILLISECONDS); or run the build task alone: "
                "the same rows make the same table again"
            )
        columns = column_types(table.schema)
        _check_present([*plan.key, plan.family.main_column], columns, address)
        check_key_types(plan.key, columns, where=str(address))
        last_job = manifest.rounds[last].job_name
        found.append(
            RequestTable(
                address,
                columns,
                table.created.isoformat(),
                last_job,
                last,
                manifest.identity,
                manifest.question,
            )
        )
    return found


def answer_tables(manifest: Manifest, plan: LandingPlan, storage: Tables) -> list[AnswerTable]:
    """Return the tables of answers, one for each round that has one.

    Raises :class:`~airflow_gemini_batch.exceptions.OutputNotReadyError` when there were answers and the table is gone,
    and :class:`~airflow_gemini_batch.exceptions.InvalidRequestError` for one without the columns.
    """
    found = []
    family = plan.family
    names = [*(plan.key if family.returns_keys else [family.main_column]), family.answer_column, "status"]
    for number, one in enumerate(manifest.rounds):
        address = _table_address(one.output) if one.output else None
        table = storage.find(address) if address else None
        if address and table is not None:
            columns = column_types(table.schema)
            _check_present(names, columns, address)
            model = short_model_name(manifest.model)
            found.append(
                AnswerTable(
                    address,
                    columns,
                    table.created.isoformat(),
                    one.job_name,
                    number,
                    manifest.identity,
                    model,
                )
            )
        elif address and one.had_answers:
            raise OutputNotReadyError(
                f"the answers of the batch job {one.job_name} are gone: there is no table {address}, and there "
                "was when the job ended. Nothing was landed. BigQuery restores a table for seven days (bq cp "
                "DATASET.TABLE@MILLISECONDS), or set force_rerun=True on the submit task to pay for a new job"
            )
    return found


def shared_key_types(
    plan: LandingPlan, requests: Sequence[RequestTable], answers: Sequence[AnswerTable] = ()
) -> dict[str, str]:
    """Return the types of the key columns; raises if two tables differ in one."""
    for answer in answers if requests and plan.family.returns_keys else ():
        for name in plan.key:
            if (kind := answer.columns[name]) != (sent := requests[0].columns[name]):
                raise InvalidRequestError(
                    f"the key column {name!r} was sent as {sent} and came back as {kind} in {answer.table}, so nothing "
                    "tells for sure which answer belongs to which row. Nothing was landed. Build the requests with a "
                    f"key that can only be read as text: in a query, select CONCAT('key-', `{name}`) AS `{name}`"
                )
    for table in requests[1:]:
        for name in plan.key:
            if (kind := table.columns[name]) != (first := requests[0].columns[name]):
                raise InvalidRequestError(
                    f"the key column {name!r} is {first} in {requests[0].table} and {kind} in {table.table}: land "
                    "them in two tasks, or build them from one source"
                )
    return {name: requests[0].columns[name] for name in plan.key} if requests else {}


def _table_address(uri: str) -> BigQueryAddress:
    address: Address = parse_address(uri)
    if not isinstance(address, BigQueryAddress) or not address.is_table:
        raise InvalidRequestError(
            f"{address} is not a table: requests and answers have to be both in BigQuery tables, or both in files"
        )
    return address


def _check_present(names: Sequence[str], columns: Mapping[str, str], table: BigQueryAddress) -> None:
    if absent := [name for name in names if name not in columns]:
        raise InvalidRequestError(
            f"{table} has no column {', '.join(map(repr, absent))}; its columns are {listed(columns)}. "
            "The key of the landing has to be the one of the requests"
        )
