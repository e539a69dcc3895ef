"""Builds with the real client, against the local server."""

from __future__ import annotations

from contextlib import nullcontext
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from airflow_gemini_batch.core.addresses import BigQueryAddress
from airflow_gemini_batch.exceptions import InvalidRequestError
from airflow_gemini_batch.requests.sources import parse_row_source
from tests.benchmarks.statements import Recorder
from tests.requests.plans import BOOKS, plan, prompts
from tests.support.statements import before_statements
from tests.support.tables import fill, read


def test_request_table_holds_key_request_and_fingerprint_and_lives_for_two_weeks(
    client, build, dataset, table
):
    columns = {"shelf": "INT64", "the isbn": "STRING", "title": "STRING"}
    source = table([{"shelf": 1, "the isbn": "a", "title": "x"}], columns)
    report = build.run(plan(key=("the isbn", "shelf")), source, dataset)
    written = client.get_table(report.sources[0].removeprefix("bq://"))
    assert {field.name: field.field_type for field in written.schema} == {
        "the isbn": "STRING",
        "shelf": "INTEGER",
        "request": "STRING",
        "batch_fingerprint": "STRING",
    }
    assert timedelta(days=13.9) < written.expires - datetime.now(UTC) < timedelta(days=14)


def test_view_and_query_are_sources_as_well(client, build, dataset, table, requests):
    books = table([{"isbn": "a", "title": "x"}, {"isbn": "b", "title": "y"}]).address
    view = dataset.with_table("good_books")
    client.query_and_wait(f"CREATE VIEW {view.sql} AS SELECT * FROM {books.sql} WHERE title != 'x'")
    of_view = build.run(plan(), parse_row_source(str(view)), dataset)
    of_query = build.run(
        plan(),
        parse_row_source(
            f"WITH good AS (SELECT * FROM {books.sql}) SELECT isbn, title FROM good WHERE title != 'x' -- y"
        ),
        dataset,
    )
    assert prompts(requests(of_view)) == {"b": "Describe y."}
    assert of_query == of_view


def test_one_row_and_no_row(build, dataset, table):
    report = build.run(plan(), table([{"isbn": "a", "title": "x"}], name="one"), dataset)
    assert (report.rows, report.requests, len(report.sources)) == (1, 1, 1)
    report = build.run(plan(), table([], name="none"), dataset)
    assert (report.rows, report.requests, report.sources) == (0, 0, ())


@pytest.mark.parametrize("titles", ["xy", "x ", "  "], ids=["good", "one-bad", "all-bad"])
def test_table_of_sorted_rows_is_dropped(client, build, dataset, table, titles):
    source = table([{"isbn": title + str(number), "title": title} for number, title in enumerate(titles)])
    with pytest.raises(InvalidRequestError) if " " in titles else nullcontext():
        build.run(plan("[[ title ]]"), source, dataset)
    names = [found.table_id for found in client.list_tables(dataset.dotted)]
    assert [name for name in names if not name.startswith("requests_")] == ["books"]


def test_same_requests_are_the_same_table_which_is_kept(client, build, dataset, table):
    rows = [{"isbn": isbn, "title": isbn} for isbn in "abc"]
    (first,) = build.run(plan(), table(rows, name="one"), dataset).sources
    before = client.get_table(first.removeprefix("bq://"))
    (again,) = build.run(plan(), table(rows[::-1], name="other"), dataset).sources
    assert again == first
    assert client.get_table(first.removeprefix("bq://")).etag == before.etag


@pytest.mark.parametrize(
    "other",
    [
        {"prompt": "Tell of [[ title ]]."},
        {"model": "gemini-2.5-pro"},
        {"request": {"system_instruction": "Be brief."}},
        {"key": ("title",)},
    ],
    ids=lambda other: next(iter(other)),
)
def test_other_requests_are_another_table(build, dataset, table, other):
    source = table([{"isbn": "a", "title": "a"}])
    assert build.run(plan(), source, dataset).sources != build.run(plan(**other), source, dataset).sources


def test_table_that_ends_before_a_job_may_have_read_it_is_written_anew(client, build, dataset, table):
    source = table([{"isbn": "a", "title": "x"}])
    (first,) = build.run(plan(), source, dataset).sources
    written = client.get_table(first.removeprefix("bq://"))
    written.expires = datetime.now(UTC) + timedelta(days=4)
    client.update_table(written, ["expires"])
    (again,) = build.run(plan(), source, dataset).sources
    assert again == first
    assert client.get_table(first.removeprefix("bq://")).expires > datetime.now(UTC) + timedelta(days=13)


def test_source_that_changes_meanwhile_was_read_before(
    gemini_batch_stack, client, build, dataset, table, requests
):
    source = table([{"isbn": "a", "title": "x"}])

    def change(number: int, _: str) -> None:
        if number == 1:
            fill(gemini_batch_stack, str(source.address), BOOKS, [{"isbn": "b", "title": "y"}])

    with before_statements(change):
        report = build.run(plan(), source, dataset)
    assert report.requests == 1
    assert requests(report).keys() == {"a"}
    assert build.run(plan(), source, dataset).requests == 2


def numbers(count: int) -> Any:
    return parse_row_source(
        f"SELECT CAST(n AS STRING) AS isbn, 'x' AS title FROM UNNEST(GENERATE_ARRAY(1, {count})) AS n"
    )


@pytest.mark.parametrize(("rows", "limit", "tables"), [(250, 100, [83, 84, 83]), (5, 1, [1] * 5)])
def test_many_rows_are_divided_among_tables(
    gemini_batch_stack, build, dataset, requests, rows, limit, tables
):
    report = build.run(plan(shard_rows=limit), numbers(rows), dataset)
    ends = [f"_{number}_of_{len(tables)}" for number in range(1, len(tables) + 1)]
    assert all(name.endswith(end) for name, end in zip(report.sources, ends, strict=True))
    assert [len(read(gemini_batch_stack, name)) for name in report.sources] == tables
    assert requests(report).keys() == {str(n) for n in range(1, rows + 1)}
    assert report.requests == rows
    assert build.run(plan(shard_rows=limit), numbers(rows), dataset) == report


@pytest.mark.parametrize("shards", [1, 2, 5])
def test_source_and_target_are_read_once_whatever_the_number_of_jobs(build, dataset, table, shards):
    source = table([{"isbn": isbn, "title": isbn} for isbn in "abcde"])
    target = table([], {**BOOKS, "batch_fingerprint": "STRING"}, name="enriched")
    asked = plan(target=str(target.address), shard_rows=-(-5 // shards))
    with Recorder() as recorder:
        report = build.run(asked, source, dataset)
    assert len(report.sources) == shards
    # One script reads and counts the rows, another one writes the requests.
    assert len(recorder.jobs) == 2
    scans = recorder.total("scans")
    assert (scans["books"], scans["enriched"]) == (1, 1)
    # Each request is written once, and once more where there are several jobs.
    written = recorder.total("written")
    assert sum(written[address.rpartition(".")[2]] for address in report.sources) == 5
    assert written["asked_rows"] == (5 if shards > 1 else 0)
    # The requests of a job are read from where they are alone.
    assert recorder.total("read_rows")["asked_rows"] == (5 if shards > 1 else 0)


def test_without_new_rows_nothing_but_the_source_is_read(build, dataset, table):
    with Recorder() as recorder:
        assert build.run(plan(), table([]), dataset).requests == 0
    assert len(recorder.jobs) == 1
    assert recorder.total("scans")["books"] == 1


def test_table_that_is_gone_is_written_again_beside_the_others(client, build, dataset, requests):
    report = build.run(plan(shard_rows=2), numbers(5), dataset)
    kept, gone = (BigQueryAddress.parse(name).dotted for name in report.sources[:2])
    etag = client.get_table(kept).etag
    client.delete_table(gone)
    assert build.run(plan(shard_rows=2), numbers(5), dataset) == report
    assert requests(report).keys() == set("12345")
    assert client.get_table(kept).etag == etag


def test_too_many_jobs_are_refused_before_anything_is_written(client, build, dataset):
    with pytest.raises(
        InvalidRequestError, match=r"1,001 requests among 1,001 jobs.* Set shard_rows to 2 or more"
    ):
        build.run(plan(shard_rows=1), numbers(1001), dataset)
    assert list(client.list_tables(dataset.dotted)) == []
