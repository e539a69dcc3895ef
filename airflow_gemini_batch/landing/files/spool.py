"""From the files of some manifests to rows on the worker's disk, in constant memory."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
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
from airflow_gemini_batch.jobs.manifest import Manifest, Round
from airflow_gemini_batch.landing.files.answers_sql import (
    answers_query,
    judged_query,
    key_names,
    line_form,
    vector_column,
)
from airflow_gemini_batch.landing.files.key_ranges import KeyRange
from airflow_gemini_batch.landing.files.keyed_rows import KeyedRows
from airflow_gemini_batch.landing.files.request_reader import RequestReader
from airflow_gemini_batch.landing.files.vectors import VectorFile
from airflow_gemini_batch.landing.plan import LandingPlan
from airflow_gemini_batch.outputs.line_sql import LineQuery
from airflow_gemini_batch.outputs.lines import AnswerLines
from airflow_gemini_batch.outputs.matching_sql import beside_requests
from airflow_gemini_batch.outputs.vectors_sql import of_one_length, usual_length
from airflow_gemini_batch.sql.dialect import DUCKDB
from airflow_gemini_batch.sql.engine import JSON_BYTES, arrow_rows, room_for

if TYPE_CHECKING:
    import pyarrow as pa
    from duckdb import DuckDBPyConnection
    from google.cloud.storage import Blob

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_AT_ONCE = 16_384


@dataclass(slots=True)
class Spool:
    """What the files of some manifests hold.

    It makes these tables and views of the database:

    - ``sources``: ``source``, ``manifest`` (its index, from 0), ``round``, ``model``, ``job`` and ``written`` (when the
      file was) of each file of answers.
    - ``last_jobs``: ``manifest``, the last ``round`` and ``job`` of each, and its ``question``.
    - ``all_requests``: ``manifest``, ``written``, ``label``, ``fingerprint``, ``key_0``, ``key_1``, …: see
      :class:`.RequestRows`.
    - ``requests`` and ``answers``: those of a range, see :meth:`load`. Answers have the columns of
      :func:`.answers_query` and of ``sources``, vectors by their places. Each belongs to a request.

    :param vector_type: as of :func:`.answers_query`.
    :param unreadable_requests: lines that could not be read.
    :param unreadable_answers: the same of answers.
    :param unknown: answers whose line does not tell a key, and that belong to no request.
    :param by_key: answers whose line tells a key, whether there is such a request or not.
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
    by_key: int = 0
    _requests: KeyedRows = field(init=False)
    _answers: KeyedRows = field(init=False)
    _left: KeyedRows = field(init=False)
    _nameless: KeyedRows = field(init=False)
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
        self._requests = self._request_rows("requests", "fingerprint")
        self._answers, self._left, self._nameless = (
            KeyedRows(self.folder / name, key_names(self.plan)) for name in ("answers", "left", "nameless")
        )
        # Python reads the requests while DuckDB reads the answers.
        with ThreadPoolExecutor(1, "requests") as background:
            reading = background.submit(self._write_requests)
            try:
                self._write_answers(blobs)
                self.unreadable_requests = reading.result()
            finally:
                self._stopped = True
        self._show("all_requests", self._requests)
        if self.plan.schema is not None and len(self._left):
            self._judge(self.plan.schema)
        if len(self._nameless):
            self._show("nameless_answers", self._nameless)
            self._find()
        self._show("all_answers", self._answers)
        query = "FROM loaded_answers JOIN sources USING (source)"
        if self.plan.embeds:
            usual = usual_length("all_answers")
            self.database.execute(f"CREATE TEMP TABLE usual_length AS {usual}")
            if self.plan.dimensions is None:
                alike = of_one_length("loaded_answers", "usual_length", DUCKDB)
                query = f"WITH {alike} FROM gemini_batch_alike JOIN sources USING (source)"
        self.load(KeyRange(("",), ("",)))
        self.database.execute(f"CREATE TEMP VIEW answers AS {query}")

    def load(self, keys: KeyRange) -> None:
        """Make ``requests`` and ``answers`` of the rows of a range, and some of those beside it."""
        self.database.register("requests", self._requests.read(keys))
        self.database.register("loaded_answers", self._answers.read(keys))

    @property
    def dimensions(self) -> int | None:
        """The length of the vectors that land; ``None`` if none does."""
        usual = self.database.execute("FROM usual_length").fetchone()
        return int(usual[0]) if usual else None

    @property
    def row_bytes(self) -> int:
        """What an answer takes in memory, more or less."""
        beside = self.vectors.size if self.plan.embeds else 0
        return (self._answers.size + beside) // (len(self._answers) or 1) + 1

    def _show(self, name: str, rows: KeyedRows) -> None:
        rows.close()
        self.database.register(name, rows.rows)

    def _keep(self, rows: pa.Table) -> None:
        """Take answers: those that have to be judged first, those whose line does not tell a key, and the others."""
        import pyarrow.compute as pc
        from pyarrow.types import is_list

        if self.plan.embeds and is_list(rows.schema.field(self.vectors.column).type):
            rows = self.vectors.take(rows)
        for column, others in (("outcome", self._left), ("key_0", self._nameless)):
            if rows[column].null_count:
                others.add(rows.filter(rows[column].is_null()))
                rows = rows.filter(rows[column].is_valid())
        self.by_key += pc.sum(pc.invert(rows["by_content"])).as_py() or 0
        self._answers.add(rows)

    def _judge(self, schema: Mapping[str, Any]) -> None:
        """Take the answers that have to be judged first."""
        query = judged_query(self.plan, schema, "left_answers")
        self._left.close()
        for rows in self._left.portions(JSON_BYTES):
            self.database.register("left_answers", rows)
            with room_for(self.database, rows.nbytes):
                self._keep_all(query)

    def _keep_all(self, query: str) -> None:
        """Take the answers of a query."""
        import pyarrow as pa

        for some in arrow_rows(self.database, query, _AT_ONCE):
            self._keep(pa.Table.from_batches([some]))

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

    def _write_answers(self, blobs: Sequence[Blob]) -> None:
        form = line_form(self.plan, most_tokens(self.manifests[0].model))
        query = LineQuery(form, answers_query(self.plan, self.vector_type))
        answers = AnswerLines(self.database, self.folder, query, self._keep)
        answers.add_all(self.storage.pieces(blobs, self.folder, form.is_odd))
        answers.end()
        self.unreadable_answers = answers.unreadable

    def _write_requests(self) -> int:
        """Write the requests and return how many lines could not be read."""
        unreadable = 0
        for index, manifest in enumerate(self.manifests):
            reader = self._reader(manifest)
            for blob in request_files(manifest, self.storage):
                written = (blob.time_created - _EPOCH) // timedelta(microseconds=1)
                # Neither lines nor rows are held while the next lines are fetched.
                for found in map(reader.read, self.storage.chunks([blob])):
                    _add_requests(self._requests, index, written, found.columns)
                    unreadable += found.unreadable
                    del found
                    if self._stopped:
                        return unreadable
        return unreadable

    def _find(self) -> None:
        """Find the requests of the answers whose line does not tell a key."""
        keys = key_names(self.plan)
        contents = self._request_rows("contents", "digest", "bare_key")
        without_key = "FROM nameless_answers JOIN sources USING (source)"
        nameless = f"SELECT DISTINCT manifest FROM ({without_key}) WHERE label IS NULL"
        for (index,) in self.database.execute(nameless).fetchall():
            reader = self._reader(self.manifests[index])
            lines = self.storage.lines(request_files(self.manifests[index], self.storage))
            rows = filter(None, map(reader.content, lines))
            while some := list(islice(rows, _AT_ONCE)):
                _add_requests(contents, index, None, list(zip(*some, strict=True)))
        self._show("contents", contents)
        values = {
            name: f"COALESCE(named.{name}, alone.{name}, same.{name}) AS {name}" for name in ("label", *keys)
        }
        found = f"""SELECT nameless.* EXCLUDE (manifest, round, model, job, written)
  REPLACE ({", ".join(values.values())}, nameless.digest IS NOT NULL AND alone.label IS NULL AS by_content)
FROM {beside_requests(without_key, "contents", ("label", *keys))}
LEFT JOIN all_requests AS named ON named.manifest = nameless.manifest AND named.label = nameless.label"""
        ((self.unknown,),) = self.database.execute(
            f"SELECT COUNT(*) FROM ({found}) WHERE key_0 IS NULL"
        ).fetchall()
        self._keep_all(f"FROM ({found}) WHERE key_0 IS NOT NULL")

    def _reader(self, manifest: Manifest) -> RequestReader:
        model = model_key(manifest.model, self.plan.model_parameters)
        return RequestReader(model, self.plan.key, self.plan.family)

    def _request_rows(self, name: str, *names: str) -> KeyedRows:
        """Return a place for rows of :func:`_add_requests`.

        :param names: of columns of text between ``label`` and those of the key.
        """
        import pyarrow as pa

        keys = key_names(self.plan)
        texts = [(column, pa.string()) for column in ("label", *names, *keys)]
        schema = pa.schema([("manifest", pa.int32()), ("written", pa.timestamp("us", "UTC")), *texts])
        return KeyedRows(self.folder / name, keys, schema)


def _add_requests(
    rows: KeyedRows, manifest: int, written: int | None, columns: Sequence[Iterable[str | None]]
) -> None:
    """Add requests of a manifest.

    :param written: when their file was, in microseconds since 1970.
    :param columns: the others.
    """
    import pyarrow as pa

    if columns:
        texts = [pa.array(column, pa.string()) for column in columns]
        given = ((manifest, pa.int32()), (written, pa.timestamp("us", "UTC")))
        same = [pa.repeat(pa.scalar(value, type_), len(texts[0])) for value, type_ in given]
        rows.add(pa.table([*same, *texts], rows.schema))


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
