"""The SQL that matches answers with requests, and chooses among them. No row of a table leaves BigQuery.

Columns of tables are qualified by an alias, since in GoogleSQL an alias hides a column of the same name.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Self

from airflow_gemini_batch.core.addresses import BigQueryAddress
from airflow_gemini_batch.core.columns import free_name
from airflow_gemini_batch.core.model_families import ModelFamily
from airflow_gemini_batch.outputs.classify import Outcome
from airflow_gemini_batch.outputs.summary import KEPT_FOR_DAYS
from airflow_gemini_batch.outputs.tally_sql import OUTPUT, SAMPLE, sorted_answers
from airflow_gemini_batch.outputs.usage_sql import IS_COUNTED, row_counts, token_sums

# Rows that count in no outcome.
DUPLICATE = "duplicate"
UNKNOWN = "unknown"

_RETRIED = ", ".join(f"'{outcome}'" for outcome in Outcome if outcome.retried)
_SOURCE = "gemini_batch_source"


def best_first(outcome: str, *, round_: str = "", time: str = "", ties: str = "") -> str:
    """Return the items of an ORDER BY that put the answer that counts first, for BigQuery and DuckDB.

    A good answer counts before any failure, then the one of the latest round, then a failure that is final before one
    that another job may repair, then the newest.

    :param outcome: an expression, as are the others.
    :param round_: number of the job; left out where all rows are of one job.
    :param time: when the answer came; left out where no row says.
    :param ties: further items, so that the same row wins in every run.
    """
    items = [
        f"CASE WHEN {outcome} = '{Outcome.OK}' THEN 0 ELSE 1 END",
        f"{round_} DESC" if round_ else "",
        f"CASE WHEN {is_final(outcome)} THEN 0 ELSE 1 END",
        f"{time} DESC" if time else "",
        ties,
    ]
    return ", ".join(filter(None, items))


def is_final(outcome: str) -> str:
    """Return the condition that a row needs no other job, for BigQuery and DuckDB."""
    return f"{outcome} NOT IN ({_RETRIED})"


def beside_requests(answers: str, contents: str, columns: Sequence[str]) -> str:
    """Return answers whose line does not tell a key beside their requests, as they stand behind FROM, for DuckDB.

    Without a key, or with one that several requests may have had, the content decides: an answer belongs to all
    requests of the same. The request that has such a key alone is ``alone``, those of the same content are ``same``.

    :param answers: rows with ``manifest``, ``label``, and ``digest`` and ``bare_key``, both as of
        :class:`~airflow_gemini_batch.outputs.matching.AnswerIdentity`.
    :param contents: the requests, with the same columns, and others.
    :param columns: those that are wanted.
    """
    kept = ", ".join(f"ANY_VALUE({name}) AS {name}" for name in columns)
    return f"""({answers}) AS nameless
LEFT JOIN (
  SELECT manifest, bare_key, {kept} FROM {contents} GROUP BY ALL HAVING COUNT(*) = 1
) AS alone
  ON nameless.label IS NULL AND alone.manifest = nameless.manifest AND alone.bare_key = nameless.bare_key
LEFT JOIN {contents} AS same
  ON nameless.label IS NULL AND alone.{columns[0]} IS NULL AND same.manifest = nameless.manifest
    AND same.digest = nameless.digest"""


@dataclass(frozen=True, slots=True)
class TableMatch:
    """How the rows of an output table are matched with the requests in its source table.

    :param columns: what distinguishes requests in both tables; empty if nothing comes back that does.
    :param others: further columns of the source that a request is made of.
    :param types: of the output's columns that do not come from the source.
    :param counts: what is counted of a row's tokens, by name.
    :param number: a name that no column of the source has.
    """

    output: BigQueryAddress
    source: BigQueryAddress
    family: ModelFamily
    columns: Sequence[str]
    others: Sequence[str]
    types: Mapping[str, str]
    counts: Mapping[str, str]
    number: str

    @classmethod
    def of(
        cls,
        output: BigQueryAddress,
        source: BigQueryAddress,
        family: ModelFamily,
        *,
        output_columns: Mapping[str, str],
        source_columns: Collection[str],
    ) -> Self:
        """Choose the columns to match by.

        Key columns pass through unchanged. The service echoes ``request`` in its own spelling, so it serves only if
        there are no others. A family that returns no keys returns what the model reads and nothing else.
        """
        types = {name: kind for name, kind in output_columns.items() if name not in source_columns}
        number = free_name("gemini_batch_number", source_columns)
        if not family.returns_keys:
            source_columns = [name for name in source_columns if name in family.read_columns]
        columns = [name for name in source_columns if name in output_columns]
        if family.returns_keys:
            columns = [name for name in columns if name != family.main_column] or columns
        others = [name for name in source_columns if name not in columns]
        return cls(output, source, family, columns, others, types, row_counts(output_columns), number)

    def summary_statement(self) -> str:
        """Return the statement that counts the output's rows by the requests of the source, and both tables' rows.

        Columns of the result:

        - ``surplus``: empty; :data:`DUPLICATE` for rows beyond the requests (which of several count, :func:`best_first`
          says); :data:`UNKNOWN` for rows that answer no request. Without :attr:`columns` it says nothing.
        - ``outcome`` (NULL for requests without an answer), ``row_count`` and ``sample``: see :func:`.tally_statement`.
        - ``request_count``, whose sum is the number of requests; ``most_alike``, most requests that :attr:`columns` do
          not distinguish.
        - ``is_counted``, whether the rows report tokens, and their sums, as in :func:`.usage_statement`.
        """
        return f"""WITH gemini_batch_requests AS (
  SELECT {self._digest(_SOURCE)} AS digest, COUNT(*) AS request_count FROM {self.source.sql} AS {_SOURCE} GROUP BY 1
), {self._sorted_answers(self.counts)}, gemini_batch_ranked AS (
  SELECT *, ROW_NUMBER() OVER (PARTITION BY digest ORDER BY {best_first("outcome")}) AS answer_rank
  FROM gemini_batch_answers
), gemini_batch_matched AS (
  SELECT
    ranked.*,
    IF(IFNULL(ranked.answer_rank, 1) = 1, requests.request_count, NULL) AS request_count,
    {IS_COUNTED} AS is_counted,
    CASE
      WHEN requests.request_count IS NULL THEN '{UNKNOWN}'
      WHEN ranked.answer_rank > requests.request_count THEN '{DUPLICATE}'
      ELSE ''
    END AS surplus
  FROM gemini_batch_ranked AS ranked
  FULL JOIN gemini_batch_requests AS requests ON requests.digest = ranked.digest
)
SELECT
  surplus,
  outcome,
  model_version,
  is_counted,
  COUNT(outcome) AS row_count,
  IFNULL(SUM(request_count), 0) AS request_count,
  IFNULL(MAX(request_count), 0) AS most_alike,
  {SAMPLE},
  {token_sums()}
FROM gemini_batch_matched
GROUP BY surplus, outcome, model_version, is_counted
ORDER BY outcome, surplus, model_version, is_counted"""

    def follow_up_statement(self, address: BigQueryAddress) -> str:
        """Return the statement that writes the requests worth another job to a table with the source's columns.

        Of equal requests as many are written as have no final answer. The same statement writes the same rows again.
        """
        return f"""CREATE OR REPLACE TABLE {address.sql}
OPTIONS (expiration_timestamp = TIMESTAMP_ADD(CURRENT_TIMESTAMP(), INTERVAL {KEPT_FOR_DAYS} DAY))
AS
WITH gemini_batch_requests AS (
  SELECT {_SOURCE}.*, ROW_NUMBER() OVER (PARTITION BY {self._digest(_SOURCE)}) AS {self.number}
  FROM {self.source.sql} AS {_SOURCE}
), {self._sorted_answers({})}, gemini_batch_final AS (
  SELECT digest, COUNT(*) AS row_count FROM gemini_batch_answers WHERE {is_final("outcome")} GROUP BY digest
)
SELECT gemini_batch_requests.* EXCEPT ({self.number})
FROM gemini_batch_requests
LEFT JOIN gemini_batch_final ON gemini_batch_final.digest = {self._digest("gemini_batch_requests")}
WHERE gemini_batch_requests.{self.number} > IFNULL(gemini_batch_final.row_count, 0)"""

    def mixed_statement(self) -> str:
        """Return the statement that counts the groups of requests that :attr:`columns` do not distinguish.

        Column of the result: ``row_count`` (INT64).
        """
        others = _digest_of(_SOURCE, self.others)
        return f"""SELECT COUNT(*) AS row_count
FROM (
  SELECT {_digest_of(_SOURCE, self.columns)} AS digest
  FROM {self.source.sql} AS {_SOURCE}
  GROUP BY 1
  HAVING MIN({others}) != MAX({others})
)"""

    def _sorted_answers(self, more: Mapping[str, str]) -> str:
        return sorted_answers(self.output, {"digest": self._digest(OUTPUT), **more}, self.family, self.types)

    def _digest(self, rows: str) -> str:
        # What a model reads may come back empty where it was NULL.
        return _digest_of(rows, self.columns, blank_is_null=not self.family.returns_keys)


def _digest_of(rows: str, columns: Sequence[str], *, blank_is_null: bool = False) -> str:
    """Return the expression for a digest of these columns, as hexadecimal text.

    :param rows: alias of the table.
    :param blank_is_null: take an empty text for NULL; all columns are texts then.
    """
    values = [f"{rows}.`{column}`" for column in columns]
    if blank_is_null:
        values = [f"NULLIF({value}, '')" for value in values]
    # As JSON text, so that a NULL differs from an empty string and a separator within a value does no harm.
    texts = ", '|', ".join(f"COALESCE(TO_JSON_STRING({value}), 'null')" for value in values)
    return f"TO_HEX(SHA256(CONCAT({texts})))" if columns else "''"
