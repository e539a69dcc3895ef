"""From the files of some manifests to Parquet files on the worker's disk, in constant memory.

Rows with neighbouring keys are read together later on. So these files hold them in small groups, and in the order of
their keys as far as that goes without holding all of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow_gemini_batch.core.addresses import GcsAddress, parse_address
from airflow_gemini_batch.core.fingerprints import model_key
from airflow_gemini_batch.core.model_families import most_tokens
from airflow_gemini_batch.core.models import short_model_name
from airflow_gemini_batch.disk.private_folder import make_private
from airflow_gemini_batch.exceptions import InvalidRequestError, OutputNotReadyError, SourceNotReadyError
from airflow_gemini_batch.gcp.objects import StorageObjects
from airflow_gemini_batch.gcp.pieces import Part, Piece
from airflow_gemini_batch.jobs.manifest import Manifest, Round
from airflow_gemini_batch.landing.files.answers_sql import (
    answers_query,
    judged_query,
    key_names,
    line_form,
    vector_column,
)
from airflow_gemini_batch.landing.files.request_reader import RequestReader
from airflow_gemini_batch.landing.files.vectors import VectorFile
from airflow_gemini_batch.landing.plan import LandingPlan
from airflow_gemini_batch.outputs.lines import AnswerLines
from airflow_gemini_batch.outputs.matching_sql import beside_requests
from airflow_gemini_batch.outputs.vectors_sql import of_one_length
from airflow_gemini_batch.sql.dialect import DUCKDB
from airflow_gemini_batch.sql.engine import copy_rows, literal, parquet_rows

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection
    from google.cloud.storage import Blob

_WriteSome = Callable[[int, int | None, Sequence[Sequence[str | None]]], None]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_GROUP_ROWS = 2_048
_SORTED_ROWS = 16_384
_OPTIONS = f"FORMAT parquet, ROW_GROUP_SIZE {_GROUP_ROWS}, COMPRESSION uncompressed"


@dataclass(slots=True)
class Spool:
    """What the files of some manifests hold.

    It makes these tables and views of the database:

    - ``sources``: ``source``, ``manifest`` (its index, from 0), ``round``, ``model``, ``job`` and ``written`` (when the
      file was) of each file of answers.
    - ``last_jobs``: ``manifest``, the last ``round`` and ``job`` of each, and its ``question``.
    - ``requests``: ``manifest``, ``written``, ``label``, ``fingerprint``, ``key_0``, ``key_1``, …: see
      :data:`.RequestRow`.
    - ``answers``: the columns of :func:`.answers_query` and of ``sources``, vectors by their places. Those whose key is
      NULL belong to no request.

    :param vector_type: as of :func:`.answers_query`.
    :param unreadable_requests: lines that could not be read.
    :param unreadable_answers: the same of answers.
    :param unknown: answers whose line does not tell a key, and that belong to no request.
    :param row_bytes: what an answer takes in memory, more or less.
    """

    plan: LandingPlan
    manifests: Sequence[Manifest]
    storage: StorageObjects
    database: DuckDBPyConnection
    folder: Path
    vector_type: str
    unreadable_requests: int = 0
    unreadable_answers: int = 0
    unknown: int = 0
    row_bytes: int = 1
    _stopped: bool = field(default=False, init=False)
    _vectors: VectorFile | None = field(default=None, init=False)

    @property
    def vectors(self) -> VectorFile:
        """Where the vectors are."""
        if self._vectors is None:
            self._vectors = VectorFile(
                make_private(self.folder / "vectors"), vector_column(self.plan), self.vector_type
            )
        return self._vectors

    def fill(self) -> None:
        """Read the files.

        Raises :class:`~airflow_gemini_batch.exceptions.InvalidRequestError` for requests without a key, and
        :class:`~airflow_gemini_batch.exceptions.OutputNotReadyError` for answers that are gone.
        """
        blobs = self._note_sources()
        # Python reads the requests while DuckDB reads the answers.
        with ThreadPoolExecutor(1, "requests") as background:
            reading = background.submit(self._write_requests)
            try:
                answers = self._write_answers(blobs)
                self.unreadable_requests = reading.result()
            finally:
                self._stopped = True
        self._view("requests", f"FROM {parquet_rows([self._requests])}")
        if self.plan.schema is not None:
            left = f"FROM {answers.rows} WHERE left_text IS NOT NULL LIMIT 1"
            if self.database.execute(left).fetchone():
                judged = self.folder / "judged.parquet"
                _write_rows(self.database, judged_query(self.plan, self.plan.schema, answers.rows), judged)
                answers.files.append(judged)
        self._view_answers(answers)
        without_key = "FROM answers_by_key WHERE key_0 IS NULL"
        if self.database.execute(f"{without_key} LIMIT 1").fetchone():
            answers.files.append(self._write_found(without_key))
            self._view_answers(answers)

    @property
    def _requests(self) -> Path:
        return self.folder / "requests.parquet"

    def _view(self, name: str, query: str) -> None:
        self.database.execute(f"CREATE OR REPLACE TEMP VIEW {name} AS {query}")

    def _view_answers(self, answers: AnswerLines) -> None:
        # Those without an outcome have been judged, and are there once more.
        rows = f"(FROM {answers.rows} WHERE outcome IS NOT NULL)"
        self._view("answers_by_key", f"FROM {rows} JOIN sources USING (source)")
        query = "FROM answers_by_key"
        if self.plan.embeds and self.plan.dimensions is None:
            query = f"WITH {of_one_length('answers_by_key', DUCKDB)} FROM gemini_batch_alike"
        self._view("answers", query)
        beside = self.vectors.size if self.plan.embeds else 0
        ((self.row_bytes,),) = self.database.execute(
            f"SELECT (IFNULL(SUM(total_uncompressed_size), 0) + {beside}) "
            "// GREATEST((SELECT COUNT(*) FROM answers_by_key), 1) + 1 "
            f"FROM parquet_metadata([{', '.join(map(literal, answers.files))}])"
        ).fetchall()

    def _note_sources(self) -> list[Blob]:
        """Make the tables ``sources`` and ``last_jobs`` and return the files of answers."""
        sources: list[tuple[Any, ...]] = []
        jobs: list[tuple[Any, ...]] = []
        blobs: list[Blob] = []
        for index, manifest in enumerate(self.manifests):
            model = short_model_name(manifest.model)
            for number, round_ in enumerate(manifest.rounds):
                for blob in answer_files(round_, self.storage):
                    sources.append((len(blobs), index, number, model, round_.job_name, blob.time_created))
                    blobs.append(blob)
            last = len(manifest.rounds) - 1
            jobs.append((index, last, manifest.rounds[last].job_name, manifest.question))
        columns = "manifest INTEGER, round BIGINT"
        for table, definition, rows in (
            (
                "sources",
                f"source INTEGER, {columns}, model VARCHAR, job VARCHAR, written TIMESTAMPTZ",
                sources,
            ),
            ("last_jobs", f"{columns}, job VARCHAR, question VARCHAR", jobs),
        ):
            self.database.execute(f"CREATE TEMP TABLE {table} ({definition})")
            if rows:
                places = ", ".join("?" * len(rows[0]))
                self.database.executemany(f"INSERT INTO {table} VALUES ({places})", rows)
        return blobs

    def _write_answers(self, blobs: Sequence[Blob]) -> AnswerLines:
        form = line_form(self.plan, most_tokens(self.manifests[0].model))
        query = answers_query(self.plan, self.vector_type)
        write = self.vectors.write_rows if self.plan.embeds else _write_rows
        answers = AnswerLines(self.database, self.folder, query, form, write)
        for piece in self.storage.pieces(blobs, self.folder, form.is_odd, form.piece_size):
            answers.add(piece)
        if not answers.files:
            nothing = make_private(self.folder / "nothing-0.jsonl")
            answers.add(Piece((Part(0, nothing, None),), 0))
        self.unreadable_answers = answers.unreadable
        return answers

    def _write_requests(self) -> int:
        """Write the requests and return how many lines could not be read."""
        unreadable = 0
        with self._sorted_file(self._requests, ("label", "fingerprint")) as write:
            for index, manifest in enumerate(self.manifests):
                reader = self._reader(manifest)
                for blob in request_files(manifest, self.storage):
                    written = (blob.time_created - _EPOCH) // timedelta(microseconds=1)
                    # Neither lines nor rows are held while the next lines are fetched.
                    for found in map(reader.read, self.storage.chunks([blob])):
                        write(index, written, found.columns)
                        unreadable += found.unreadable
                        del found
                        if self._stopped:
                            return unreadable
        return unreadable

    def _write_found(self, without_key: str) -> Path:
        """Write the answers whose line does not tell a key with that of their request; NULL where there is none."""
        keys = key_names(self.plan)
        contents, found = self.folder / "contents.parquet", self.folder / "found.parquet"
        nameless = f"SELECT DISTINCT manifest FROM ({without_key}) WHERE label IS NULL"
        with self._sorted_file(contents, ("label", "digest", "bare_key")) as write:
            for (index,) in self.database.execute(nameless).fetchall():
                reader = self._reader(self.manifests[index])
                lines = self.storage.lines(request_files(self.manifests[index], self.storage))
                rows = filter(None, map(reader.content, lines))
                while some := list(islice(rows, _SORTED_ROWS)):
                    write(index, None, list(zip(*some, strict=True)))
        values = {
            name: f"COALESCE(named.{name}, alone.{name}, same.{name}) AS {name}" for name in ("label", *keys)
        }
        copy_rows(
            self.database,
            f"""SELECT nameless.* EXCLUDE (manifest, round, model, job, written)
  REPLACE ({", ".join(values.values())}, nameless.digest IS NOT NULL AND alone.label IS NULL AS by_content)
FROM {beside_requests(without_key, parquet_rows([contents]), ("label", *keys))}
LEFT JOIN requests AS named ON named.manifest = nameless.manifest AND named.label = nameless.label
ORDER BY {", ".join(keys)}""",
            found,
            _OPTIONS,
        )
        unknown = f"SELECT COUNT(*) FROM {parquet_rows([found])} WHERE key_0 IS NULL"
        ((self.unknown,),) = self.database.execute(unknown).fetchall()
        return found

    def _reader(self, manifest: Manifest) -> RequestReader:
        model = model_key(manifest.model, self.plan.model_parameters)
        return RequestReader(model, self.plan.key, self.plan.family)

    @contextmanager
    def _sorted_file(self, path: Path, names: Sequence[str]) -> Iterator[_WriteSome]:
        """Give what writes rows to a Parquet file, each time those that it is given in the order of their keys.

        :param names: of columns of text between ``manifest`` and ``written`` and those of the key.
        """
        import pyarrow as pa
        from pyarrow.parquet import ParquetWriter

        keys = key_names(self.plan)
        texts = [(name, pa.string()) for name in (*names, *keys)]
        schema = pa.schema([("manifest", pa.int32()), ("written", pa.timestamp("us", "UTC")), *texts])
        with ParquetWriter(make_private(path), schema, compression="lz4", use_dictionary=False) as writer:

            def write(manifest: int, written: int | None, columns: Sequence[Sequence[str | None]]) -> None:
                if columns:
                    given = zip((manifest, written), schema.types, strict=False)
                    same = [pa.repeat(pa.scalar(value, type_), len(columns[0])) for value, type_ in given]
                    arrays = [*same, *(pa.array(column, pa.string()) for column in columns)]
                    rows = pa.table(arrays, schema).sort_by([(name, "ascending") for name in keys])
                    writer.write_table(rows, row_group_size=_GROUP_ROWS)

            yield write


def _write_rows(database: DuckDBPyConnection, query: str, path: Path) -> None:
    copy_rows(database, query, path, _OPTIONS)


def request_files(manifest: Manifest, storage: StorageObjects) -> list[Blob]:
    """Return the files of all requests: those of the first round, of which later rounds repeat some.

    Raises :class:`~airflow_gemini_batch.exceptions.SourceNotReadyError` when one is gone.
    """
    sources = [_file_address(source) for round_ in manifest.rounds[:1] for source in round_.source]
    try:
        return list(storage.objects(sources))
    except SourceNotReadyError as error:
        raise SourceNotReadyError(
            f"the requests are gone, and with them the keys of the answers: {error}. Nothing was landed. Restore the "
            "file (soft delete keeps it for seven days, unless the bucket says otherwise), or run the build task alone "
            "again: the same rows make the same file"
        ) from error


def answer_files(round_: Round, storage: StorageObjects) -> list[Blob]:
    """Return the files with a round's answers; none for a round that ended without any.

    Raises :class:`~airflow_gemini_batch.exceptions.OutputNotReadyError` when there were answers and the files are gone.
    """
    if not round_.output:
        return []
    files = storage.prediction_files(_file_address(round_.output))
    if not files and round_.had_answers:
        raise OutputNotReadyError(
            f"the answers of the batch job {round_.job_name} are gone: {round_.output} holds no prediction files, and "
            "did when the job ended. Nothing was landed. Restore the files (soft delete keeps them for seven days, "
            "unless the bucket says otherwise), or set force_rerun=True on the submit task to pay for a new job"
        )
    return files


def _file_address(uri: str) -> GcsAddress:
    address = parse_address(uri)
    if not isinstance(address, GcsAddress):
        raise InvalidRequestError(
            f"{address} is a table, and answers in tables land in tables: give a bq:// target"
        )
    return address
