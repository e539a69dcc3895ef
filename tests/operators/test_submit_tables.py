"""SubmitGeminiBatchOperator against the local servers, tables in or out."""

from __future__ import annotations

import json
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException

from airflow_gemini_batch import SubmitGeminiBatchOperator
from airflow_gemini_batch.exceptions import SourceNotReadyError
from tests.support.requests_data import BAD_REQUEST, answers, request, upload
from tests.support.tables import bigquery_client, fill, make_dataset, read
from tests.support.tasks import TaskInstance, run_task
from tests.support.texts import flat

COLUMNS = {"isbn": "STRING", "price": "NUMERIC", "request": "JSON"}


def book(number: int, line: dict[str, Any] | None = None) -> dict[str, Any]:
    content = (line or request(f"book {number}"))["request"]
    return {"isbn": f"978-{number}", "price": "9.99", "request": content}


@pytest.fixture
def dataset(gemini_batch_stack):
    return make_dataset(gemini_batch_stack)


@pytest.fixture
def books(gemini_batch_stack, dataset):
    """The address of a table with three requests."""
    return fill(gemini_batch_stack, f"{dataset}.books", COLUMNS, map(book, range(3)))


def run(source: str | list[str], ti: TaskInstance | None = None, **arguments: Any) -> dict[str, Any]:
    settings = {"task_id": "describe", "model": "gemini-3.8-flash", "poll_interval": 0.05, **arguments}
    manifest: dict[str, Any] = run_task(SubmitGeminiBatchOperator(requests=source, **settings), ti)
    return manifest


def creates(stack) -> int:
    return stack.vertex.requests.counts.get("create", 0)


@pytest.mark.parametrize("deferrable", [True, False], ids=["deferrable", "waiting"])
def test_table_to_table_keeps_the_other_columns(gemini_batch_stack, dataset, books, deferrable):
    manifest = run(books, destination=f"{dataset}.answers", deferrable=deferrable)
    assert manifest["outputs"] == [f"{dataset}.answers"]
    assert manifest["counts"]["ok"] == sum(manifest["counts"].values()) == 3
    (one,) = manifest["rounds"]
    assert (one["source"], one["state"]) == ([books], "JOB_STATE_SUCCEEDED")
    rows = {row["isbn"]: row for row in read(gemini_batch_stack, f"{dataset}.answers")}
    assert set(rows) == {"978-0", "978-1", "978-2"}
    for number, row in enumerate(rows[isbn] for isbn in sorted(rows)):
        assert f"book {number}" in row["response"]["candidates"][0]["content"]["parts"][0]["text"]


def test_requests_as_text_are_taken_too(gemini_batch_stack, dataset):
    rows = [{**book(n), "request": json.dumps(book(n)["request"])} for n in range(2)]
    source = fill(gemini_batch_stack, f"{dataset}.books", {**COLUMNS, "request": "STRING"}, rows)
    assert run(source)["counts"]["ok"] == 2


def test_table_to_files(gemini_batch_stack, books, bucket):
    manifest = run(books, destination=f"gs://{bucket}/out")
    (folder,) = manifest["outputs"]
    assert folder.startswith(f"gs://{bucket}/out/prediction-model-")
    assert {row["isbn"] for row in answers(gemini_batch_stack, folder)} == {"978-0", "978-1", "978-2"}
    assert manifest["counts"]["ok"] == 3


def test_files_to_table(gemini_batch_stack, dataset, bucket):
    source = upload(gemini_batch_stack, bucket, "in.jsonl", [request("a"), request("b")])
    manifest = run(source, destination=f"{dataset}.answers")
    assert manifest["outputs"] == [f"{dataset}.answers"]
    assert manifest["counts"]["ok"] == len(read(gemini_batch_stack, f"{dataset}.answers")) == 2


def test_dataset_as_destination_gets_a_fresh_table_for_each_run(gemini_batch_stack, dataset, books):
    one = run(books, destination=dataset)
    two = run(books, TaskInstance(run_id="another"), destination=dataset)
    assert one["outputs"] != two["outputs"]
    for manifest in (one, two):
        (output,) = manifest["outputs"]
        assert output.startswith(f"{dataset}.predictions_")
        assert len(read(gemini_batch_stack, output)) == 3


def test_answers_lie_beside_the_table_where_nothing_else_is_said(books):
    (output,) = run(books)["outputs"]
    assert output.startswith(f"{books}_predictions_")


def test_answers_in_a_table_named_by_its_whole_address_are_found(gemini_batch_stack, dataset, books):
    gemini_batch_stack.vertex.faults.plan("full_table_address")
    assert run(books, destination=f"{dataset}.answers")["outputs"] == [f"{dataset}.answers"]


def test_failed_rows_are_counted_in_the_table(gemini_batch_stack, dataset):
    rows = [*map(book, range(3)), book(3, BAD_REQUEST)]
    source = fill(gemini_batch_stack, f"{dataset}.books", COLUMNS, rows)
    manifest = run(source, max_failed_fraction=0.25)
    assert (manifest["counts"]["ok"], manifest["counts"]["rejected"]) == (3, 1)
    with pytest.raises(AirflowFailException, match="1 of 4 rows have no answer") as failed:
        run(source, TaskInstance(run_id="another"), preflight=False)
    assert "Please use a valid role: user, model." in flat(failed.value)


def test_rows_without_an_answer_row_are_counted_as_missing(gemini_batch_stack, dataset, books):
    gemini_batch_stack.vertex.faults.plan("missing_rows", share=0.0)
    manifest = run(books, max_failed_fraction=0.5, max_row_retries=0)
    assert (manifest["counts"]["ok"], manifest["counts"]["missing"]) == (2, 1)


def test_lost_output_table_fails_the_task(gemini_batch_stack, books):
    gemini_batch_stack.vertex.faults.plan("lose_output")
    with pytest.raises(AirflowFailException, match="succeeded, but no row has an answer"):
        run(books)


def test_second_try_takes_the_finished_job_though_its_table_exists(gemini_batch_stack, dataset, books):
    first = run(books, destination=f"{dataset}.answers")
    before = creates(gemini_batch_stack)
    second = run(books, TaskInstance(try_number=2), destination=f"{dataset}.answers")
    assert second == first
    assert creates(gemini_batch_stack) == before


def test_changed_table_is_another_job(gemini_batch_stack, books):
    first = run(books)
    fill(gemini_batch_stack, books, COLUMNS, [book(3)])
    second = run(books)
    assert second["rounds"][0]["job_name"] != first["rounds"][0]["job_name"]
    assert second["counts"]["ok"] == 4


def test_second_try_after_a_failed_job_writes_to_a_table_of_its_own(gemini_batch_stack, books):
    gemini_batch_stack.vertex.faults.plan("fail", share=1.0)
    with pytest.raises(Exception, match="The next try submits a new job"):
        run(books)
    assert run(books, TaskInstance(try_number=2))["counts"]["ok"] == 3


def test_source_that_was_dropped_meanwhile_does_not_lose_the_answers(
    gemini_batch_stack, dataset, books, mocker
):
    from airflow_gemini_batch.jobs.runner import BatchRun

    finish = BatchRun.finish

    def dropped(self: BatchRun, job: Any) -> Any:
        bigquery_client(gemini_batch_stack).delete_table(books.removeprefix("bq://"))
        return finish(self, job)

    mocker.patch.object(BatchRun, "finish", dropped)
    assert run(books)["counts"]["ok"] == 3


def test_destination_table_that_exists_is_told_before_the_job_is_created(gemini_batch_stack, dataset, books):
    fill(gemini_batch_stack, f"{dataset}.answers", {"note": "STRING"})
    before = creates(gemini_batch_stack)
    with pytest.raises(
        AirflowFailException, match=f"destination {dataset}.answers: the table already exists"
    ):
        run(books, destination=f"{dataset}.answers")
    assert creates(gemini_batch_stack) == before


def test_missing_dataset_is_told_before_the_job_is_created(gemini_batch_stack, books):
    before = creates(gemini_batch_stack)
    with pytest.raises(
        AirflowFailException, match=r"the dataset demo-project\.no_such_dataset does not exist"
    ):
        run(books, destination="bq://demo-project.no_such_dataset.answers")
    assert creates(gemini_batch_stack) == before


@pytest.mark.parametrize(
    ("name", "message"),
    [
        pytest.param("absent", "there is no such table", id="no-table"),
        pytest.param("nothing", "the table is empty", id="no-rows"),
    ],
)
def test_source_without_rows_can_be_retried_and_costs_nothing(gemini_batch_stack, dataset, name, message):
    fill(gemini_batch_stack, f"{dataset}.nothing", COLUMNS)
    before = creates(gemini_batch_stack)
    with pytest.raises(SourceNotReadyError, match=message):
        run(f"{dataset}.{name}")
    assert creates(gemini_batch_stack) == before


def test_view_as_source_is_refused_for_good(gemini_batch_stack, dataset, books):
    view = f"{dataset}.books_view".removeprefix("bq://")
    table = books.removeprefix("bq://")
    bigquery_client(gemini_batch_stack).query_and_wait(f"CREATE VIEW `{view}` AS SELECT * FROM `{table}`")
    with pytest.raises(AirflowFailException, match="is a view, and a job reads tables only"):
        run(f"bq://{view}")
