"""From rows to vectors: the build and submit tasks of embedding models against the local servers."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException, AirflowSkipException

from airflow_gemini_batch import (
    BuildEmbeddingRequestsOperator,
    BuildGeminiRequestsOperator,
    SubmitGeminiBatchOperator,
    SubmitTextEmbeddingBatchOperator,
)
from airflow_gemini_batch.core.keys import text_of_key
from airflow_gemini_batch.core.model_families import GEMINI_EMBEDDING, TEXT_EMBEDDING, ModelFamily
from airflow_gemini_batch.outputs.matching import content_id
from airflow_gemini_batch.requests.lines import fingerprint_of_line
from tests.operators.steps import BOOKS, book, creates
from tests.support.requests_data import answers, lines, upload
from tests.support.tables import fill, make_dataset, read
from tests.support.tasks import TaskInstance, run_task

CONTENT, GEMINI, GEMINI_2 = "text-embedding-005", "gemini-embedding-001", "gemini-embedding-2"
TEXT = "[[ title ]]: [[ summary | no summary ]]"
NASTY = 'O\'Neil "said": {{ ds }} [[ title ]] \\ <b>红楼梦</b> & 😀\n, %s'
ROWS = [
    {**book(1), "summary": "whales"},
    {**book(2, title=NASTY), "summary": None},
    {**book(3), "summary": NASTY},
]
TEXTS = {"978-1": "Title 1: whales", "978-2": f"{NASTY}: no summary", "978-3": f"Title 3: {NASTY}"}


def built(source: Any, ti: TaskInstance | None = None, **arguments: Any) -> list[Any]:
    """Run a build task and return the sources of the jobs."""
    settings = {"task_id": "build", "key": "isbn", "text": TEXT, "model": CONTENT, **arguments}
    sources: list[Any] = run_task(BuildEmbeddingRequestsOperator(source=source, **settings), ti)
    return sources


def embedded(source: str | list[str], ti: TaskInstance | None = None, **arguments: Any) -> dict[str, Any]:
    """Run a submit task and return its manifest."""
    settings = {"task_id": "embed", "model": CONTENT, "poll_interval": 0.05, **arguments}
    manifest: dict[str, Any] = run_task(SubmitTextEmbeddingBatchOperator(requests=source, **settings), ti)
    return manifest


def lengths(rows: list[dict[str, Any]], family: ModelFamily) -> list[int]:
    """Return the lengths of the vectors of an output's rows."""
    answers = (row[family.answer_column] for row in rows)
    decoded = [json.loads(answer) if isinstance(answer, str) else answer for answer in answers]
    embeddings = (
        answer["embedding"] if family is GEMINI_EMBEDDING else answer[0]["embeddings"] for answer in decoded
    )
    return [len(embedding["values"]) for embedding in embeddings]


@pytest.fixture
def dataset(gemini_batch_stack):
    return make_dataset(gemini_batch_stack)


@pytest.fixture
def books(gemini_batch_stack, dataset):
    """The address of a table with three books."""
    return fill(gemini_batch_stack, f"{dataset}.books", {**BOOKS, "summary": "STRING"}, ROWS)


@pytest.mark.parametrize("model", [CONTENT, "text-multilingual-embedding-002", "textembedding-gecko@003"])
def test_text_embeddings_from_table_to_table(gemini_batch_stack, dataset, books, model):
    (source,) = built(books, title="title", output_dimensionality=8, model=model)
    assert {row["isbn"]: row["content"] for row in read(gemini_batch_stack, source)} == TEXTS

    manifest = embedded(source, destination=f"{dataset}.vectors", output_dimensionality=8, model=model)
    assert manifest["counts"]["ok"] == sum(manifest["counts"].values()) == 3
    rows = read(gemini_batch_stack, f"{dataset}.vectors")
    assert {(row["content"], row["title"], row["task_type"]) for row in rows} == {
        (TEXTS[row["isbn"]], row["title"], "RETRIEVAL_DOCUMENT") for row in ROWS
    }
    assert lengths(rows, TEXT_EMBEDDING) == [8, 8, 8]


def test_text_embeddings_from_rows_to_files(gemini_batch_stack, bucket):
    (source,) = built(ROWS, requests=f"gs://{bucket}/in", title="[[ title ]]", task_type="RETRIEVAL_DOCUMENT")
    manifest = embedded(source)
    assert manifest["counts"]["ok"] == 3
    rows = answers(gemini_batch_stack, manifest["outputs"][0])
    asked = {
        content_id(line, TEXT_EMBEDDING): text_of_key(line["key"])
        for line in lines(gemini_batch_stack, source)
    }
    assert {asked[content_id(row["instance"], TEXT_EMBEDDING)] for row in rows} == TEXTS.keys()
    assert lengths(rows, TEXT_EMBEDDING) == [768] * 3


@pytest.mark.parametrize("kind", ["table", "query"])
def test_gemini_embeddings_from_bigquery_through_an_export(gemini_batch_stack, bucket, books, kind):
    rows = books if kind == "table" else f"SELECT * FROM `{books.removeprefix('bq://')}` WHERE TRUE -- all"
    arguments = {
        "requests": f"gs://{bucket}/in",
        "model": GEMINI,
        "output_dimensionality": 16,
        "title": "title",
    }
    (source,) = built(rows, **arguments)
    assert built(rows, **arguments) == [source]

    manifest = embedded(source, model=GEMINI)
    assert manifest["counts"]["ok"] == 3
    found = {text_of_key(row["key"]): row for row in answers(gemini_batch_stack, manifest["outputs"][0])}
    assert {key: row["request"]["content"]["parts"][0]["text"] for key, row in found.items()} == TEXTS
    assert lengths(list(found.values()), GEMINI_EMBEDDING) == [16] * 3


def test_gemini_embeddings_from_rows_in_files(gemini_batch_stack, bucket):
    (source,) = built(ROWS, requests=f"gs://{bucket}/in", model=GEMINI, output_dimensionality=16)
    manifest = embedded(source, model=GEMINI)
    rows = answers(gemini_batch_stack, manifest["outputs"][0])
    assert {text_of_key(row["key"]) for row in rows} == TEXTS.keys()
    assert lengths(rows, GEMINI_EMBEDDING) == [16] * 3


def test_documents_of_models_that_ignore_task_and_title_say_them_in_the_text(
    gemini_batch_stack, bucket, books
):
    (source,) = built(books, requests=f"gs://{bucket}/in", model=GEMINI_2, title="title")
    texts = {
        text_of_key(line["key"]): line["request"]["content"]["parts"][0]["text"]
        for line in lines(gemini_batch_stack, source)
    }
    assert texts["978-1"] == f"title: Title 1 | text: {TEXTS['978-1']}"
    assert embedded(source, model=GEMINI_2, location="global")["counts"]["ok"] == 3


def test_one_job_may_read_several_files(bucket, gemini_batch_stack):
    rows = "SELECT CAST(n AS STRING) AS isbn, 'x' AS title FROM UNNEST(GENERATE_ARRAY(1, 3)) AS n"
    ti = TaskInstance(task_id="build")
    sources = built(rows, ti, requests=f"gs://{bucket}/in", model=GEMINI, text="title", shard_rows=2)
    assert len(sources) > 1
    assert ti.xcoms["report"]["requests"] == 3
    manifest = embedded(sources, model=GEMINI, destination=f"gs://{bucket}/out")
    assert manifest["counts"]["ok"] == 3


@pytest.mark.parametrize("model", [CONTENT, GEMINI])
def test_rows_that_are_done_are_left_out_unless_the_length_is_another(
    gemini_batch_stack, dataset, bucket, books, model
):
    arguments = {"model": model, "output_dimensionality": 8, "target": f"{dataset}.vectors"}
    place = dataset if model == CONTENT else f"gs://{bucket}/in"
    (in_files,) = built(ROWS, requests=f"gs://{bucket}/files", **arguments)
    asked = f"{CONTENT} outputDimensionality=8" if model == CONTENT else GEMINI
    done = [
        {"isbn": text_of_key(line["key"]), "batch_fingerprint": fingerprint_of_line(asked, line)}
        for line in lines(gemini_batch_stack, in_files)
    ]
    fill(
        gemini_batch_stack, f"{dataset}.vectors", {"isbn": "STRING", "batch_fingerprint": "STRING"}, done[:2]
    )
    left = {done[2]["isbn"]}
    (again,) = built(books, requests=place, **arguments)
    (files,) = built(ROWS, requests=f"gs://{bucket}/files", **arguments)
    assert {text_of_key(line["key"]) for line in lines(gemini_batch_stack, files)} == left
    rows = read(gemini_batch_stack, again) if model == CONTENT else lines(gemini_batch_stack, again)
    assert {row.get("isbn") or text_of_key(row["key"]) for row in rows} == left
    ti = TaskInstance(task_id="build")
    built(books, ti, requests=place, **{**arguments, "output_dimensionality": 4})
    assert ti.xcoms["report"]["requests"] == 3


def test_nothing_to_embed_skips_the_task(bucket, gemini_batch_stack, dataset):
    empty = fill(gemini_batch_stack, f"{dataset}.empty", {**BOOKS, "summary": "STRING"})
    with pytest.raises(AirflowSkipException):
        built(empty, model=GEMINI, requests=f"gs://{bucket}/in")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"model": "gemini-3.8-flash"}, "gemini-3.8-flash generates text: use the operators for Gemini"),
        (
            {"model": "next-embedding-1"},
            "does not belong to a known family of embedding models: give request_format",
        ),
        ({"task_type": "SEARCH"}, "task_type is 'SEARCH': use one of RETRIEVAL_QUERY, "),
        (
            {"task_type": "CLUSTERING", "title": "title"},
            "title is read with task_type='RETRIEVAL_DOCUMENT' only",
        ),
        ({"text": " "}, "text is ' ': give a column, or a template"),
        ({"text": "[[ plot ]]"}, "names the column 'plot'"),
        ({"output_dimensionality": 1000}, "output_dimensionality is 1000: give a whole number from 1 to 768"),
        ({"model": GEMINI}, "has to be a folder on Cloud Storage, gs://BUCKET/FOLDER"),
        ({"model": GEMINI, "requests": None}, "name a folder for the request files, gs://BUCKET/FOLDER"),
    ],
)
def test_build_says_what_it_cannot_do(dataset, books, arguments, message):
    with pytest.raises(AirflowFailException, match=message):
        built(books, **{"requests": dataset, **arguments})


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"model": "gemini-3.8-flash"}, "gemini-3.8-flash generates text: use the operators for Gemini"),
        ({"model": "next-embedding-1"}, "give request_format='text_embedding' or"),
        (
            {"model": GEMINI},
            r"gemini-embedding-001 reads and writes only files, not bq://demo-project.d.books",
        ),
        (
            {"model": GEMINI, "source": "gs://bucket/in.jsonl", "destination": "bq://demo-project.d"},
            r"reads and writes only files, not bq://demo-project.d. Give gs:// addresses",
        ),
        ({"output_dimensionality": 1000}, "give a whole number from 1 to 768"),
    ],
)
def test_submit_refuses_what_the_model_does_not_take(gemini_batch_stack, arguments, message):
    before = creates(gemini_batch_stack)
    with pytest.raises(AirflowFailException, match=message):
        embedded(**{"source": "bq://demo-project.d.books", **arguments})
    assert creates(gemini_batch_stack) == before


def test_unknown_model_is_submitted_in_the_format_that_is_named(gemini_batch_stack, bucket):
    model = "next-embedding-1"
    (source,) = built(ROWS, model=model, request_format="gemini_embedding", requests=f"gs://{bucket}/in")
    assert lines(gemini_batch_stack, source)[0]["request"].keys() == {"content", "embed_content_config"}
    # The service has never heard of it, and says so; nothing of ours stands in the way.
    with pytest.raises(AirflowFailException, match="The PublisherModel next-embedding-1 does not exist"):
        embedded(source, model=model, request_format="gemini_embedding")


def test_operators_for_gemini_refuse_embedding_models(bucket):
    for task in (
        BuildGeminiRequestsOperator(
            task_id="build",
            source=ROWS,
            key="isbn",
            prompt="[[ title ]]",
            model=GEMINI,
            requests=f"gs://{bucket}",
        ),
        SubmitGeminiBatchOperator(task_id="submit", model=CONTENT, requests="gs://bucket/in.jsonl"),
    ):
        with pytest.raises(AirflowFailException, match="is an embedding model: use BuildEmbeddingRequests"):
            run_task(task)


@pytest.fixture
def half_of_rows_missing(gemini_batch_stack):
    """Let the first job leave out half of its rows."""
    gemini_batch_stack.vertex.faults.plan("partly_succeed", share=0.5)
    yield
    gemini_batch_stack.vertex.faults.clear()


@pytest.fixture
def source_of(gemini_batch_stack, dataset, bucket) -> Callable[[str], str]:
    """Return what makes a source of ten requests, two of them for the same text."""

    def source_of(kind: str) -> str:
        texts = [f"text {n // 2 if n < 2 else n}" for n in range(10)]
        if kind == "gemini-files":
            rows = [
                {"key": f"k{n}", "request": {"content": {"parts": [{"text": text}]}}}
                for n, text in enumerate(texts)
            ]
            return upload(gemini_batch_stack, bucket, "in/texts.jsonl", rows)
        rows = [{"key": f"k{n}", "content": text, "title": ""} for n, text in enumerate(texts)]
        if kind == "files":
            return upload(gemini_batch_stack, bucket, "in/texts.jsonl", rows)
        columns = {"key": "STRING", "content": "STRING", "title": "STRING"}
        return fill(gemini_batch_stack, f"{dataset}.texts", columns, rows)

    return source_of


@pytest.mark.parametrize("kind", ["tables", "files", "gemini-files"])
def test_rows_that_did_not_come_are_asked_again(gemini_batch_stack, half_of_rows_missing, source_of, kind):
    manifest = embedded(source_of(kind), model=GEMINI if kind == "gemini-files" else CONTENT)
    first, second = manifest["rounds"]
    assert (first["counts"]["ok"], first["counts"]["missing"]) == (5, 5)
    assert second["counts"]["ok"] == sum(second["counts"].values()) == 5
    assert manifest["counts"]["ok"] == sum(manifest["counts"].values()) == 10


@pytest.mark.parametrize("kind", ["tables", "files"])
def test_rows_that_failed_for_good_are_counted(gemini_batch_stack, dataset, bucket, kind):
    rows = [{"content": "a"}, {"content": "b"}, {"content": " "}]
    if kind == "files":
        source = upload(gemini_batch_stack, bucket, "in.jsonl", rows)
    else:
        source = fill(gemini_batch_stack, f"{dataset}.texts", {"content": "STRING"}, rows)
    manifest = embedded(source, max_failed_fraction=0.5)
    assert (manifest["counts"]["ok"], manifest["counts"]["rejected"]) == (2, 1)
    assert len(manifest["rounds"]) == 1
    with pytest.raises(AirflowFailException, match="The text content is empty"):
        embedded(source, TaskInstance(run_id="another"))
