"""Follow-up jobs: where their requests and their answers lie, and where there are none."""

from __future__ import annotations

import re
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException
from google.api_core.exceptions import Forbidden
from google.cloud.storage import Blob

from airflow_gemini_batch.jobs.manifest import Manifest
from tests.operators.stage import describe
from tests.support.requests_data import answers, lines, request, upload
from tests.support.tables import bigquery_client, fill, read
from tests.support.tasks import TaskInstance, run_task

ROWS = 10
PROMPTS = [request(f"prompt {n}") for n in range(ROWS)]
COLUMNS = {"isbn": "STRING", "request": "JSON"}


def prompts(rows: list[dict[str, Any]]) -> set[str]:
    return {row["request"]["contents"][0]["parts"][0]["text"] for row in rows}


@pytest.mark.usefixtures("half_of_rows_missing")
def test_requests_lie_beside_the_source_and_answers_apart(gemini_batch_stack, bucket, source):
    manifest = run_task(describe(source))
    first, second = manifest["rounds"]
    (requests,) = second["source"]
    assert re.fullmatch(rf"gs://{bucket}/in/reruns/[0-9a-f]{{12}}_1\.jsonl", requests)
    came = prompts(answers(gemini_batch_stack, first["output"]))
    sent = prompts(lines(gemini_batch_stack, requests))
    assert (len(came), len(sent), came & sent) == (5, 5, set())
    assert first["output"].rpartition("/")[0] != second["output"].rpartition("/")[0]
    assert Manifest.from_json(manifest).to_json() == manifest


@pytest.mark.parametrize(
    ("pattern", "destination", "place"),
    [
        ("in/*.jsonl", None, "in/reruns/"),
        ("in/**.jsonl", "out", "out/reruns/"),
        ("in/*/*.jsonl", "in/answers/deep", "in/answers/deep/reruns/"),
    ],
)
@pytest.mark.usefixtures("half_of_rows_missing")
def test_requests_lie_where_no_pattern_of_the_source_finds_them(
    gemini_batch_stack, bucket, pattern, destination, place
):
    upload(
        gemini_batch_stack,
        bucket,
        "in/part/prompts.jsonl" if "/*/" in pattern else "in/prompts.jsonl",
        PROMPTS,
    )
    where = f"gs://{bucket}/{destination}" if destination else None
    operator = describe(f"gs://{bucket}/{pattern}", destination=where)
    first = run_task(operator)
    assert first["counts"]["ok"] == ROWS
    assert first["rounds"][1]["source"][0].startswith(f"gs://{bucket}/{place}")
    # The next try reads the same requests: it finds the jobs.
    assert run_task(operator, TaskInstance(try_number=2)) == first


def test_pattern_that_finds_every_place_is_refused_unless_there_are_no_follow_ups(gemini_batch_stack, bucket):
    upload(gemini_batch_stack, bucket, "in/prompts_1.jsonl", PROMPTS)
    pattern = f"gs://{bucket}/in/**_1.jsonl"
    with pytest.raises(
        AirflowFailException, match=r"would match the requests of a follow-up .*max_row_retries=0"
    ):
        run_task(describe(pattern))
    assert run_task(describe(pattern, max_row_retries=0))["counts"]["ok"] == ROWS


@pytest.mark.usefixtures("half_of_rows_missing")
def test_table_of_requests_goes_by_itself_and_has_the_source_s_columns(gemini_batch_stack, books):
    manifest = run_task(describe(books))
    (requests,) = manifest["rounds"][1]["source"]
    assert re.fullmatch(rf"{books}_rerun_[0-9a-f]{{12}}_1", requests)
    found = bigquery_client(gemini_batch_stack).get_table(requests.removeprefix("bq://"))
    assert [(field.name, field.field_type) for field in found.schema] == list(COLUMNS.items())
    assert 6.9 < (found.expires - found.created).total_seconds() / 86_400 < 7.1
    answered = [row["isbn"] for output in manifest["outputs"] for row in read(gemini_batch_stack, output)]
    assert sorted(answered) == [f"978-{n}" for n in range(ROWS)]


@pytest.mark.parametrize(
    ("destination", "pattern"),
    [
        (".answers", r"\.answers_rerun_[0-9a-f]{12}"),
        ("", r"\.predictions_[0-9a-f]{12}"),
    ],
    ids=["table", "dataset"],
)
@pytest.mark.usefixtures("half_of_rows_missing")
def test_answers_of_a_follow_up_go_to_a_table_of_their_own(dataset, books, destination, pattern):
    first, second = run_task(describe(books, destination=f"{dataset}{destination}"))["outputs"]
    assert first != second
    assert re.fullmatch(re.escape(dataset) + pattern, second)


@pytest.mark.parametrize("reads", ["table", "files"])
def test_where_rows_can_t_be_told_apart_there_is_no_follow_up(
    vertex, half_of_rows_missing, dataset, books, source, bucket, reads
):
    where = (books, f"gs://{bucket}/out") if reads == "table" else (source, f"{dataset}.answers")
    vertex.requests.clear()
    manifest = run_task(describe(where[0], destination=where[1], max_failed_fraction=0.5))
    assert (manifest["counts"]["ok"], manifest["counts"]["missing"]) == (5, 5)
    assert vertex.requests.counts["create"] == 1


def test_key_columns_that_tell_no_rows_apart_make_no_follow_up(
    gemini_batch_stack, vertex, half_of_rows_missing, dataset
):
    rows = [{"isbn": "the same", **line} for line in PROMPTS]
    books = fill(gemini_batch_stack, f"{dataset}.books", COLUMNS, rows)
    vertex.requests.clear()
    manifest = run_task(describe(books, max_failed_fraction=0.5))
    assert (manifest["counts"]["ok"], manifest["counts"]["missing"]) == (5, 5)
    assert vertex.requests.counts["create"] == 1


@pytest.mark.usefixtures("half_of_rows_missing")
def test_place_that_we_may_not_write_to_is_told_with_the_way_out(vertex, source, mocker):
    upload_from_file = Blob.upload_from_file

    def forbidden(blob: Blob, *args: Any, **kwargs: Any) -> Any:
        if "/reruns/" in blob.name:
            raise Forbidden("no storage.objects.create access")
        return upload_from_file(blob, *args, **kwargs)

    vertex.requests.clear()
    mocker.patch.object(Blob, "upload_from_file", forbidden)
    with pytest.raises(AirflowFailException) as refused:
        run_task(describe(source))
    assert "no storage.objects.create access" in str(refused.value)
    assert "set max_row_retries=0" in str(refused.value)
    mocker.stopall()
    assert run_task(describe(source), TaskInstance(try_number=2))["counts"]["ok"] == ROWS
    assert vertex.requests.counts["create"] == 2
