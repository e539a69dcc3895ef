"""Whose answer a row is, and which requests are sent again, in tables on the local server."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from airflow_gemini_batch.core.addresses import BigQueryAddress
from airflow_gemini_batch.exceptions import SourceNotReadyError
from airflow_gemini_batch.outputs.tables import BigQueryStorage
from tests.outputs.row_shapes import candidate
from tests.support.tables import bigquery_client, fill, make_dataset, read

REQUESTS = {"isbn": "STRING", "price": "NUMERIC", "request": "JSON"}
ANSWERS = {**REQUESTS, "response": "JSON", "status": "STRING"}
GOOD = {"response": candidate(), "status": ""}
BUSY = {"response": {}, "status": '{"code": 8, "message": "busy"}'}
EMPTY = {"response": {}, "status": ""}
REFUSED = {"response": {}, "status": '{"code": 3, "message": "no role"}'}


@pytest.fixture
def storage(gemini_batch_stack):
    return BigQueryStorage(bigquery_client(gemini_batch_stack))


@pytest.fixture
def play(gemini_batch_stack, storage):
    """Write requests and the rows that came back; returns the tally and the requests that are sent again."""

    def play(
        asked: list[dict[str, Any]], came: list[dict[str, Any]], columns: dict[str, str] = REQUESTS
    ) -> tuple[Any, list[Any] | None]:
        dataset = make_dataset(gemini_batch_stack)
        source = BigQueryAddress.parse(fill(gemini_batch_stack, f"{dataset}.requests", columns, asked))
        answers = {**columns, "response": "JSON", "status": "STRING"}
        output = BigQueryAddress.parse(fill(gemini_batch_stack, f"{dataset}.answers", answers, came))
        summary = storage.summarize(output, [source])
        if summary.write_follow_up is None:
            return summary.tally, None
        place = source.with_table("reruns")
        summary.write_follow_up(place)
        summary.write_follow_up(place)  # written again, it is the same
        return summary.tally, read(gemini_batch_stack, str(place))

    return play


def book(number: int) -> dict[str, Any]:
    return {
        "isbn": f"978-{number}",
        "price": "9.99",
        "request": {"contents": [{"role": "user", "parts": [{"text": f"book {number}"}]}]},
    }


def isbns(rows: list[dict[str, Any]]) -> list[str]:
    return sorted(row["isbn"] for row in rows)


def test_requests_without_a_final_answer_are_written_with_all_their_columns(play):
    rows = [GOOD, BUSY, REFUSED, GOOD, EMPTY]
    came = [{**book(number), **row} for number, row in enumerate(rows)]
    tally, follow_ups = play([book(number) for number in range(7)], came)
    counts = {outcome.value: count for outcome, count in tally.counts.items() if count}
    assert counts == {"ok": 2, "retryable": 1, "rejected": 1, "missing": 3}
    assert isbns(follow_ups) == ["978-1", "978-4", "978-5", "978-6"]
    (one,) = (row for row in follow_ups if row["isbn"] == "978-1")
    assert (Decimal(one["price"]), one["request"]) == (Decimal("9.99"), book(1)["request"])


@pytest.mark.parametrize(
    ("rows", "open_"),
    [
        pytest.param([BUSY, GOOD], 0, id="good-in-the-end"),
        pytest.param([BUSY, REFUSED], 0, id="refused-in-the-end"),
        pytest.param([BUSY, BUSY], 1, id="failed-twice"),
    ],
)
def test_of_several_rows_for_one_request_a_final_one_counts(play, rows, open_):
    tally, follow_ups = play([book(0)], [{**book(0), **row} for row in rows])
    assert (tally.rows, tally.duplicates, tally.to_retry) == (1, 1, open_)
    assert len(follow_ups) == open_


def test_of_equal_requests_as_many_are_written_as_are_open(play):
    came = [{**book(0), **row} for row in (GOOD, BUSY, REFUSED)]
    tally, follow_ups = play([book(0)] * 5 + [book(1)], came)
    assert tally.to_retry == 4
    assert isbns(follow_ups) == ["978-0"] * 3 + ["978-1"]


def test_requests_alone_in_their_table_are_told_apart_by_themselves(play):
    asked = [{"request": book(number)["request"]} for number in range(3)]
    tally, follow_ups = play(asked, [{**asked[1], **GOOD}], {"request": "JSON"})
    assert tally.answered == 1
    assert sorted(row["request"]["contents"][0]["parts"][0]["text"] for row in follow_ups) == [
        "book 0",
        "book 2",
    ]


def test_columns_may_have_the_names_of_what_is_counted(play):
    columns = {"digest": "STRING", "request_count": "STRING", "request": "JSON"}
    asked = [{"digest": name, "request_count": name, "request": {}} for name in "ab"]
    tally, follow_ups = play(asked, [{**asked[0], **GOOD}, {**asked[1], **BUSY}], columns)
    assert (tally.answered, [row["digest"] for row in follow_ups]) == (1, ["b"])


def test_null_is_no_empty_text(play):
    asked = [{**book(0), "isbn": None}, {**book(0), "isbn": ""}]
    _, follow_ups = play(asked, [{**asked[0], **GOOD}])
    assert [row["isbn"] for row in follow_ups] == [""]


@pytest.mark.parametrize(
    ("asked", "came"),
    [
        pytest.param(
            [book(0), {**book(1), "isbn": "978-0"}], [{**book(0), **GOOD}], id="keys-that-tell-nothing"
        ),
        pytest.param([book(0), book(1)], [{**book(7), **GOOD}], id="echo-not-understood"),
        pytest.param([book(0), book(1)], [], id="no-rows"),
    ],
)
def test_rows_that_can_t_be_told_apart_make_no_follow_up(play, asked, came):
    tally, follow_ups = play(asked, came)
    assert follow_ups is None
    assert (tally.rows, tally.answered) == (2, len(came))


def test_no_output_is_no_account_and_no_source_an_error(gemini_batch_stack, storage):
    dataset = make_dataset(gemini_batch_stack)
    absent = BigQueryAddress.parse(f"{dataset}.absent")
    output = BigQueryAddress.parse(fill(gemini_batch_stack, f"{dataset}.answers", ANSWERS, []))
    assert storage.summarize(absent, [output]) is None
    with pytest.raises(SourceNotReadyError):
        storage.summarize(output, [absent])
