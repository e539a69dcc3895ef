"""The statements that make requests of rows in BigQuery: one counts them, others write them to tables or files.

All sort the rows in the same way, so that what was counted is what is written. Values of rows never leave
BigQuery. What comes from outside (template, model) travels in query parameters; names of columns are quoted; only a
source query becomes part of a statement, in brackets.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson

from airflow_gemini_batch.core.addresses import BigQueryAddress, GcsAddress
from airflow_gemini_batch.core.columns import FINGERPRINT_COLUMN, SHARD_COLUMN
from airflow_gemini_batch.core.fingerprints import DIGEST_LENGTH, fingerprint_prefix
from airflow_gemini_batch.core.keys import KEY_AFTER, KEY_BEFORE
from airflow_gemini_batch.gcp.statements import Parameters, Statement
from airflow_gemini_batch.requests.bigquery.expressions import (
    ROWS,
    field_value,
    key_text,
    named_slots,
    quoted,
    rendered,
    request_text,
    slot_columns,
)
from airflow_gemini_batch.requests.spec import SHOWN_KEYS, BuildPlan
from airflow_gemini_batch.requests.templates import BadRow, MediaSlot, TextSlot

# What becomes of a row that is not bad; bad ones have the name of their BadRow.
ASK = "ASK"
DONE = "DONE"
FAILED = "FAILED"

DAYS_KEPT = 14
"""Life of a request table. A job waits up to four days; the rest is for those who clear a run later."""

NOTHING_DONE = "SELECT '' AS key_text, '' AS fingerprint FROM UNNEST([1]) WHERE FALSE"
_RECURSIVE_ROWS = "recursive_rows"
_ROW_DIGEST = "FARM_FINGERPRINT(CONCAT(key_text, '\\n', fingerprint))"


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

    @property
    def is_recursive(self) -> bool:
        """Whether the query may begin with WITH RECURSIVE; a name or a text with this word does no harm."""
        return "recursive" in self.rows.lower()


@dataclass(frozen=True, slots=True)
class Sharding:
    """How the requests are divided among jobs.

    :param requests: their number.
    :param limit: most requests a job takes.
    :param numbered_up_to: as many requests one worker of BigQuery numbers; more are divided by chance, on all workers.
    """

    requests: int
    limit: int
    numbered_up_to: int = 1_000_000

    @property
    def count(self) -> int:
        """Number of jobs."""
        if self._are_numbered or self.requests <= self.limit:
            return math.ceil(self.requests / self.limit)
        # Sizes scatter by the square root of their mean; six times that far off happens once in 500 million.
        mean = (math.sqrt(self.limit + 9) - 3) ** 2
        return math.ceil(self.requests / mean)

    @property
    def expression(self) -> str:
        """The number of a row's job, from 0, among the sorted rows that are asked."""
        if self._are_numbered:
            return f"MOD(ROW_NUMBER() OVER (ORDER BY key_text), {self.count})"
        return f"ABS(MOD(FARM_FINGERPRINT(key_text), {self.count}))"

    @property
    def _are_numbered(self) -> bool:
        return self.requests <= self.numbered_up_to


def preview_statement(request_rows: RequestRows) -> Statement:
    """Return the statement that counts the rows by state.

    Columns of the result: ``state`` (``ASK``, ``DONE``, ``FAILED`` or the name of a
    :class:`~airflow_gemini_batch.requests.spec.BadRow`), ``row_count``, ``characters`` (of the texts),
    ``files``, ``digest`` (INT64; the same for the same keys and requests, in whatever order) and ``sample_keys`` (of
    bad rows: some different keys).

    No aggregate holds more than it returns: of the rows that have one key, one gives it.
    """
    parameters = Parameters()
    return Statement(
        f"""{_recursion(request_rows)}WITH {_sorted_rows(request_rows, parameters)}
SELECT
  state,
  COUNT(*) AS row_count,
  SUM(characters) AS characters,
  SUM(files) AS files,
  BIT_XOR({_ROW_DIGEST}) AS digest,
  ARRAY_AGG(
    CASE
      WHEN state IN ('{ASK}', '{DONE}', '{FAILED}') THEN NULL
      WHEN nth_of_key = IF(bad_row IS NULL, 2, 1) THEN key_text
    END IGNORE NULLS ORDER BY key_text LIMIT {SHOWN_KEYS}
  ) AS sample_keys
FROM sorted_rows
GROUP BY state""",
        parameters.values,
        request_rows.given,
    )


def collecting_statement(marks: Sequence[str], table: BigQueryAddress) -> Statement:
    """Return the statement that writes what some queries for done rows give to a table that expires after a day."""
    return Statement(
        f"CREATE OR REPLACE TABLE {table.sql}\n"
        "OPTIONS (expiration_timestamp = TIMESTAMP_ADD(CURRENT_TIMESTAMP(), INTERVAL 1 DAY))\n"
        f"AS\n{any_of(marks)}"
    )


def any_of(marks: Sequence[str]) -> str:
    """Return the query for the rows that one of several queries for done rows gives, each row once."""
    return "\n  UNION DISTINCT\n  ".join(marks) or NOTHING_DONE


def build_statement(
    request_rows: RequestRows,
    tables: Mapping[int, BigQueryAddress],
    sharding: Sharding,
    *,
    replace: Collection[BigQueryAddress] = (),
) -> Statement:
    """Return the statement, or script, that writes request tables.

    :param tables: the tables to write, by the number of the job from 0.
    :param replace: those of them to replace when they exist; other tables that exist are kept as they are.
    """
    parameters = Parameters()
    life = f"TIMESTAMP_ADD(CURRENT_TIMESTAMP(), INTERVAL {DAYS_KEPT} DAY)"
    writes = {}
    for shard, table in tables.items():
        create = "CREATE OR REPLACE TABLE" if table in replace else "CREATE TABLE IF NOT EXISTS"
        writes[shard] = f"{create} {table.sql}\nOPTIONS (expiration_timestamp = {life})\nAS"
    columns = request_columns(request_rows.plan, parameters)
    return _writing(writes, columns, request_rows, parameters, sharding)


def export_statement(
    request_rows: RequestRows, patterns: Sequence[GcsAddress], sharding: Sharding
) -> Statement:
    """Return the statement, or script, that writes request files, each line an object of ``key`` and ``request``.

    :param patterns: names of the files of each job, with one ``*`` for their numbers; nothing may be there.
    """
    parameters = Parameters()
    template = request_rows.plan.template
    writes = {
        shard: f"EXPORT DATA OPTIONS (uri = {orjson.dumps(str(pattern)).decode()}, format = 'JSON', "
        "overwrite = FALSE) AS"
        for shard, pattern in enumerate(patterns)
    }
    key = f"CONCAT('{KEY_BEFORE}', key_text, '{KEY_AFTER}')"
    columns = [(key, "key"), (field_value(template.fields, template, parameters), "request")]
    return _writing(writes, columns, request_rows, parameters, sharding)


def request_columns(plan: BuildPlan, parameters: Parameters) -> list[tuple[str, str]]:
    """Return the columns of a request table: expressions over the sorted rows, and names."""
    request = [("request", "request")]
    if plan.family.is_flat:
        fields = plan.template.fields.items()
        request = [(field_value(value, plan.template, parameters), name) for name, value in fields]
    return [
        *zip(_key_names(plan), plan.key, strict=True),
        *request,
        ("fingerprint", FINGERPRINT_COLUMN),
    ]


def _writing(
    writes: Mapping[int, str],
    columns: Iterable[tuple[str, str]],
    request_rows: RequestRows,
    parameters: Parameters,
    sharding: Sharding,
) -> Statement:
    """Return what writes these columns, expressions and names, of the rows that are asked.

    :param writes: what stands before the query of each job's requests, by the job's number.

    Several jobs, and rows of a recursive query, are a script: the rows are read once, into a temporary table that is
    sorted by job. It ends with the number of rows in that table.
    """
    is_script = sharding.count > 1 or request_rows.is_recursive
    selected = ",\n  ".join(f"{expression} AS {quoted(name)}" for expression, name in columns)
    if is_script:
        selected += f",\n  {sharding.expression} AS {SHARD_COLUMN}"
    rows = f"""WITH {_sorted_rows(request_rows, parameters)}
SELECT
  {selected}
FROM sorted_rows
WHERE state = '{ASK}'"""
    if not is_script:
        (write,) = writes.values()
        return Statement(f"{write}\n{rows}", parameters.values, request_rows.given)
    parts = (
        f"{write}\nSELECT * EXCEPT ({SHARD_COLUMN}) FROM asked_rows WHERE {SHARD_COLUMN} = {shard}"
        for shard, write in writes.items()
    )
    return Statement(
        ";\n".join(
            [
                f"{_recursion(request_rows)}CREATE TEMP TABLE asked_rows CLUSTER BY {SHARD_COLUMN} AS\n{rows}",
                *parts,
                "SELECT COUNT(*) AS row_count FROM asked_rows",
            ]
        ),
        parameters.values,
        request_rows.given,
    )


def _recursion(request_rows: RequestRows) -> str:
    """Return what stands before a statement over rows of a recursive query: a temporary table of them.

    BigQuery takes WITH RECURSIVE at the top level of a statement only.
    """
    if not request_rows.is_recursive:
        return ""
    return f"CREATE TEMP TABLE {_RECURSIVE_ROWS} AS\n{request_rows.rows}\n;\n"


def _sorted_rows(request_rows: RequestRows, parameters: Parameters) -> str:
    """Return the WITH clauses that give each row its request and, as ``state``, whether it is asked."""
    plan = request_rows.plan
    keys = _key_names(plan)
    slots = named_slots(plan.template)
    # Names of our own from the first step on, since the columns of the rows may have any.
    expressions = {
        **{name: f"{ROWS}.{quoted(column)}" for name, column in zip(keys, plan.key, strict=True)},
        "key_text": key_text(plan.key, request_rows.types, ROWS),
        "prompt": rendered(plan.template.prompt, request_rows.types, parameters),
        **slot_columns(plan.template, request_rows.types, parameters),
    }
    columns = ",\n    ".join(f"{expression} AS {name}" for name, expression in expressions.items())
    characters = [f"LENGTH({name})" for name, slot in slots.items() if isinstance(slot, TextSlot)]
    files = [f"IF({name} != '', 1, 0)" for name, slot in slots.items() if isinstance(slot, MediaSlot)]
    model = parameters.bind(fingerprint_prefix(plan.model_key).decode())
    rows = f"SELECT * FROM {_RECURSIVE_ROWS}" if request_rows.is_recursive else request_rows.rows
    # A source query may end in a comment, hence the line ends around it.
    return f"""source_rows AS (
{rows}
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
), ranked AS (
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


def _bad_row_case(plan: BuildPlan) -> str:
    """Return the expression for the reason why a row is bad, NULL for a good row."""
    slots = named_slots(plan.template).items()
    conditions = {
        BadRow.NULL_KEY: [f"{key} IS NULL" for key in _key_names(plan)],
        BadRow.EMPTY_PROMPT: ["TRIM(prompt) = ''"],
        BadRow.BAD_MEDIA: [f"{name} IS NULL" for name, slot in slots if isinstance(slot, MediaSlot)],
    }
    cases = [
        f"WHEN {' OR '.join(any_of)} THEN '{reason.name}'" for reason, any_of in conditions.items() if any_of
    ]
    return "CASE\n      " + "\n      ".join(cases) + "\n    END"


def _key_names(plan: BuildPlan) -> list[str]:
    return [f"key_{n}" for n in range(len(plan.key))]
