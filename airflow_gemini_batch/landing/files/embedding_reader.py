"""One line of an embedding job's files → what lands of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from airflow_gemini_batch.core.jsonl import tolerant_object
from airflow_gemini_batch.core.model_families import ModelFamily
from airflow_gemini_batch.core.models import short_model_name
from airflow_gemini_batch.core.values import text_of
from airflow_gemini_batch.exceptions import InvalidRequestError
from airflow_gemini_batch.landing.files.answer_reader import AnswerRow, Facts, status_code
from airflow_gemini_batch.landing.files.request_reader import RequestReader, RequestRow
from airflow_gemini_batch.landing.plan import LandingPlan
from airflow_gemini_batch.outputs.classify import Outcome
from airflow_gemini_batch.outputs.embeddings import (
    NO_NUMBER,
    EmbeddedRow,
    Vector,
    fit_vector,
    read_embedding,
)
from airflow_gemini_batch.outputs.matching import answer_identity, content_id
from airflow_gemini_batch.requests.lines import fingerprint_of_line

_NOTHING: tuple[Any, ...] = (None, None, None, None)


class TextRequestReader(RequestReader):
    """Reads request files of a family that returns no keys.

    The ``label`` of a row is a digest of its content, which equal requests share.
    """

    def __init__(self, model: str, key: Sequence[str], family: ModelFamily) -> None:
        super().__init__(model, key)
        self._family = family

    def read(self, line: bytes) -> RequestRow | None:
        """Return the row of a line, ``None`` if it can't be read; raises as the method of the base does."""
        content = tolerant_object(line)
        main = self._family.main_column
        if content is None or main not in content:
            return None
        if (key := content.get("key")) is None:
            raise InvalidRequestError(
                f'a request has no key, so its vector belongs to no row: give each line a "key" beside its "{main}", '
                f'as in {{"key": "42", "{main}": "…"}}, or build the requests with BuildEmbeddingRequestsOperator. '
                f"The request is {line[:200].decode(errors='replace')}"
            )
        fingerprint = fingerprint_of_line(self._model, content)
        return RequestRow(content_id(content, self._family), fingerprint, self._columns(text_of(key)))


class EmbeddingReader:
    """Reads output files of either embedding family.

    :param model: resource name; the answers do not name it.
    :param keep: puts a vector aside and returns what stands for it in the row.
    """

    def __init__(self, plan: LandingPlan, model: str, keep: Callable[[list[float]], str]) -> None:
        self._family = plan.family
        self._dimensions = plan.dimensions
        self._model = short_model_name(model)
        self._keep = keep

    def read(self, line: bytes) -> AnswerRow | None:
        """Return the row of a line, ``None`` if it can't be read."""
        content = tolerant_object(line)
        if content is None:
            return None
        label, digest = answer_identity(content, self._family)
        embedded = read_embedding(self._family, content)
        outcome, message = embedded.result.outcome, embedded.result.message or None
        landed = _NOTHING
        shortened = False
        if outcome is Outcome.OK:
            vector = fit_vector(embedded.values, self._dimensions)
            landed, message = self._land(vector, embedded)
            outcome, shortened = (Outcome.INVALID, False) if message else (outcome, vector.shortened)
        time = content.get("processed_time")
        time = time if isinstance(time, str) else None
        facts = Facts(self._model, None, embedded.token_count, None, None, None, time)
        code = status_code(content.get("status"))
        return AnswerRow(label, digest, outcome.value, code, message, landed, facts, shortened)

    def _land(self, vector: Vector, embedded: EmbeddedRow) -> tuple[tuple[Any, ...], str | None]:
        """Return the values of the answer's columns, and what is wrong with the vector."""
        if vector.error:
            return _NOTHING, vector.error
        try:
            digest = self._keep(vector.values)
        except OverflowError:
            return _NOTHING, NO_NUMBER
        truncated = embedded.truncated if isinstance(embedded.truncated, bool) else None
        return (digest, embedded.token_count, truncated, vector.dimensions), None
