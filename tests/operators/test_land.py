"""LandGeminiResultsOperator: answers of jobs become rows of a table or of a file."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException

from airflow_gemini_batch import LandGeminiResultsOperator
from airflow_gemini_batch.core.columns import BOOKKEEPING
from tests.operators.steps import BOOKS, book, built, landed, submitted
from tests.support.requests_data import lines, request, storage_client, upload
from tests.support.tables import fill, make_dataset, read
from tests.support.texts import flat

ROWS = [book(number) for number in range(4)]
SCHEMA = {"description": str, "genres": list[str], "year": int, "for_children": bool}


@pytest.fixture
def dataset(gemini_batch_stack):
    return make_dataset(gemini_batch_stack)


@pytest.fixture
def books(gemini_batch_stack, dataset):
    return fill(gemini_batch_stack, f"{dataset}.books", BOOKS, ROWS)


@pytest.fixture
def asked(books, bucket):
    """Return what builds and submits the rows, from tables or from files, and returns the manifests."""

    def asked(kind: str, *, shard_rows: int | None = None, **arguments: Any) -> list[dict[str, Any]]:
        submit = {"max_failed_fraction": 1.0, "max_row_retries": 0, **arguments.pop("submit", {})}
        if kind == "files":
            arguments["destination"] = f"gs://{bucket}/requests"
        source = books if kind == "tables" else ROWS
        return submitted(built(source, shard_rows=shard_rows, **arguments), **submit)

    return asked


def content(stack: Any, target: str) -> dict[str, dict[str, Any]]:
    """Return what was landed, by key."""
    if target.startswith("bq://"):
        rows = read(stack, target)
    elif target.endswith(".parquet"):
        from pyarrow import parquet

        rows = parquet.read_table(io.BytesIO(raw(stack, target))).to_pylist()
    elif target.startswith("gs://"):
        rows = lines(stack, target)
    else:
        rows = [json.loads(line) for line in Path(target).read_text(encoding="utf-8").splitlines()]
    found = {row["isbn"]: row for row in rows}
    assert len(found) == len(rows)
    return found


def raw(stack: Any, target: str) -> bytes:
    if not target.startswith("gs://"):
        return Path(target).read_bytes()
    bucket, _, name = target.removeprefix("gs://").partition("/")
    data: bytes = storage_client(stack).bucket(bucket).blob(name).download_as_bytes()
    return data


TARGETS = [
    pytest.param("tables", "{dataset}.landed", id="table to table"),
    pytest.param("files", "{dataset}.landed", id="files to table"),
    pytest.param("files", "gs://{bucket}/out/landed.parquet", id="files to Parquet"),
    pytest.param("files", "gs://{bucket}/out/landed.jsonl", id="files to JSON Lines"),
    pytest.param("files", "{folder}/landed.parquet", id="files to local Parquet"),
    pytest.param("files", "{folder}/landed.jsonl", id="files to local JSON Lines"),
]


@pytest.mark.parametrize(("kind", "target"), TARGETS)
def test_answers_land_typed_and_once(gemini_batch_stack, dataset, bucket, tmp_path, asked, kind, target):
    target = target.format(dataset=dataset, bucket=bucket, folder=tmp_path)
    manifests = asked(kind, response_schema=SCHEMA, shard_rows=3)
    assert len(manifests) > 1
    report = landed(manifests, target, response_schema=SCHEMA)
    assert (report["target"], report["landed"], report["failed"]) == (target, 4, 0)
    rows = content(gemini_batch_stack, target)
    assert rows.keys() == {one["isbn"] for one in ROWS}
    for one in ROWS:
        row = rows[one["isbn"]]
        assert row.keys() == {"isbn", *SCHEMA, *BOOKKEEPING}
        assert one["title"] in row["description"]
        assert {name: type(row[name]) for name in SCHEMA} == {
            "description": str,
            "genres": list,
            "year": int,
            "for_children": bool,
        }
        assert row["batch_model"] == "gemini-3.8-flash"
        assert row["batch_prompt_tokens"] > 0
    assert landed(manifests, target, response_schema=SCHEMA) == report
    assert content(gemini_batch_stack, target) == rows


def test_one_manifest_is_taken_as_well_as_a_list(gemini_batch_stack, dataset, asked):
    (manifest,) = asked("tables")
    for given in (manifest, [manifest], (one for one in [manifest])):
        assert landed(given, f"{dataset}.landed")["landed"] == 4
    assert len(content(gemini_batch_stack, f"{dataset}.landed")) == 4


def test_text_lands_in_the_column_that_the_user_names(gemini_batch_stack, dataset, asked):
    landed(asked("tables"), f"{dataset}.landed", text_column="blurb", bookkeeping=False)
    rows = content(gemini_batch_stack, f"{dataset}.landed")
    assert rows["978-1"].keys() == {"isbn", "blurb"}
    assert "Title 1" in rows["978-1"]["blurb"]


FAILING = [
    pytest.param("tables", "{dataset}.landed", "{dataset}.landed__failed", id="tables"),
    pytest.param("files", "{dataset}.landed", "{dataset}.landed__failed", id="files to table"),
    pytest.param("files", "gs://{bucket}/landed.parquet", "gs://{bucket}/landed__failed.parquet", id="files"),
]


@pytest.mark.parametrize(("kind", "target", "failed"), FAILING)
def test_failures_land_apart_and_are_judged_afterwards(
    gemini_batch_stack, dataset, bucket, asked, kind, target, failed
):
    target, failed = (one.format(dataset=dataset, bucket=bucket) for one in (target, failed))
    gemini_batch_stack.vertex.faults.plan("missing_rows", share=0.0)  # one row at the least
    manifests = asked(kind)
    with pytest.raises(AirflowFailException, match="1 of 4 rows have no usable answer") as judged:
        landed(manifests, target)
    assert "The other 3 are landed." in flat(judged.value)
    assert f"Target      {target}\n" in str(judged.value)
    assert len(content(gemini_batch_stack, target)) == 3
    (failure,) = content(gemini_batch_stack, failed).values()
    assert failure["outcome"] == "missing"
    assert failure["job"] == manifests[0]["rounds"][0]["job_name"]
    report = landed(manifests, target, max_failed_fraction=0.25)
    assert (report["landed"], report["failed"], report["failed_target"]) == (3, 1, failed)
    assert len(content(gemini_batch_stack, failed)) == 1


@pytest.mark.parametrize(("kind", "target", "failed"), FAILING)
def test_answers_that_do_not_fit_the_schema_are_failures(
    gemini_batch_stack, dataset, bucket, asked, kind, target, failed
):
    target, failed = (one.format(dataset=dataset, bucket=bucket) for one in (target, failed))
    manifests = asked(kind)  # plain text, where an object is expected
    with pytest.raises(AirflowFailException) as judged:
        landed(manifests, target, response_schema=SCHEMA, max_failed_fraction=0.99)
    assert "4 of 4 rows have no usable answer (100.00%" in flat(judged.value)
    assert "(keys 978-0, 978-1, 978-2)" in flat(judged.value)
    rows = content(gemini_batch_stack, failed)
    assert {row["outcome"] for row in rows.values()} == {"invalid"}
    assert len(rows) == 4


def test_all_rows_may_fail_where_all_are_allowed_to(gemini_batch_stack, bucket, asked):
    report = landed(
        asked("files"), f"gs://{bucket}/landed.jsonl", response_schema=SCHEMA, max_failed_fraction=1.0
    )
    assert (report["landed"], report["failed"]) == (0, 4)


def test_failures_leave_their_place_once_they_have_an_answer(gemini_batch_stack, dataset, asked):
    target = f"{dataset}.landed"
    gemini_batch_stack.vertex.faults.plan("missing_rows", share=0.0)
    landed(asked("tables"), target, max_failed_fraction=0.5)
    assert len(content(gemini_batch_stack, f"{target}__failed")) == 1
    manifests = asked("tables", submit={"run_id": "second"}, target=target)
    assert manifests[0]["counts"]["ok"] == 1
    assert landed(manifests, target)["landed"] == 1
    assert len(content(gemini_batch_stack, target)) == 4
    assert content(gemini_batch_stack, f"{target}__failed") == {}


def test_failures_go_where_the_user_says(gemini_batch_stack, dataset, asked):
    gemini_batch_stack.vertex.faults.plan("missing_rows", share=0.0)
    failed = f"{dataset}.dead_letters"
    report = landed(asked("tables"), f"{dataset}.landed", failed_target=failed, max_failed_fraction=0.5)
    assert report["failed_target"] == failed
    assert len(content(gemini_batch_stack, failed)) == 1


MANIFEST: dict[str, Any] = {
    "version": 1,
    "identity": "x",
    "model": "gemini-3.8-flash",
    "console_url": "",
    "counts": {},
    "rounds": [],
}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        pytest.param({"manifest": []}, "manifest is empty", id="no manifest"),
        pytest.param({"manifest": None}, "manifest is empty", id="None"),
        pytest.param({"manifest": {}}, "expected the manifest of a batch job", id="empty"),
        pytest.param({"manifest": "{'version': 1}"}, "manifest is a text.*: give .*\\.output", id="text"),
        pytest.param(
            {"manifest": [MANIFEST, {"state": "x"}]}, "expected the manifest of a batch job", id="one of two"
        ),
        pytest.param({"manifest": {**MANIFEST, "version": 2}}, "Upgrade airflow-gemini-batch", id="later"),
        pytest.param({"manifest": {"version": 1}}, "but 'identity' is missing", id="half"),
        pytest.param(
            {"target": "/a.jsonl", "failed_target": "/a.jsonl"},
            "failed_target is the target",
            id="same place",
        ),
        pytest.param({"key": ()}, "key: expected a column name, or several", id="no key"),
        pytest.param({"target": ""}, "target", id="no target"),
        pytest.param({"target": "landed.csv"}, "landed.csv", id="kind of file"),
        pytest.param({"target": "s3://shop/landed.parquet"}, "s3://", id="scheme"),
        pytest.param({"target": "bq://project-1.books"}, "is a dataset", id="dataset"),
        pytest.param({"response_schema": {"batch_job": str}}, "two columns 'batch_job'", id="column twice"),
    ],
)
@pytest.mark.usefixtures("gemini_batch_stack")
def test_what_the_user_can_mend_is_said_without_retries(tmp_path, arguments, message):
    settings = {"manifest": MANIFEST, "target": str(tmp_path / "landed.jsonl"), **arguments}
    with pytest.raises(AirflowFailException, match=message):
        landed(**settings)


def test_answers_of_tables_do_not_land_in_files(asked, bucket):
    with pytest.raises(AirflowFailException, match="so they land in a bq:// table"):
        landed(asked("tables"), f"gs://{bucket}/landed.parquet")


@pytest.mark.parametrize("target", ["{dataset}.landed", "gs://{bucket}/landed.parquet"])
def test_requests_and_answers_of_two_kinds_are_refused(gemini_batch_stack, dataset, bucket, target):
    source = upload(gemini_batch_stack, bucket, "in.jsonl", [{**request("a"), "key": "1"}])
    manifests = submitted([source], destination=f"{dataset}.answers", max_row_retries=0)
    with pytest.raises(AirflowFailException, match="destination of the source's kind"):
        landed(manifests, target.format(dataset=dataset, bucket=bucket))


def test_manifests_of_two_kinds_are_refused(asked, dataset):
    with pytest.raises(AirflowFailException, match="destination of the source's kind"):
        landed([*asked("tables"), *asked("files")], f"{dataset}.landed")


def test_column_of_another_type_in_the_target_is_an_error(gemini_batch_stack, dataset, asked):
    target = fill(gemini_batch_stack, f"{dataset}.landed", {"isbn": "STRING", "answer": "INT64"})
    with pytest.raises(AirflowFailException, match="the column 'answer' is INT64 there"):
        landed(asked("tables"), target)


def test_parameters_are_looked_at_when_the_task_runs():
    # Templates are rendered only then.
    LandGeminiResultsOperator(task_id="land", manifest="{{ x }}", key="{{ x }}", target="{{ x }}")
