from __future__ import annotations

import json

import pytest

from airflow_gemini_batch.core.columns import (
    BOOKKEEPING,
    FAILED_COLUMNS,
    STAGED_OUTCOME,
    failed_target_of,
)
from airflow_gemini_batch.core.model_families import GEMINI_EMBEDDING, TEXT_EMBEDDING, ModelFamily
from airflow_gemini_batch.core.response_schema import AnswerColumn
from airflow_gemini_batch.exceptions import InvalidRequestError
from airflow_gemini_batch.landing.plan import (
    LandingPlan,
    LandingReport,
    column_type,
    staging_columns,
)
from airflow_gemini_batch.outputs.classify import Outcome
from airflow_gemini_batch.outputs.embeddings import embedding_columns

ANSWER = (AnswerColumn("genre", "STRING", path="genre"), AnswerColumn("tags", "STRING", True, "tags"))


@pytest.mark.parametrize(
    ("key", "column", "table"),
    [
        (("isbn", "isbn"), "genre", "the target"),
        (("isbn", "ISBN"), "genre", "the target"),
        (("isbn",), "isbn", "the target"),
        (("genre",), "Genre", "the target"),
        (("isbn",), "batch_job", "the target"),
        (("BATCH_MODEL",), "genre", "the target"),
        (("isbn",), "batch_fingerprint", "the target"),
        (("outcome",), "genre", "the table of failures"),
        (("Round",), "genre", "the table of failures"),
        (("isbn",), "batch_outcome", "the staging table"),
    ],
)
def test_name_that_would_stand_twice_is_refused(key: tuple[str, ...], column: str, table: str) -> None:
    with pytest.raises(InvalidRequestError, match=f"{table} would have two columns"):
        LandingPlan(key, (AnswerColumn(column, "STRING"),))


@pytest.mark.parametrize("column", ["outcome", "message", "code", "round", "job"])
def test_answer_may_be_named_like_a_column_of_failures(column: str) -> None:
    assert LandingPlan(("isbn",), (AnswerColumn(column, "STRING"),)).columns[0].name == column


def test_bookkeeping_is_on_unless_it_is_off() -> None:
    assert LandingPlan(("isbn",), ANSWER).bookkeeping_columns == BOOKKEEPING
    assert LandingPlan(("isbn",), ANSWER, bookkeeping=False).bookkeeping_columns == {}


@pytest.mark.parametrize("bookkeeping", [True, False])
def test_staging_has_every_column_of_both_tables(bookkeeping: bool) -> None:
    plan = LandingPlan(("isbn", "edition"), ANSWER, bookkeeping=bookkeeping)
    assert staging_columns(plan, {"edition": "INT64", "other": "DATE"}) == {
        "isbn": "STRING",
        "edition": "INT64",
        "genre": "STRING",
        "tags": "ARRAY<STRING>",
        **BOOKKEEPING,
        **STAGED_OUTCOME,
    }
    # Job, time, fingerprint and question are among the bookkeeping; how often a row failed is known when it is merged.
    assert len(STAGED_OUTCOME) + 5 == len(FAILED_COLUMNS)


@pytest.mark.parametrize(("repeated", "kind"), [(True, "ARRAY<INT64>"), (False, "INT64")])
def test_repeated_column_is_an_array(repeated: bool, kind: str) -> None:
    assert column_type(AnswerColumn("pages", "INT64", repeated)) == kind


@pytest.mark.parametrize(
    ("target", "failed"),
    [
        ("bq://books-project.shop.books", "bq://books-project.shop.books__failed"),
        ("gs://books/landed/books.parquet", "gs://books/landed/books__failed.parquet"),
        ("/data/v1.2/books.jsonl", "/data/v1.2/books__failed.jsonl"),
    ],
)
def test_failures_lie_beside_the_target(target: str, failed: str) -> None:
    assert failed_target_of(target) == failed


def test_report_adds_up_and_survives_json() -> None:
    counts = {Outcome.OK: 7, Outcome.INVALID: 2, Outcome.MISSING: 1}
    report = LandingReport("bq://p.d.t", "bq://p.d.t__failed", counts, ["invalid: why"])
    assert (report.landed, report.failed) == (7, 3)
    assert json.loads(json.dumps(report.to_json())) == {
        "target": "bq://p.d.t",
        "failed_target": "bq://p.d.t__failed",
        "landed": 7,
        "failed": 3,
        "counts": {"ok": 7, "invalid": 2, "missing": 1},
    }


def test_report_of_nothing_counts_nothing() -> None:
    report = LandingReport("t", "f", {})
    assert (report.landed, report.failed) == (0, 0)


@pytest.mark.parametrize("family", [TEXT_EMBEDDING, GEMINI_EMBEDDING])
def test_vectors_have_no_bookkeeping_of_answers_in_words(family: ModelFamily) -> None:
    vectors = LandingPlan(("isbn",), embedding_columns("vector"), family=family)
    assert vectors.bookkeeping_columns.keys() == {
        "batch_model",
        "batch_prompt_tokens",
        "batch_processed_time",
        "batch_job",
        "batch_fingerprint",
        "batch_question",
    }
    columns = staging_columns(vectors)
    assert columns["vector"] == "ARRAY<FLOAT64>"
    assert columns["batch_shortened"] == "BOOL"
    assert "batch_finish_reason" not in columns


@pytest.mark.parametrize("name", ["embedding", "truncated"])
def test_key_that_is_called_as_a_column_of_vectors_is_named(name: str) -> None:
    with pytest.raises(InvalidRequestError, match=rf"two columns '{name}': rename .* vector_column"):
        LandingPlan((name,), embedding_columns("embedding"), family=TEXT_EMBEDDING)
