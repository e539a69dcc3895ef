"""Whose answer a line is, and which requests are sent again, in files on the local server."""

from __future__ import annotations

import json
from typing import Any

import pytest

from airflow_gemini_batch.core.addresses import GcsAddress
from airflow_gemini_batch.core.keys import sent_key
from airflow_gemini_batch.exceptions import SourceNotReadyError
from airflow_gemini_batch.outputs.files import CloudStorage
from tests.outputs.row_shapes import candidate
from tests.support.requests_data import lines, storage_client, upload

BUSY = {"status": '{"code": 8, "message": "busy"}', "response": {}}
GOOD = {"status": "", "response": candidate()}
REFUSED = {"status": '{"code": 3, "message": "no role"}', "response": {}}


@pytest.fixture
def storage(gemini_batch_stack):
    return CloudStorage(storage_client(gemini_batch_stack))


@pytest.fixture
def play(gemini_batch_stack, storage, bucket):
    """Write requests and the rows that came back; returns the tally and the requests that are sent again."""

    def play(asked: list[dict[str, Any]], came: list[dict[str, Any]]) -> tuple[Any, list[Any] | None]:
        half = len(asked) // 2
        upload(gemini_batch_stack, bucket, "in/1.jsonl", asked[:half])
        upload(gemini_batch_stack, bucket, "in/2.jsonl", asked[half:])
        upload(gemini_batch_stack, bucket, "out/predictions.jsonl", came)
        summary = storage.summarize(GcsAddress(bucket, "out"), [GcsAddress(bucket, "in/*.jsonl")])
        if summary.write_follow_up is None:
            return summary.tally, None
        summary.write_follow_up(GcsAddress(bucket, "reruns/1.jsonl"))
        return summary.tally, lines(gemini_batch_stack, f"gs://{bucket}/reruns/1.jsonl")

    return play


def ask(text: str, key: str | None = None) -> dict[str, Any]:
    content = {"contents": [{"role": "user", "parts": [{"text": text}]}]}
    return {"request": content} if key is None else {"key": sent_key(key), "request": content}


def echo(asked: dict[str, Any], row: dict[str, Any], *, key: bool = False) -> dict[str, Any]:
    request = {
        **asked["request"],
        "contents": [
            {"parts": [{**asked["request"]["contents"][0]["parts"][0], "fileData": None}], "role": "user"}
        ],
    }
    return {**row, "request": request, **({"key": asked["key"]} if key else {})}


@pytest.mark.parametrize(
    ("keys", "echoes"),
    [
        pytest.param(None, {}, id="by-content"),
        pytest.param("a/b {}", {"key": True}, id="key-beside-the-request"),
        pytest.param("a/b {}", {}, id="no-key-so-by-content"),
    ],
)
def test_requests_without_a_final_answer_are_written_as_they_were(play, keys, echoes):
    asked = [ask(f"prompt {n}", keys and keys.format(n)) for n in range(8)]
    rows = [GOOD, BUSY, REFUSED, GOOD, BUSY, GOOD]
    came = [echo(one, row, **echoes) for one, row in zip(asked, rows, strict=False)]
    tally, follow_ups = play(asked, came[::-1])
    counts = {outcome.value: count for outcome, count in tally.counts.items() if count}
    assert counts == {"ok": 3, "retryable": 2, "rejected": 1, "missing": 2}
    assert follow_ups == [asked[n] for n in (1, 4, 6, 7)]


def test_content_counts_for_nothing_where_keys_come_back(play):
    # The service may spell the content in a way that is not understood.
    asked = [ask(f"prompt {n}", str(n)) for n in range(4)]
    came = [{**echo(one, GOOD, key=True), "request": {}} for one in asked[:3]]
    tally, follow_ups = play(asked, came)
    assert (tally.answered, tally.unknown) == (3, 0)
    assert follow_ups == asked[3:]


def test_key_that_two_requests_share_tells_nothing(play):
    asked = [ask(f"prompt {n}", "crime" if n % 2 else "poetry") for n in range(6)]
    tally, follow_ups = play(asked, [echo(asked[n], GOOD, key=True) for n in (5, 0, 2)])
    assert tally.answered == 3
    assert follow_ups == [asked[n] for n in (1, 3, 4)]


def test_requests_without_a_key_among_others_are_told_by_their_content(play):
    asked = [ask("a", "1"), ask("b"), ask("c", "3"), ask("d")]
    tally, follow_ups = play(
        asked,
        [
            echo(asked[0], GOOD, key=True),
            echo(asked[1], GOOD),
            echo(asked[2], BUSY, key=True),
        ],
    )
    assert tally.answered == 2
    assert follow_ups == asked[2:]


def test_of_equal_requests_as_many_are_written_as_are_open(play):
    asked = [ask("the same")] * 5 + [ask("another")]
    tally, follow_ups = play(asked, [echo(asked[0], row) for row in (GOOD, BUSY, REFUSED)])
    assert tally.to_retry == 4
    assert follow_ups == [asked[0]] * 3 + [asked[5]]


def test_broken_rows_at_the_beginning_do_not_hide_the_keys(play):
    asked = [ask(f"prompt {n}", str(n)) for n in range(3)]
    lost = {"status": "busy", "response": {}, "request": None}
    came = [{**echo(one, GOOD, key=True), "request": {}} for one in asked[1:]]
    tally, follow_ups = play(asked, [lost, *came])
    assert tally.answered == 2
    assert follow_ups == asked[:1]


@pytest.mark.parametrize(
    "came", [[], [{"status": "", "response": candidate(), "request": {"contents": "else"}}]]
)
def test_rows_that_can_t_be_told_apart_make_no_follow_up(play, came):
    tally, follow_ups = play([ask("a"), ask("b")], came)
    assert follow_ups is None
    assert tally.rows == 2


def test_written_again_it_is_the_same_file(gemini_batch_stack, storage, bucket, play):
    asked = [ask(f"prompt {n}") for n in range(4)]
    first = play(asked, [echo(asked[1], GOOD)])
    assert play(asked, [echo(asked[1], GOOD)]) == first


def test_no_output_is_no_account_and_no_source_an_error(storage, bucket, gemini_batch_stack):
    where = GcsAddress(bucket, "out")
    assert storage.summarize(where, [GcsAddress(bucket, "in.jsonl")]) is None
    upload(gemini_batch_stack, bucket, "out/predictions.jsonl", [json.loads("{}")])
    with pytest.raises(SourceNotReadyError):
        storage.summarize(where, [GcsAddress(bucket, "in.jsonl")])
