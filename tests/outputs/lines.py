"""Output lines, read by DuckDB as the package does."""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from airflow_gemini_batch.gcp.pieces import pieces
from airflow_gemini_batch.outputs.classify import Outcome
from airflow_gemini_batch.outputs.classify_sql import failure_message, outcome_case, status_code
from airflow_gemini_batch.outputs.lines import AnswerLines, database_of_lines
from airflow_gemini_batch.sql.dialect import DUCKDB


class Read(NamedTuple):
    """Rows, each with its label first and its digest last, and the number of lines that can't be read."""

    rows: list[tuple[Any, ...]]
    unreadable: int


def read_lines(folder: Path, lines: Iterable[bytes], columns: Sequence[str]) -> Read:
    """Read output lines.

    :param columns: of ``gemini_batch_read``, or ``outcome``, ``message`` or ``code``.
    """
    query = f"""SELECT label, {", ".join(columns)}, digest
FROM (
  SELECT *, IF(outcome = '{Outcome.OK}', NULL, COALESCE(NULLIF(status_text, ''), {failure_message(DUCKDB)})) AS message
  FROM (SELECT *, {outcome_case(DUCKDB)} AS outcome, {status_code(DUCKDB)} AS code FROM gemini_batch_read)
)"""
    with database_of_lines(folder) as database:
        answers = AnswerLines(database, folder, query)
        for piece in pieces(io.BytesIO(b"\n".join(lines)), folder):
            answers.add(piece)
            piece.remove()
        rows = database.execute(f"FROM {answers.rows}").fetchall() if answers.files else []
    return Read(rows, answers.unreadable)
