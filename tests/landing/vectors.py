"""Requests and answers of text-embedding jobs, in tables made by hand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from airflow_gemini_batch.core.model_families import TEXT_EMBEDDING
from airflow_gemini_batch.jobs.manifest import Manifest, Round
from airflow_gemini_batch.landing.plan import LandingPlan
from airflow_gemini_batch.outputs.embeddings import embedding_columns
from tests.landing.landings import JOB, Landing
from tests.support.tables import fill

READ = ("content", "task_type", "title")


def vector_plan(
    dimensions: int | None = None, key: Sequence[str] = ("isbn",), **settings: Any
) -> LandingPlan:
    settings = {"family": TEXT_EMBEDDING, **settings}
    return LandingPlan(tuple(key), embedding_columns("embedding"), dimensions=dimensions, **settings)


def embedded(values: Any, tokens: int = 3, truncated: bool = False) -> dict[str, Any]:
    """Return the cells of a vector."""
    statistics = {"token_count": tokens, "truncated": truncated}
    return {"predictions": [{"embeddings": {"statistics": statistics, "values": values}}], "status": ""}


def refused(code: int = 400) -> dict[str, Any]:
    """Return the cells of a text that was not embedded."""
    return {"predictions": [], "status": f'Bad Request: {{"error": {{"code": {code}, "message": "m"}}}}'}


class VectorLanding(Landing):
    """A dataset with texts and vectors, and the way to land them."""

    predictions = "JSON"

    def texts(
        self, texts: Mapping[Any, Any], names: Sequence[str] = READ, fingerprint: str | None = "f1"
    ) -> str:
        """Make a request table from texts, or tuples of text, task type and title, by key."""
        columns = {**self.key, **dict.fromkeys(names, "STRING"), "batch_fingerprint": "STRING"}
        rows = [
            {**self._key(key), **_asked(asked, names), "batch_fingerprint": fingerprint}
            for key, asked in texts.items()
        ]
        return fill(self.stack, self._name("requests"), columns, rows)

    def vectors(self, *rows: tuple[Any, Mapping[str, Any]], names: Sequence[str] = READ, **types: str) -> str:
        """Make an output table; a row is what was asked and the cells beside it."""
        columns = {
            **dict.fromkeys(names, "STRING"),
            "predictions": self.predictions,
            "status": "STRING",
            **types,
        }
        cells = [{**_asked(asked, names), **beside} for asked, beside in rows]
        return fill(self.stack, self._name("output"), columns, cells)

    def submission(self, source: str, *outputs: str, identity: str = "identity") -> Manifest:
        rounds = tuple(
            Round(f"{JOB}/{self.tables}{number}", "JOB_STATE_SUCCEEDED", (source,), output, {})
            for number, output in enumerate(outputs)
        )
        model = "publishers/google/models/text-embedding-005"
        return Manifest(identity, model, "https://console", {}, rounds)


def _asked(asked: Any, names: Sequence[str]) -> dict[str, Any]:
    values = asked if isinstance(asked, tuple) else (asked,)
    given = dict(zip(READ, values, strict=False))
    return {name: given.get(name) for name in names}
