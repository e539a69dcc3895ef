"""Output lines, read by DuckDB as the package does."""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from airflow_gemini_batch.core.model_families import MOST_TOKENS, ModelFamily
from airflow_gemini_batch.gcp.pieces import pieces
from airflow_gemini_batch.outputs.classify import Outcome
from airflow_gemini_batch.outputs.classify_sql import failure_message, outcome_case, status_code
from airflow_gemini_batch.outputs.lines import GENERATED, AnswerLines, LineForm, database_of_lines
from airflow_gemini_batch.outputs.vector_lines import vector_lines
from airflow_gemini_batch.outputs.vectors_sql import checked_vectors, fitted_numbers, is_shortened
from airflow_gemini_batch.sql.dialect import DUCKDB


class Read(NamedTuple):
    """Rows, each with its label first and its digest last, and the number of lines that can't be read."""

    rows: list[tuple[Any, ...]]
    unreadable: int


def read_lines(folder: Path, lines: Iterable[bytes], columns: Sequence[str]) -> Read:
    """Read output lines with generated content.

    :param columns: of ``gemini_batch_read``, or ``outcome``, ``message`` or ``code``.
    """
    query = f"""SELECT source, label, {", ".join(columns)}, digest
FROM (
  SELECT *, IF(outcome = '{Outcome.OK}', NULL, COALESCE(NULLIF(status_text, ''), {failure_message(DUCKDB)})) AS message
  FROM (SELECT *, {outcome_case(DUCKDB)} AS outcome, {status_code(DUCKDB)} AS code FROM gemini_batch_read)
)"""
    return _read(folder, lines, query, GENERATED)


def read_vectors(
    folder: Path,
    family: ModelFamily,
    lines: Iterable[bytes],
    columns: Sequence[str],
    dimensions: int | None = None,
    limit: int = MOST_TOKENS,
) -> Read:
    """Read output lines with vectors.

    :param columns: of :func:`.checked_vectors`, or ``fitted`` or ``shortened``.
    """
    fitted, shortened = fitted_numbers("judged", dimensions, DUCKDB), is_shortened("judged", dimensions)
    query = f"""FROM (
  WITH {checked_vectors("gemini_batch_read", dimensions, sql=DUCKDB)}
  SELECT source, label, {", ".join(columns)}, digest
  FROM (
    SELECT *, {fitted} AS fitted, {shortened} AS shortened
    FROM gemini_batch_judged AS judged
  )
)"""
    return _read(folder, lines, query, vector_lines(family, limit, dimensions))


def _read(folder: Path, lines: Iterable[bytes], query: str, form: LineForm) -> Read:
    with database_of_lines(folder) as database:
        answers = AnswerLines(database, folder, query, form)
        for piece in pieces([io.BytesIO(b"\n".join(lines))], folder, form.is_odd, form.piece_size):
            answers.add(piece)
            piece.remove()
        rows = (
            database.execute(f"SELECT * EXCLUDE (source) FROM {answers.rows}").fetchall()
            if answers.files
            else []
        )
    return Read(rows, answers.unreadable)
