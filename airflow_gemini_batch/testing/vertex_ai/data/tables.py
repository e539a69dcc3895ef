"""BigQuery tables: the input of a job, and its output."""

from __future__ import annotations

import base64
import datetime as dt
import decimal
import re
import tempfile
from collections.abc import Iterator
from typing import Any

import orjson

from airflow_gemini_batch.core.addresses import BigQueryAddress
from airflow_gemini_batch.core.model_families import GENERATE_CONTENT, TEXT_EMBEDDING, ModelFamily
from airflow_gemini_batch.testing.vertex_ai.data.clients import DataClients
from airflow_gemini_batch.testing.vertex_ai.data.row import Column, InputRow, OutputRow
from airflow_gemini_batch.testing.vertex_ai.errors import import_error
from airflow_gemini_batch.testing.vertex_ai.jobs.job import NEW_DATASET, Job

_EMBEDDING_COLUMNS = frozenset({"content", "task_type", "title"})
_PAGE_ROWS = 10_000
# https://cloud.google.com/vertex-ai/generative-ai/docs/multimodal/batch-prediction-from-bigquery
_NOT_PASSED = ("ARRAY", "STRUCT", "RECORD", "RANGE", "DATETIME", "GEOGRAPHY")


def _checked_table(address: BigQueryAddress, family: ModelFamily, location: str, clients: DataClients) -> Any:
    """Return the ``google.cloud.bigquery.Table`` if the job can read it.

    The service checks it when the job imports its data.

    Raises :class:`~airflow_gemini_batch.testing.vertex_ai.errors.JobError`, as the service fails the job.
    """
    from google.api_core.exceptions import NotFound

    dataset_name = f"{address.project}:{address.dataset}"
    try:
        dataset = clients.bigquery.get_dataset(f"{address.project}.{address.dataset}", retry=None)
        table = clients.bigquery.get_table(address.dotted, retry=None)
    except NotFound as error:
        raise import_error(
            f"Not found: Table {dataset_name}.{address.table} was not found in location {location}",
            status="NOT_FOUND",
        ) from error
    if location not in ("global", dataset.location.lower()):
        raise import_error(f"Not found: Dataset {dataset_name} was not found in location {location} at [2:1]")
    if table.table_type == "VIEW":
        raise import_error('Syntax error: Expected end of input but got identifier "_vertex_row_id"')
    columns = [(item.name, "ARRAY" if item.mode == "REPEATED" else item.field_type) for item in table.schema]
    for problem in _column_errors(dict(columns), family):
        raise import_error(f"Table {address.dotted}: {problem}.")
    return table


def _column_errors(columns: dict[str, str], family: ModelFamily) -> Iterator[str]:
    main = family.main_column
    if main not in columns:
        yield f"there is no column {main!r}"
        return
    taken = ("STRING",) if main == "content" else ("JSON", "STRING")
    if columns[main] not in taken:
        yield f"column {main!r} is {columns[main]}, not {' or '.join(taken)}"
    for name, kind in columns.items():
        # Of a table of texts the other columns are not read.
        if main == "request" and kind in _NOT_PASSED:
            yield f"column {name!r} has the unsupported type {kind}"
        if name.lower() in ("status", "predictions" if main == "content" else "response"):
            yield f"column {name!r} has a reserved name"


class TableSource:
    """A table in the job's own location; looked at when this is made, read by :meth:`rows`."""

    def __init__(
        self, address: BigQueryAddress, family: ModelFamily, location: str, clients: DataClients
    ) -> None:
        self._address = address
        self._family = family
        self._clients = clients
        self._table = _checked_table(address, family, location, clients)

    @property
    def columns(self) -> list[Column]:
        """The table's columns; for embeddings those that the model reads, the others are dropped."""
        schema = self._table.schema
        if self._family is TEXT_EMBEDDING:
            schema = [item for item in schema if item.name in _EMBEDDING_COLUMNS]
        return [Column(item.name, item.field_type) for item in schema]

    def rows(self) -> Iterator[InputRow]:
        """Read the table's rows, page by page."""
        main = self._family.main_column
        for row in self._clients.bigquery.list_rows(self._table, page_size=_PAGE_ROWS):
            values = {name: _json_value(value) for name, value in row.items()}
            content = values.pop(main)
            if self._family is TEXT_EMBEDDING:
                beside = {name: values[name] for name in _EMBEDDING_COLUMNS & values.keys()}
                yield InputRow({main: content, **beside}, beside)
            else:
                yield InputRow({main: self._request(content)}, values)

    def _request(self, value: object) -> object:
        if not isinstance(value, str):
            return value
        try:
            return orjson.loads(value)
        except orjson.JSONDecodeError as error:
            raise import_error(
                f"Invalid JSON in column request of {self._address.dotted}: {error}"
            ) from error


def _json_value(value: object) -> Any:
    """Return a value read from BigQuery as a load job takes it in JSON."""
    if isinstance(value, dt.datetime | dt.date | dt.time):
        return value.isoformat()
    if isinstance(value, decimal.Decimal):
        return str(value)
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    return value


class TableSink:
    """A fresh table, filled by load jobs.

    :param columns: all columns of the table.
    :param location: where the dataset lies; ``None`` leaves it to BigQuery.
    """

    def __init__(
        self,
        job: Job,
        destination: BigQueryAddress,
        columns: list[Column],
        clients: DataClients,
        location: str | None,
    ) -> None:
        self._resumed = job.resumed
        self._makes_dataset = destination.dataset == NEW_DATASET
        if self._makes_dataset:
            model = re.sub(r"[^A-Za-z0-9]", "_", job.request.model.short_name)
            dataset = f"prediction_{model}_{job.created:%Y_%m_%dT%H_%M_%S_%fZ}"
            destination = BigQueryAddress(destination.project, dataset, "predictions")
        elif not destination.is_table:
            destination = destination.with_table(f"predictions_{job.created:%Y_%m_%dT%H_%M_%S_%fZ}")
        self._full_address = job.fault("full_table_address") is not None
        self._json_nulls = (
            job.readings.failed_response == "json_null" and job.request.model.family is GENERATE_CONTENT
        )
        self._address = destination
        self._columns = columns
        self._texts = {column.name for column in columns if column.type == "STRING"}
        self._clients = clients
        self._location = location

    @property
    def info(self) -> dict[str, str]:
        """``bigqueryOutputDataset`` as an address, ``bigqueryOutputTable`` as a bare name."""
        address = self._address
        return {
            "bigqueryOutputDataset": f"bq://{address.project}.{address.dataset}",
            "bigqueryOutputTable": str(address) if self._full_address else address.table,
        }

    def shape(self, passed: dict[str, Any], answer: OutputRow) -> dict[str, Any]:
        """Return the answer's cells beside the columns that pass through."""
        return {name: self._cell(name, value) for name, value in {**passed, **answer.cells}.items()}

    def _cell(self, name: str, value: Any) -> Any:
        # A request column that was STRING stays STRING, though the request was decoded on its way.
        if name in self._texts and isinstance(value, dict | list):
            return orjson.dumps(value).decode()
        return value

    def write(self, rows: Iterator[dict[str, Any]], part: int, parts: int) -> None:
        """Append rows; the first part makes the table."""
        from google.cloud import bigquery

        config = bigquery.LoadJobConfig(
            schema=[bigquery.SchemaField(column.name, column.type) for column in self._columns],
            source_format=bigquery.SourceFormat.NEWLINE_DELIMITED_JSON,
            # An earlier server may have written a part, or all of it, before it stopped.
            write_disposition="WRITE_APPEND" if part or not self._resumed else "WRITE_TRUNCATE",
        )
        if self._makes_dataset:
            dataset = bigquery.Dataset(f"{self._address.project}.{self._address.dataset}")
            dataset.location = self._location
            self._clients.bigquery.create_dataset(dataset, exists_ok=True)
        # The client refuses a file that was not opened for reading in the first place.
        with tempfile.TemporaryFile("r+b") as spool:
            for row in rows:
                spool.write(orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE))
            self._clients.bigquery.load_table_from_file(
                spool, self._address.dotted, rewind=True, job_config=config, location=self._location
            ).result()
        if self._json_nulls:
            # What is null in a load job is NULL in the table.
            self._clients.bigquery.query(
                f"UPDATE `{self._address.dotted}` SET response = JSON 'null' WHERE response IS NULL",
                location=self._location,
            ).result()
