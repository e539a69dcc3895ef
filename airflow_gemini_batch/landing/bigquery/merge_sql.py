"""The statements that check a staging table, merge it into the target and its failures, and count it.

The staging table has the columns of :func:`airflow_gemini_batch.landing.plan.staging_columns`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from airflow_gemini_batch.core.addresses import BigQueryAddress
from airflow_gemini_batch.core.columns import FAILED_COLUMNS, STAGED_AS, TIMES_FAILED_COLUMN, free_name
from airflow_gemini_batch.gcp.statements import Parameters, Statement
from airflow_gemini_batch.landing.bigquery.embedding_sql import other_length_statement, shortened_statement
from airflow_gemini_batch.landing.bigquery.staging_sql import key_aliases, unfit_keys_statement
from airflow_gemini_batch.landing.plan import (
    LandingPlan,
    first_failure,
    newer_wins,
    target_columns,
    times_failed,
)
from airflow_gemini_batch.outputs.classify import Outcome, Tally
from airflow_gemini_batch.requests.bigquery.expressions import quoted, text_of

UNFIT_KEYS = {"NULL": "hold NULL", "twice": "occur more than once"}
"""What :func:`.unfit_keys_statement` calls an error of keys, and what it is."""

# What stands in the place of outcomes beside these.
LENGTHS = "lengths"
SHORTENED = "shortened"
BOUNDS = "bounds"

# Aliases that no column has: in GoogleSQL an alias hides a column of the same name.
_STAGED, _TARGET, _FAILED = "gemini_batch_staged", "gemini_batch_target", "gemini_batch_failed"
_KNOWN = "gemini_batch_known"
_STAGED_TIME = f"{_STAGED}.batch_processed_time"
_ANSWERED = f"{_STAGED}.batch_outcome = '{Outcome.OK}'"


def count_statement(staging: BigQueryAddress, samples: int) -> Statement:
    """Return the statement that counts the staged rows by outcome.

    Columns of the result: ``outcome``, ``row_count`` and ``messages``, at most ``samples`` different ones.
    """
    # Messages are grouped first: an aggregate of different ones would hold all of them.
    return Statement(f"""SELECT
  outcome,
  SUM(row_count) AS row_count,
  ARRAY_AGG(message IGNORE NULLS ORDER BY message LIMIT {samples}) AS messages
FROM (
  SELECT {_STAGED}.batch_outcome AS outcome, {_STAGED}.batch_message AS message, COUNT(*) AS row_count
  FROM {staging.sql} AS {_STAGED}
  GROUP BY 1, 2
)
GROUP BY outcome""")


@dataclass(frozen=True, slots=True)
class Bounds:
    """Between what the staged rows lie in a column of the key by which the target is partitioned or clustered.

    :param least: the least value as text, like ``most``.
    """

    column: str
    least: str
    most: str


@dataclass(frozen=True, slots=True)
class Merge:
    """How a staging table is merged: answers and failures in one transaction.

    An answer that is older than the target's changes nothing, and neither does a failure that is older than an answer;
    without bookkeeping the target does not say how old its answers are.

    BigQuery bills a MERGE that could change rows for all columns of its target, also when it changes none. Most nights
    only add answers. So :meth:`merge_statement` reads keys and times of the target first, and all of it only where an
    answer has to change.

    :param key_types: GoogleSQL's types of the key columns.
    :param compares_lengths: whether the target has vectors whose lengths are told.
    :param bounds: what of the target can hold the staged keys; ``None`` for all.
    """

    plan: LandingPlan
    key_types: Mapping[str, str]
    staging: BigQueryAddress
    target: BigQueryAddress
    failed: BigQueryAddress
    compares_lengths: bool = False
    bounds: Bounds | None = None

    def checking_statement(self, column: str | None) -> Statement:
        """Return the statement that looks whether the staged rows can land, where more than a script has to be done.

        Columns of the result: ``outcome``, ``row_count`` and ``messages``: an ``error`` of
        :func:`.unfit_keys_statement` with its numbers, and :data:`BOUNDS` with the two bounds as messages.

        :param column: the column of the key that the bounds are wanted of.
        """
        unfit = unfit_keys_statement(self.plan.key, self.key_types, self.staging).sql
        sql = f"SELECT error AS outcome, key_count AS row_count, sample_keys AS messages\nFROM (\n{unfit}\n)"
        if column:
            value = f"{_STAGED}.{quoted(column)}"
            texts = ", ".join(text_of(name, self.key_types[column]) for name in ("least", "most"))
            sql += f"""
UNION ALL
SELECT '{BOUNDS}', 1, [{texts}]
FROM (SELECT MIN({value}) AS least, MAX({value}) AS most FROM {self.staging.sql} AS {_STAGED})
WHERE least IS NOT NULL"""
        return Statement(sql)

    def merge_statement(self) -> Statement:
        """Return the script that lands the staged rows unless something speaks against it, and counts them.

        Columns of the result: ``outcome``, ``row_count`` and ``messages``, of the staged rows by outcome. Of vectors
        there is also :data:`SHORTENED`, with the number of those that were cut. Where nothing has landed, there is also
        the reason: an ``error`` of :func:`.unfit_keys_statement` with its numbers, or :data:`LENGTHS` with the two
        lengths as messages.
        """
        parameters = Parameters()
        more = ""
        if self.plan.embeds:
            more = f"UNION ALL\nSELECT '{SHORTENED}', ({shortened_statement(self.staging).sql}), ARRAY<STRING>[]\n"
        return Statement(
            f"""BEGIN TRANSACTION;
{self._known_rows(parameters)};
IF (SELECT LOGICAL_OR({_KNOWN}.changes) AND LOGICAL_AND({_KNOWN}.stop IS NULL) FROM {_KNOWN}) THEN
{self._change_answers(parameters)};
ELSE
{self._add_answers()};
END IF;
{self._merge_failures()};
COMMIT TRANSACTION;
{count_statement(self.staging, Tally.MAX_SAMPLES).sql}
{more}UNION ALL
SELECT {_KNOWN}.stop, MAX({_KNOWN}.stop_count), ANY_VALUE({_KNOWN}.stop_messages)
FROM {_KNOWN}
WHERE {_KNOWN}.stop IS NOT NULL
GROUP BY {_KNOWN}.stop""",
            parameters.values,
        )

    @property
    def _aliases(self) -> dict[str, str]:
        return dict(zip(self.plan.key, key_aliases(self.plan.key), strict=True))

    @property
    def _written(self) -> dict[str, str]:
        """The columns of the target but for the key, and their types."""
        columns = target_columns(self.plan)
        return {name: kind for name, kind in columns.items() if name not in self.plan.key}

    def _known_rows(self, parameters: Parameters) -> str:
        """Return the statement that writes what the target knows of the staged keys, and what speaks against landing.

        Columns of the temporary table: ``key_0``, ``key_1``, …, ``answered_time`` and ``changes``, whether the answer
        has to change; ``stop``, ``stop_count`` and ``stop_messages``. A target of others may hold a key more than once,
        and the table has it once.
        """
        time = f"{_TARGET}.batch_processed_time" if self.plan.bookkeeping else "CAST(NULL AS TIMESTAMP)"
        changes = f"LOGICAL_OR({_ANSWERED} AND {newer_wins(_STAGED_TIME, time)})"
        keys = ", ".join(f"{_TARGET}.{quoted(name)} AS {alias}" for name, alias in self._aliases.items())
        stops = [unfit_keys_statement(self.plan.key, self.key_types, self.staging).sql]
        if self.compares_lengths:
            lengths = "[CAST(staged AS STRING), CAST(landed AS STRING)]"
            stops.append(
                f"SELECT '{LENGTHS}' AS error, 1 AS key_count, {lengths} AS sample_keys\n"
                f"FROM ({other_length_statement(self.staging, self.target).sql})"
            )
        no_key = ", ".join("NULL" for _ in self.plan.key)
        others = "".join(
            f"\nUNION ALL\nSELECT {no_key}, NULL, NULL, error, key_count, sample_keys\nFROM (\n{stop}\n)"
            for stop in stops
        )
        return f"""CREATE TEMP TABLE {_KNOWN} AS
SELECT
  {keys},
  MAX({time}) AS answered_time,
  {changes} AS changes,
  CAST(NULL AS STRING) AS stop,
  0 AS stop_count,
  ARRAY<STRING>[] AS stop_messages
FROM {self.target.sql} AS {_TARGET}
JOIN {self.staging.sql} AS {_STAGED} ON {self._same_key(_TARGET)}{self._within(_TARGET, parameters)}
GROUP BY {", ".join(str(number + 1) for number in range(len(self.plan.key)))}{others}"""

    def _add_answers(self) -> str:
        absent = f"{_KNOWN}.key_0 IS NULL"
        return f"""MERGE INTO {self.target.sql} AS {_TARGET}
USING ({self._staged_beside_known(f"{_ANSWERED} AND {absent}")}) AS {_STAGED}
ON FALSE
{self._insert_answers()}"""

    def _change_answers(self, parameters: Parameters) -> str:
        # In SET the alias would hide a column of the same name.
        rows = free_name(_TARGET, self._written)
        conditions = [
            _differ(rows, {name: f"{_STAGED}.{quoted(name)}" for name in self._written}, self._written)
        ]
        if self.plan.bookkeeping:
            conditions.insert(0, newer_wins(_STAGED_TIME, f"{rows}.batch_processed_time"))
        return f"""MERGE INTO {self.target.sql} AS {rows}
USING (SELECT {_STAGED}.* FROM {self.staging.sql} AS {_STAGED} WHERE {_ANSWERED}) AS {_STAGED}
ON {self._same_key(rows)}{self._within(rows, parameters)}
WHEN MATCHED AND {" AND ".join(conditions)} THEN
  UPDATE SET {", ".join(f"{quoted(name)} = {_STAGED}.{quoted(name)}" for name in self._written)}
{self._insert_answers()}"""

    def _insert_answers(self) -> str:
        names = [*self.plan.key, *self._written]
        return f"""WHEN NOT MATCHED THEN
  INSERT ({", ".join(map(quoted, names))})
  VALUES ({", ".join(f"{_STAGED}.{quoted(name)}" for name in names)})"""

    def _merge_failures(self) -> str:
        """Return the statement that merges failures, and takes out those of rows that are answered."""

        def new(name: str) -> str:
            return f"{_STAGED}.{quoted(STAGED_AS.get(name, name))}"

        values = {name: new(name) for name in FAILED_COLUMNS if name != TIMES_FAILED_COLUMN}
        first = {**values, TIMES_FAILED_COLUMN: first_failure(new)}
        again = {
            **values,
            TIMES_FAILED_COLUMN: times_failed(new, lambda name: f"{_FAILED}.{quoted(name)}"),
        }
        keys = [quoted(name) for name in self.plan.key]
        newer = newer_wins(_STAGED_TIME, f"{_FAILED}.failed_time")
        # A failure that an answer in the target has overtaken is none.
        current = f"({_ANSWERED} OR {newer_wins(_STAGED_TIME, f'{_KNOWN}.answered_time')})"
        return f"""MERGE INTO {self.failed.sql} AS {_FAILED}
USING ({self._staged_beside_known(current)}) AS {_STAGED}
ON {self._same_key(_FAILED)}
WHEN MATCHED AND {_ANSWERED} AND {newer} THEN
  DELETE
WHEN MATCHED AND NOT {_ANSWERED} AND {newer} AND {_differ(_FAILED, values, FAILED_COLUMNS)} THEN
  UPDATE SET {", ".join(f"{quoted(name)} = {value}" for name, value in again.items())}
WHEN NOT MATCHED AND NOT {_ANSWERED} THEN
  INSERT ({", ".join([*keys, *map(quoted, first)])})
  VALUES ({", ".join([*(f"{_STAGED}.{key}" for key in keys), *first.values()])})"""

    def _staged_beside_known(self, condition: str) -> str:
        """Return the query for the staged rows that meet a condition, where nothing speaks against all rows."""
        same = " AND ".join(
            f"{_KNOWN}.{alias} = {_STAGED}.{quoted(name)}" for name, alias in self._aliases.items()
        )
        return f"""
  SELECT {_STAGED}.*
  FROM {self.staging.sql} AS {_STAGED}
  LEFT JOIN {_KNOWN} ON {same}
  WHERE {condition} AND NOT EXISTS (SELECT 1 FROM {_KNOWN} WHERE {_KNOWN}.stop IS NOT NULL)
"""

    def _same_key(self, rows: str) -> str:
        return " AND ".join(f"{rows}.{quoted(name)} = {_STAGED}.{quoted(name)}" for name in self.plan.key)

    def _within(self, rows: str, parameters: Parameters) -> str:
        """Return a further condition of a join with the target, a constant one, so that BigQuery leaves parts out."""
        if self.bounds is None:
            return ""
        kind = self.key_types[self.bounds.column]
        least, most = (
            f"CAST({parameters.bind(bound)} AS {kind})" for bound in (self.bounds.least, self.bounds.most)
        )
        return f" AND {rows}.{quoted(self.bounds.column)} BETWEEN {least} AND {most}"


def _differ(rows: str, values: Mapping[str, str], types: Mapping[str, str]) -> str:
    """Return the condition that one of a row's columns has another value."""

    def comparable(value: str, kind: str) -> str:
        return f"TO_JSON_STRING({value})" if kind == "JSON" or kind.startswith("ARRAY<") else value

    different = (
        f"{comparable(f'{rows}.{quoted(name)}', types[name])} IS DISTINCT FROM {comparable(value, types[name])}"
        for name, value in values.items()
    )
    return f"({' OR '.join(different)})"
