"""The statements that copy a target before the first answers to a question land, and bring rows back from the copy."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from airflow_gemini_batch.core.addresses import BigQueryAddress
from airflow_gemini_batch.core.columns import QUESTION_COLUMN, SHORT_QUESTION, free_name
from airflow_gemini_batch.gcp.statements import Parameters, Statement
from airflow_gemini_batch.landing.bigquery.staging_sql import key_aliases
from airflow_gemini_batch.requests.bigquery.expressions import quoted

_TIME = "batch_processed_time"
# Aliases that no column has: in GoogleSQL an alias hides a column of the same name.
_TARGET, _COPY, _KEYS = "gemini_batch_target", "gemini_batch_copy", "gemini_batch_keys"


def clone_statement(source: BigQueryAddress, copy: BigQueryAddress, kept: timedelta) -> Statement:
    """Return the statement that makes a copy of a table, in the place of one that is there.

    A clone costs nothing when it is made, and afterwards what is stored in it alone.
    Source: https://cloud.google.com/bigquery/docs/table-clones-intro

    :param kept: how long.
    """
    life = f"TIMESTAMP_ADD(CURRENT_TIMESTAMP(), INTERVAL {int(kept.total_seconds())} SECOND)"
    return Statement(
        f"CREATE OR REPLACE TABLE {copy.sql}\nCLONE {source.sql}\nOPTIONS (expiration_timestamp = {life})"
    )


def previous_rows_statement(table: BigQueryAddress, question: str, *, has_question: bool) -> Statement:
    """Return the statement that counts the rows of a table, and those that answer a question.

    Columns of the result: ``row_count`` and ``answered_count``.

    :param has_question: whether the table has the column that says so.
    """
    parameters = Parameters()
    answered = (
        f"COUNTIF({_answers(_TARGET, parameters.bind(question[:SHORT_QUESTION]))})" if has_question else "0"
    )
    return Statement(
        f"SELECT COUNT(*) AS row_count, {answered} AS answered_count\nFROM {table.sql} AS {_TARGET}",
        parameters.values,
    )


@dataclass(frozen=True, slots=True)
class Restoring:
    """How rows come back from a copy.

    A rollback replaces the rows that answer a question by those of the copy. To undo it replaces rows by those of the
    copy that answer the question, unless they were answered after the copy was made.

    :param columns: GoogleSQL's types of the target's columns by name.
    :param copied: the names of those that the copy has; the others become NULL in a rollback.
    :param question: the first digits of its id.
    :param made: when the copy was made.
    :param removes: whether a rollback removes the rows that answer the question and are not in the copy.
    """

    target: BigQueryAddress
    copy: BigQueryAddress
    key: tuple[str, ...]
    columns: Mapping[str, str]
    copied: frozenset[str]
    question: str
    made: datetime
    undo: bool = False
    removes: bool = False

    def restored_rows_statement(self) -> Statement:
        """Return the statement that counts what would change.

        Columns of the result: ``back_count``, rows of the target that come back; ``new_count``, rows that answer the
        question and are not in the copy, or with ``undo`` rows that are in the copy only; ``twice_count``, those of the
        former whose key the copy holds more than once.
        """
        parameters = Parameters()
        question = parameters.bind(self.question)
        aliases = dict(zip(self.key, key_aliases(self.key), strict=True))
        keys = ", ".join(f"{_COPY}.{quoted(name)} AS {alias}" for name, alias in aliases.items())
        places = ", ".join(str(number + 1) for number in range(len(aliases)))
        where = f"\n  WHERE {_answers(_COPY, question)}" if self.undo else ""
        same = " AND ".join(f"{_TARGET}.{quoted(name)} = {_KEYS}.{alias}" for name, alias in aliases.items())
        is_copied, taken = f"{_KEYS}.key_0 IS NOT NULL", self._taken(_TARGET, question)
        is_there = f"{_TARGET}.{quoted(self.key[0])} IS NOT NULL"
        back = f"{is_copied} AND {is_there} AND {taken}"
        new = f"NOT {is_there}" if self.undo else f"NOT {is_copied} AND {taken}"
        return Statement(
            f"""SELECT
  COUNTIF({back}) AS back_count,
  COUNTIF({new}) AS new_count,
  COUNTIF({back} AND {_KEYS}.row_count > 1) AS twice_count
FROM {self.target.sql} AS {_TARGET}
{"RIGHT" if self.undo else "LEFT"} JOIN (
  SELECT {keys}, COUNT(*) AS row_count
  FROM {self.copy.sql} AS {_COPY}{where}
  GROUP BY {places}
) AS {_KEYS} ON {same}""",
            parameters.values,
        )

    def restore_statement(self) -> Statement:
        """Return the statement that brings the rows back."""
        parameters = Parameters()
        question = parameters.bind(self.question)
        # In SET the alias would hide a column of the same name.
        rows, copy = free_name(_TARGET, self.columns), _COPY
        same = " AND ".join(f"{rows}.{quoted(name)} = {copy}.{quoted(name)}" for name in self.key)
        where = f"\n  WHERE {_answers(_COPY, question)}" if self.undo else ""
        names = [name for name in self.columns if not self.undo or name in self.copied]
        keys = {name.lower() for name in self.key}
        values = {
            name: f"{copy}.{quoted(name)}" if name in self.copied else "NULL"
            for name in names
            if name.lower() not in keys
        }
        sql = f"""MERGE INTO {self.target.sql} AS {rows}
USING (
  SELECT {_COPY}.*
  FROM {self.copy.sql} AS {_COPY}{where}
) AS {copy}
ON {same}
WHEN MATCHED AND {self._taken(rows, question)} THEN
  UPDATE SET {", ".join(f"{quoted(name)} = {value}" for name, value in values.items())}"""
        if self.undo:
            sql += f"""
WHEN NOT MATCHED BY TARGET THEN
  INSERT ({", ".join(map(quoted, names))})
  VALUES ({", ".join(f"{copy}.{quoted(name)}" for name in names)})"""
        elif self.removes:
            sql += f"\nWHEN NOT MATCHED BY SOURCE AND {self._taken(rows, question)} THEN\n  DELETE"
        return Statement(sql, parameters.values)

    def _taken(self, rows: str, question: str) -> str:
        """Return the condition that a row of the target is one to be replaced."""
        answers = _answers(rows, question)
        if not self.undo:
            return answers
        made = f"TIMESTAMP '{self.made.astimezone(UTC):%Y-%m-%d %H:%M:%S.%f}+00:00'"
        return f"NOT {answers} AND COALESCE({rows}.{quoted(_TIME)} <= {made}, TRUE)"


def _answers(rows: str, question: str) -> str:
    return f"COALESCE(STARTS_WITH({rows}.{quoted(QUESTION_COLUMN)}, {question}), FALSE)"
