"""Lines of answers, read as a landing does."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from airflow_gemini_batch.gcp.pieces import Part, Piece, has_odd_text
from airflow_gemini_batch.landing.files.answers_sql import answers_query, judged_query, line_form
from airflow_gemini_batch.landing.plan import LandingPlan
from airflow_gemini_batch.outputs.line_sql import LineQuery
from airflow_gemini_batch.outputs.lines import AnswerLines
from tests.support.databases import shared_database

LIMIT = 2048


def read_answers(
    folder: Path, plan: LandingPlan, lines: Iterable[bytes], *, by_types: bool = True, limit: int = LIMIT
) -> dict[int, dict[str, Any]]:
    """Return the rows of lines by the numbers of the lines, from 0.

    :param by_types: read by declared types what can be read so; the general rules read the others.
    """
    usual, others = [], []
    for number, line in enumerate(lines):
        path = folder / f"lines-{number}.jsonl"
        path.write_bytes(line)
        (others if has_odd_text(line) or not by_types else usual).append(Part(number, path, None))
    with shared_database() as database:
        query = LineQuery(line_form(plan, limit), answers_query(plan, "FLOAT"))
        answers = AnswerLines(database, folder, query)
        for parts, is_usual in ((usual, True), (others, False)):
            if parts:
                answers.add(Piece(tuple(parts), 0, is_usual))
        rows = f"(FROM {answers.rows} WHERE outcome IS NOT NULL)"
        if plan.schema:
            rows = f"(FROM {rows} UNION ALL FROM ({judged_query(plan, plan.schema, answers.rows)}))"
        found = database.sql(f"FROM {rows} ORDER BY source").to_arrow_table().to_pylist()
    sources = [row.pop("source") for row in found]
    assert len(set(sources)) == len(sources)
    return {
        source: {**row, "answered": row["answered"] and row["answered"].isoformat()}
        for source, row in zip(sources, found, strict=True)
    }
