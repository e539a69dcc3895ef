"""Lines of output files as rows of DuckDB.

DuckDB reads the lines that are JSON objects with a key that came back as it was sent, which nearly all are, and knows a
plain answer without searching for it. Of the others Python says which request they answer. What is not JSON to DuckDB,
Python mends or counts.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson

from airflow_gemini_batch.core.columns import TOKEN_COLUMNS
from airflow_gemini_batch.core.defaults import LONGEST_ROW
from airflow_gemini_batch.core.jsonl import tolerant_object
from airflow_gemini_batch.core.keys import KEY_AFTER, KEY_BEFORE
from airflow_gemini_batch.disk.private_folder import make_private
from airflow_gemini_batch.gcp.lines import iter_lines
from airflow_gemini_batch.gcp.pieces import LONG_LINE, Piece
from airflow_gemini_batch.outputs.classify_sql import json_text, read_answers
from airflow_gemini_batch.outputs.matching import answer_identity
from airflow_gemini_batch.sql.dialect import DUCKDB
from airflow_gemini_batch.sql.engine import PARQUET_OPTIONS, connect, copy_rows, literal, parquet_rows

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

_READ = ("key", "status", "error", "processed_time", "response")
_IDENTITY = "STRUCT(digest VARCHAR, bare_key VARCHAR)"
_SENT = f"IFNULL(key LIKE '{KEY_BEFORE}%{KEY_AFTER}', FALSE)"

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
_FAILED = "IFNULL(regexp_matches(status, '^[A-Z]'), FALSE)"
_ANSWERED = f"(plain_text > ' ' OR len(fields.candidates) = 1 AND {_CANDIDATE}.finishReason != 'STOP')"
_PLAIN = f"""(
    {_SENT} AND error IS NULL AND ({_FAILED} OR IFNULL(status, '') = '' AND IFNULL({_ANSWERED}, FALSE))
  )"""


def database_of_lines(folder: Path, threads: int = 1) -> DuckDBPyConnection:
    """Return a database that :class:`AnswerLines` can use; it spills to the folder."""
    database = connect(folder, threads)
    database.create_function(
        "gemini_batch_identity", _identity, ["VARCHAR", "VARCHAR"], _IDENTITY, null_handling="special"
    )
    return database


@dataclass(slots=True)
class AnswerLines:
    """Output lines on their way into Parquet files.

    :param database: of :func:`database_of_lines`.
    :param folder: takes the files.
    :param query: a query over ``gemini_batch_read``, which has the columns of :func:`.read_answers`, and ``label``,
        ``digest`` and ``bare_key`` (see :class:`.AnswerIdentity`), ``processed_time`` as text, and ``fields``, a struct
        of what else is read of a response. It gives ``label`` and ``digest`` as well.
    :param files: written so far; all have the same columns.
    :param unreadable: lines that are no JSON objects.
    """

    database: DuckDBPyConnection
    folder: Path
    query: str
    files: list[Path] = field(default_factory=list)
    unreadable: int = 0

    def add(self, piece: Piece) -> None:
        """Read the lines of a piece."""
        others = True
        if piece.is_usual:
            path = self._write(f"gemini_batch_read AS (\n{_plain_rows(piece.path)}\n)")
            count = f"SELECT COUNT(*) FILTER (label IS NULL) FROM {parquet_rows([path])}"
            ((others,),) = self.database.execute(count).fetchall()
        if others:
            self._write(_other_rows(piece.path, "NOT is_plain" if piece.is_usual else "TRUE"))
            self._mend(piece.path, only_broken=True)
        if piece.long_lines:
            self._mend(piece.long_lines)

    @property
    def rows(self) -> str:
        """What was read, as it stands behind FROM."""
        return f"(FROM {parquet_rows(self.files)} WHERE label IS NOT NULL OR digest IS NOT NULL)"

    def _write(self, clauses: str) -> Path:
        path = self.folder / f"answers-{len(self.files)}.parquet"
        copy_rows(self.database, f"WITH {clauses} {self.query}", path, f"{PARQUET_OPTIONS}, COMPRESSION lz4")
        self.files.append(path)
        return path

    def _mend(self, lines: Path, *, only_broken: bool = False) -> None:
        mended = make_private(self.folder / "mended.jsonl")
        with lines.open("rb") as source, mended.open("wb") as target:
            for row in self._odd_rows(iter_lines(source), only_broken):
                target.write(orjson.dumps(row) + b"\n")
        if mended.stat().st_size:
            self._write(_mended_rows(mended))
        mended.unlink()

    def _odd_rows(self, lines: Iterable[bytes], only_broken: bool) -> Iterator[dict[str, Any]]:
        for line in lines:
            if only_broken and _is_object(line):
                continue
            row = tolerant_object(line)
            if row is None:
                self.unreadable += 1
                continue
            # What is large is in the request or in media, of which no rule asks for the content.
            _, digest, bare_key = answer_identity(row)
            kept = {name: row.get(name) for name in _READ}
            yield {**_without_media(kept), "identity": {"digest": digest, "bare_key": bare_key}}


def _read_json(path: Path, columns: Mapping[str, str], longest: int = 2 * LONG_LINE) -> str:
    typed = ", ".join(f"{name}: '{type_}'" for name, type_ in columns.items())
    return (
        f"read_json({literal(path)}, format = 'newline_delimited', ignore_errors = true, "
        f"maximum_object_size = {longest}, columns = {{{typed}}})"
    )


def _plain_rows(path: Path) -> str:
    """Return the query for the rows of a file, with the columns of :func:`.read_answers`.

    Those that are not plain have no label.
    """
    columns = dict.fromkeys(("key", "status", "error", "processed_time"), "VARCHAR")
    return f"""SELECT
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
  IF({_FAILED}, {DUCKDB.trimmed("status")}, '') AS status_text
FROM (
  SELECT *, {_TEXT} AS plain_text
  FROM (SELECT * RENAME (response AS fields) FROM {_read_json(path, {**columns, "response": _FIELDS})})
)"""


def _other_rows(path: Path, condition: str) -> str:
    """Return the WITH clauses that read rows of a file, of which DuckDB and Python tell together what they answer.

    :param condition: which rows; ``is_plain`` says whether :func:`_plain_rows` has read it.
    """
    columns = dict.fromkeys((*_READ, "request"), "JSON")
    absent = " AND ".join(f"{name} IS NULL" for name in columns)
    return _told(f"""SELECT
    *,
    CASE WHEN NOT {_SENT} THEN gemini_batch_identity(raw_key, request) END AS identity
  FROM (
    SELECT *, {_PLAIN} AS is_plain
    FROM (
      SELECT *, {_TEXT} AS plain_text
      FROM (
        SELECT {_TEXTS}, request, key AS raw_key, status AS raw_status, error AS raw_error
        FROM {_read_json(path, columns)}
        WHERE NOT ({absent})
      )
    )
  )
  WHERE {condition}""")


def _mended_rows(path: Path) -> str:
    """Return the WITH clauses that read rows that :meth:`AnswerLines._mend` has written."""
    columns = {**dict.fromkeys(_READ, "JSON"), "identity": _IDENTITY}
    return _told(f"""SELECT {_TEXTS}, identity, status AS raw_status, error AS raw_error
  FROM {_read_json(path, columns, 2 * LONGEST_ROW)}""")


# Of columns of JSON, with the response as an object even where it came as the text of one.
_TEXTS = f"""
    json_extract_string(key, '$') AS key,
    json_extract_string(status, '$') AS status,
    json_extract_string(error, '$') AS error,
    IF(json_type(processed_time) = 'VARCHAR', json_extract_string(processed_time, '$'), NULL) AS processed_time,
    TRY_CAST(response AS {_FIELDS}) AS fields,
    TRY_CAST(json_extract_string(response, '$') AS JSON) AS response"""


def _told(rows: str) -> str:
    def text(column: str) -> str:
        return f"NULLIF({json_text(column, sql=DUCKDB)}, 'null')"

    kept = f"""
    IF({_SENT}, key, NULL) AS label,
    IF({_SENT}, NULL, identity.digest) AS digest,
    IF({_SENT}, NULL, identity.bare_key) AS bare_key,
    processed_time,
    TRY_CAST(response AS {_FIELDS}) AS fields"""
    answers = read_answers(
        kept, "gemini_batch_lines", f"IFNULL({text('raw_status')}, '')", "response", text("raw_error"), DUCKDB
    )
    return f"""gemini_batch_lines AS (
  {rows}
), {answers}, gemini_batch_read AS (
  FROM gemini_batch_told
)"""


def _identity(key: str | None, request: str | None) -> dict[str, str | None]:
    """Return what identifies the request of a line whose key did not come back as it was sent."""
    row = {"key": orjson.loads(key or "null"), "request": orjson.loads(request or "null")}
    _, digest, bare_key = answer_identity(row)
    return {"digest": digest, "bare_key": bare_key}


def _is_object(line: bytes) -> bool:
    try:
        return isinstance(orjson.loads(line), dict)
    except orjson.JSONDecodeError:
        return False


def _without_media(value: Any) -> Any:
    if isinstance(value, dict):
        return {
            name: None if name == "data" and isinstance(inner, str) else _without_media(inner)
            for name, inner in value.items()
        }
    return list(map(_without_media, value)) if isinstance(value, list) else value
