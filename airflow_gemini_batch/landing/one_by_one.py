"""The answers of a manifest, one by one, read by DuckDB as they come."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import orjson

from airflow_gemini_batch.core.addresses import BigQueryAddress
from airflow_gemini_batch.core.jsonl import tolerant_object
from airflow_gemini_batch.core.keys import KEY_AFTER, KEY_BEFORE, key_text, sent_key, text_of_key
from airflow_gemini_batch.core.log import ShownLog
from airflow_gemini_batch.disk.private_folder import private_folder
from airflow_gemini_batch.exceptions import InvalidRequestError, OutputNotReadyError
from airflow_gemini_batch.gcp.pieces import Piece, pieces
from airflow_gemini_batch.jobs.manifest import Manifest, Round
from airflow_gemini_batch.landing.files.spool import answer_files, request_files
from airflow_gemini_batch.landing.schema_check_sql import mismatch_expression, parsed_answer
from airflow_gemini_batch.outputs.classify import ERROR_COLUMN, Outcome
from airflow_gemini_batch.outputs.classify_sql import SAMPLE_LENGTH, failure_message, outcome_case
from airflow_gemini_batch.outputs.lines import GENERATED, AnswerLines, database_of_lines, numbered_lines
from airflow_gemini_batch.outputs.matching import line_identity, request_digest
from airflow_gemini_batch.outputs.matching_sql import best_first
from airflow_gemini_batch.outputs.store import DataStore
from airflow_gemini_batch.requests.spec import RESERVED_COLUMNS
from airflow_gemini_batch.sql.dialect import DUCKDB, Literals
from airflow_gemini_batch.sql.engine import arrow_batches

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

_log = ShownLog(logging.getLogger(__name__))

# The first answers come as soon as so many bytes are there.
_PIECE = 8 * 1024 * 1024
_BATCH = 1000


class Answer(NamedTuple):
    """What came back for one request.

    :param value: the JSON of the answer as text, if there is a schema that it fits.
    :param response: the row's ``response``; empty when there is none.
    """

    key: str
    outcome: Outcome
    text: str
    value: str | None
    message: str
    response: Mapping[str, Any]


def iter_answers(
    manifest: Manifest, store: DataStore, schema: Mapping[str, Any] | None = None
) -> Iterator[Answer]:
    """Yield one answer for each key that came back, as :func:`.best_first` says, in no order.

    Of two good answers within a job the first one is taken. Which requests have their answer is kept on disk: those of
    follow-up rounds, which are small, and those of the first round if rows of it came twice or without their key.

    :param schema: as :func:`airflow_gemini_batch.core.response_schema.response_schema_of` gives it; what does not fit
        is ``invalid``.
    """
    with private_folder("responses") as folder, database_of_lines(folder) as database:
        reader = _Reader(manifest, store, database, folder, _query(schema))
        for number in reversed(range(len(manifest.rounds))):
            yield from reader.answers(number)
        yield from reader.failures()


def _query(schema: Mapping[str, Any] | None) -> str:
    """Return the query over output lines: see :class:`.AnswerLines`."""
    failure = f"SUBSTR(COALESCE(NULLIF(status_text, ''), {failure_message(DUCKDB)}), 1, {SAMPLE_LENGTH})"
    answer, mismatch = "NULL", "NULL"
    if schema:
        answer = parsed_answer("answer_text", DUCKDB)
        mismatch = mismatch_expression(schema, "answer_text", "answer", Literals(), DUCKDB)
    return f"""SELECT
  source, number, label, digest, bare_key,
  IF(mismatch IS NULL, outcome, '{Outcome.INVALID}') AS outcome,
  answer_text AS text,
  IF(mismatch IS NULL, answer, NULL)::VARCHAR AS value,
  IF(outcome = '{Outcome.OK}', IFNULL(mismatch, ''), {failure}) AS message,
  TRY_CAST(processed_time AS TIMESTAMPTZ) AS time
FROM (
  SELECT *, IF(outcome = '{Outcome.OK}', {mismatch}, NULL) AS mismatch
  FROM (
    SELECT *, IF(outcome = '{Outcome.OK}', {answer}, NULL) AS answer
    FROM (SELECT *, {outcome_case(DUCKDB)} AS outcome FROM gemini_batch_read)
  )
)"""


class _Row(NamedTuple):
    """A line, as the query sees it.

    :param number: as of :func:`.numbered_lines`.
    :param time: when the answer came, as DuckDB writes it.
    :param failed_later: whether a later round holds a failure of the same request.
    """

    number: int
    key: str
    outcome: str
    text: str
    value: str | None
    message: str
    time: str | None
    failed_later: bool


class _Reader:
    """Reads rounds, the last one first."""

    def __init__(
        self,
        manifest: Manifest,
        store: DataStore,
        database: DuckDBPyConnection,
        folder: Path,
        query: str,
    ) -> None:
        self._manifest = manifest
        self._store = store
        self._database = database
        self._folder = folder
        self._query = query
        self._has_keys = False
        database.execute("CREATE TEMP TABLE answered (key VARCHAR)")
        database.execute(
            "CREATE TEMP TABLE failed (key VARCHAR, outcome VARCHAR, text VARCHAR, message VARCHAR, "
            "response VARCHAR, round BIGINT, time VARCHAR)"
        )
        database.execute("CREATE TEMP TABLE asked (key VARCHAR, bare_key VARCHAR, digest VARCHAR)")

    def answers(self, number: int) -> Iterator[Answer]:
        """Yield the answers of a round, but for failures that :meth:`failures` is to choose from."""
        round_ = self._manifest.rounds[number]
        remembers = number > 0 or round_.surplus.get("duplicate", 0) > 0
        unreadable = 0
        for piece in self._pieces(round_):
            lines = AnswerLines(self._database, self._folder, self._query, GENERATED)
            lines.add(piece)
            unreadable += lines.unreadable
            yield from self._of_piece(piece, lines.rows, number, remembers=remembers)
        if unreadable:
            _log.warning("%d lines of the answers are not JSON objects and are left out", unreadable)

    def failures(self) -> Iterator[Answer]:
        """Yield the failures of requests without a good answer in any round."""
        order = best_first("outcome", round_="round", time="TRY_CAST(time AS TIMESTAMPTZ)")
        query = f"""SELECT key, outcome, text, message, response FROM failed ANTI JOIN answered USING (key)
QUALIFY ROW_NUMBER() OVER (PARTITION BY key ORDER BY {order}) = 1"""
        for batch in arrow_batches(self._database, query, _BATCH):
            for row in batch.to_pylist():
                response = orjson.loads(row["response"])
                yield Answer(row["key"], Outcome(row["outcome"]), row["text"], None, row["message"], response)

    def _of_piece(self, piece: Piece, rows: str, round_: int, *, remembers: bool) -> Iterator[Answer]:
        nameless = self._database.execute(f"FROM {rows} WHERE label IS NULL LIMIT 1").fetchall()
        remembers = remembers or bool(nameless)
        by_number: dict[int, list[_Row]] = defaultdict(list)
        for row in map(
            _Row._make, self._database.execute(self._open_rows(rows, keyed=not nameless)).fetchall()
        ):
            by_number[row.number].append(row)
        answered: dict[str, None] = {}
        failed = []
        for part in piece.parts:
            for number, line in numbered_lines(part):
                for row in by_number.pop(number, ()):
                    if row.key in answered:
                        continue
                    response = _response(line)
                    answer = Answer(row.key, Outcome(row.outcome), row.text, row.value, row.message, response)
                    if answer.outcome.answered:
                        if remembers or row.failed_later:
                            answered[row.key] = None
                        yield answer
                    elif remembers:
                        kept = {
                            name: getattr(row, name) for name in ("key", "outcome", "text", "message", "time")
                        }
                        failed.append({**kept, "response": orjson.dumps(response).decode(), "round": round_})
                    elif not row.failed_later:
                        yield answer
        self._insert("answered", [{"key": key} for key in answered])
        self._insert("failed", failed)

    def _open_rows(self, rows: str, *, keyed: bool) -> str:
        """Return the query for the rows of requests without a good answer in a later round."""
        sent = f"SUBSTR(label, {len(KEY_BEFORE) + 1}, LENGTH(label) - {len(KEY_BEFORE + KEY_AFTER)})"
        found = f"SELECT {sent} AS key, * FROM {rows}"
        if not keyed:
            # Without a key, or with one that several requests may have had, the content decides: an answer belongs to
            # all requests of the same.
            self._load_keys()
            found = f"""SELECT COALESCE({sent}, alone.key, same.key) AS key, came.*
FROM {rows} AS came
LEFT JOIN (
  SELECT bare_key, ANY_VALUE(key) AS key FROM asked GROUP BY bare_key HAVING COUNT(*) = 1
) AS alone ON came.label IS NULL AND came.bare_key = alone.bare_key
LEFT JOIN asked AS same ON came.label IS NULL AND alone.key IS NULL AND came.digest = same.digest"""
        return f"""SELECT
  number, key, outcome, text, value, message, time::VARCHAR, key IN (SELECT key FROM failed) AS failed_later
FROM ({found}) ANTI JOIN answered USING (key)
WHERE key IS NOT NULL"""

    def _load_keys(self) -> None:
        """Read what identifies the requests, when the first answer comes that needs it."""
        if self._has_keys:
            return
        self._has_keys = True
        storage = self._store.files
        rows = []
        for line in storage.lines(request_files(self._manifest, storage)):
            if request := tolerant_object(line):
                rows.append(_asked(request))
            if len(rows) >= _BATCH:
                self._insert("asked", rows)
                rows = []
        self._insert("asked", rows)

    def _insert(self, table: str, rows: list[dict[str, Any]]) -> None:
        if rows:
            import pyarrow as pa

            self._database.register("new_rows", pa.Table.from_pylist(rows))
            self._database.execute(f"INSERT INTO {table} BY NAME FROM new_rows")
            self._database.unregister("new_rows")

    def _pieces(self, round_: Round) -> Iterator[Piece]:
        if round_.output.startswith("bq://"):
            lines = self._lines_of_table(round_)
            for piece in pieces([_Lines(lines)], self._folder, GENERATED.is_odd, _PIECE):
                yield piece
                piece.remove()
        else:
            storage = self._store.files
            # Each file by itself, so that its lines have numbers of their own.
            for blob in answer_files(round_, storage):
                yield from storage.pieces([blob], self._folder, GENERATED.is_odd, _PIECE)

    def _lines_of_table(self, round_: Round) -> Iterator[bytes]:
        """Yield the rows of a round's table as lines of output files; the key is what passes through it."""
        tables = self._store.tables
        table = tables.find(BigQueryAddress.parse(round_.output))
        if table is None:
            if round_.had_answers:
                raise OutputNotReadyError(
                    f"the answers of the batch job {round_.job_name} are gone: there is no table {round_.output}. "
                    "BigQuery restores a table for seven days (bq cp DATASET.TABLE@MILLISECONDS)"
                )
            return
        names = [field.name for field in table.schema if field.name.lower() not in RESERVED_COLUMNS]
        told = ERROR_COLUMN in names and ERROR_COLUMN not in self._sent_columns(round_)
        if told:
            names.remove(ERROR_COLUMN)
        if not names:
            raise InvalidRequestError(f"{round_.output} has no column that could be the key of its answers")
        for row in tables.rows(table):
            line = {name: row[name] for name in ("status", "response")}
            line["key"] = sent_key(key_text([row[name] for name in names]))
            line["error"] = row[ERROR_COLUMN] if told else None
            line["processed_time"] = str(row.get("processed_time"))
            yield orjson.dumps(line, default=str, option=orjson.OPT_APPEND_NEWLINE)

    def _sent_columns(self, round_: Round) -> set[str]:
        sources = map(self._store.tables.find, map(BigQueryAddress.parse, round_.source))
        return {field.name for source in sources if source for field in source.schema}


def _response(line: bytes) -> Mapping[str, Any]:
    response = (tolerant_object(line) or {}).get("response")
    if isinstance(response, str):
        response = tolerant_object(response.encode())
    return response if isinstance(response, dict) else {}


def _asked(request: Mapping[str, Any]) -> dict[str, str | None]:
    """Return the key of a request, and what comes back of it."""
    if (sent := request.get("key")) is None:
        raise InvalidRequestError(
            'the answers have no key, and neither have the requests: give each line a "key" beside its "request"'
        )
    key = text_of_key(sent)
    digest = request_digest(request.get("request")).hex()
    return {"key": key, "bare_key": line_identity({**request, "key": key}), "digest": digest}


class _Lines:
    """Lines as a stream."""

    def __init__(self, lines: Iterable[bytes]) -> None:
        self._lines = iter(lines)

    def read(self, size: int = -1, /) -> bytes:
        """Return lines of up to ``size`` bytes, and a line more at most; none at the end."""
        some, left = [], size
        while left > 0 and (line := next(self._lines, b"")):
            some.append(line)
            left -= len(line)
        return b"".join(some)

    def close(self) -> None:
        """Hold nothing that would have to be given up."""
