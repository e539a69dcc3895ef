"""A job's work: read the input, answer the rows, write the output. Blocking; runs in a worker thread."""

from __future__ import annotations

import random
import threading
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from airflow_gemini_batch.core.addresses import BigQueryAddress, GcsAddress
from airflow_gemini_batch.core.model_families import ModelFamily
from airflow_gemini_batch.testing.vertex_ai.data.clients import DataClients
from airflow_gemini_batch.testing.vertex_ai.data.files import FileSink, FileSource
from airflow_gemini_batch.testing.vertex_ai.data.importer import ImportedTable
from airflow_gemini_batch.testing.vertex_ai.data.row import InputRow, Sink, Source
from airflow_gemini_batch.testing.vertex_ai.data.tables import TableSink, TableSource
from airflow_gemini_batch.testing.vertex_ai.errors import JobError, import_error
from airflow_gemini_batch.testing.vertex_ai.jobs.job import Job
from airflow_gemini_batch.testing.vertex_ai.jobs.locations import check_buckets
from airflow_gemini_batch.testing.vertex_ai.rows.order import repeated, shuffled, thinned
from airflow_gemini_batch.testing.vertex_ai.rows.row_format import RowFormat

_MOST_SAMPLES = 20


@dataclass(slots=True)
class Result:
    """What a job's work came to.

    :param incomplete: rows that never ran.
    :param failures: google.rpc.Status of the first failed rows.
    :param output: the job's ``outputInfo``.
    """

    succeeded: int = 0
    failed: int = 0
    incomplete: int = 0
    failures: list[dict[str, Any]] = field(default_factory=list)
    output: dict[str, str] = field(default_factory=dict)


class Runner:
    """Does the work of jobs.

    :param formats: the row format of each family of models.
    :param max_rows: most rows of a job, by family.
    """

    def __init__(
        self,
        clients: DataClients,
        formats: Mapping[ModelFamily, RowFormat],
        *,
        seed: int,
        max_rows: Mapping[ModelFamily, int],
    ) -> None:
        self._clients = clients
        self._formats = formats
        self._seed = seed
        self._max_rows = max_rows
        self._stopping = threading.Event()

    def stop(self) -> None:
        """Cut short the waiting between two parts of an export."""
        self._stopping.set()

    def count_rows(self, job: Job) -> int:
        """Read the whole input once, as the import does; returns the number of rows.

        Raises :class:`~airflow_gemini_batch.testing.vertex_ai.errors.JobError` when it can't be imported.
        """
        family = job.request.model.family
        rows_format = self._formats[family]
        check_buckets(job.request, self._clients)
        source = self._source(job)
        table = ImportedTable() if isinstance(source, FileSource) and job.readings.importer_rules else None
        count = accepted = 0
        for row in source.rows():
            count += 1
            if table is not None:
                table.add(row.content)
            accepted += rows_format.accepts(row.content)
        if not count:
            raise import_error("The input holds no rows.")
        if count > (limit := self._max_rows[family]):
            raise import_error(f"The input has {count} rows, more than the limit of {limit}.")
        if not accepted:
            # The service says no more than this about an input of the wrong shape.
            raise JobError("INTERNAL", "INTERNAL")
        return count

    def export(self, job: Job, rows: int, share: float) -> Result:
        """Answer the first ``share`` of ``rows`` and write them, in an order of their own.

        A job of which nothing was done names a place where nothing is.
        """
        source = self._source(job)
        done = round(rows * share)
        sink = self._sink(job, source)
        result = Result(incomplete=rows - done, output=sink.info)
        written = _disordered(job, self._answers(job, islice(source.rows(), done), sink, result), self._seed)
        if done and not job.fault("lose_output"):
            self._write(job, sink, written, done)
        else:
            deque(written, maxlen=0)
        return result

    def _source(self, job: Job) -> Source:
        request = job.request
        if isinstance(request.sources, BigQueryAddress):
            return TableSource(request.sources, request.model.family, request.location, self._clients)
        return FileSource(request.sources, self._clients)

    def _sink(self, job: Job, source: Source) -> Sink:
        destination = job.request.destination
        if isinstance(destination, GcsAddress):
            return FileSink(job, destination, self._clients)
        present = [column for column in source.columns if _passes(job, column.name)]
        names = {column.name for column in present}
        added = self._formats[job.request.model.family].columns
        columns = [*present, *(column for column in added if column.name not in names)]
        # A load job has to run where the dataset lies; a job in "global" may write anywhere.
        location = None if job.request.location == "global" else job.request.location
        return TableSink(job, destination, columns, self._clients, location)

    def _answers(
        self, job: Job, rows: Iterable[InputRow], sink: Sink, result: Result
    ) -> Iterator[dict[str, Any]]:
        rows_format = self._formats[job.request.model.family]
        for row in rows:
            answer = rows_format.answer(row, job)
            if answer.error is None:
                result.succeeded += 1
            else:
                result.failed += 1
                if len(result.failures) < _MOST_SAMPLES:
                    result.failures.append(answer.error)
            yield sink.shape({name: row.columns[name] for name in row.columns if _passes(job, name)}, answer)
        if fault := job.fault("foreign_rows"):
            for number in range(fault["count"]):
                yield sink.shape({}, rows_format.answer(rows_format.invented(number), job))

    def _write(self, job: Job, sink: Sink, rows: Iterator[dict[str, Any]], count: int) -> None:
        slow, shards = job.fault("slow_export"), job.fault("shards")
        parts = (slow or shards or {"parts": 1})["parts"]
        size = -(-count // parts)
        for part in range(parts):
            # Repeated and invented rows come on top of the count; the last part takes them.
            last = part == parts - 1
            sink.write(rows if last else islice(rows, size), part, parts)
            if slow and not last:
                self._stopping.wait(slow["seconds"] / (parts - 1))


def _passes(job: Job, column: str) -> bool:
    return job.readings.columns_passed or column in job.request.model.family.read_columns


def _disordered(job: Job, rows: Iterator[dict[str, Any]], seed: int) -> Iterator[dict[str, Any]]:
    rng = random.Random(seed)  # noqa: S311 - for the order of rows, not for secrets
    if fault := job.fault("missing_rows"):
        rows = thinned(rows, fault["share"], rng)
    if fault := job.fault("repeat_rows"):
        rows = repeated(rows, fault["share"], rng)
    return rows if job.fault("input_order") else shuffled(rows, rng)
