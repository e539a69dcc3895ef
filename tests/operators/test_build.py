"""BuildGeminiRequestsOperator: rows of every kind become requests of one job each."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException, AirflowSkipException

from airflow_gemini_batch.core.keys import text_of_key
from airflow_gemini_batch.exceptions import GeminiBatchError, SourceNotReadyError
from tests.operators.steps import BOOKS, book, built, creates, reported
from tests.support.requests_data import lines, storage_client
from tests.support.tables import fill, make_dataset, read

NASTY = 'O\'Neil "said": {{ ds }} [[ title ]] \\ 红楼梦 😀\n, %s'


@pytest.fixture
def dataset(gemini_batch_stack):
    return make_dataset(gemini_batch_stack)


@pytest.fixture
def prompts(gemini_batch_stack) -> Callable[[list[str]], dict[str, str]]:
    """Return what reads the prompts of request files or tables, by key."""

    def prompts(sources: list[str]) -> dict[str, str]:
        found = {}
        for source in sources:
            if source.startswith("bq://"):
                rows = read(gemini_batch_stack, source)
                requests = {row["isbn"]: json.loads(row["request"]) for row in rows}
            else:
                requests = {
                    text_of_key(row["key"]): row["request"] for row in lines(gemini_batch_stack, source)
                }
            assert not found.keys() & requests.keys()
            found |= {key: one["contents"][0]["parts"][0]["text"] for key, one in requests.items()}
        return found

    return prompts


ROWS = [book(1), book(2, title=NASTY), book(3, title=None)]
PROMPTS = {"978-1": "Describe Title 1.", "978-2": f"Describe {NASTY}.", "978-3": "Describe ."}


@pytest.mark.parametrize("kind", ["table", "query"])
def test_rows_in_bigquery_become_a_table_of_requests(gemini_batch_stack, dataset, prompts, kind):
    books = fill(gemini_batch_stack, f"{dataset}.books", BOOKS, ROWS)
    query = f"-- all of them\nSELECT isbn, title FROM `{books.removeprefix('bq://')}`;"
    requests = built(books) if kind == "table" else built(query, requests=dataset)
    assert len(requests) == 1
    assert requests[0].startswith(f"{dataset}.requests_")
    assert prompts(requests) == PROMPTS


def csv_of(rows: list[dict[str, Any]]) -> bytes:
    file = io.StringIO(newline="")
    writer = csv.DictWriter(file, fieldnames=list(BOOKS))
    writer.writeheader()
    writer.writerows(rows)
    return file.getvalue().encode("utf-8-sig")


def jsonl_of(rows: list[dict[str, Any]]) -> bytes:
    return "".join(json.dumps(row) + "\r\n" for row in rows).encode()


def parquet_of(rows: list[dict[str, Any]]) -> bytes:
    import pyarrow
    from pyarrow import parquet

    file = io.BytesIO()
    parquet.write_table(pyarrow.Table.from_pylist(rows), file)
    return file.getvalue()


@pytest.mark.parametrize("place", ["local", "Cloud Storage"])
@pytest.mark.parametrize(
    ("ending", "content_of"), [("csv", csv_of), ("jsonl", jsonl_of), ("parquet", parquet_of)]
)
def test_rows_in_files_become_a_file_of_requests(
    gemini_batch_stack, bucket, tmp_path, prompts, ending, content_of, place
):
    name = f"books.{ending}"
    if place == "local":
        (tmp_path / name).write_bytes(content_of(ROWS))
        source = str(tmp_path / name)
    else:
        storage_client(gemini_batch_stack).bucket(bucket).blob(name).upload_from_string(content_of(ROWS))
        source = f"gs://{bucket}/{name}"
    requests = built(source, requests=f"gs://{bucket}/requests")
    assert [one.startswith(f"gs://{bucket}/requests/") for one in requests] == [True]
    assert prompts(requests) == PROMPTS


def test_several_files_and_patterns_are_one_source(gemini_batch_stack, bucket, tmp_path, prompts):
    for number in range(3):
        (tmp_path / f"{number}.jsonl").write_bytes(jsonl_of([book(number)]))
    destination = f"gs://{bucket}/requests"
    by_name = built([str(tmp_path / f"{number}.jsonl") for number in range(3)], requests=destination)
    by_pattern = built(str(tmp_path / "*.jsonl"), requests=destination)
    assert by_name == by_pattern
    assert len(prompts(by_name)) == 3


@pytest.mark.parametrize(
    "source",
    [
        pytest.param(lambda: ROWS, id="function"),
        pytest.param(lambda: iter(ROWS), id="generator"),
        pytest.param(ROWS, id="list"),
        pytest.param(tuple(ROWS), id="tuple"),
    ],
)
def test_rows_of_python_become_a_file_of_requests(bucket, prompts, source):
    assert prompts(built(source, requests=f"gs://{bucket}/requests")) == PROMPTS


@pytest.mark.parametrize("kind", ["table", "rows"])
def test_shards_are_one_source_for_each_job(gemini_batch_stack, dataset, bucket, prompts, kind):
    rows = [book(number) for number in range(41)]
    if kind == "table":
        requests = built(fill(gemini_batch_stack, f"{dataset}.books", BOOKS, rows), shard_rows=40)
    else:
        requests = built(rows, requests=f"gs://{bucket}/requests", shard_rows=40)
    assert len(requests) == 2
    assert set(prompts(requests)) == {one["isbn"] for one in rows}


def test_what_holds_for_all_rows_is_in_each_request(gemini_batch_stack, bucket):
    (source,) = built(
        [book(1, cover="gs://shop/1.png"), book(2, cover=None)],
        requests=f"gs://{bucket}/requests",
        system_instruction="Be brief.",
        generation_config={"temperature": 0.2, "maxOutputTokens": 64},
        response_schema={"description": str},
        safety_settings=[{"category": "HARM_CATEGORY_HARASSMENT", "threshold": "BLOCK_NONE"}],
        media="cover",
        tools=[{"googleSearch": {}}],
    )
    requests = {text_of_key(row["key"]): row["request"] for row in lines(gemini_batch_stack, source)}
    for request in requests.values():
        assert request["systemInstruction"] == {"parts": [{"text": "Be brief."}]}
        config = request["generationConfig"]
        assert (config["temperature"], config["responseMimeType"]) == (0.2, "application/json")
        assert config["responseSchema"]["properties"] == {"description": {"type": "STRING"}}
        assert request["safetySettings"][0]["threshold"] == "BLOCK_NONE"
        assert request["tools"] == [{"googleSearch": {"excludeDomains": ["example.com"]}}]
    parts = {key: request["contents"][0]["parts"][1:] for key, request in requests.items()}
    assert parts == {
        "978-1": [{"fileData": {"mimeType": "image/png", "fileUri": "gs://shop/1.png"}}],
        "978-2": [],
    }


def test_errors_of_the_user_s_own_rows_stay_what_they_are(gemini_batch_stack, bucket):
    def rows() -> Iterator[dict[str, Any]]:
        yield book(1)
        raise ValueError("the catalogue answers rubbish")

    # Another try may be luckier, so it is none of the errors that skip the retries.
    with pytest.raises(ValueError, match="rubbish") as raised:
        built(rows, requests=f"gs://{bucket}/requests")
    assert not isinstance(raised.value, GeminiBatchError)
    assert not list(storage_client(gemini_batch_stack).list_blobs(bucket))


BAD = [book(1), book(1), book(2), book(3, title=" "), {"title": "Nameless"}]


@pytest.mark.parametrize("kind", ["table", "rows"])
def test_bad_rows_fail_the_task_with_their_keys(gemini_batch_stack, dataset, bucket, kind):
    source = fill(gemini_batch_stack, f"{dataset}.books", BOOKS, BAD) if kind == "table" else BAD
    destination = dataset if kind == "table" else f"gs://{bucket}/requests"
    with pytest.raises(AirflowFailException) as failed:
        built(source, prompt="[[ title ]]", requests=destination)
    for fault in ("978-1", "occurs more than once", "978-3", "the prompt is empty", "the key is NULL"):
        assert fault in str(failed.value)
    assert "on_bad_rows='drop'" in str(failed.value)
    assert not list(storage_client(gemini_batch_stack).list_blobs(bucket))


@pytest.mark.parametrize("kind", ["table", "rows"])
def test_bad_rows_are_dropped_and_counted_when_the_user_says_so(gemini_batch_stack, dataset, bucket, kind):
    source = fill(gemini_batch_stack, f"{dataset}.books", BOOKS, BAD) if kind == "table" else BAD
    destination = dataset if kind == "table" else f"gs://{bucket}/requests"
    report = reported(source, prompt="[[ title ]]", requests=destination, on_bad_rows="drop")
    assert report["rows"] == 5
    assert report["requests"] + sum(report["dropped"].values()) == 5
    assert report["dropped"].keys() == {"null_key", "duplicate_key", "empty_prompt"}


@pytest.mark.parametrize("kind", ["table", "rows", "dropped rows"])
def test_without_anything_to_ask_the_task_is_skipped_or_succeeds_empty(
    gemini_batch_stack, dataset, bucket, kind
):
    before = creates(gemini_batch_stack)
    arguments: dict[str, Any] = {"requests": f"gs://{bucket}/requests", "source": []}
    if kind == "table":
        arguments = {"source": fill(gemini_batch_stack, f"{dataset}.books", BOOKS)}
    elif kind == "dropped rows":
        arguments |= {"source": [book(1, title="")], "prompt": "[[ title ]]", "on_bad_rows": "drop"}
    with pytest.raises(AirflowSkipException, match="nothing to ask"):
        built(**arguments)
    assert built(**arguments, on_empty="succeed") == []
    assert reported(**arguments, on_empty="succeed")["requests"] == 0
    assert creates(gemini_batch_stack) == before


def test_report_says_what_was_asked_and_what_it_will_cost(bucket):
    report = reported(ROWS, requests=f"gs://{bucket}/requests", generation_config={"maxOutputTokens": 100})
    assert (report["rows"], report["requests"], report["done"], report["dropped"]) == (3, 3, 0, {})
    assert len(report["sources"]) == 1
    estimate = report["estimate"]
    assert (estimate["model"], estimate["rows"], estimate["output_tokens"]) == ("gemini-3.8-flash", 3, 300)
    assert estimate["cost"]["amount"] > 0
    json.dumps(report)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("gs://{bucket}/nothing.csv", "nothing.csv"),
        ("gs://{bucket}/*.csv", "no object matches it"),
        ("{folder}/nothing.csv", "nothing.csv"),
        ("{dataset}.nothing", "there is no such table"),
    ],
)
def test_source_that_is_not_there_yet_can_be_retried(bucket, dataset, tmp_path: Path, source, message):
    named = source.format(bucket=bucket, folder=tmp_path, dataset=dataset)
    with pytest.raises(SourceNotReadyError, match=message):
        built(named, requests=dataset if named.startswith("bq://") else f"gs://{bucket}/requests")
