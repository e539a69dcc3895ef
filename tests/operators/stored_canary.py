"""A target and its canary, for tests of the tasks that judge it and that take its answers."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from airflow_gemini_batch.core.columns import BOOKKEEPING, FAILED_COLUMNS, QUESTION_COLUMN
from tests.canary.answers import measured, two_models
from tests.support.tables import fill, make_dataset

QUESTION, OLD = "a" * 16, "b" * 16
SCHEMA = {"genre": str, "pages": int}
TYPES = {"isbn": "STRING", "genre": "STRING", "pages": "INT64", **BOOKKEEPING, QUESTION_COLUMN: "STRING"}
FAILED = {"isbn": "STRING", **FAILED_COLUMNS}


class Stored:
    """A target and its canary, in tables or in files."""

    def __init__(self, kind: str, stack: Any, folder: Path) -> None:
        self.kind, self.stack, self.folder = kind, stack, folder
        self.target = f"{make_dataset(stack)}.books" if kind == "table" else str(folder / "books.jsonl")

    def put(self, suffix: str, types: Mapping[str, str], rows: list[dict[str, Any]]) -> None:
        if self.kind == "table":
            fill(self.stack, self.target + suffix, types, rows)
        elif rows:
            path = self.folder / f"books{suffix}.jsonl"
            path.write_text("".join(f"{json.dumps(row)}\n" for row in rows))

    def answers(self, share: float, failed: int = 0, rows: int = 40) -> None:
        """Store the answers of two models that disagree on a share of the rows."""
        found = two_models(3, rows, share)
        for suffix, answers, question in (("", found.old, OLD), ("__canary", found.new, QUESTION)):
            content = [
                {"isbn": key, **row, **measured(), QUESTION_COLUMN: question} for key, row in answers.items()
            ]
            self.put(suffix, TYPES, content)
        self.put("__canary__failed", FAILED, [{"isbn": f"x{n}", "outcome": "invalid"} for n in range(failed)])
