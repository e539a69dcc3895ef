"""The columns that a vector lands in, and what may be wrong with it."""

from __future__ import annotations

from airflow_gemini_batch.core.response_schema import AnswerColumn

DIMENSIONS = "dimensions"
"""Column with the length of the vector beside it."""

EMPTY = "the vector is empty"
ZERO = "the vector is zero"
NO_NUMBER = "the vector holds something that is not a finite number"
NO_VECTOR = "the row has no vector"
SHORTEST, LONGEST = 1e-150, 1e150
"""Bounds of a vector's length: beyond them the squares of its numbers are not FLOAT64."""

AMBIGUOUS = (
    "the same text was asked for with several titles or task types, and the output does not tell which of the vectors "
    "belongs to which"
)


def embedding_columns(vector_column: str) -> tuple[AnswerColumn, ...]:
    """Return the columns that a vector and its facts land in; their paths name what they hold."""
    return (
        AnswerColumn(vector_column, "FLOAT64", repeated=True, path="values"),
        *(
            AnswerColumn(name, kind, path=name)
            for name, kind in (("token_count", "INT64"), ("truncated", "BOOL"), (DIMENSIONS, "INT64"))
        ),
    )
