"""Whose vector a row is, and which texts are sent again, in tables of text-embedding models on the local server."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_gemini_batch.core.addresses import BigQueryAddress
from airflow_gemini_batch.outputs.classify import Outcome
from airflow_gemini_batch.outputs.tables import BigQueryStorage
from tests.outputs.vector_cases import REFUSALS
from tests.support.tables import bigquery_client, fill, make_dataset, read

READ = {"content": "STRING", "task_type": "STRING", "title": "STRING"}
REQUESTS = {"isbn": "STRING", **READ, "batch_fingerprint": "STRING"}
GOOD = {"predictions": [{"embeddings": {"values": [0.5], "statistics": {"token_count": 1}}}], "status": ""}
EMPTY = {"predictions": [], "status": ""}
BUSY = {"predictions": [], "status": '{"code": 8, "message": "busy"}'}
REFUSED = {"predictions": [], "status": '{"code": 3, "message": "no text"}'}


@pytest.fixture
def storage(gemini_batch_stack):
    return BigQueryStorage(bigquery_client(gemini_batch_stack))


@pytest.fixture
def play(gemini_batch_stack, storage):
    """Write requests and the rows that came back; returns the tally and the texts that are sent again."""

    def play(
        asked: list[dict[str, Any]], came: list[dict[str, Any]], returned: dict[str, str] = READ
    ) -> tuple[Any, list[tuple[str, str | None]] | None]:
        dataset = make_dataset(gemini_batch_stack)
        source = BigQueryAddress.parse(fill(gemini_batch_stack, f"{dataset}.requests", REQUESTS, asked))
        answers = {**returned, "predictions": "JSON", "status": "STRING"}
        output = BigQueryAddress.parse(fill(gemini_batch_stack, f"{dataset}.answers", answers, came))
        summary = storage.summarize(output, [source])
        if summary.write_follow_up is None:
            return summary.tally, None
        place = source.with_table("reruns")
        summary.write_follow_up(place)
        rows = read(gemini_batch_stack, str(place))
        return summary.tally, sorted((row["content"], row["title"]) for row in rows)

    return play


def text(number: int, content: str, title: str | None = None) -> dict[str, Any]:
    return {"isbn": f"978-{number}", "content": content, "title": title, "batch_fingerprint": str(number)}


def test_rows_are_matched_by_what_was_asked(play):
    asked = [text(1, "a", ""), text(2, "a", "A"), text(3, "b"), text(4, "c"), text(5, "d")]
    came = [
        {"content": "a", **GOOD},  # an empty title is none
        {"content": "a", "title": "A", **BUSY},
        {"content": "b", **EMPTY},
        {"content": "c", **REFUSED},
        {"content": "nobody's", **GOOD},
    ]
    tally, follow_ups = play(asked, came)
    assert (tally.answered, tally.unknown) == (1, 1)
    assert {outcome: count for outcome, count in tally.counts.items() if count} == {
        Outcome.OK: 1,
        Outcome.RETRYABLE: 1,
        Outcome.MISSING: 2,
        Outcome.REJECTED: 1,
    }
    assert follow_ups == [("a", "A"), ("b", None), ("d", None)]


def test_the_same_text_of_several_rows_is_sent_again_as_often_as_it_is_missing(play):
    tally, follow_ups = play([text(n, "a") for n in range(3)] + [text(3, "b")], [{"content": "a", **GOOD}])
    assert (tally.answered, tally.counts[Outcome.MISSING]) == (1, 3)
    assert follow_ups == [("a", None), ("a", None), ("b", None)]


@pytest.mark.parametrize(("title", "distinguished"), [("A", True), ("other", False)])
def test_texts_that_only_their_titles_tell_apart_are_not_sent_again(play, title, distinguished):
    asked = [text(1, "a", "A"), text(2, "a", title)]
    tally, follow_ups = play(asked, [{"content": "a", **GOOD}], returned={"content": "STRING"})
    assert (tally.answered, tally.to_retry) == (1, 1)
    assert follow_ups == ([("a", "A")] if distinguished else None)


@pytest.mark.parametrize("kind", ["JSON", "STRING"])
def test_vectors_are_counted_whatever_the_type_of_their_column(gemini_batch_stack, storage, kind):
    rows = [{"content": refusal.name, **refusal.cells(kind)} for refusal in REFUSALS]
    columns = {"content": "STRING", "predictions": kind, "status": "STRING", "error": kind}
    table = fill(gemini_batch_stack, f"{make_dataset(gemini_batch_stack)}.answers", columns, rows)
    tally = storage.tally(BigQueryAddress.parse(table))
    outcomes = [refusal.outcome for refusal in REFUSALS]
    assert tally.counts == {outcome: outcomes.count(outcome) for outcome in Outcome}
    assert "missing: the row has no vector" in tally.samples
