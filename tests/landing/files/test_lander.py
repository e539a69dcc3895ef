"""Answers in files land in files, with the real client, against the local server."""

from __future__ import annotations

import datetime as dt
import json
from pathlib import Path

import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from airflow_gemini_batch.core.fingerprints import fingerprint_of
from airflow_gemini_batch.exceptions import InvalidRequestError, OutputNotReadyError, SourceNotReadyError
from airflow_gemini_batch.outputs.classify import Outcome
from tests.landing.answer_files import EXPIRED, AnswerFiles, asked, jsonl, line, parquet
from tests.landing.landings import DAY, GENRE, JOB, NASTY, TEXT, bad, genre, good, later, plan_of
from tests.landing.newer_cases import check, land_all

TIME = dt.datetime.fromisoformat(DAY)
KEYS = ["978-1", 'a/b"c', "ÄÖ 😀", "line\nbreak", "k" * 10_000, "OL1W", "h-1", "\\", ""]


def failed_of(files: AnswerFiles) -> str:
    return files.target.replace(".parquet", "__failed.parquet")


def fingerprint(key: str) -> str:
    return fingerprint_of("gemini-2.5-flash", orjson.dumps(asked(key)))


def counts(report) -> dict[str, int]:
    return {outcome.value: count for outcome, count in report.counts.items() if count}


def test_text_lands_in_one_column_with_its_bookkeeping(files):
    report = files.land([("978-1", good(NASTY)), ("978-2", good("B"))])
    assert (report.landed, report.failed) == (2, 0)
    job = f"{JOB}/0"
    facts = ("gemini-2.5-flash", "STOP", 1090, 95, 12, 7, 20, TIME, job)
    assert parquet(files.target) == [
        ("978-1", NASTY, *facts, fingerprint("978-1"), None),
        ("978-2", "B", *facts, fingerprint("978-2"), None),
    ]
    assert parquet(failed_of(files)) == []


def test_target_of_an_earlier_release_gets_the_column_that_it_lacks(files):
    files.land([("978-1", good("old"))])
    earlier = pq.read_table(files.target)
    pq.write_table(earlier.drop_columns(["batch_tool_tokens"]), files.target)
    files.land([("978-2", good("new"))])
    assert parquet(files.target, "isbn", "answer", "batch_tool_tokens") == [
        ("978-1", "old", None),
        ("978-2", "new", 20),
    ]


def test_without_bookkeeping_answers_stand_alone(files):
    files.land([("978-1", good("A novel."))], plan_of(bookkeeping=False))
    assert pq.read_schema(files.target).names == ["isbn", "answer"]


@pytest.mark.parametrize("echo", ["key", "nothing"])
def test_every_key_finds_its_row_whatever_comes_back_of_it(files, echo):
    source = files.requests(*KEYS)
    output = files.output(*(line(key, good(f"about {key}"), echo) for key in reversed(KEYS)))
    report = files.run(TEXT, files.manifest(source, output))
    assert report.landed == len(KEYS)
    assert parquet(files.target, "isbn", "answer") == [(key, f"about {key}") for key in sorted(KEYS)]
    assert dict(parquet(files.target, "isbn", "batch_fingerprint")) == {key: fingerprint(key) for key in KEYS}


def test_equal_requests_that_come_back_without_a_key_all_get_an_answer(files):
    source = files.put(
        "in.jsonl", b"".join(json.dumps({"key": key, "request": asked("x")}).encode() + b"\n" for key in "ab")
    )
    output = files.output(line("x", good("one"), "nothing"), line("x", good("one"), "nothing"))
    assert files.run(TEXT, files.manifest(source, output)).landed == 2
    assert parquet(files.target, "isbn", "answer") == [("a", "one"), ("b", "one")]


def test_several_columns_make_a_key(files):
    plan = plan_of(key=("isbn", "the language"))
    files.land([(json.dumps(["978-1", NASTY]), good("A")), ('["978-1","en"]', good("B"))], plan)
    assert parquet(files.target, "isbn", "the language", "answer") == [
        ("978-1", NASTY, "A"),
        ("978-1", "en", "B"),
    ]


def test_key_of_other_columns_is_refused(files):
    with pytest.raises(InvalidRequestError, match="978-1 does not hold the columns isbn, edition"):
        files.land([("978-1", good("A"))], plan_of(key=("isbn", "edition")))


WHOLE = {
    "genre": NASTY,
    "year": 2**62,
    "rating": 4,
    "in_print": True,
    "tags": ["b", NASTY, "a"],
    "scores": [1, 2.5],
    "author": {"name": NASTY, "born": None},
}
SCHEMA = {
    "type": "object",
    "properties": {
        "genre": {"type": "string"},
        "year": {"type": "integer", "nullable": True},
        "rating": {"type": "number"},
        "in_print": {"type": "boolean"},
        "tags": {"type": "array", "items": {"type": "string"}},
        "scores": {"type": "array", "items": {"type": "number"}},
        "author": {
            "type": "object",
            "properties": {"name": {"type": "string"}, "born": {"type": "integer", "nullable": True}},
        },
    },
}


def test_answers_land_in_typed_columns_of_parquet(files):
    files.land([("1", good(json.dumps(WHOLE))), ("2", good("{}"))], plan_of(SCHEMA))
    assert parquet(files.target, *WHOLE) == [
        (*list(WHOLE.values())[:-1], json.dumps(WHOLE["author"], separators=(",", ":"), ensure_ascii=False)),
        (None,) * len(WHOLE),
    ]
    types = {field.name: field.type for field in pq.read_schema(files.target)}
    assert types["rating"] == pa.float64()
    assert types["scores"].value_type == pa.float64()
    assert types["batch_processed_time"] == pa.timestamp("us", "UTC")


def test_answers_land_as_they_are_in_json_lines(files, tmp_path):
    target = str(tmp_path / "books.jsonl")
    files.land([("1", good(json.dumps(WHOLE))), ("2", bad())], plan_of(SCHEMA), target)
    (row,) = jsonl(target)
    assert {name: row[name] for name in WHOLE} == WHOLE
    assert row["batch_processed_time"] == "2026-11-22T08:00:00.000000+00:00"
    (failure,) = jsonl(str(tmp_path / "books__failed.jsonl"))
    assert failure["failed_time"] == "2026-11-22T08:00:00.000000+00:00"


@pytest.mark.parametrize("ending", ["parquet", "jsonl"])
@pytest.mark.parametrize("place", ["gs", "local"])
def test_landing_twice_changes_nothing(files, tmp_path, ending, place):
    target = (
        f"gs://{files.bucket}/landed/books.{ending}"
        if place == "gs"
        else str(tmp_path / f"new/books.{ending}")
    )
    rows = [("1", good(json.dumps(WHOLE))), ("2", bad()), ("3", good("{}")), ("4", good("no JSON"))]

    def state():
        if place == "local":
            return [
                (path.read_bytes(), path.stat().st_mtime_ns) for path in sorted((tmp_path / "new").iterdir())
            ]
        blobs = files.client.list_blobs(files.bucket, prefix="landed/")
        return [(blob.download_as_bytes(), blob.generation) for blob in blobs]

    source = files.requests(*(key for key, _ in rows))
    manifest = files.manifest(source, files.output(*(line(key, cells) for key, cells in rows)))
    first = files.run(plan_of(SCHEMA), manifest, target=target)
    landed = state()
    assert files.run(plan_of(SCHEMA), manifest, target=target) == first
    assert state() == landed
    assert len(landed) == 2


@pytest.mark.parametrize("ending", ["parquet", "jsonl"])
def test_equal_rows_give_equal_files_whatever_their_order(files, tmp_path, ending):
    rows = [(str(number), genre(f"genre {number}")) for number in range(5000)]
    for name, order in (("a", rows), ("b", rows[::-1])):
        files.land(order, GENRE, str(tmp_path / f"{name}.{ending}"))
    assert (tmp_path / f"a.{ending}").read_bytes() == (tmp_path / f"b.{ending}").read_bytes()


@pytest.mark.parametrize("ending", ["parquet", "jsonl"])
def test_new_rows_replace_those_of_their_key_and_leave_the_others(files, tmp_path, ending):
    target = str(tmp_path / f"books.{ending}")
    read = jsonl if ending == "jsonl" else lambda path: pq.read_table(path).to_pylist()
    files.land([("1", good("one")), ("2", good("two"))], target=target)
    files.land([("2", later(good("TWO"))), ("3", good("three"))], target=target)
    assert {row["isbn"]: row["answer"] for row in read(target)} == {"1": "one", "2": "TWO", "3": "three"}
    files.land([("2", good("too old")), ("3", good("as old"))], target=target)
    assert {row["isbn"]: row["answer"] for row in read(target)} == {"1": "one", "2": "TWO", "3": "as old"}


def test_failures_go_until_the_key_has_an_answer(files):
    files.land([("1", bad()), ("2", bad(503, "busy")), ("3", good("three"))])
    assert parquet(failed_of(files)) == [
        ("1", "rejected", 400, bad()["status"], f"{JOB}/0", 0, TIME, fingerprint("1"), None, 1),
        ("2", "retryable", 503, bad(503, "busy")["status"], f"{JOB}/0", 0, TIME, fingerprint("2"), None, 0),
    ]
    files.land([("1", later(good("one"))), ("4", bad())])
    assert parquet(failed_of(files), "isbn") == [("2",), ("4",)]
    assert parquet(files.target, "isbn") == [("1",), ("3",)]


@pytest.mark.parametrize("ending", ["parquet", "jsonl"])
def test_newer_rows_win(files, tmp_path, ending):
    target = str(tmp_path / f"books.{ending}")
    land_all(lambda *rows: files.land(rows, target=target))
    read = jsonl if ending == "jsonl" else lambda path: pq.read_table(path).to_pylist()
    failures = read(str(tmp_path / f"books__failed.{ending}"))
    check(
        {row["isbn"]: row["answer"] for row in read(target)},
        {row["isbn"]: row["message"] for row in failures},
    )


def test_of_several_answers_a_good_one_counts_then_the_last_round(files):
    source = files.requests("1", "2", "3", "4")
    first = files.output(
        line("1", good("one")),
        line("1", later(bad())),
        line("2", bad(503, "busy")),
        line("3", bad(429, "first")),
    )
    second = files.output(line("2", good("two")), line("3", bad(503, "second")))
    report = files.run(TEXT, files.manifest(source, first, second))
    assert parquet(files.target, "isbn", "answer", "batch_job") == [
        ("1", "one", f"{JOB}/0"),
        ("2", "two", f"{JOB}/1"),
    ]
    assert parquet(failed_of(files), "isbn", "outcome", "code", "round", "job") == [
        ("3", "retryable", 503, 1, f"{JOB}/1"),
        ("4", "missing", None, 1, f"{JOB}/1"),
    ]
    assert counts(report) == {"ok": 2, "retryable": 1, "missing": 1}


def test_shards_land_together(files):
    manifests = []
    for shard in ("a", "b"):
        keys = [f"{shard}{number}" for number in range(3)]
        output = files.output(*(line(key, good(key.upper())) for key in keys[1:]))
        manifests.append(files.manifest(files.requests(*keys), output))
    report = files.run(TEXT, *manifests)
    assert counts(report) == {"ok": 4, "missing": 2}
    assert parquet(files.target, "answer") == [("A1",), ("A2",), ("B1",), ("B2",)]


def test_key_that_two_requests_share_is_refused(files):
    with pytest.raises(InvalidRequestError, match=r"several requests have the same key \(isbn: 1, 2\)"):
        files.run(TEXT, *(files.manifest(files.requests("1", "2", key), files.output()) for key in "ab"))


def test_request_without_a_key_is_refused_with_the_way_out(files):
    source = files.put("in.jsonl", json.dumps({"request": asked("1")}).encode())
    with pytest.raises(InvalidRequestError, match='give each line a "key" beside its "request"'):
        files.run(TEXT, files.manifest(source, files.output()))


UNREADABLE = [b'{"status": "", "resp', b"<html>", b"[]", b"\xff\xfe", b"null"]


def test_lines_that_can_t_be_read_are_told_and_lose_no_other(files, caplog):
    source = files.requests("1", "2")
    output = files.output(
        *UNREADABLE, line("1", good("one")), line("nobody", good("x")), line("1", good("one"))
    )
    with caplog.at_level("INFO"):
        report = files.run(TEXT, files.manifest(source, output))
    assert counts(report) == {"ok": 1, "missing": 1}
    assert parquet(failed_of(files), "isbn", "message") == [("2", "the output has no row for the request")]
    told = [record.message for record in caplog.records]
    assert "5 lines of the answers are not JSON objects; their requests count as missing" in told
    assert "1 answers belong to no request and are left out" in told
    assert any("1 repeated" in message for message in told)


def test_mark_line_ends_and_a_last_line_cut_off_are_no_loss(files):
    source = files.put("in.jsonl", b"\xef\xbb\xbf" + files.get(files.requests("1", "2").rpartition("/")[2]))
    lines = [b"\xef\xbb\xbf" + line("1", good("one")), line("2", good("two")), line("3", good("three"))[:-20]]
    output = files.output(*lines, end=b"\r\n")
    files.run(TEXT, files.manifest(source, output))
    assert parquet(files.target, "isbn", "answer") == [("1", "one"), ("2", "two")]


def test_line_of_20_megabytes_lands(files):
    text = "long " * (20 * 2**20 // 5)
    files.land([("1", good(text)), ("2", good("short"))])
    assert parquet(files.target, "answer") == [(text,), ("short",)]


def test_more_rows_than_are_held_at_a_time_land(files, monkeypatch):
    monkeypatch.setattr("airflow_gemini_batch.landing.files.portions.PORTION_ROWS", 1000)
    rows = [(f"{number:05}", good(f"about {number}")) for number in range(8001)]
    assert files.land(rows).landed == len(rows)
    assert parquet(files.target, "isbn", "answer") == [(key, f"about {int(key)}") for key, _ in rows]


def test_time_of_a_row_without_one_is_its_file_s(files):
    source = files.requests("1", "2")
    output = files.output(line("1", {**good("one"), "processed_time": "yesterday"}))
    files.run(TEXT, files.manifest(source, output))
    blob = next(files.client.list_blobs(files.bucket, prefix=output.partition(f"{files.bucket}/")[2]))
    assert parquet(files.target, "batch_processed_time") == [(blob.time_created,)]
    asked_blob = files.client.bucket(files.bucket).get_blob(source.rpartition("/")[2])
    assert parquet(failed_of(files), "failed_time") == [(asked_blob.time_created,)]


@pytest.mark.parametrize("answered", [0, 1])
def test_job_that_ended_early_without_output_has_no_answers(files, answered):
    source = files.requests("1")
    manifest = files.manifest(source, f"gs://{files.bucket}/vanished", state=EXPIRED, ok=answered)
    if answered:
        with pytest.raises(OutputNotReadyError, match="vanished holds no prediction files"):
            files.run(TEXT, manifest)
    else:
        assert counts(files.run(TEXT, manifest)) == {"missing": 1}
        assert parquet(files.target) == []


def test_output_of_a_job_that_succeeded_has_to_be_there(files):
    manifest = files.manifest(files.requests("1"), f"gs://{files.bucket}/vanished")
    with pytest.raises(OutputNotReadyError, match=r"Restore the files .* or set force_rerun=True"):
        files.run(TEXT, manifest)
    assert not Path(files.target).exists()


def test_requests_and_answers_in_tables_are_no_files(files):
    manifest = files.manifest("bq://books-project.shop.requests", "bq://books-project.shop.answers")
    with pytest.raises(InvalidRequestError, match="give a bq:// target"):
        files.run(TEXT, manifest)


def test_samples_name_the_reasons(files):
    report = files.land([("1", good("no JSON")), ("2", genre("novel")), ("3", bad())], GENRE)
    assert counts(report) == {"ok": 1, "invalid": 1, "rejected": 1}
    assert "invalid: the answer is not valid JSON: no JSON" in report.samples
    assert Outcome.INVALID in report.counts


def test_lost_requests_are_an_error_with_the_way_out(files):
    source = files.requests("978-1")
    manifest = files.manifest(f"{source}.gone", files.output(line("978-1", good("A"))))
    with pytest.raises(
        SourceNotReadyError, match=r"the requests are gone.*\.gone: .*run the build task alone"
    ):
        files.run(TEXT, manifest)


@pytest.mark.parametrize("ending", [".parquet", ".jsonl"])
@pytest.mark.parametrize("size", [3_000, 300_000])
def test_long_answers_that_are_looked_into_land_in_the_memory_that_there_is(files, size, ending):
    files.target = files.target.replace(".parquet", ending)
    text = f"```json\n{json.dumps({'genre': '語' * size}, ensure_ascii=False)}\n```"
    keys = [f"{number:05}" for number in range(8_000_000 // size)]
    for answer in (good(text), later(good(text))):
        assert files.land([(key, answer) for key in keys], GENRE).landed == len(keys)
