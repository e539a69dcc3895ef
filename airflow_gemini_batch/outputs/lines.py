"""Lines of output files as rows of DuckDB.

DuckDB reads the lines that are JSON objects with a key that came back as it was sent, which nearly all are, and knows a
plain answer without searching for it. Of the others Python says which request they answer. What is not JSON to DuckDB,
Python writes again as JSON, or counts as unreadable.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from math import inf
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any, NamedTuple

import orjson

from airflow_gemini_batch.core.columns import TOKEN_COLUMNS
from airflow_gemini_batch.core.jsonl import tolerant_object
from airflow_gemini_batch.core.keys import KEY_AFTER, KEY_BEFORE
from airflow_gemini_batch.core.model_families import FAMILIES, GENERATE_CONTENT, ModelFamily
from airflow_gemini_batch.core.threads import in_two_threads
from airflow_gemini_batch.disk.private_folder import make_private
from airflow_gemini_batch.gcp.lines import iter_lines
from airflow_gemini_batch.gcp.pieces import LONG_LINE, PIECE, Piece, has_odd_text
from airflow_gemini_batch.outputs.classify_sql import json_text, read_answers
from airflow_gemini_batch.outputs.matching import answer_identity
from airflow_gemini_batch.sql.dialect import DUCKDB
from airflow_gemini_batch.sql.engine import (
    arrow_rows,
    connect,
    literal,
    parquet_rows,
    room_for,
)

if TYPE_CHECKING:
    import pyarrow as pa
    from duckdb import DuckDBPyConnection

_READ = ("key", "status", "error", "processed_time")
IDENTITY = "STRUCT(digest VARCHAR, bare_key VARCHAR)"
SENT = f"IFNULL(key LIKE '{KEY_BEFORE}%{KEY_AFTER}', FALSE)"

# What is read of a response. DuckDB gives NULL for what is of another type, and the text of what is to be a text.
_COUNTS = ", ".join(f"{name} BIGINT" for name in TOKEN_COLUMNS.values())
_FIELDS = f"""STRUCT(
  candidates STRUCT(
    content STRUCT(parts STRUCT(text VARCHAR, thought JSON)[]),
    finishReason VARCHAR,
    groundingMetadata STRUCT(webSearchQueries JSON[])
  )[],
  modelVersion VARCHAR,
  usageMetadata STRUCT({_COUNTS}, promptTokensDetails STRUCT(modality VARCHAR, tokenCount BIGINT)[])
)"""
_CANDIDATE = "fields.candidates[1]"
_PARTS = f"{_CANDIDATE}.content.parts"
_TEXT = f"""CASE
    WHEN {_CANDIDATE}.finishReason IS DISTINCT FROM 'STOP' THEN NULL
    WHEN len({_PARTS}) = 1 AND {_PARTS}[1].thought IS NULL THEN {_PARTS}[1].text
    ELSE array_to_string(
      list_transform(
        list_filter({_PARTS}, lambda part: IFNULL(part.thought::VARCHAR, '') NOT IN ('true', '"true"')),
        lambda part: part.text
      ), ''
    )
  END"""

# A row is plain if its key came back as it was sent, and it tells a failure in words, or its first candidate says a
# text and ended well, or it has one that ended otherwise.
FAILED = "IFNULL(status >= 'A' AND status < '[', FALSE)"  # It begins with a capital letter.
_ANSWERED = f"(plain_text > ' ' OR len(fields.candidates) = 1 AND {_CANDIDATE}.finishReason != 'STOP')"
_PLAIN = f"""(
    {SENT} AND error IS NULL AND ({FAILED} OR IFNULL(status, '') = '' AND IFNULL({_ANSWERED}, FALSE))
  )"""


def database_of_lines(folder: Path) -> DuckDBPyConnection:
    """Return a database that :class:`AnswerLines` can use; it spills to the folder."""
    database = connect(folder)
    database.create_function(
        "gemini_batch_identity", _identity, ["VARCHAR"] * 3, IDENTITY, null_handling="special"
    )
    return database


class LineForm(NamedTuple):
    """How the lines of a family of models are read.

    :param plain_rows: gives the query for the rows of some files, by declared types; those that are not plain have no
        ``label`` and no ``digest``.
    :param rewritten_rows: gives the WITH clauses for all rows of files that :class:`AnswerLines` has written, by the
        general rules; each has an ``identity``, of type :data:`IDENTITY`. The last one is ``gemini_batch_read``.
    :param other_rows: gives those for rows of files as they came: those that are not plain, or all. None if Python is
        to write them again.
    :param is_odd: see :class:`.Cutting`, like ``piece_size``.
    """

    family: ModelFamily
    plain_rows: Callable[[Sequence[Path]], str]
    rewritten_rows: Callable[[Sequence[Path]], str]
    other_rows: Callable[[Sequence[Path], bool], str] | None
    is_odd: Callable[[bytes], bool] = has_odd_text
    piece_size: int = PIECE


class LineQuery(NamedTuple):
    """What is read of lines.

    :param query: a query over ``gemini_batch_read``, which has ``source`` (see :class:`.Part`), ``label``, ``digest``
        and ``bare_key`` (see :class:`.AnswerIdentity`), ``processed_time`` as text, and what the form says: of
        generated content the columns of :func:`.read_answers`, and ``fields``, a struct of what else is read of a
        response. The query gives ``label`` and ``digest`` as well, and a row for each that it reads.
    """

    form: LineForm
    query: str

    def plain(self, paths: Sequence[Path]) -> str:
        """Return the statement for the rows of :attr:`LineForm.plain_rows`."""
        return self.over(f"gemini_batch_read AS (\n{self.form.plain_rows(paths)}\n)")

    def over(self, clauses: str) -> str:
        """Return the statement for rows of WITH clauses."""
        return f"WITH {clauses} {self.query}"


_NAMELESS = "label IS NULL AND digest IS NULL"
_SHOWN = 100
_AT_ONCE = 16_384
# What DuckDB's functions of JSON hold of some rows is many times as long.
_REWRITTEN = 2 * 1024 * 1024


@dataclass(slots=True)
class AnswerLines:
    """Output lines on their way into Parquet files; threads may add some at a time.

    :param database: of :func:`database_of_lines`.
    :param folder: takes the files.
    :param query: for the family whose lines they are.
    :param keep: takes rows, one thread at a time; by default they go into Parquet files in the folder.
    :param by_content: take no key for the identity of a request, so that each row has a digest.
    :param files: those Parquet files; all have the same columns.
    :param read: rows that were read.
    :param unreadable: lines that can't be read as JSON objects.
    :param broken: the beginning of one of those, the same one in each run.
    """

    database: DuckDBPyConnection
    folder: Path
    query: LineQuery
    keep: Callable[[pa.Table], None] | None = None
    by_content: bool = False
    files: list[Path] = field(default_factory=list)
    read: int = 0
    unreadable: int = 0
    broken: bytes = b""
    rewriting: Lock = field(default_factory=Lock, init=False)
    _keeping: Lock = field(default_factory=Lock, init=False)
    _has_columns: bool = field(default=False, init=False)

    def add(self, piece: Piece, query: LineQuery | None = None) -> int:
        """Read the lines of a piece, and return how many there are.

        :param query: where they are of another family; it has the same columns.
        """
        with self.database.cursor() as database:
            lines = _PieceLines(self, database, query or self.query, piece)
            lines.read()
        return lines.count

    def add_all(self, pieces: Iterator[Piece]) -> None:
        """Read the lines of pieces, two of them at a time."""

        def add(piece: Piece) -> None:
            with piece:
                self.add(piece)

        in_two_threads(add, pieces, "answers")

    def end(self) -> None:
        """Give columns to what was read if there were no lines."""
        if not self._has_columns:
            nothing = make_private(self.folder / "nothing-0.jsonl")
            self.keep_rows(self.database.sql(self.query.plain([nothing])).to_arrow_table())

    @property
    def rows(self) -> str:
        """The rows in Parquet files, as they stand behind FROM."""
        return parquet_rows(self.files)

    def keep_rows(self, rows: pa.Table) -> None:
        """Take rows that were read; without any, their columns."""
        with self._keeping:
            if len(rows) or not self._has_columns:
                (self.keep or self._write)(rows)
            self._has_columns = True
            self.read += len(rows)

    def _write(self, rows: pa.Table) -> None:
        from pyarrow.parquet import write_table

        # DuckDB's own writer takes several times as long.
        self.files.append(make_private(self.folder / f"answers-{len(self.files)}.parquet"))
        write_table(rows, self.files[-1], compression="lz4", use_dictionary=False)

    def count_unreadable(self, line: bytes) -> None:
        """Count a line that can't be read."""
        with self._keeping:
            self.unreadable += 1
            self.broken = min(self.broken or line[:_SHOWN], line[:_SHOWN])


@dataclass(slots=True)
class _PieceLines:
    """The lines of a piece on their way.

    :param database: of this thread alone.
    :param count: lines so far.
    """

    lines: AnswerLines
    database: DuckDBPyConnection
    query: LineQuery
    piece: Piece
    count: int = 0

    def read(self) -> None:
        """Read them."""
        piece, form = self.piece, self.query.form
        if self.lines.by_content:
            for part in piece.parts:
                for path in filter(None, (part.path, part.long_lines)):
                    self._rewrite(path, part.source)
            return
        others: float = inf
        if piece.is_usual:
            others = self._take(self.query.plain(piece.paths))
        before = self.count
        if others and form.other_rows:
            self._take(self.query.over(form.other_rows(piece.paths, piece.is_usual)))
        told = self.count - before
        for part in piece.parts:
            if told < others:
                self._rewrite(part.path, part.source, self._left(part.path))
            if part.long_lines:
                self._rewrite(part.long_lines, part.source)

    def _take(self, statement: str) -> int:
        """Read rows, keep those that have a label or a digest, and return how many have none."""
        import pyarrow as pa
        import pyarrow.compute as pc

        others = 0
        reader = arrow_rows(self.database, statement, _AT_ONCE)
        self.lines.keep_rows(reader.schema.empty_table())
        for some in reader:
            rows = pa.Table.from_batches([some])
            if rows["label"].null_count:
                rows = rows.filter(pc.or_(rows["label"].is_valid(), rows["digest"].is_valid()))
            self.count += len(rows)
            others += len(some) - len(rows)
            self.lines.keep_rows(rows)
        return others

    def _left(self, path: Path) -> Container[int] | None:
        """Return the numbers, from 1, of the lines of a file that are left to Python; ``None`` for all of them."""
        form = self.query.form
        if form.other_rows:
            columns = dict.fromkeys((*_READ, form.family.answer_column, form.family.asked), "JSON")
            lines, left = read_json([path], columns), " AND ".join(f"{name} IS NULL" for name in columns)
        elif self.piece.is_usual:
            lines, left = f"({form.plain_rows([path])})", _NAMELESS
        else:
            return None
        numbered = f"SELECT *, row_number() OVER () AS number FROM {lines}"
        found = self.database.execute(f"SELECT number FROM ({numbered}) WHERE {left}").fetchall()
        return {number for (number,) in found}

    def _rewrite(self, lines: Path, source: int, numbers: Container[int] | None = None) -> None:
        """Read lines in Python: all of them, or those with these numbers."""
        # One thread at a time, since this takes memory.
        with lines.open("rb") as stream, self.lines.rewriting:
            rows = (
                self._rewritten(line)
                for number, line in enumerate(iter_lines(stream), 1)
                if numbers is None or number in numbers
            )
            for some in _portions(filter(None, rows), _REWRITTEN):
                rewritten = make_private(self.lines.folder / f"rewritten-{source}.jsonl")
                rewritten.write_bytes(b"".join(some))
                with room_for(self.database, max(map(len, some))):
                    self._take(self.query.over(self.query.form.rewritten_rows([rewritten])))
                rewritten.unlink()

    def _rewritten(self, line: bytes) -> bytes | None:
        row = tolerant_object(line)
        if row is None:
            self.count += 1
            self.lines.count_unreadable(line)
            return None
        if self.lines.by_content:
            row["key"] = None
        # What is large is in the request or in media, of which no rule asks for the content.
        family = self.query.form.family
        _, digest, bare_key = answer_identity(row, family)
        kept = {name: row.get(name) for name in (*_READ, family.answer_column)}
        identity = {"digest": digest, "bare_key": bare_key}
        return orjson.dumps({**_without_media(kept), "identity": identity}, option=orjson.OPT_APPEND_NEWLINE)


def _portions(rows: Iterable[bytes], size: int) -> Iterator[list[bytes]]:
    """Yield some rows at a time: as many as reach a size, in bytes."""
    some: list[bytes] = []
    left = size
    for row in rows:
        some.append(row)
        left -= len(row)
        if left <= 0:
            yield some
            some, left = [], size
    if some:
        yield some


def read_json(paths: Sequence[Path], columns: Mapping[str, str], longest: int = 2 * LONG_LINE) -> str:
    """Return the rows of files of :class:`.Part` as they stand behind FROM; a line that can't be read has NULLs only.

    :param columns: types by name, besides ``source``. What is of another type is NULL.
    :param longest: bytes of a line.
    """
    typed = ", ".join(f"{name}: '{type_}'" for name, type_ in columns.items())
    return f"""(
    SELECT * REPLACE (CAST(regexp_extract(source, '-([0-9]+)[.]jsonl$', 1) AS INTEGER) AS source)
    FROM read_json(
      [{", ".join(map(literal, paths))}], format = 'newline_delimited', records = true, ignore_errors = true,
      maximum_object_size = {longest}, filename = 'source', columns = {{{typed}}}
    )
  )"""


def _plain_rows(paths: Sequence[Path]) -> str:
    """Return the query for the rows of files, with the columns of :func:`.read_answers`.

    Those that are not plain have no label.
    """
    columns = dict.fromkeys(_READ, "VARCHAR")
    return f"""SELECT
  source,
  IF({_PLAIN}, key, NULL) AS label,
  NULL::VARCHAR AS digest,
  NULL::VARCHAR AS bare_key,
  processed_time,
  fields,
  NULL::JSON AS response,
  {_CANDIDATE} AS candidate,
  {_CANDIDATE}.finishReason AS finish_reason,
  IFNULL(plain_text, '') AS answer_text,
  NULL::VARCHAR AS other_part,
  NULL::VARCHAR AS block_reason,
  IF({FAILED}, {DUCKDB.trimmed("status")}, '') AS status_text
FROM (
  SELECT *, {_TEXT} AS plain_text
  FROM (SELECT * RENAME (response AS fields) FROM {read_json(paths, {**columns, "response": _FIELDS})})
)"""


def _other_rows(paths: Sequence[Path], is_usual: bool) -> str:
    """Return the WITH clauses for rows of which DuckDB and Python tell together what they answer."""
    return _told(f"""SELECT *, {identity(GENERATE_CONTENT)} AS identity
  FROM (
    SELECT *, {_PLAIN} AS is_plain
    FROM (SELECT *, {_TEXT} AS plain_text FROM {json_lines(paths, GENERATE_CONTENT, _FIELDS)})
  )
  WHERE {"NOT is_plain" if is_usual else "TRUE"}""")


def _rewritten_rows(paths: Sequence[Path]) -> str:
    return _told(f"FROM {json_lines(paths, GENERATE_CONTENT, _FIELDS, rewritten=True)}")


def _told(rows: str) -> str:
    kept = f"{identified(GENERATE_CONTENT)}, TRY_CAST(answer AS {_FIELDS}) AS fields"
    return f"""gemini_batch_lines AS (
  {rows}
), {read_answers(kept, "gemini_batch_lines", RAW_STATUS, "answer", RAW_ERROR, DUCKDB)}, gemini_batch_read AS (
  FROM gemini_batch_told
)"""


GENERATED = LineForm(GENERATE_CONTENT, _plain_rows, _rewritten_rows, _other_rows)


def json_lines(paths: Sequence[Path], family: ModelFamily, fields: str, *, rewritten: bool = False) -> str:
    """Return the rows of files, as they stand behind FROM, for :func:`identity` and :func:`identified`.

    ``answer`` is JSON, decoded where it came as text, and ``fields`` what is read of it; for ``status`` and ``error``,
    as text, see :data:`RAW_STATUS` and :data:`RAW_ERROR`.

    :param fields: the type of that.
    :param rewritten: whether :class:`AnswerLines` has written the file, so that each row has an ``identity``.
    """
    answer = family.answer_column
    beside = (
        ("identity", IDENTITY, "identity")
        if rewritten
        else (family.asked, "JSON", f"{family.asked} AS asked")
    )
    columns = {**dict.fromkeys((*_READ, answer), "JSON"), beside[0]: beside[1]}
    absent = " AND ".join(f"{name} IS NULL" for name in columns)
    # DuckDB takes memory for some of the longest.
    longest = max(path.stat().st_size for path in paths) if rewritten else 2 * LONG_LINE
    return f"""(
    SELECT
      source,
      json_extract_string(key, '$') AS key,
      json_extract_string(status, '$') AS status,
      json_extract_string(error, '$') AS error,
      IF(json_type(processed_time) = 'VARCHAR', json_extract_string(processed_time, '$'), NULL) AS processed_time,
      TRY_CAST({answer} AS {fields}) AS fields,
      TRY_CAST(json_extract_string({answer}, '$') AS JSON) AS answer,
      key AS raw_key,
      status AS raw_status,
      error AS raw_error,
      {beside[2]}
    FROM {read_json(paths, columns, longest)}
    WHERE NOT ({absent})
  )"""


def _raw_text(column: str) -> str:
    return f"NULLIF({json_text(column, sql=DUCKDB)}, 'null')"


RAW_STATUS, RAW_ERROR = f"IFNULL({_raw_text('raw_status')}, '')", _raw_text("raw_error")


def identity(family: ModelFamily) -> str:
    """Return the expression for what identifies the request of a line, unless its key came back as it was sent."""
    unknown = f"NOT {SENT}" if family.returns_keys else "TRUE"
    return f"CASE WHEN {unknown} THEN gemini_batch_identity('{family}', raw_key, asked) END"


def identified(family: ModelFamily) -> str:
    """Return the items of a SELECT for the columns that rows of all families have."""
    label = f"IF({SENT}, key, NULL)" if family.returns_keys else "identity.digest"
    return (
        f"source, {label} AS label, identity.digest AS digest, identity.bare_key AS bare_key, processed_time"
    )


def _identity(family: str, key: str | None, asked: str | None) -> dict[str, str | None]:
    """Return what identifies the request of a line whose key did not come back as it was sent."""
    kind = FAMILIES[family]
    # DuckDB takes NaN, and commas at the end, for JSON.
    line = f'{{"key":{key or "null"},"{kind.asked}":{asked or "null"}}}'
    _, digest, bare_key = answer_identity(tolerant_object(line.encode()) or {}, kind)
    return {"digest": digest, "bare_key": bare_key}


def _without_media(value: Any) -> Any:
    if isinstance(value, dict):
        return {
            name: None if name == "data" and isinstance(inner, str) else _without_media(inner)
            for name, inner in value.items()
        }
    return list(map(_without_media, value)) if isinstance(value, list) else value
