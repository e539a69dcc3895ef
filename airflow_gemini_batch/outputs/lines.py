"""Lines of output files as rows of DuckDB.

DuckDB reads the lines that are JSON objects with a key that came back as it was sent, which nearly all are, and knows a
plain answer without searching for it. Of the others Python says which request they answer. What is not JSON to DuckDB,
Python mends or counts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import orjson

from airflow_gemini_batch.core.columns import TOKEN_COLUMNS
from airflow_gemini_batch.core.defaults import LONGEST_ROW
from airflow_gemini_batch.core.jsonl import tolerant_object
from airflow_gemini_batch.core.keys import KEY_AFTER, KEY_BEFORE
from airflow_gemini_batch.core.model_families import FAMILIES, GENERATE_CONTENT, ModelFamily
from airflow_gemini_batch.disk.private_folder import make_private
from airflow_gemini_batch.gcp.lines import iter_lines
from airflow_gemini_batch.gcp.pieces import LONG_LINE, Piece, has_odd_text
from airflow_gemini_batch.outputs.classify_sql import json_text, read_answers
from airflow_gemini_batch.outputs.matching import answer_identity
from airflow_gemini_batch.sql.dialect import DUCKDB
from airflow_gemini_batch.sql.engine import (
    PARQUET_OPTIONS,
    connect,
    copy_rows,
    literal,
    parquet_rows,
    room_for,
)

if TYPE_CHECKING:
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
      list_transform(list_filter({_PARTS}, lambda part: part.thought IS NULL), lambda part: part.text), ''
    )
  END"""

# A row is plain if its key came back as it was sent, and it tells a failure in words, or its first candidate says a
# text and ended well, or it has one that ended otherwise.
FAILED = "IFNULL(regexp_matches(status, '^[A-Z]'), FALSE)"
_ANSWERED = f"(plain_text > ' ' OR len(fields.candidates) = 1 AND {_CANDIDATE}.finishReason != 'STOP')"
_PLAIN = f"""(
    {SENT} AND error IS NULL AND ({FAILED} OR IFNULL(status, '') = '' AND IFNULL({_ANSWERED}, FALSE))
  )"""


def database_of_lines(folder: Path, threads: int = 1) -> DuckDBPyConnection:
    """Return a database that :class:`AnswerLines` can use; it spills to the folder."""
    database = connect(folder, threads)
    database.create_function(
        "gemini_batch_identity", _identity, ["VARCHAR"] * 3, IDENTITY, null_handling="special"
    )
    return database


class LineForm(NamedTuple):
    """How the lines of a family of models are read.

    :param plain_rows: gives the query for the rows of files with lines of so many bytes at most, by declared types; those that are not plain have no
        ``label`` and no ``digest``.
    :param other_rows: gives the WITH clauses for rows of files by the general rules: those that are not plain, or all.
        The last one is ``gemini_batch_read``, as of the others.
    :param mended_rows: gives those for all rows of a file that :class:`AnswerLines` has written; each has an ``identity``, of type :data:`IDENTITY`.
    :param is_odd: whether some lines may hold what their declared types don't tell: see :func:`.pieces`.
    """

    family: ModelFamily
    plain_rows: Callable[[Sequence[Path], int], str]
    other_rows: Callable[[Sequence[Path], int, bool], str]
    mended_rows: Callable[[Path, int], str]
    is_odd: Callable[[bytes], bool]


def write_lines(database: DuckDBPyConnection, query: str, path: Path) -> None:
    """Write the rows of a query to a Parquet file."""
    copy_rows(database, query, path, f"{PARQUET_OPTIONS}, COMPRESSION lz4")


@dataclass(slots=True)
class AnswerLines:
    """Output lines on their way into Parquet files.

    :param database: of :func:`database_of_lines`.
    :param folder: takes the files.
    :param query: a query over ``gemini_batch_read``, which has ``source`` (see :class:`.Part`), ``label``, ``digest``
        and ``bare_key`` (see :class:`.AnswerIdentity`), ``processed_time`` as text, and what the form says: of generated content the columns
        of :func:`.read_answers`, and ``fields``, a struct of what else is read of a response. The query gives ``label``
        and ``digest`` as well.
    :param form: of the family whose lines they are.
    :param write: writes the rows of a query to a Parquet file.
    :param files: written so far; all have the same columns.
    :param unreadable: lines that are no JSON objects.
    """

    database: DuckDBPyConnection
    folder: Path
    query: str
    form: LineForm
    write: Callable[[DuckDBPyConnection, str, Path], None] = write_lines
    files: list[Path] = field(default_factory=list)
    unreadable: int = 0

    def add(self, piece: Piece) -> None:
        """Read the lines of a piece."""
        self._add(piece.paths, piece.is_usual, LONG_LINE)
        for part in piece.parts:
            if part.long_lines:
                with room_for(self.database, part.longest):
                    self._add([part.long_lines], piece.is_usual, part.longest)

    def _add(self, paths: Sequence[Path], is_usual: bool, longest: int) -> None:
        others = True
        if is_usual:
            path = self._write(f"gemini_batch_read AS (\n{self.form.plain_rows(paths, longest)}\n)")
            odd = "label IS NULL AND digest IS NULL"
            count = f"SELECT COUNT(*) FILTER ({odd}) FROM {parquet_rows([path])}"
            ((others,),) = self.database.execute(count).fetchall()
        if others:
            self._write(self.form.other_rows(paths, longest, is_usual))
            for path in paths:
                self._mend(path)

    @property
    def rows(self) -> str:
        """What was read, as it stands behind FROM."""
        return f"(FROM {parquet_rows(self.files)} WHERE label IS NOT NULL OR digest IS NOT NULL)"

    def _write(self, clauses: str) -> Path:
        path = self.folder / f"answers-{len(self.files)}.parquet"
        self.write(self.database, f"WITH {clauses} {self.query}", path)
        self.files.append(path)
        return path

    def _mend(self, lines: Path) -> None:
        """Read the lines of a file that DuckDB can't."""
        mended = make_private(lines.with_stem(f"mended-{lines.stem}"))
        longest = 0
        with lines.open("rb") as stream, mended.open("wb") as target:
            for row in self._mended_rows(iter_lines(stream)):
                longest = max(longest, target.write(orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE)))
        if longest:
            with room_for(self.database, longest):
                self._write(self.form.mended_rows(mended, longest))
        mended.unlink()

    def _mended_rows(self, lines: Iterable[bytes]) -> Iterator[dict[str, Any]]:
        for line in lines:
            if self._is_read(line):
                continue
            row = tolerant_object(line)
            if row is None:
                self.unreadable += 1
                continue
            # What is large is in the request or in media, of which no rule asks for the content.
            _, digest, bare_key = answer_identity(row, self.form.family)
            kept = {name: row.get(name) for name in (*_READ, self.form.family.answer_column)}
            yield {**_without_media(kept), "identity": {"digest": digest, "bare_key": bare_key}}

    def _is_read(self, line: bytes) -> bool:
        """Return whether DuckDB finds something in a line: in some that are not JSON, as with NaN, it does."""
        family = self.form.family
        try:
            row = orjson.loads(line)
        except orjson.JSONDecodeError:
            pass
        else:
            read = (*_READ, family.answer_column, family.asked)
            return isinstance(row, dict) and any(row.get(name) is not None for name in read)
        try:
            text = line.decode()
        except UnicodeDecodeError:
            return False
        ((kind,),) = self.database.execute("SELECT json_type(TRY_CAST(? AS JSON))", [text]).fetchall()
        return bool(kind == "OBJECT")


_LINE_END = 2


def read_json(paths: Sequence[Path], columns: Mapping[str, str], longest: int) -> str:
    """Return the rows of files of :class:`.Part` as they stand behind FROM; a line that can't be read has NULLs only.

    :param columns: types by name, besides ``source``. What is of another type is NULL.
    :param longest: bytes of a line.
    """
    typed = ", ".join(f"{name}: '{type_}'" for name, type_ in columns.items())
    return f"""(
    SELECT * REPLACE (CAST(regexp_extract(source, '-([0-9]+)[.]jsonl$', 1) AS INTEGER) AS source)
    FROM read_json(
      [{', '.join(map(literal, paths))}], format = 'newline_delimited', ignore_errors = true,
      maximum_object_size = {longest + _LINE_END}, filename = 'source', columns = {{{typed}}}
    )
  )"""


def _plain_rows(paths: Sequence[Path], longest: int) -> str:
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
  FROM (SELECT * RENAME (response AS fields) FROM {read_json(paths, {**columns, "response": _FIELDS}, longest)})
)"""


def _other_rows(paths: Sequence[Path], longest: int, is_usual: bool) -> str:
    """Return the WITH clauses for rows of which DuckDB and Python tell together what they answer."""
    return _told(f"""SELECT *, {identity(GENERATE_CONTENT)} AS identity
  FROM (
    SELECT *, {_PLAIN} AS is_plain
    FROM (SELECT *, {_TEXT} AS plain_text FROM {json_lines(paths, longest, GENERATE_CONTENT, _FIELDS)})
  )
  WHERE {"NOT is_plain" if is_usual else "TRUE"}""")


def _mended_rows(path: Path, longest: int) -> str:
    return _told(f"FROM {json_lines([path], longest, GENERATE_CONTENT, _FIELDS, mended=True)}")


def _told(rows: str) -> str:
    kept = f"{identified(GENERATE_CONTENT)}, TRY_CAST(answer AS {_FIELDS}) AS fields"
    return f"""gemini_batch_lines AS (
  {rows}
), {read_answers(kept, "gemini_batch_lines", RAW_STATUS, "answer", RAW_ERROR, DUCKDB)}, gemini_batch_read AS (
  FROM gemini_batch_told
)"""


GENERATED = LineForm(GENERATE_CONTENT, _plain_rows, _other_rows, _mended_rows, has_odd_text)


def json_lines(
    paths: Sequence[Path], longest: int, family: ModelFamily, fields: str, *, mended: bool = False
) -> str:
    """Return the rows of files, as they stand behind FROM, for :func:`identity` and :func:`identified`.

    ``answer`` is JSON, decoded where it came as text, and ``fields`` what is read of it; for ``status`` and ``error``,
    as text, see :data:`RAW_STATUS` and :data:`RAW_ERROR`.

    :param longest: bytes of a line.
    :param fields: the type of what is read.
    :param mended: whether :class:`AnswerLines` has written the file, so that each row has an ``identity``.
    """
    answer = family.answer_column
    beside = (
        ("identity", IDENTITY, "identity") if mended else (family.asked, "JSON", f"{family.asked} AS asked")
    )
    columns = {**dict.fromkeys((*_READ, answer), "JSON"), beside[0]: beside[1]}
    absent = " AND ".join(f"{name} IS NULL" for name in columns)
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
    return f"source, {label} AS label, identity.digest AS digest, identity.bare_key AS bare_key, processed_time"


def _identity(family: str, key: str | None, asked: str | None) -> dict[str, str | None]:
    """Return what identifies the request of a line whose key did not come back as it was sent."""
    kind = FAMILIES[family]
    row = {"key": orjson.loads(key or "null"), kind.asked: orjson.loads(asked or "null")}
    _, digest, bare_key = answer_identity(row, kind)
    return {"digest": digest, "bare_key": bare_key}


def _without_media(value: Any) -> Any:
    if isinstance(value, dict):
        return {
            name: None if name == "data" and isinstance(inner, str) else _without_media(inner)
            for name, inner in value.items()
        }
    return list(map(_without_media, value)) if isinstance(value, list) else value
