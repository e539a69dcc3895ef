"""Lines of output files as rows of DuckDB.

DuckDB reads the lines that are JSON objects with a key that came back as it was sent, which nearly all are, and knows a
plain answer without searching for it. Of the others Python says which request they answer. What is not JSON to DuckDB,
Python mends or counts.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
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

# What is read of a response, with the types of it, for json_transform.
_PART = {"text": "VARCHAR", "thought": "JSON"}
_FIELDS = json.dumps(
    {
        "candidates": [
            {
                "content": {"parts": [_PART]},
                "finishReason": "VARCHAR",
                "groundingMetadata": {"webSearchQueries": ["JSON"]},
            }
        ],
        "modelVersion": "VARCHAR",
        "usageMetadata": {
            **dict.fromkeys(TOKEN_COLUMNS.values(), "BIGINT"),
            "promptTokensDetails": [{"modality": "VARCHAR", "tokenCount": "BIGINT"}],
        },
    }
)
_CANDIDATE = "fields.candidates[1]"
_PARTS = f"{_CANDIDATE}.content.parts"
_SENT = f"key LIKE '{KEY_BEFORE}%{KEY_AFTER}'"

_COLUMNS = ("key", "status", "error", "processed_time", "request", "response")
_PLAIN = f"({_SENT} AND error IS NULL AND NOT regexp_matches(IFNULL(status, ''), '^[{{\\[]'))"

# NULL for a row that has to be read the long way: what else than a text may stand for one is told by what follows.
_SHORT_TEXT = f"""CASE
      WHEN status = '' AND error IS NULL AND {_CANDIDATE}.finishReason = 'STOP' AND len({_PARTS}) = 1
        AND {_PARTS}[1].thought IS NULL AND {_PARTS}[1].text > ' ' AND NOT regexp_matches(response, '"text":[^"]')
      THEN {_PARTS}[1].text
    END"""


def told_lines(rows: str) -> str:
    """Return the WITH clauses that read generated content of lines; the last one is ``gemini_batch_read``.

    Its columns are those of :func:`.read_answers`, and ``label``, ``digest`` and ``bare_key`` (see
    :class:`.AnswerIdentity`), ``processed_time`` as text, and ``fields``, a struct of what else is read of a response.

    :param rows: a query for these, ``status`` and ``error`` as text, and ``response``, JSON as text.
    """
    response = "CASE WHEN short_text IS NULL THEN TRY_CAST(response AS JSON) END"
    kept = "label, digest, bare_key, processed_time, fields, short_text"
    return f"""gemini_batch_lines AS (
  SELECT *, TRY(json_transform(response, '{_FIELDS}')) AS fields
  FROM ({rows})
), gemini_batch_short AS (
  SELECT
    *,
    {_SHORT_TEXT} AS short_text
  FROM gemini_batch_lines
), {read_answers(kept, "gemini_batch_short", "status", response, "error", DUCKDB)}, gemini_batch_read AS (
  SELECT * REPLACE (
    IFNULL(short_text, answer_text) AS answer_text,
    IF(short_text IS NULL, finish_reason, 'STOP') AS finish_reason,
    IF(short_text IS NULL, candidate, '{{}}') AS candidate
  )
  FROM gemini_batch_told
)"""


def database_of_lines(folder: Path, threads: int = 1) -> DuckDBPyConnection:
    """Return a database that :class:`AnswerLines` can use; it spills to the folder."""
    database = connect(folder, threads)
    identity = "STRUCT(digest VARCHAR, bare_key VARCHAR)"
    database.create_function(
        "gemini_batch_identity", _identity, ["VARCHAR", "VARCHAR"], identity, null_handling="special"
    )
    return database


@dataclass(slots=True)
class AnswerLines:
    """Output lines on their way into Parquet files.

    :param database: of :func:`database_of_lines`.
    :param folder: takes the files.
    :param query: a query over ``gemini_batch_read``, see :func:`told_lines`; it gives ``label`` as well.
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
        plain = self._write(_plain_rows(piece.path))
        query = f"SELECT COUNT(*) FILTER (label IS NULL) FROM {parquet_rows([plain])}"
        ((others,),) = self.database.execute(query).fetchall()
        if others:
            self.files.remove(plain)
            self._write_again(plain)
            plain.unlink()
            self._write(_other_rows(piece.path))
            self._mend(piece.path, only_broken=True)
        if piece.long_lines:
            self._mend(piece.long_lines)

    def _write(self, rows: str) -> Path:
        return self._copy(f"WITH {told_lines(rows)} {self.query}")

    def _write_again(self, plain: Path) -> None:
        self._copy(f"FROM {parquet_rows([plain])} WHERE label IS NOT NULL")

    def _copy(self, query: str) -> Path:
        path = self.folder / f"answers-{len(self.files)}-{len(list(self.folder.iterdir()))}.parquet"
        copy_rows(self.database, query, path, f"{PARQUET_OPTIONS}, COMPRESSION lz4")
        self.files.append(path)
        return path

    def _mend(self, lines: Path, *, only_broken: bool = False) -> None:
        mended = make_private(self.folder / "mended.jsonl")
        with lines.open("rb") as source, mended.open("wb") as target:
            for row in self._odd_rows(iter_lines(source), only_broken):
                target.write(orjson.dumps(row) + b"\n")
        if mended.stat().st_size:
            self._write(_other_rows(mended, mended=True))
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
            kept = {name: row.get(name) for name in _COLUMNS if name != "request"}
            yield {**_without_media(kept), "identity": {"digest": digest, "bare_key": bare_key}}


def _read_json(path: Path, columns: Iterable[str], type_: str, longest: int = 2 * LONG_LINE) -> str:
    typed = ", ".join(f"{name}: '{type_}'" for name in columns)
    return (
        f"read_json({literal(path)}, format = 'newline_delimited', ignore_errors = true, "
        f"maximum_object_size = {longest}, columns = {{{typed}}})"
    )


def _plain_rows(path: Path) -> str:
    """Return the query for the rows of a file; those that are not plain have no label."""
    columns = [name for name in _COLUMNS if name != "request"]
    return f"""SELECT
  IF({_PLAIN}, key, NULL) AS label, NULL::VARCHAR AS digest, NULL::VARCHAR AS bare_key,
  IFNULL(status, '') AS status, error, processed_time, response
FROM {_read_json(path, columns, "VARCHAR")}"""


def _other_rows(path: Path, *, mended: bool = False) -> str:
    """Return the query for the rows of a file that are JSON objects and not plain.

    :param mended: whether it is a file of :meth:`AnswerLines._mend`, of which all rows are read.
    """
    if mended:
        columns = [name for name in _COLUMNS if name != "request"]
        source = _read_json(path, [*columns, "identity"], "JSON", 2 * LONGEST_ROW)
        identity = 'json_transform(identity, \'{"digest": "VARCHAR", "bare_key": "VARCHAR"}\')'
        condition = "TRUE"
    else:
        source = _read_json(path, _COLUMNS, "JSON")
        identity = f"CASE WHEN NOT IFNULL({_SENT}, FALSE) THEN gemini_batch_identity(raw_key, request) END"
        absent = " AND ".join(f"{name} IS NULL" for name in _COLUMNS)
        condition = f"NOT ({absent}) AND NOT IFNULL({_PLAIN}, FALSE)"
    return f"""SELECT
  IF({_SENT}, key, NULL) AS label,
  IF({_SENT}, NULL, identity.digest) AS digest,
  IF({_SENT}, NULL, identity.bare_key) AS bare_key,
  IFNULL(NULLIF({json_text("raw_status", sql=DUCKDB)}, 'null'), '') AS status,
  NULLIF({json_text("raw_error", sql=DUCKDB)}, 'null') AS error,
  IF(json_type(processed_time) = 'VARCHAR', json_extract_string(processed_time, '$'), NULL) AS processed_time,
  json_extract_string(response, '$') AS response
FROM (
  SELECT *, {identity} AS identity
  FROM (
    SELECT
      * REPLACE (
        json_extract_string(key, '$') AS key,
        json_extract_string(status, '$') AS status,
        json_extract_string(error, '$') AS error
      ),
      key AS raw_key, status AS raw_status, error AS raw_error
    FROM {source}
  )
  WHERE {condition}
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
