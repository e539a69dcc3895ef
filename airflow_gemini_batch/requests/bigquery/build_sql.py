"""The statements that sort rows in BigQuery by whether they are asked, and the clauses that make requests of rows.

Values of rows never leave BigQuery. What comes from outside (template, model) travels in query parameters; names of
columns are quoted; only a source query becomes part of a statement, in brackets.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any

from airflow_gemini_batch.core.addresses import BigQueryAddress
from airflow_gemini_batch.core.columns import ColumnTypes
from airflow_gemini_batch.core.fingerprints import DIGEST_LENGTH, fingerprint_prefix
from airflow_gemini_batch.gcp.statements import Parameters, Statement
from airflow_gemini_batch.requests.bigquery.expressions import (
    ROWS,
    key_text,
    named_slots,
    quoted,
    rendered,
    request_text,
    slot_columns,
    text_of,
)
from airflow_gemini_batch.requests.spec import SHOWN_KEYS, BuildPlan
from airflow_gemini_batch.requests.templates import BadRow, MediaSlot, TextSlot

# What becomes of a row that is not bad; bad ones have the name of their BadRow.
ASK = "ASK"
DONE = "DONE"
FAILED = "FAILED"

ASKED = f"state = '{ASK}'"
"""The condition that a row is asked, over the sorted rows."""

NOTHING_DONE = "SELECT '' AS key_text, '' AS fingerprint FROM UNNEST([1]) WHERE FALSE"
_FOR_A_DAY = "OPTIONS (expiration_timestamp = TIMESTAMP_ADD(CURRENT_TIMESTAMP(), INTERVAL 1 DAY))"
_RECURSIVE_ROWS = "recursive_rows"
# What is counted of the sorted rows: expressions by name. Of the rows that have one key, one gives it.
_COUNTED = {
    "state": "state",
    "characters": f"IF({ASKED}, characters, NULL)",
    "files": f"IF({ASKED}, files, NULL)",
    "digest": f"IF({ASKED}, FARM_FINGERPRINT(CONCAT(key_text, '\\n', fingerprint)), NULL)",
    "bad_key": f"""CASE
    WHEN state IN ('{ASK}', '{DONE}', '{FAILED}') THEN NULL
    WHEN nth_of_key = IF(bad_row IS NULL, 2, 1) THEN key_text
  END""",
}


@dataclass(frozen=True, slots=True)
class RequestRows:
    """What requests are made of.

    :param rows: the query that gives the rows.
    :param types: GoogleSQL's types of the rows' columns.
    :param done: the query for ``key_text`` and ``fingerprint`` of the rows that need no request.
    :param failed: likewise of the rows whose request has failed for good.
    :param given: values of the parameters of ``rows``.
    """

    plan: BuildPlan
    rows: str
    types: Mapping[str, str]
    done: str = NOTHING_DONE
    failed: str = NOTHING_DONE
    given: Mapping[str, Any] = field(default_factory=dict)

    def sorted_in(self, table: str) -> RequestRows:
        """Return the rows that are asked, and no others, out of the table that :func:`sorting_statements` write."""
        columns = dict(zip(self.plan.key, key_names(self.plan), strict=True)) | _text_columns(self.plan)
        selected = ", ".join(f"{ROWS}.{kept} AS {quoted(name)}" for name, kept in columns.items())
        types = {name: self.types[name] if name in self.plan.key else "STRING" for name in columns}
        rows = f"SELECT {selected} FROM {table} AS {ROWS} WHERE {ROWS}.{ASKED}"
        return RequestRows(self.plan, rows, ColumnTypes(types))


def sorting_statements(request_rows: RequestRows, table: str, *, temporary: bool = False) -> list[Statement]:
    """Return the statements that read the rows once, write them to a table, sorted, and count them by state.

    The table has a row for each row that was read, with the values of those that are asked, for
    :meth:`RequestRows.sorted_in`. It holds what requests are made of, not the requests: most of a request is the same
    for all rows, and reading it from the table would be billed for each.

    Columns of the last statement's result: ``state`` (``ASK``, ``DONE``, ``FAILED`` or the name of a
    :class:`~airflow_gemini_batch.requests.spec.BadRow`) and ``row_count``; of rows that are asked ``characters`` (of
    the texts), ``files`` and ``digest`` (INT64; the same for the same keys and requests, in whatever order); of bad
    rows ``sample_keys``, some different ones.

    :param table: as it stands in a statement.
    :param temporary: make a temporary table; another one is replaced if it exists, and expires after a day.
    """
    parameters, plan = Parameters(), request_rows.plan
    texts = {
        kept: text_of(name, request_rows.types[name], ROWS) for name, kept in _text_columns(plan).items()
    }
    kept = {name: f"IF({ASKED}, {name}, NULL)" for name in (*key_names(plan), *texts)}
    create = f"TEMP TABLE {table}" if temporary else f"OR REPLACE TABLE {table}\n{_FOR_A_DAY}"
    first, rows = [], request_rows.rows
    # BigQuery takes WITH RECURSIVE at the top level of a statement only. A name or a text with this word does no harm.
    if "recursive" in rows.lower():
        first = [Statement(f"CREATE TEMP TABLE {_RECURSIVE_ROWS} AS\n{rows}\n", {}, request_rows.given)]
        request_rows = replace(request_rows, rows=f"SELECT * FROM {_RECURSIVE_ROWS}")
    sorting = f"""CREATE {create}
AS
WITH {_sorted_clauses(request_rows, parameters, texts)}
SELECT
  {_items({**_COUNTED, **kept})}
FROM sorted_rows"""
    counting = f"""SELECT
  state,
  COUNT(*) AS row_count,
  SUM(characters) AS characters,
  SUM(files) AS files,
  BIT_XOR(digest) AS digest,
  ARRAY_AGG(bad_key IGNORE NULLS ORDER BY bad_key LIMIT {SHOWN_KEYS}) AS sample_keys
FROM {table}
GROUP BY state"""
    return [*first, Statement(sorting, parameters.values, request_rows.given), Statement(counting)]


def _text_columns(plan: BuildPlan) -> dict[str, str]:
    """Return the columns beside the key that requests are made of, and the names that they have as sorted rows.

    They are kept as text, since not every value that a query gives can be stored.
    """
    names = {name.lower(): name for name in (*plan.template.columns, *plan.template.prompt.columns)}
    key = {name.lower() for name in plan.key}
    others = [name for lower, name in names.items() if lower not in key]
    return {name: f"column_{n}" for n, name in enumerate(others)}


def _items(expressions: Mapping[str, str]) -> str:
    return ",\n  ".join(f"{expression} AS {name}" for name, expression in expressions.items())


def collecting_statement(marks: Sequence[str], table: BigQueryAddress) -> Statement:
    """Return the statement that writes what some queries for done rows give to a table that expires after a day."""
    return Statement(f"CREATE OR REPLACE TABLE {table.sql}\n{_FOR_A_DAY}\nAS\n{any_of(marks)}")


def any_of(marks: Sequence[str]) -> str:
    """Return the query for the rows that one of several queries for done rows gives, each row once."""
    return "\n  UNION DISTINCT\n  ".join(marks) or NOTHING_DONE


def _sorted_clauses(request_rows: RequestRows, parameters: Parameters, more: Mapping[str, str]) -> str:
    """Return the WITH clauses that give each row its request and, as ``state``, whether it is asked.

    :param more: expressions over :data:`.expressions.ROWS` for further columns, by name.
    """
    return f"""{request_clauses(request_rows, parameters, more)}, ranked AS (
  SELECT *, ROW_NUMBER() OVER (PARTITION BY key_text, bad_row ORDER BY fingerprint) AS nth_of_key
  FROM fingerprinted
), done AS (
  {request_rows.done}
), failed AS (
  {request_rows.failed}
), sorted_rows AS (
  SELECT
    ranked.*,
    CASE
      WHEN bad_row IS NOT NULL THEN bad_row
      WHEN nth_of_key > 1 THEN '{BadRow.DUPLICATE_KEY.name}'
      WHEN done.key_text IS NOT NULL THEN '{DONE}'
      WHEN failed.key_text IS NOT NULL THEN '{FAILED}'
      ELSE '{ASK}'
    END AS state
  FROM ranked
  LEFT JOIN done ON done.key_text = ranked.key_text AND done.fingerprint = ranked.fingerprint
  LEFT JOIN failed ON failed.key_text = ranked.key_text AND failed.fingerprint = ranked.fingerprint
)"""


def request_clauses(
    request_rows: RequestRows, parameters: Parameters, more: Mapping[str, str] = MappingProxyType({})
) -> str:
    """Return the WITH clauses that make requests of the rows; the last one is ``fingerprinted``.

    :param more: as for :func:`_sorted_clauses`.
    """
    plan, types = request_rows.plan, request_rows.types
    keys, slots = key_names(plan), named_slots(plan.template)
    # Names of our own from the first step on, since the columns of the rows may have any.
    expressions = {
        **{name: f"{ROWS}.{quoted(column)}" for name, column in zip(keys, plan.key, strict=True)},
        "key_text": key_text(plan.key, types, ROWS),
        "prompt": rendered(plan.template.prompt, types, parameters),
        **slot_columns(plan.template, types, parameters),
        **more,
    }
    columns = ",\n    ".join(f"{expression} AS {name}" for name, expression in expressions.items())
    characters = [f"LENGTH({name})" for name, slot in slots.items() if isinstance(slot, TextSlot)]
    files = [f"IF({name} != '', 1, 0)" for name, slot in slots.items() if isinstance(slot, MediaSlot)]
    model = parameters.bind(fingerprint_prefix(plan.model_key).decode())
    # A source query may end in a comment, hence the line ends around it.
    return f"""source_rows AS (
{request_rows.rows}
), filled AS (
  SELECT
    {columns}
  FROM source_rows AS {ROWS}
), requests AS (
  SELECT
    *,
    {" + ".join(characters)} AS characters,
    {" + ".join(files) or "0"} AS files,
    {request_text(plan.template, parameters)} AS request,
    {_bad_row_case(plan)} AS bad_row
  FROM filled
), fingerprinted AS (
  SELECT *, SUBSTR(TO_HEX(SHA256(CONCAT({model}, request))), 1, {DIGEST_LENGTH}) AS fingerprint
  FROM requests
)"""


def _bad_row_case(plan: BuildPlan) -> str:
    """Return the expression for the reason why a row is bad, NULL for a good row."""
    slots = named_slots(plan.template).items()
    conditions = {
        BadRow.NULL_KEY: [f"{key} IS NULL" for key in key_names(plan)],
        BadRow.EMPTY_PROMPT: ["TRIM(prompt) = ''"],
        BadRow.BAD_MEDIA: [f"{name} IS NULL" for name, slot in slots if isinstance(slot, MediaSlot)],
    }
    cases = [
        f"WHEN {' OR '.join(any_of)} THEN '{reason.name}'" for reason, any_of in conditions.items() if any_of
    ]
    return "CASE\n      " + "\n      ".join(cases) + "\n    END"


def key_names(plan: BuildPlan) -> list[str]:
    """Return the names that the key's columns have in the statements."""
    return [f"key_{n}" for n in range(len(plan.key))]
