from __future__ import annotations

import json
import math
from typing import Any

import pytest

from airflow_gemini_batch.core.model_families import GEMINI_EMBEDDING, TEXT_EMBEDDING, ModelFamily
from airflow_gemini_batch.outputs.classify import Outcome, RowResult
from airflow_gemini_batch.outputs.embeddings import (
    EmbeddedRow,
    fit_vector,
    read_embedding,
)
from airflow_gemini_batch.outputs.matching import content_id
from airflow_gemini_batch.requests.embeddings import text_embedding_request
from airflow_gemini_batch.requests.forms import FORMS
from airflow_gemini_batch.requests.prompts import PromptTemplate
from tests.outputs.vector_cases import CASES, LENGTH, REFUSALS, Case, Refusal

TEXT, GEMINI = TEXT_EMBEDDING, GEMINI_EMBEDDING
VALUES = [0.6, -0.8]
OK = RowResult(Outcome.OK)


def prediction(**statistics: Any) -> dict[str, Any]:
    """Return one item of ``predictions``."""
    return {"embeddings": {"statistics": statistics, "values": VALUES}}


@pytest.mark.parametrize(
    ("family", "row", "token_count", "truncated"),
    [
        pytest.param(
            TEXT,
            {"predictions": [prediction(token_count=8, truncated=False)], "status": ""},
            8,
            False,
            id="text",
        ),
        pytest.param(
            TEXT,
            {"predictions": json.dumps([prediction(token_count=2048.0, truncated=True)]), "status": None},
            2048,
            True,
            id="text-in-a-table",
        ),
        pytest.param(
            TEXT, {"predictions": [{"embeddings": {"values": VALUES}}]}, None, None, id="no-statistics"
        ),
        pytest.param(
            TEXT, {"predictions": [prediction()], "status": '{"code": 0}'}, None, None, id="status-ok"
        ),
        pytest.param(
            GEMINI, {"response": {"tokenCount": "2", "embedding": {"values": VALUES}}}, 2, None, id="gemini"
        ),
        pytest.param(
            GEMINI, {"response": {"embeddings": [{"values": VALUES}]}, "status": ""}, None, None, id="list"
        ),
        pytest.param(
            GEMINI,
            {"response": {"embedding": {"values": VALUES}, "usageMetadata": {"promptTokenCount": 3}}},
            3,
            None,
            id="usage",
        ),
        pytest.param(
            GEMINI,
            {"response": {"embeddings": [{"values": VALUES, "statistics": {"truncated": True}}]}},
            None,
            True,
            id="truncated",
        ),
        *(
            pytest.param(
                GEMINI,
                {"response": {"tokenCount": tokens, **flags, "embedding": {"values": VALUES, **within}}},
                int(tokens),
                truncated,
                id=name,
            )
            for name, tokens, flags, within, truncated in (
                ("truncated-on-top", "9", {"truncated": True}, {}, True),
                ("not-truncated-on-top", "2048", {"truncated": False}, {}, False),
                ("truncated-beside-the-values", "9", {}, {"truncated": True}, True),
                ("flag-null", "9", {"truncated": None}, {}, None),
                ("no-flag-below-the-limit", "2047", {}, {}, None),
                ("no-flag-at-the-limit", "2048", {}, {}, True),
                ("no-flag-above-the-limit", "3000", {"truncated": None}, {}, True),
            )
        ),
        pytest.param(
            TEXT, {"predictions": [prediction(token_count=2048)]}, 2048, True, id="text-at-the-limit"
        ),
        pytest.param(
            GEMINI, {"response": json.dumps({"embedding": {"values": VALUES}})}, None, None, id="as-json-text"
        ),
    ],
)
def test_reads_vectors(
    family: ModelFamily, row: dict[str, Any], token_count: int | None, truncated: bool | None
) -> None:
    assert read_embedding(family, row) == EmbeddedRow(OK, VALUES, token_count, truncated)


@pytest.mark.parametrize(
    ("family", "row"),
    [
        (TEXT, {}),
        (TEXT, {"predictions": []}),
        (TEXT, {"predictions": None, "status": ""}),
        (TEXT, {"predictions": "{broken"}),
        (TEXT, {"predictions": [{"embeddings": {}}]}),
        (TEXT, {"response": {"embedding": {"values": VALUES}}}),
        (GEMINI, {"response": {}}),
        (GEMINI, {"response": None}),
        (GEMINI, {"response": {"embeddings": []}}),
        (GEMINI, {"response": {"embedding": {"values": None}}}),
        (GEMINI, {"predictions": [prediction()]}),
    ],
)
def test_row_without_a_vector_is_missing(family: ModelFamily, row: dict[str, Any]) -> None:
    result, values, token_count, truncated = read_embedding(family, row)
    assert (result.outcome, values, token_count, truncated) == (Outcome.MISSING, None, None, None)


@pytest.mark.parametrize("kind", ["JSON", "STRING"])
@pytest.mark.parametrize("refusal", REFUSALS, ids=lambda refusal: refusal.name)
def test_row_tells_its_error_wherever_it_stands(refusal: Refusal, kind: str) -> None:
    found = read_embedding(TEXT, refusal.cells(kind)).result
    assert (found.outcome, found.code) == (refusal.outcome, refusal.code)


@pytest.mark.parametrize("family", [TEXT, GEMINI])
@pytest.mark.parametrize(
    ("status", "outcome"),
    [
        ('Bad Request: {"error": {"code": 400, "message": "The text content is empty."}}', Outcome.REJECTED),
        ('{"code": 429, "message": "Quota"}', Outcome.RETRYABLE),
        ({"code": 3, "message": "Bad"}, Outcome.REJECTED),
        ("Something broke", Outcome.RETRYABLE),
    ],
)
def test_row_with_a_status_failed_even_with_a_vector(
    family: ModelFamily, status: Any, outcome: Outcome
) -> None:
    row = {"status": status, "predictions": [prediction()], "response": {"embedding": {"values": VALUES}}}
    found = read_embedding(family, row)
    assert (found.result.outcome, found.values) == (outcome, None)
    assert found.result.message


@pytest.mark.parametrize("dimensions", [None, 2])
@pytest.mark.parametrize("values", [[0.6, -0.8], [3.0, 4.0], [1, 0.5], [1e-100, 0.0]])
def test_keeps_vectors_of_the_right_length_as_they_are(values: list[float], dimensions: int | None) -> None:
    vector = fit_vector(values, dimensions)
    assert vector == (values, None, False)
    assert vector.dimensions == 2


@pytest.mark.parametrize("values", [[3.0, 4.0, 12.0], [3e-100, 4e-100, 1.0], [3e100, 4e100, 1.0]])
def test_cuts_longer_vectors_and_normalises_them_again(values: list[float]) -> None:
    vector = fit_vector(values, 2)
    assert vector.values == pytest.approx([0.6, 0.8])
    assert (vector.error, vector.shortened, vector.dimensions) == (None, True, 2)
    assert math.hypot(*fit_vector([0.1] * 3072, 768).values) == pytest.approx(1)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_vector_lands_or_says_why_not(case: Case) -> None:
    vector = fit_vector(case.values, LENGTH)
    if isinstance(case.lands, str):
        assert (vector.values, vector.error) == ([], case.lands)
    else:
        assert (vector.values, vector.error) == (pytest.approx(case.lands), None)


@pytest.mark.parametrize(
    ("values", "dimensions", "error"),
    [
        ([0.6, 0.8], 3, "the vector has 2 dimensions, not the 3 asked for"),
        ([], None, "the vector is empty"),
        ("0.6", None, "the vector is empty"),
        ([0.0, 0], None, "the vector is zero"),
        ([0.0, 0.0, 1.0], 2, "the vector is zero"),
        ([math.nan, 1.0], None, "not a finite number"),
        ([math.inf, math.nan], None, "not a finite number"),
        ([-math.inf, 1.0, 1.0], 2, "not a finite number"),
        ([None, 1.0], None, "not a finite number"),
        (["NaN", 1.0], 2, "not a finite number"),
        ([[0.6], [0.8]], None, "not a finite number"),
        ([10**400, 1.0], None, "not a finite number"),
    ],
)
def test_finds_fault_with_vectors_that_cannot_be_searched(
    values: Any, dimensions: int | None, error: str
) -> None:
    vector = fit_vector(values, dimensions)
    assert vector.values == []
    assert error in str(vector.error)


def test_rows_that_ask_the_same_share_their_id() -> None:
    template = text_embedding_request(
        PromptTemplate.parse("[[ text ]]"),
        task_type="RETRIEVAL_DOCUMENT",
        title=PromptTemplate.parse("[[ title ]]"),
    )
    row = {"text": 'A "book" 本\n', "title": None}
    asked = json.loads(FORMS[TEXT].line("key", template.fill(row)))

    # As the service gives it back: in another order, with what is empty left out or null.
    assert content_id(asked, TEXT) == content_id(
        {"task_type": "RETRIEVAL_DOCUMENT", "content": row["text"]}, TEXT
    )
    assert content_id(asked, TEXT) == content_id(
        {"title": None, "task_type": "RETRIEVAL_DOCUMENT", "content": row["text"], "predictions": []}, TEXT
    )


def test_rows_that_ask_something_else_have_other_ids() -> None:
    rows = [
        {"content": "a"},
        {"content": "a "},
        {"content": "A"},
        {"content": "a", "task_type": "CLUSTERING"},
        {"content": "a", "title": "CLUSTERING"},
        {"content": "", "title": "a"},
        {"content": None},
    ]
    assert len({content_id(row, TEXT) for row in rows}) == len(rows)
