"""Answers of two models that disagree on a known share of rows."""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any

from airflow_gemini_batch.canary.rows import CanaryRows
from airflow_gemini_batch.core.response_schema import AnswerColumn, answer_columns, response_schema_of

MODEL = "gemini-2.5-flash"
GENRES = ("crime", "poetry", "travel")
HOSTILE = (
    "<script>alert(1)</script>\"'><img src=x onerror=alert(1)>\x1b[31m\u202e\n"
    "| =cmd|' /C calc'!A0 `**[x](javascript:y)**"
)


def columns(**schema: Any) -> tuple[AnswerColumn, ...]:
    return answer_columns(response_schema_of(schema))


def measured(prompt: int = 100, output: int = 50, thoughts: int = 5, model: str = MODEL) -> dict[str, Any]:
    """Return the bookkeeping of an answer."""
    return {
        "batch_model": model,
        "batch_prompt_tokens": prompt,
        "batch_output_tokens": output,
        "batch_thoughts_tokens": thoughts,
    }


def by_key(*rows: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    return {f"978-{n}": row for n, row in enumerate(rows)}


def two_models(seed: int, rows: int, share: float) -> CanaryRows:
    """Return the answers of two models to a sample of rows; each row has a chance to be one on which they disagree."""
    chance = random.Random(seed)
    old = by_key(*({"genre": chance.choice(GENRES), "pages": chance.randrange(900)} for _ in range(rows)))
    new = {
        key: {**row, "genre": f"not {row['genre']}"} if chance.random() < share else dict(row)
        for key, row in old.items()
    }
    return CanaryRows(new, old)
