"""How much one statement may read and hold, and how tables are divided among several statements."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

from airflow_gemini_batch.gcp.statements import Statement

Table = TypeVar("Table")


@dataclass(frozen=True, slots=True)
class StatementLimits:
    """What one statement may read and hold; somewhat less than BigQuery takes, which is 1,000, 1 MB and 10,000.

    Source: https://cloud.google.com/bigquery/quotas#query_jobs

    :param tables: most tables that it reads.
    :param text: its most bytes.
    :param parameters: most parameters.
    """

    tables: int = 900
    text: int = 900_000
    parameters: int = 9_000

    def allow(self, statement: Statement, tables: int) -> bool:
        """Return whether a statement that reads so many tables is within the limits."""
        return (
            tables <= self.tables
            and len(statement.sql.encode()) <= self.text
            and len(statement.parameters) <= self.parameters
        )


DEFAULT_LIMITS = StatementLimits()


def portions(
    tables: Sequence[Table], statement_of: Callable[[Sequence[Table]], Statement], limits: StatementLimits
) -> Iterator[Sequence[Table]]:
    """Divide tables among as few statements as the limits allow, in their order.

    :param statement_of: gives the statement that reads some of them. It has to hold no more than those of each table
        together, and for one table be within the limits.
    """
    begin = text = parameters = 0
    for end, table in enumerate(tables):
        one = statement_of([table])
        text += len(one.sql.encode())
        parameters += len(one.parameters)
        if end > begin and (
            end - begin >= limits.tables or text > limits.text or parameters > limits.parameters
        ):
            yield tables[begin:end]
            begin, text, parameters = end, len(one.sql.encode()), len(one.parameters)
    if tables:
        yield tables[begin:]
