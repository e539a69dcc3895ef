"""The tables, and the loaded lines, that a manifest's rounds left: requests and answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from airflow_gemini_batch.core.addresses import Address, BigQueryAddress, parse_address
from airflow_gemini_batch.core.fingerprints import model_key
from airflow_gemini_batch.core.models import short_model_name
from airflow_gemini_batch.exceptions import InvalidRequestError, OutputNotReadyError, SourceNotReadyError
from airflow_gemini_batch.gcp.objects import StorageObjects
from airflow_gemini_batch.gcp.tables import Tables
from airflow_gemini_batch.jobs.manifest import Manifest
from airflow_gemini_batch.landing.bigquery.staging_sql import AnswerTable, RequestTable
from airflow_gemini_batch.landing.bigquery.targets import column_types, recreate
from airflow_gemini_batch.landing.files.inputs import answer_files, request_files
from airflow_gemini_batch.landing.plan import LandingPlan
from airflow_gemini_batch.requests.bigquery.expressions import check_key_types

if TYPE_CHECKING:
    from collections.abc import Iterator

    from google.cloud.bigquery import Client, Table
    from google.cloud.storage import Blob


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
        found.append(RequestTable(address, columns, _created(table), last_job, last, manifest.identity))
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
                AnswerTable(address, columns, _created(table), one.job_name, number, manifest.identity, model)
            )
        elif address and one.had_answers:
            raise OutputNotReadyError(
                f"the answers of the batch job {one.job_name} are gone: there is no table {address}, and there "
                "was when the job ended. Nothing was landed. BigQuery restores a table for seven days (bq cp "
                "DATASET.TABLE@MILLISECONDS), or set force_rerun=True on the submit task to pay for a new job"
            )
    return found


def shared_key_types(plan: LandingPlan, requests: Sequence[RequestTable]) -> dict[str, str]:
    """Return the types of the key columns; raises if two tables differ in one."""
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
            f"{table} has no column {', '.join(map(repr, absent))}; its columns are {', '.join(columns)}. "
            "The key of the landing has to be the one of the requests"
        )


def _created(table: Table) -> str:
    return str(table.created.isoformat())


LINE = "line"
"""The one column, of type STRING."""

# No line of JSON holds this character, so a line is one field.
_SEPARATOR = "\x01"
_LOAD_TIMEOUT = 3600.0


@dataclass(frozen=True, slots=True)
class LineTable:
    """Lines of one submission: its requests, or the answers of one of its jobs.

    :param files: the ``gs://`` addresses.
    :param written: when the last of the files was, in ISO 8601; the time of rows that do not say when they came.
    :param submission: identity of the submission.
    :param job: the job that answered; of requests the one that they were sent with last.
    :param round: that job's number among those of its submission, from 0.
    :param model: what stands for the model in fingerprints; of answers its plain name.
    """

    table: BigQueryAddress
    files: Sequence[str]
    written: str
    submission: str
    job: str
    round: int
    model: str


def request_lines(
    plan: LandingPlan, manifests: Sequence[Manifest], storage: StorageObjects, staging: BigQueryAddress
) -> list[LineTable]:
    """Return the tables for the requests of some manifests, one for each; nothing is loaded yet.

    :param staging: the tables' names begin with this one's.
    """
    found = []
    for index, manifest in enumerate(manifests):
        if blobs := request_files(manifest, storage):
            table = staging.with_table(f"{staging.table}_requests_{index}")
            last = len(manifest.rounds) - 1
            model = model_key(manifest.model, plan.model_parameters)
            found.append(_line_table(table, blobs, manifest, last, model))
    return found


def answer_lines(
    manifests: Sequence[Manifest], storage: StorageObjects, staging: BigQueryAddress
) -> list[LineTable]:
    """Return the tables for the answers of some manifests, one for each round with some; nothing is loaded yet.

    Raises :class:`~airflow_gemini_batch.exceptions.OutputNotReadyError` for answers that are gone.
    """
    found = []
    for index, manifest in enumerate(manifests):
        for number, round_ in enumerate(manifest.rounds):
            if blobs := answer_files(round_, storage):
                table = staging.with_table(f"{staging.table}_answers_{index}_{number}")
                found.append(_line_table(table, blobs, manifest, number, short_model_name(manifest.model)))
    return found


def load_lines(tables: Sequence[LineTable], client: Client) -> None:
    """Load the files, all at the same time, into tables that are made anew and expire after a day.

    Raises :class:`~airflow_gemini_batch.exceptions.InvalidRequestError` when BigQuery may not or can't read them.
    """
    from google.cloud.bigquery import LoadJobConfig, SchemaField, SourceFormat, WriteDisposition

    schema = [SchemaField(LINE, "STRING")]
    jobs = []
    for one in tables:
        recreate(client, one.table, schema)
        config = LoadJobConfig(
            schema=schema,
            source_format=SourceFormat.CSV,
            field_delimiter=_SEPARATOR,
            quote_character="",
            ignore_unknown_values=True,
            write_disposition=WriteDisposition.WRITE_TRUNCATE,
        )
        with _reading(one):
            jobs.append(client.load_table_from_uri(one.files, one.table.dotted, job_config=config))
    for one, job in zip(tables, jobs, strict=True):
        with _reading(one):
            job.result(timeout=_LOAD_TIMEOUT)


@contextmanager
def _reading(lines: LineTable) -> Iterator[None]:
    from google.api_core.exceptions import BadRequest, Forbidden, NotFound

    try:
        yield
    except (BadRequest, Forbidden, NotFound) as error:
        bucket = lines.files[0].removeprefix("gs://").partition("/")[0]
        raise InvalidRequestError(
            f"BigQuery did not load the files of the batch job {lines.job} from gs://{bucket}: {error.message}\n"
            "The account of the BigQuery connection needs roles/storage.objectViewer on the bucket, and the target's "
            "dataset has to be where the bucket is, or in a multi-region that it may be loaded into. Nothing was "
            "landed, and the answers stay where they are"
        ) from None


def _line_table(
    table: BigQueryAddress, blobs: Sequence[Blob], manifest: Manifest, round_: int, model: str
) -> LineTable:
    return LineTable(
        table,
        [f"gs://{blob.bucket.name}/{blob.name}" for blob in blobs],
        max(blob.time_created for blob in blobs).isoformat(),
        manifest.identity,
        manifest.rounds[round_].job_name,
        round_,
        model,
    )
