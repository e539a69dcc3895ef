"""Lines of files as rows of DuckDB: what the queries of all families of models share."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from airflow_gemini_batch.core.jsonl import tolerant_object
from airflow_gemini_batch.core.keys import KEY_AFTER, KEY_BEFORE
from airflow_gemini_batch.core.model_families import FAMILIES, ModelFamily
from airflow_gemini_batch.gcp.pieces import LONG_LINE, IsOdd
from airflow_gemini_batch.outputs.classify_sql import json_text
from airflow_gemini_batch.outputs.matching import answer_identity
from airflow_gemini_batch.sql.dialect import DUCKDB
from airflow_gemini_batch.sql.engine import connect, literal

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

READ = ("key", "status", "error", "processed_time")
IDENTITY = "STRUCT(digest VARCHAR, bare_key VARCHAR)"
SENT = f"IFNULL(key LIKE '{KEY_BEFORE}%{KEY_AFTER}', FALSE)"


def database_of_lines(folder: Path) -> DuckDBPyConnection:
    """Return a database for the statements of this module; it spills to the folder."""
    database = connect(folder)
    database.create_function(
        "gemini_batch_identity", _identity, ["VARCHAR"] * 3, IDENTITY, null_handling="special"
    )
    return database


class LineForm(NamedTuple):
    """How the lines of a family of models are read.

    :param plain_rows: gives the query for the rows of some files, by declared types and in the order of the lines;
        those that are not plain have no ``label`` and no ``digest``.
    :param rewritten_rows: gives the WITH clauses for all rows of a file that :class:`.AnswerLines` has written, by the
        general rules; each has an ``identity``, of type :data:`IDENTITY`. The last one is ``gemini_batch_read``.
    :param is_odd: see :data:`.IsOdd`.
    :param plain_rewritten_rows: is to such a file what ``plain_rows`` is to others; ``None`` if it would be no faster.
    """

    family: ModelFamily
    plain_rows: Callable[[Sequence[Path]], str]
    rewritten_rows: Callable[[Path], str]
    is_odd: IsOdd
    plain_rewritten_rows: Callable[[Path], str] | None = None


class LineQuery(NamedTuple):
    """What is read of lines.

    :param query: a query over ``gemini_batch_read``, which has ``source`` (see :class:`.Part`), ``label``, ``digest``
        and ``bare_key`` (see :class:`.AnswerIdentity`), ``processed_time`` as text, and what the form says: of
        generated content the columns of :func:`.read_answers`, and ``fields``, a struct of what else is read of a
        response. The query gives ``label`` and ``digest`` as well, and a row for each that it reads.
    """

    form: LineForm
    query: str

    def plain(self, rows: str) -> str:
        """Return the statement for the rows of a query."""
        return self.over(f"gemini_batch_read AS (\n{rows}\n)")

    def over(self, clauses: str) -> str:
        """Return the statement for rows of WITH clauses."""
        return f"WITH {clauses} {self.query}"


def read_json(paths: Sequence[Path], columns: Mapping[str, str], longest: int = 2 * LONG_LINE) -> str:
    """Return the rows of files of :class:`.Part` as they stand behind FROM; a line that can't be read has NULLs only.

    :param columns: types by name, besides ``source``. What is of another type is NULL.
    :param longest: bytes of a line. DuckDB takes memory for some of these.
    """
    typed = ", ".join(f"{name}: '{type_}'" for name, type_ in columns.items())
    return f"""(
    SELECT * REPLACE (CAST(regexp_extract(source, '-([0-9]+)[.]jsonl$', 1) AS INTEGER) AS source)
    FROM read_json(
      [{", ".join(map(literal, paths))}], format = 'newline_delimited', records = true, ignore_errors = true,
      maximum_object_size = {longest}, filename = 'source', columns = {{{typed}}}
    )
  )"""


def rewritten_lines(path: Path, family: ModelFamily, fields: str) -> str:
    """Return the rows of a file that :class:`.AnswerLines` has written, as they stand behind FROM.

    ``answer`` is JSON, decoded where it came as text, and ``fields`` what is read of it; for ``status`` and ``error``,
    as text, see :data:`RAW_STATUS` and :data:`RAW_ERROR`.

    :param fields: the type of that.
    """
    answer = family.answer_column
    columns = {**dict.fromkeys((*READ, answer), "JSON"), "identity": IDENTITY}
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
      identity
    FROM {read_json([path], columns, longest=path.stat().st_size)}
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
