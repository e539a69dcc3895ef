"""The statements that sort rows in BigQuery by whether they are asked, and the clauses that make requests of rows.

Values of rows never leave BigQuery. What comes from outside (template, model) travels in query parameters; names of
columns are quoted; only a source query becomes part of a statement, in brackets.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any

import orjson

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
from airflow_gemini_batch.requests.done import Place
from airflow_gemini_batch.requests.questions import Question
from airflow_gemini_batch.requests.row_kinds import CHANGED_QUESTION_KINDS, RowKind
from airflow_gemini_batch.requests.spec import SHOWN_KEYS, BuildPlan
from airflow_gemini_batch.requests.templates import BadRow, MediaSlot, TextSlot

# The state of a row that is neither bad nor asked; others have the name of their BadRow or of their RowKind.
DONE = "DONE"
FAILED = "FAILED"

_KINDS = ", ".join(f"'{kind.name}'" for kind in RowKind)
_CHANGED = ", ".join(f"'{kind.name}'" for kind in CHANGED_QUESTION_KINDS)
_TO_ASK = f"state IN ({_KINDS})"

NOTHING_KNOWN = (
    "SELECT '' AS key_text, '' AS fingerprint, '' AS place, '' AS question FROM UNNEST([1]) WHERE FALSE"
)
_FOR_A_DAY = "OPTIONS (expiration_timestamp = TIMESTAMP_ADD(CURRENT_TIMESTAMP(), INTERVAL 1 DAY))"
_RECURSIVE_ROWS = "recursive_rows"
# What is counted of the sorted rows: expressions by name. Of the rows that have one key, one gives it.
_COUNTED = {
    "state": "state",
    "answers": f"IF(state = '{RowKind.CHANGED_QUESTION.name}', answers, NULL)",
    "characters": f"IF({_TO_ASK}, characters, NULL)",
    "files": f"IF({_TO_ASK}, files, NULL)",
    "digest": f"IF({_TO_ASK}, FARM_FINGERPRINT(CONCAT(key_text, '\\n', fingerprint)), NULL)",
    "bad_key": f"""CASE
    WHEN state IN ({_KINDS}, '{DONE}', '{FAILED}') THEN NULL
    WHEN nth_of_key = IF(bad_row IS NULL, 2, 1) THEN key_text
  END""",
}


@dataclass(frozen=True, slots=True)
class RequestRows:
    """What requests are made of.

    :param rows: the query that gives the rows.
    :param types: GoogleSQL's types of the rows' columns.
    :param known: the query for the requests that are known, of :func:`.marks_query`.
    :param given: values of the parameters of ``rows``.
    """

    plan: BuildPlan
    rows: str
    types: Mapping[str, str]
    known: str = NOTHING_KNOWN
    given: Mapping[str, Any] = field(default_factory=dict)

    @property
    def earlier(self) -> dict[str, Question]:
        """The other questions that rows may answer, as far as the rows still have what these ask about."""
        return {
            name: question
            for name, question in self.plan.other_questions.items()
            if all(column in self.types for column in question.template.columns)
        }

    def sorted_in(self, table: str, condition: str) -> RequestRows:
        """Return the rows that are asked, and no others, out of the table that :func:`sorting_statements` write.

        :param condition: of :func:`asked_condition`.
        """
        columns = dict(zip(self.plan.key, key_names(self.plan), strict=True)) | _text_columns(self.plan)
        selected = ", ".join(f"{ROWS}.{kept} AS {quoted(name)}" for name, kept in columns.items())
        types = {name: self.types[name] if name in self.plan.key else "STRING" for name in columns}
        rows = f"SELECT {selected} FROM {table} AS {ROWS} WHERE {condition}"
        return RequestRows(self.plan, rows, ColumnTypes(types))


def asked_condition(plan: BuildPlan, most: int | None) -> str:
    """Return the condition that one of the sorted rows, :data:`.expressions.ROWS`, is asked.

    :param most: of the rows with a changed question; ``None`` for all.
    """
    kinds = plan.asked_kinds
    if most is None:
        return f"{ROWS}.state IN ({', '.join(repr(kind.name) for kind in kinds)})"
    certain = [kind.name for kind in kinds if kind not in CHANGED_QUESTION_KINDS]
    conditions = [f"{ROWS}.state IN ({_CHANGED}) AND {ROWS}.nth_changed <= {most}"]
    if certain:
        conditions.append(f"{ROWS}.state IN ({', '.join(map(repr, certain))})")
    if plan.sample and plan.sample.keys and most:
        conditions.append(f"{ROWS}.is_golden AND {ROWS}.{_TO_ASK}")
    return f"({' OR '.join(conditions)})" + (f" AND NOT {ROWS}.is_answered" if plan.sample else "")


def counting_statement(table: str, condition: str = "TRUE") -> Statement:
    """Return the statement that counts the sorted rows by state and by the question that they answer.

    For the columns of its result see :func:`sorting_statements`.
    """
    return Statement(f"""SELECT
  state,
  answers,
  COUNT(*) AS row_count,
  SUM(characters) AS characters,
  SUM(files) AS files,
  BIT_XOR(digest) AS digest,
  ARRAY_AGG(bad_key IGNORE NULLS ORDER BY bad_key LIMIT {SHOWN_KEYS}) AS sample_keys
FROM {table} AS {ROWS}
WHERE {condition}
GROUP BY state, answers""")


def sorting_statements(request_rows: RequestRows, table: str, *, temporary: bool = False) -> list[Statement]:
    """Return the statements that read the rows once, write them to a table, sorted, and count them by state.

    The table has a row for each row that was read, with the values of those that are asked, for
    :meth:`RequestRows.sorted_in`. It holds what requests are made of, not the requests: most of a request is the same
    for all rows, and reading it from the table would be billed for each.

    Columns of the last statement's result: ``state`` (``DONE``, ``FAILED``, or the name of a :class:`.BadRow` or a
    :class:`~airflow_gemini_batch.requests.row_kinds.RowKind`), ``answers`` (the id of the question that rows with a
    changed question answer, else NULL) and ``row_count``; of rows that may be asked ``characters`` (of the texts),
    ``files`` and ``digest`` (INT64; the same for the same keys and requests, in whatever order); of bad rows
    ``sample_keys``, some different ones.

    :param table: as it stands in a statement.
    :param temporary: make a temporary table; another one is replaced if it exists, and expires after a day.
    """
    parameters, plan = Parameters(), request_rows.plan
    texts = {
        kept: text_of(name, request_rows.types[name], ROWS) for name, kept in _text_columns(plan).items()
    }
    kept = {name: f"IF({_TO_ASK}, {name}, NULL)" for name in (*key_names(plan), *texts)}
    if plan.limit:
        kept |= {
            "nth_changed": "nth_changed",
            "is_golden": _is_golden(plan, parameters),
            "is_answered": "is_answered",
        }
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
    return [*first, Statement(sorting, parameters.values, request_rows.given), counting_statement(table)]


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
    """Return the statement that writes what some queries of :func:`.marks_query` give to a table for a day."""
    return Statement(f"CREATE OR REPLACE TABLE {table.sql}\n{_FOR_A_DAY}\nAS\n{any_of(marks)}")


def any_of(marks: Sequence[str]) -> str:
    """Return the query for the requests that several queries of :func:`.marks_query` give."""
    return "\n  UNION ALL\n  ".join(marks) or NOTHING_KNOWN


def _sorted_clauses(request_rows: RequestRows, parameters: Parameters, more: Mapping[str, str]) -> str:
    """Return the WITH clauses that give each row its request and its ``state``.

    :param more: expressions over :data:`.expressions.ROWS` for further columns, by name.
    """
    plan, earlier = request_rows.plan, request_rows.earlier
    prints = {
        f"earlier_{n}": earlier_fingerprint(question, request_rows.types, parameters)
        for n, question in enumerate(earlier.values())
    }
    order = {f"order_{n}": f"{ROWS}.{quoted(name)}" for n, name in enumerate(plan.order.columns)}
    more = {**more, **prints, **(order if plan.limit else {})}
    current = parameters.bind(plan.question.id)
    cases = "".join(
        f"""
      WHEN known.question = {parameters.bind(name)} THEN
        IF(known.fingerprint = earlier_{n}, '{RowKind.CHANGED_QUESTION.name}', '{RowKind.CHANGED_DATA.name}')"""
        for n, name in enumerate(earlier)
    )
    strata, nth = _nth_changed(plan) if plan.limit else ("", "0")
    return f"""{request_clauses(request_rows, parameters, more)}, ranked AS (
  SELECT *, ROW_NUMBER() OVER (PARTITION BY key_text, bad_row ORDER BY fingerprint) AS nth_of_key
  FROM fingerprinted
), marks AS (
  {request_rows.known}
), known AS (
  SELECT
    key_text,
    ARRAY_AGG(IF(place IN ('{Place.TARGET}', '{Place.ASKED}'), fingerprint, NULL) IGNORE NULLS) AS done,
    ARRAY_AGG(IF(place = '{Place.CANARY}', fingerprint, NULL) IGNORE NULLS) AS canary,
    ARRAY_AGG(IF(place = '{Place.FAILED}', fingerprint, NULL) IGNORE NULLS) AS failed,
    LOGICAL_OR(place IN ('{Place.FAILED}', '{Place.TRIED}')) AS has_failed,
    MAX(IF(place = '{Place.TARGET}', fingerprint, NULL)) AS fingerprint,
    MAX(IF(place = '{Place.TARGET}', question, NULL)) AS question
  FROM marks
  GROUP BY key_text
), told AS (
  SELECT
    ranked.*,
    known.question AS answers,
    IFNULL(ranked.fingerprint IN UNNEST(known.canary), FALSE) AS is_answered,
    CASE
      WHEN known.question IS NULL THEN
        IF(known.has_failed, '{RowKind.FAILED_BEFORE.name}', '{RowKind.NEW.name}')
      WHEN known.question = {current} THEN '{RowKind.CHANGED_DATA.name}'{cases}
      ELSE '{RowKind.CHANGED.name}'
    END AS kind,
    CASE
      WHEN bad_row IS NOT NULL THEN bad_row
      WHEN nth_of_key > 1 THEN '{BadRow.DUPLICATE_KEY.name}'
      WHEN ranked.fingerprint IN UNNEST(known.done) THEN '{DONE}'
      WHEN ranked.fingerprint IN UNNEST(known.failed) THEN '{FAILED}'
    END AS not_asked
  FROM ranked
  LEFT JOIN known ON known.key_text = ranked.key_text
), sorted_rows AS (
  SELECT *, IFNULL(not_asked, kind) AS state, {nth} AS nth_changed
  FROM (SELECT *{strata} FROM told)
)"""


def earlier_fingerprint(question: Question, types: Mapping[str, str], parameters: Parameters) -> str:
    """Return the expression for the fingerprint that a row would have under an earlier question."""
    slots = slot_columns(question.template, types, parameters)
    model = parameters.bind(fingerprint_prefix(question.model).decode())
    request = request_text(question.template, parameters, slots)
    return fingerprint_sql(model, request)


def fingerprint_sql(model: str, request: str) -> str:
    """Return the expression for the fingerprint of a request's text to a model."""
    return f"SUBSTR(TO_HEX(SHA256(CONCAT({model}, {request}))), 1, {DIGEST_LENGTH})"


def _nth_changed(plan: BuildPlan) -> tuple[str, str]:
    """Return further items of the rows, and the expression for a row's place among those with a changed question.

    Places count from 1. A sample counts the rows that a canary has asked before, so that it stays the same.
    """
    changed = f"IFNULL(not_asked, kind) IN ({_CHANGED})"
    digest = "TO_HEX(MD5(key_text))"
    columns = dict(zip(plan.order.columns, ("order_0", "order_1"), strict=False))
    strata, order = "", [digest]
    if plan.order.strata:
        within = f"PARTITION BY {changed}, TO_JSON_STRING({columns[plan.order.strata]})"
        share = f"(ROW_NUMBER() OVER ({within} ORDER BY {digest}) - 1) / COUNT(*) OVER ({within})"
        strata, order = f", {share} AS share_of_stratum", ["share_of_stratum", digest]
    elif plan.order.column:
        direction = "DESC" if plan.order.descending else "ASC"
        order = [f"{columns[plan.order.column]} {direction} NULLS LAST", digest]
    return strata, f"ROW_NUMBER() OVER (PARTITION BY {changed} ORDER BY {', '.join(order)})"


def _is_golden(plan: BuildPlan, parameters: Parameters) -> str:
    if not plan.sample or not plan.sample.keys:
        return "FALSE"
    keys = orjson.dumps(sorted(plan.sample.keys)).decode()
    return f"key_text IN UNNEST(JSON_VALUE_ARRAY({parameters.bind(keys)}))"


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
  SELECT *, {fingerprint_sql(model, "request")} AS fingerprint
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
