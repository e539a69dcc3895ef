"""CloudStorage with the real client, against the local server."""

from __future__ import annotations

import json
from typing import Any

import pytest
from google.api_core.exceptions import ClientError

from airflow_gemini_batch.core.addresses import GcsAddress
from airflow_gemini_batch.exceptions import GeminiBatchError, InvalidRequestError, SourceNotReadyError
from airflow_gemini_batch.gcp import objects
from airflow_gemini_batch.gcp.lines import iter_lines
from airflow_gemini_batch.gcp.pieces import Part, Piece
from airflow_gemini_batch.outputs.classify import Outcome
from airflow_gemini_batch.outputs.files import CloudStorage
from tests.support.requests_data import storage_client

GOOD: dict[str, Any] = {
    "status": "",
    "response": {"candidates": [{"content": {"parts": [{"text": "a"}]}, "finishReason": "STOP"}]},
}
BAD: dict[str, Any] = {
    "status": 'Bad Request: {"error": {"code": 400, "message": "no role"}}',
    "response": {},
}
BUSY: dict[str, Any] = {"status": '{"code": 8, "message": "busy"}', "response": {}}
JOB = "out/prediction-model-2026-11-22T00:00:00.000000Z"


@pytest.fixture
def client(gemini_batch_stack):
    return storage_client(gemini_batch_stack)


@pytest.fixture
def storage(client):
    return CloudStorage(client)


@pytest.fixture
def put(client, bucket):
    """Write an object and return its generation."""

    def put(name: str, content: bytes | list[dict[str, Any]]) -> int:
        if isinstance(content, list):
            content = b"".join(json.dumps(row).encode() + b"\n" for row in content)
        blob = client.bucket(bucket).blob(name)
        blob.upload_from_string(content)
        return int(blob.generation)

    return put


@pytest.fixture
def at(bucket):
    def at(path: str) -> GcsAddress:
        return GcsAddress(bucket, path)

    return at


def test_version_names_the_object_and_its_generation(storage, put, at, bucket):
    first = put("in.jsonl", b"{}")
    assert storage.versions([at("in.jsonl")]) == [f"gs://{bucket}/in.jsonl#{first}"]
    second = put("in.jsonl", b"{}")
    assert second != first
    assert storage.versions([at("in.jsonl")]) == [f"gs://{bucket}/in.jsonl#{second}"]


FILES = [
    "in/a.jsonl",
    "in/b.jsonl",
    "in/b.json",
    "in/deep/c.jsonl",
    "in/deep/er/d.jsonl",
    "in.jsonl",
    "in/[1].jsonl",
]


@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        pytest.param("in/*.jsonl", ["in/[1].jsonl", "in/a.jsonl", "in/b.jsonl"], id="star-ends-at-a-slash"),
        pytest.param(
            "in/**.jsonl",
            ["in/[1].jsonl", "in/a.jsonl", "in/b.jsonl", "in/deep/c.jsonl", "in/deep/er/d.jsonl"],
            id="two-stars-do-not",
        ),
        pytest.param("in/**/d.jsonl", ["in/deep/er/d.jsonl"], id="two-stars-in-the-middle"),
        pytest.param("in/*/c.jsonl", ["in/deep/c.jsonl"], id="star-for-a-folder"),
        pytest.param("in/b.*", ["in/b.json", "in/b.jsonl"], id="star-at-the-end"),
        pytest.param("*.jsonl", ["in.jsonl"], id="star-at-the-top"),
        pytest.param("in/[1]*", ["in/[1].jsonl"], id="brackets-stand-for-themselves"),
    ],
)
def test_pattern_names_the_objects_that_the_service_would_take(storage, put, at, bucket, pattern, found):
    generations = {name: put(name, b"{}") for name in FILES}
    versions = storage.versions([at(pattern)])
    assert versions == [f"gs://{bucket}/{name}#{generations[name]}" for name in found]


def test_several_sources_are_taken_together(storage, put, at):
    for name in FILES:
        put(name, b"{}\n{}\n")
    assert storage.count_requests([at("in.jsonl"), at("in/deep/**")]) == 6


@pytest.mark.parametrize("method", ["versions", "count_requests"])
@pytest.mark.parametrize(
    ("path", "message"),
    [("absent.jsonl", "there is no such object"), ("absent-*.jsonl", "no object matches it")],
)
def test_source_that_is_not_there_can_be_waited_for(storage, put, at, bucket, method, path, message):
    put("in.jsonl", b"{}")
    with pytest.raises(SourceNotReadyError) as missing:
        getattr(storage, method)([at("in.jsonl"), at(path)])
    assert str(missing.value) == f"source gs://{bucket}/{path}: {message}"


@pytest.mark.parametrize("path", ["in.jsonl", "in-*.jsonl"])
def test_source_in_a_bucket_that_is_not_there_can_be_waited_for(storage, path):
    with pytest.raises(SourceNotReadyError, match="source gs://no-such-bucket-anywhere/in"):
        storage.versions([GcsAddress("no-such-bucket-anywhere", path)])


@pytest.mark.parametrize(
    ("content", "count"),
    [
        pytest.param(b"", 0, id="empty"),
        pytest.param(b"\n\n", 0, id="blank"),
        pytest.param(b"{}", 1, id="no-line-end"),
        pytest.param(b"{}\r\n\r\n \n{}\n", 2, id="blank-lines-between"),
    ],
)
def test_requests_are_the_lines_that_are_not_blank(storage, put, at, content, count):
    put("in.jsonl", content)
    assert storage.count_requests([at("in.jsonl")]) == count


def test_files_larger_than_a_piece_are_counted(storage, put, at):
    put("in.jsonl", [{"text": "x" * (n * 70)} for n in range(500)])
    assert storage.count_requests([at("in.jsonl")]) == 500


def test_object_is_read_once_for_each_generation(storage, put, at, mocker):
    from google.cloud.storage import Blob

    read = mocker.spy(Blob, "download_to_file")
    put("in.jsonl", b"{}")
    assert [storage.count_requests([at("in.jsonl")]) for _ in range(3)] == [1, 1, 1]
    assert read.call_count == 1
    put("in.jsonl", b"{}\n{}")
    assert storage.count_requests([at("in.jsonl")]) == 2
    assert read.call_count == 2


def test_object_replaced_while_it_is_read_is_never_a_mix(storage, put, at, monkeypatch):
    put("in.jsonl", [{"row": "x" * 100_000}] * 100)

    def replaced(stream: Any, chunk: int) -> Any:
        lines = iter_lines(stream, chunk)
        yield next(lines)
        put("in.jsonl", [{"row": "y" * 100_000}] * 200)
        yield from lines

    monkeypatch.setattr(objects, "iter_lines", replaced)
    with pytest.raises((ClientError, GeminiBatchError)):
        storage.count_requests([at("in.jsonl")])
    monkeypatch.undo()
    assert storage.count_requests([at("in.jsonl")]) == 200


@pytest.mark.parametrize(
    ("name", "is_output"),
    [
        ("predictions.jsonl", True),
        ("predictions.jsonl-00000-of-00002", True),
        ("incremental_predictions.jsonl", False),
        ("predictions.jsonl.tmp", False),
        ("predictions.json", False),
        ("errors.jsonl", False),
    ],
)
def test_only_prediction_files_are_output(storage, put, at, name, is_output):
    put(f"{JOB}/{name}", [GOOD])
    assert [blob.name for blob in storage.prediction_files(at("out"))] == [f"{JOB}/{name}"] * is_output
    tally = storage.tally(at(JOB))
    assert (tally.rows if tally else None) == (1 if is_output else None)


def test_folder_does_not_take_in_its_namesakes(storage, put, at, bucket):
    for folder in ("out/a", "out/ab", "outer"):
        put(f"{folder}/predictions.jsonl", [GOOD])
    assert storage.prediction_folders(at("out/a")) == [at("out/a")]
    assert storage.prediction_folders(at("out/")) == [at("out/a"), at("out/ab")]
    assert storage.prediction_folders(at("")) == [at("out/a"), at("out/ab"), at("outer")]
    assert storage.prediction_folders(at("nothing")) == []


def test_tally_adds_up_the_shards(storage, put, at):
    put(f"{JOB}/predictions.jsonl-00000-of-00002", [GOOD, BAD, BUSY])
    put(f"{JOB}/predictions.jsonl-00001-of-00002", [GOOD, BAD])
    put(f"{JOB}/incremental_predictions.jsonl", [GOOD] * 10)
    tally = storage.tally(at(JOB))
    assert {outcome: count for outcome, count in tally.counts.items() if count} == {
        Outcome.OK: 2,
        Outcome.REJECTED: 2,
        Outcome.RETRYABLE: 1,
    }
    assert tally.samples == [f"rejected: {BAD['status']}", f"retryable: {BUSY['status']}"]


def test_tally_of_no_files_is_none_and_of_an_empty_one_is_zero(storage, put, at):
    assert storage.tally(at(JOB)) is None
    put(f"{JOB}/predictions.jsonl", b"")
    assert storage.tally(at(JOB)).rows == 0


def test_tally_twice_counts_every_row_once(storage, put, at):
    put(f"{JOB}/predictions.jsonl", [GOOD, BAD])
    first = storage.tally(at(JOB))
    first.complete(10)
    assert storage.tally(at(JOB)).rows == 2


def test_tally_sees_the_rows_that_were_added(storage, put, at):
    put(f"{JOB}/predictions.jsonl", [GOOD])
    assert storage.tally(at(JOB)).rows == 1
    put(f"{JOB}/predictions.jsonl", [GOOD, GOOD])
    assert storage.tally(at(JOB)).rows == 2


@pytest.mark.parametrize(
    "line",
    [
        b'{"status": "", "resp',
        b"<html>",
        b"[]",
        b"null",
        b'"text"',
        b"\xff\xfe",
        b'{"status": "", "response": {"candidates": [null]}}',
        b'{"status": "", "response": {"candidates": {"content": 1}}}',
        b'{"status": "", "response": {"candidates": [{"finishReason": "STOP", "content": "text"}]}}',
        b'{"status": "", "response": {"candidates": [], "promptFeedback": "blocked"}}',
    ],
)
def test_line_that_can_t_be_read_does_not_lose_the_others(storage, put, at, line):
    put(
        f"{JOB}/predictions.jsonl",
        json.dumps(GOOD).encode() + b"\n" + line + b"\n" + json.dumps(GOOD).encode(),
    )
    tally = storage.tally(at(JOB))
    assert (tally.rows, tally.answered) == (3, 2)
    assert len(tally.samples) == 1


def test_destination_needs_a_bucket_and_nothing_else(storage, put, at):
    storage.check_destination(at("out"))
    put("out/predictions.jsonl", [GOOD])
    storage.check_destination(at("out"))
    with pytest.raises(
        InvalidRequestError, match="gs://no-such-bucket-anywhere/out: the bucket does not exist"
    ):
        storage.check_destination(GcsAddress("no-such-bucket-anywhere", "out"))


class EndlessRequests(CloudStorage):
    """Requests without an end, beside answers that can't be read."""

    def prediction_files(self, prefix: GcsAddress) -> list[Any]:
        return ["answers"]

    def objects(self, sources: Any) -> Any:
        return iter(["requests"])

    def pieces(self, blobs: Any, folder: Any, *_: Any) -> Any:
        if list(blobs) == ["answers"]:
            raise SourceNotReadyError("the answers are gone")
        path = folder / "piece-0-0.jsonl"
        while True:
            path.write_text('{"key": "1"}\n')
            yield Piece((Part(0, path, None),), 13)


def test_failure_does_not_wait_for_what_is_read_in_the_background() -> None:
    with pytest.raises(SourceNotReadyError, match="the answers are gone"):
        EndlessRequests(None).summarize(GcsAddress("b", "answers"), [GcsAddress("b", "requests")])
