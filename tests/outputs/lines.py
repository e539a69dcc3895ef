"""Output lines, read by DuckDB as the package does."""

from __future__ import annotations

import io
import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from airflow_gemini_batch.core.keys import sent_key
from airflow_gemini_batch.core.model_families import MOST_TOKENS, ModelFamily
from airflow_gemini_batch.gcp.pieces import pieces
from airflow_gemini_batch.outputs.classify import Outcome, Tally
from airflow_gemini_batch.outputs.classify_sql import failure_message, outcome_case, status_code
from airflow_gemini_batch.outputs.generated_lines import GENERATED
from airflow_gemini_batch.outputs.line_sql import LineForm, LineQuery
from airflow_gemini_batch.outputs.lines import AnswerLines
from airflow_gemini_batch.outputs.matched_lines import CountedLines, RequestLines, matched
from airflow_gemini_batch.outputs.usage import UsageByModel
from airflow_gemini_batch.outputs.vector_lines import vector_lines
from airflow_gemini_batch.outputs.vectors_sql import checked_vectors, fitted_numbers, is_shortened
from airflow_gemini_batch.sql.dialect import DUCKDB
from tests.support.databases import shared_database


class Sorted(NamedTuple):
    """What became of a row."""

    outcome: str
    message: str | None
    code: int | None
    text: str


def sort_rows(folder: Path, rows: Sequence[Mapping[str, Any]]) -> list[Sorted]:
    """Return what becomes of rows with generated content."""
    lines = [
        json.dumps({"key": sent_key(f"{number:06}"), "request": {}, **row}).encode()
        for number, row in enumerate(rows)
    ]
    read = read_lines(folder, lines, ["outcome", "message", "code", "answer_text"])
    assert read.unreadable == 0
    return [Sorted._make(cells) for _, *cells, _ in sorted(read.rows, key=lambda row: str(row[0]))]


def match_rows(
    folder: Path, asked: Sequence[str], came: Iterable[tuple[str, Mapping[str, Any]]]
) -> tuple[Tally, Counter[str] | None]:
    """Match rows with requests by their content.

    Return the tally and how many of the requests are worth another job, of each content; None if none can be told.
    """

    def request(text: str) -> dict[str, Any]:
        return {"request": {"contents": [{"parts": [{"text": text}]}]}}

    with shared_database() as database:
        answers, requests = CountedLines(database, folder), RequestLines(database, by_key=False)
        _add(folder, answers, [{**request(text), **row} for text, row in came])
        _add(folder, requests, map(request, asked))
        tally, to_retry = matched(database, answers, requests, by_key=False)
    if to_retry is None:
        return tally, None
    return tally, Counter(text for text, again in zip(asked, to_retry, strict=True) if again)


def count_tokens(folder: Path, rows: Iterable[Mapping[str, Any]]) -> UsageByModel:
    """Return the tokens of rows of one family of models."""
    with shared_database() as database:
        answers = CountedLines(database, folder)
        _add(folder, answers, rows)
        return answers.usage()


def _add(folder: Path, lines: CountedLines | RequestLines, rows: Iterable[Mapping[str, Any]]) -> None:
    content = b"".join(json.dumps(row).encode() + b"\n" for row in rows)
    is_odd = lines.is_odd if isinstance(lines, CountedLines) else lambda _: False
    for piece in pieces([io.BytesIO(content)], folder, is_odd):
        with piece:
            lines.add(piece)


class Read(NamedTuple):
    """Rows, each with its label first and its digest last, and the number of lines that can't be read."""

    rows: list[tuple[Any, ...]]
    unreadable: int


def read_lines(
    folder: Path, lines: Iterable[bytes], columns: Sequence[str], *, each_alone: bool = False
) -> Read:
    """Read output lines with generated content.

    :param columns: of ``gemini_batch_read``, or ``outcome``, ``message`` or ``code``.
    :param each_alone: each line is a file.
    """
    query = f"""SELECT source, label, {", ".join(columns)}, digest
FROM (
  SELECT *, IF(outcome = '{Outcome.OK}', NULL, COALESCE(NULLIF(status_text, ''), {failure_message(DUCKDB)})) AS message
  FROM (SELECT *, {outcome_case(DUCKDB)} AS outcome, {status_code(DUCKDB)} AS code FROM gemini_batch_read)
)"""
    form = GENERATED
    files = lines if each_alone else [b"\n".join(lines)]
    return _read(folder, files, query, form)


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
  WITH {checked_vectors("gemini_batch_read", dimensions, DUCKDB)}
  SELECT source, label, {", ".join(columns)}, digest
  FROM (
    SELECT *, {fitted} AS fitted, {shortened} AS shortened
    FROM gemini_batch_judged AS judged
  )
)"""
    return _read(folder, [b"\n".join(lines)], query, vector_lines(family, limit, dimensions))


def _read(folder: Path, files: Iterable[bytes], query: str, form: LineForm) -> Read:
    with shared_database() as database:
        answers = AnswerLines(database, folder, LineQuery(form, query))
        answers.add_all(pieces(map(io.BytesIO, files), folder, form.is_odd))
        rows = (
            database.execute(f"SELECT * EXCLUDE (source) FROM {answers.rows}").fetchall()
            if answers.files
            else []
        )
    return Read(rows, answers.unreadable)
