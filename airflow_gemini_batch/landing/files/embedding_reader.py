"""One line of an embedding job's output files → what lands of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from airflow_gemini_batch.core.jsonl import tolerant_object
from airflow_gemini_batch.core.model_families import most_tokens
from airflow_gemini_batch.core.models import short_model_name
from airflow_gemini_batch.landing.files.answer_reader import AnswerRow, Facts, text_or_none
from airflow_gemini_batch.landing.plan import LandingPlan
from airflow_gemini_batch.outputs.classify import Outcome
from airflow_gemini_batch.outputs.embeddings import (
    NO_NUMBER,
    EmbeddedRow,
    Vector,
    fit_vector,
    read_embedding,
)
from airflow_gemini_batch.outputs.matching import answer_identity

_NOTHING: tuple[Any, ...] = (None, None, None, None)


class EmbeddingReader:
    """Reads output files of either embedding family.

    :param model: resource name; the answers do not name it.
    :param keep: puts a vector aside and returns what stands for it in the row.
    """

    def __init__(self, plan: LandingPlan, model: str, keep: Callable[[list[float]], str]) -> None:
        self._family = plan.family
        self._dimensions = plan.dimensions
        self._model = short_model_name(model)
        self._limit = most_tokens(model)
        self._keep = keep

    def read(self, line: bytes) -> AnswerRow | None:
        """Return the row of a line, ``None`` if it can't be read."""
        content = tolerant_object(line)
        if content is None:
            return None
        label, digest, bare_key = answer_identity(content, self._family)
        embedded = read_embedding(self._family, content, self._limit)
        outcome, message = embedded.result.outcome, embedded.result.message or None
        landed = _NOTHING
        shortened = False
        if outcome is Outcome.OK:
            vector = fit_vector(embedded.values, self._dimensions)
            landed, message = self._land(vector, embedded)
            outcome, shortened = (Outcome.INVALID, False) if message else (outcome, vector.shortened)
        time = text_or_none(content.get("processed_time"))
        facts = Facts(self._model, None, embedded.token_count, None, None, None, None, time)
        return AnswerRow(
            label, digest, outcome.value, embedded.result.code, message, landed, facts, shortened, bare_key
        )

    def _land(self, vector: Vector, embedded: EmbeddedRow) -> tuple[tuple[Any, ...], str | None]:
        """Return the values of the answer's columns, and what is wrong with the vector."""
        if vector.error:
            return _NOTHING, vector.error
        try:
            digest = self._keep(vector.values)
        except OverflowError:
            return _NOTHING, NO_NUMBER
        return (digest, embedded.token_count, embedded.truncated, vector.dimensions), None
