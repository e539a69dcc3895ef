from __future__ import annotations

import re
from datetime import date
from typing import Any

import pytest

from airflow_gemini_batch.core.addresses import Address, BigQueryAddress, GcsAddress, parse_address
from airflow_gemini_batch.core.model_families import GEMINI_EMBEDDING, TEXT_EMBEDDING
from airflow_gemini_batch.exceptions import InvalidRequestError
from airflow_gemini_batch.jobs.identity import RoundId
from airflow_gemini_batch.jobs.submission import (
    JobRequest,
    Submission,
    output_address,
    parse_destination,
    parse_requests,
)

IDENTITY = "0123456789abcdef0123456789abcdef"


def submission(**fields: Any) -> Submission:
    asked: dict[str, Any] = {
        "model": "gemini-2.5-flash",
        "requests": "gs://books/in/a.jsonl",
        "destination": None,
        "name": "nightly.submit",
        "labels": None,
        "model_parameters": None,
    }
    return Submission.checked(**asked | fields)


def test_submission_holds_what_is_asked_for() -> None:
    assert submission(
        requests=["gs://books/in/a.jsonl", "gs://books/in/2024-*.jsonl"],
        destination="bq://my-shop.books",
        labels={"team": "books"},
        model_parameters={"outputDimensionality": "768"},
    ) == Submission(
        model="publishers/google/models/gemini-2.5-flash",
        requests=(GcsAddress("books", "in/a.jsonl"), GcsAddress("books", "in/2024-*.jsonl")),
        destination=BigQueryAddress("my-shop", "books"),
        name="nightly.submit",
        labels={"team": "books"},
        model_parameters={"outputDimensionality": "768"},
    )


@pytest.mark.parametrize("field", ["requests", "destination"])
def test_tables_are_refused_where_the_model_takes_none(field: str) -> None:
    fields = {"model": "gemini-embedding-001", field: "bq://my-shop.books.texts"}
    with pytest.raises(
        InvalidRequestError, match=r"reads and writes only files, not bq://my-shop.books.texts"
    ):
        submission(**fields, family=GEMINI_EMBEDDING)
    assert submission(**fields, family=TEXT_EMBEDDING)


def test_submission_keeps_no_hold_of_the_mappings_it_is_given() -> None:
    labels, parameters = {"team": "books"}, {"a": 1}
    asked = submission(labels=labels, model_parameters=parameters)
    labels["team"], parameters["a"] = "music", 2
    assert (asked.labels, asked.model_parameters) == ({"team": "books"}, {"a": 1})


@pytest.mark.parametrize(
    ("fields", "culprit"),
    [
        pytest.param({"model": "models/gemini-2.5-flash"}, "model", id="model"),
        pytest.param({"model": None}, "model", id="no-model"),
        pytest.param({"requests": "books/a.jsonl"}, "books/a.jsonl", id="source"),
        pytest.param({"requests": None}, "requests", id="no-requests"),
        pytest.param({"requests": 5}, "5", id="number-for-the-source"),
        pytest.param({"requests": [5]}, "5", id="number-among-the-sources"),
        pytest.param({"destination": "s3://books/out"}, "s3://books/out", id="destination"),
        pytest.param({"destination": 5}, "5", id="number-for-the-destination"),
        pytest.param({"labels": {"Team": "x"}}, "'Team'", id="label"),
        # Both are template fields, so any text can arrive here.
        pytest.param({"labels": "{'team': 'x'}"}, "labels", id="text-for-the-labels"),
        pytest.param({"labels": ["team"]}, "labels", id="list-for-the-labels"),
        pytest.param({"model_parameters": "{'a': 1}"}, "model_parameters", id="text-for-the-parameters"),
        pytest.param({"model_parameters": ["a"]}, "model_parameters", id="list-for-the-parameters"),
        pytest.param(
            {"model_parameters": {"a": date(2025, 1, 2)}}, "model_parameters", id="parameter-that-is-no-json"
        ),
    ],
)
def test_fault_is_found_before_anything_is_sent(fields: dict[str, Any], culprit: str) -> None:
    with pytest.raises(InvalidRequestError, match=re.escape(culprit)):
        submission(**fields)


def test_all_faults_are_told_at_once() -> None:
    with pytest.raises(InvalidRequestError) as caught:
        submission(model="models/x", requests="books/a", destination="out", labels={"Team": "x"})
    lines = str(caught.value).splitlines()
    assert len(lines) == 4
    assert [
        word
        for word, line in zip(("models/x", "books/a", "out", "Team"), lines, strict=True)
        if word not in line
    ] == []


@pytest.mark.parametrize(
    ("source", "sources"),
    [
        pytest.param("gs://books/a.jsonl", ["gs://books/a.jsonl"], id="file"),
        pytest.param("gs://books/*/part-*.jsonl", ["gs://books/*/part-*.jsonl"], id="wildcard-in-the-middle"),
        pytest.param(["gs://books/a", "gs://music/b"], ["gs://books/a", "gs://music/b"], id="files"),
        pytest.param(("gs://books/a",), ["gs://books/a"], id="tuple"),
        pytest.param("bq://my-shop.books.rows", ["bq://my-shop.books.rows"], id="table"),
        pytest.param(["bq://my-shop.books.rows"], ["bq://my-shop.books.rows"], id="list-of-one-table"),
    ],
)
def test_sources_are_read(source: Any, sources: list[str]) -> None:
    assert [str(address) for address in parse_requests(source)] == sources


@pytest.mark.parametrize(
    ("source", "hint"),
    [
        pytest.param("", "requests is empty", id="empty"),
        pytest.param(None, "requests is empty", id="none"),
        pytest.param([], "requests is empty", id="no-files"),
        pytest.param(["gs://books/a", ""], "an address is missing", id="empty-among-files"),
        pytest.param(
            "['gs://books/a', 'gs://books/b']", "render_template_as_native_obj=True", id="list-as-text"
        ),
        pytest.param("gs://books", "such as gs://books/*.jsonl", id="bucket"),
        pytest.param("gs://books/", "such as gs://books/*.jsonl", id="bucket-with-slash"),
        pytest.param("gs://books/in/", "such as gs://books/in/*.jsonl", id="folder"),
        pytest.param("gs://books/*/in/", "such as gs://books/*/in/*.jsonl", id="pattern-of-folders"),
        pytest.param("bq://my-shop.books", "is a dataset. Name the table", id="dataset"),
        pytest.param("bq://my-shop.books.rows$20240131", "is a partition. Write its rows", id="partition"),
        pytest.param(["bq://my-shop.books.a", "bq://my-shop.books.b"], "names several tables", id="tables"),
        pytest.param(
            ["gs://books/a", "bq://my-shop.books.a"], "mixes BigQuery and Cloud Storage", id="mixed"
        ),
    ],
)
def test_wrong_source_is_told_the_way_out(source: Any, hint: str) -> None:
    with pytest.raises(ValueError, match=re.escape(hint)):
        parse_requests(source)


@pytest.mark.parametrize(
    ("destination", "address"),
    [
        pytest.param(None, None, id="none"),
        pytest.param("", None, id="empty"),
        pytest.param("gs://books", GcsAddress("books", ""), id="bucket"),
        pytest.param("gs://books/out/", GcsAddress("books", "out/"), id="prefix"),
        pytest.param("bq://my-shop.books", BigQueryAddress("my-shop", "books"), id="dataset"),
        pytest.param("bq://my-shop.books.out", BigQueryAddress("my-shop", "books", "out"), id="table"),
    ],
)
def test_destination_is_read(destination: str | None, address: Address | None) -> None:
    assert parse_destination(destination) == address


@pytest.mark.parametrize(
    ("destination", "complaint"),
    [
        pytest.param("gs://books/out-*", "is a pattern", id="pattern"),
        pytest.param("gs://books/*/out", "is a pattern", id="wildcard-in-the-middle"),
        pytest.param("out", "has no scheme", id="word"),
        pytest.param(
            "bq://my-shop.books.out$20240131", "partition", id="partition-of-a-table-yet-to-be-made"
        ),
    ],
)
def test_wrong_destination_is_refused(destination: str, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        parse_destination(destination)


# Where the output is among the requests of the next try, that try finds another source, so another identity, and
# pays for a second job.
@pytest.mark.parametrize(
    ("source", "destination"),
    [
        pytest.param("gs://books/in/**", None, id="fresh-place-below-the-pattern"),
        pytest.param("gs://books/in/**.jsonl", "gs://books/in/answers", id="destination-below-the-pattern"),
        pytest.param("gs://books/*/*/*/*.jsonl", None, id="pattern-as-deep-as-the-output"),
    ],
)
def test_source_that_would_match_its_own_output_is_refused(source: str, destination: str | None) -> None:
    with pytest.raises(InvalidRequestError, match="destination"):
        submission(requests=source, destination=destination)


@pytest.mark.parametrize(
    ("source", "destination"),
    [
        pytest.param("gs://books/in/*.jsonl", None, id="one-folder"),
        pytest.param("gs://books/in/**.jsonl", "gs://books/out", id="beside-the-pattern"),
        pytest.param("gs://books/**", "gs://answers/out", id="other-bucket"),
        pytest.param("gs://books/**", "bq://my-shop.books", id="tables"),
    ],
)
def test_source_apart_from_its_output_is_taken(source: str, destination: str | None) -> None:
    assert str(submission(requests=source, destination=destination).requests[0]) == source


@pytest.mark.parametrize(
    ("source", "destination", "first", "second"),
    [
        pytest.param(
            "gs://books/in/a.jsonl",
            None,
            "gs://books/in/predictions/0123456789ab",
            "gs://books/in/predictions/0123456789ab_1",
            id="beside-the-file",
        ),
        pytest.param(
            "gs://books/a.jsonl",
            None,
            "gs://books/predictions/0123456789ab",
            "gs://books/predictions/0123456789ab_1",
            id="top-of-the-bucket",
        ),
        pytest.param(
            "gs://books/in/2024-*/part-*.jsonl",
            None,
            "gs://books/in/predictions/0123456789ab",
            "gs://books/in/predictions/0123456789ab_1",
            id="beside-the-fixed-part-of-a-pattern",
        ),
        pytest.param(
            "bq://my-shop.books.rows",
            None,
            "bq://my-shop.books.rows_predictions_0123456789ab",
            "bq://my-shop.books.rows_predictions_0123456789ab_1",
            id="beside-the-table",
        ),
        pytest.param(
            "bq://example.com:my-shop.books.rows",
            None,
            "bq://example.com:my-shop.books.rows_predictions_0123456789ab",
            "bq://example.com:my-shop.books.rows_predictions_0123456789ab_1",
            id="domain-scoped-project",
        ),
        pytest.param(
            "gs://books/in/a.jsonl",
            "bq://my-shop.answers",
            "bq://my-shop.answers.predictions_0123456789ab",
            "bq://my-shop.answers.predictions_0123456789ab_1",
            id="fresh-table-in-the-dataset",
        ),
        pytest.param(
            "bq://my-shop.books.rows",
            "bq://my-shop.answers.out",
            "bq://my-shop.answers.out",
            "bq://my-shop.answers.out",
            id="named-table-as-it-is",
        ),
        pytest.param(
            "bq://my-shop.books.rows",
            "gs://books/out/",
            "gs://books/out/",
            "gs://books/out/",
            id="named-prefix-as-it-is",
        ),
    ],
)
def test_output_address_of_the_first_and_the_second_job(
    source: str, destination: str | None, first: str, second: str
) -> None:
    address = parse_destination(destination)
    places = [output_address(parse_address(source), address, IDENTITY, attempt) for attempt in (0, 1)]
    assert [str(place) for place in places] == [first, second]


@pytest.mark.parametrize(
    "source",
    [
        pytest.param("gs://books/ünï/本.jsonl", id="unicode-path"),
        pytest.param("bq://my-shop.books.my rows", id="space"),
        pytest.param("bq://my-shop.books.книги", id="unicode-table"),
        pytest.param(f"bq://my-shop.books.{'t' * 1024}", id="longest-table"),
    ],
)
@pytest.mark.parametrize("attempt", [0, 12])
def test_output_address_is_a_legal_address(source: str, attempt: int) -> None:
    place = output_address(parse_address(source), None, IDENTITY, attempt)
    assert parse_address(str(place)) == place


def test_request_is_the_whole_create_call() -> None:
    asked = submission(labels={"team": "books"}, model_parameters={"a": 1})
    assert asked.request(RoundId(IDENTITY), 2, {"airflow_dag": "nightly"}) == JobRequest(
        model="publishers/google/models/gemini-2.5-flash",
        requests=(GcsAddress("books", "in/a.jsonl"),),
        destination=GcsAddress("books", "in/predictions/0123456789ab_2"),
        display_name=f"nightly.submit {IDENTITY}",
        labels={"team": "books", "airflow_dag": "nightly", "gemini_batch_id": IDENTITY},
        model_parameters={"a": 1},
    )


def test_request_carries_its_identity_whatever_the_labels() -> None:
    assert submission().request(RoundId(IDENTITY), 0, {"gemini_batch_id": "x"}).labels == {
        "gemini_batch_id": IDENTITY
    }


FOLLOW_UP = RoundId(IDENTITY, 1, "42")
SHORT = FOLLOW_UP.identity[:12]


def test_request_of_a_follow_up_has_places_of_its_own() -> None:
    asked = submission(labels={"team": "books"}).request(FOLLOW_UP, 0, {"airflow_dag": "nightly"})
    assert asked.requests == (GcsAddress("books", f"in/reruns/{SHORT}_1.jsonl"),)
    assert asked.destination == GcsAddress("books", f"in/predictions/{SHORT}")
    assert asked.display_name == f"nightly.submit rerun 1 {FOLLOW_UP.identity}"
    assert asked.labels == {"team": "books", "airflow_dag": "nightly", **FOLLOW_UP.labels}


@pytest.mark.parametrize(
    ("source", "destination", "place"),
    [
        ("gs://books/a.jsonl", None, f"gs://books/reruns/{SHORT}_1.jsonl"),
        ("gs://books/in/2024-*/part-*.jsonl", None, f"gs://books/in/reruns/{SHORT}_1.jsonl"),
        ("gs://books/in/*/a*", "gs://books/out", f"gs://books/in/reruns/{SHORT}_1.jsonl"),
        ("gs://books/in/**", "gs://books/out", f"gs://books/out/reruns/{SHORT}_1.jsonl"),
        (
            "gs://books/in/*/*",
            None,
            f"gs://books/in/predictions/{IDENTITY[:12]}/reruns/{SHORT}_1.jsonl",
        ),
        ("bq://my-shop.books.rows", None, f"bq://my-shop.books.rows_rerun_{SHORT}_1"),
        ("bq://my-shop.books.rows", "bq://my-shop.answers.out", f"bq://my-shop.books.rows_rerun_{SHORT}_1"),
        (f"bq://my-shop.books.{'t' * 1024}", None, f"bq://my-shop.books.{'t' * 1003}_rerun_{SHORT}_1"),
    ],
)
def test_requests_of_a_follow_up_lie_where_no_source_is(
    source: str, destination: str | None, place: str
) -> None:
    (found,) = submission(requests=source, destination=destination).requests_of(FOLLOW_UP)
    assert str(found) == place
    assert parse_address(place) == found


def test_pattern_over_every_place_is_refused_where_there_may_be_follow_ups() -> None:
    everywhere = "gs://books/in/**_1.jsonl"
    with pytest.raises(InvalidRequestError, match="max_row_retries=0"):
        submission(requests=everywhere, follow_ups=True)
    assert submission(requests=everywhere).requests == (GcsAddress("books", "in/**_1.jsonl"),)


def test_follow_up_writes_beside_the_table_that_the_user_named() -> None:
    destination = parse_destination("bq://my-shop.answers.out")
    place = output_address(parse_address("bq://my-shop.books.rows"), destination, IDENTITY, 1, follow_up=True)
    assert str(place) == "bq://my-shop.answers.out_rerun_0123456789ab_1"


VERSIONS = ["gs://books/in/a.jsonl#1"]


@pytest.mark.parametrize(
    "fields",
    [
        pytest.param({"name": "weekly.submit"}, id="name"),
        pytest.param({"labels": {"team": "music"}}, id="labels"),
        pytest.param(
            {"model": "publishers/google/models/gemini-2.5-flash"}, id="other-spelling-of-the-model"
        ),
        pytest.param({"destination": ""}, id="empty-destination"),
        pytest.param({"model_parameters": {}}, id="empty-parameters"),
    ],
)
def test_fingerprint_passes_over_what_changes_no_answer(fields: dict[str, Any]) -> None:
    assert submission(**fields).fingerprint(VERSIONS) == submission().fingerprint(VERSIONS)


@pytest.mark.parametrize(
    "fields",
    [
        pytest.param({"model": "gemini-2.5-pro"}, id="model"),
        pytest.param({"destination": "gs://books/out"}, id="destination"),
        pytest.param({"model_parameters": {"a": 1}}, id="parameters"),
    ],
)
def test_fingerprint_changes_with_the_submission(fields: dict[str, Any]) -> None:
    assert submission(**fields).fingerprint(VERSIONS) != submission().fingerprint(VERSIONS)


def test_fingerprint_changes_with_the_source() -> None:
    assert submission().fingerprint(VERSIONS) != submission().fingerprint(["gs://books/in/a.jsonl#2"])
