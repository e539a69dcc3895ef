"""Reading answers one by one, with the real clients, against the local servers."""

from __future__ import annotations

import itertools
import json
from dataclasses import dataclass

import orjson
import pytest
from pydantic import BaseModel, field_validator

from airflow_gemini_batch import iter_responses
from airflow_gemini_batch.exceptions import InvalidRequestError, OutputNotReadyError
from airflow_gemini_batch.outputs.classify import Outcome
from airflow_gemini_batch.outputs.files import CloudStorage
from tests.landing.answer_files import EXPIRED, asked, line
from tests.landing.landings import NASTY, Landing, bad, genre, good

KEYS = ["978-1", 'a/b"c', "ÄÖ 😀", "k" * 10_000, "OL1W"]


def read(manifest, **settings):
    """Return what came back by key, and see that no key came twice."""
    found = list(iter_responses(json.loads(json.dumps(manifest.to_json())), **settings))
    assert len({one.key for one in found}) == len(found)
    return {one.key: one for one in found}


@pytest.mark.parametrize("echo", ["key", "nothing"])
def test_every_answer_has_its_key_whatever_comes_back_of_it(files, echo):
    source = files.requests(*KEYS)
    output = files.output(*(line(key, good(f"about {key}"), echo) for key in reversed(KEYS)))
    found = read(files.manifest(source, output))
    assert {key: one.text for key, one in found.items()} == {key: f"about {key}" for key in KEYS}


def test_response_tells_what_came_back(files):
    source = files.requests("1", "2", "3")
    output = files.output(line("1", good(NASTY)), line("2", bad()))
    found = read(files.manifest(source, output))
    assert list(found) == ["1", "2"]
    assert (found["1"].outcome, found["1"].text, found["1"].value) == (Outcome.OK, NASTY, None)
    assert found["1"].response == good(NASTY)["response"]
    assert (found["2"].outcome, found["2"].message) == (Outcome.REJECTED, bad()["status"])
    assert (found["2"].text, found["2"].response) == ("", {})


def test_answers_are_held_against_a_schema(files):
    source = files.requests("1", "2", "3")
    output = files.output(line("1", genre("novel")), line("2", good("no JSON")), line("3", bad()))
    found = read(files.manifest(source, output), response_schema={"genre": str})
    assert (found["1"].outcome, found["1"].value) == (Outcome.OK, {"genre": "novel"})
    assert (found["2"].outcome, found["2"].text, found["2"].value) == (Outcome.INVALID, "no JSON", None)
    assert found["2"].message == "the answer is not valid JSON: no JSON"
    assert list(read(files.manifest(source, output), response_schema={"genre": str}, only_ok=True)) == ["1"]


@pytest.mark.parametrize("size", [3_000, 300_000])
def test_long_answers_are_read_in_the_memory_that_there_is(files, size):
    text = f"```json\n{json.dumps({'genre': '語' * size}, ensure_ascii=False)}\n```"
    keys = [f"{number:05}" for number in range(8_000_000 // size)]
    manifest = files.manifest(files.requests(*keys), files.output(*(line(key, good(text)) for key in keys)))
    found = read(manifest, response_schema={"genre": str})
    assert {key: len(one.value["genre"]) for key, one in found.items()} == dict.fromkeys(keys, size)


class Book(BaseModel):
    genre: str
    pages: int | None = None

    @field_validator("genre")
    @classmethod
    def is_known(cls, genre: str) -> str:
        if genre == "unheard of":
            raise ValueError("nobody has heard of it")
        return genre


@dataclass
class Shelf:
    genre: str


@pytest.mark.parametrize(
    ("schema", "answer", "value"),
    [
        (Book, {"genre": "novel", "pages": 7}, Book(genre="novel", pages=7)),
        (Shelf, {"genre": "novel"}, Shelf("novel")),
        (list[Book], [{"genre": "novel"}], [Book(genre="novel")]),
        (Book.model_json_schema(), {"genre": "novel"}, {"genre": "novel"}),
    ],
    ids=["model", "dataclass", "list", "json-schema"],
)
def test_value_is_an_object_of_the_class_that_was_given(files, schema, answer, value):
    manifest = files.manifest(files.requests("1"), files.output(line("1", good(json.dumps(answer)))))
    assert read(manifest, response_schema=schema)["1"].value == value


def test_answer_that_a_validator_refuses_is_invalid(files):
    manifest = files.manifest(files.requests("1"), files.output(line("1", genre("unheard of"))))
    found = read(manifest, response_schema=Book)["1"]
    assert (found.outcome, found.value) == (Outcome.INVALID, None)
    assert found.message == "genre: Value error, nobody has heard of it"


def test_response_is_of_the_candidate_that_counts_and_tells_what_is_no_text(files):
    texts = {
        "1": {"candidates": [{"finishReason": "SAFETY"}, *good("one")["response"]["candidates"]]},
        "2": {
            "candidates": [{"finishReason": "STOP", "content": {"parts": [{"functionCall": {"name": "f"}}]}}]
        },
        "3": {"error": {"code": 400, "message": "m"}},
    }
    lines = [line(key, {"status": "", "response": response}) for key, response in texts.items()]
    lines.append(line("4", {"status": "", "error": {"code": 503, "message": "m"}}))
    found = read(files.manifest(files.requests(*texts, "4"), files.output(*lines)))
    assert {key: (one.outcome.value, one.text) for key, one in found.items()} == {
        "1": ("ok", "one"),
        "2": ("invalid", ""),
        "3": ("rejected", ""),
        "4": ("retryable", ""),
    }
    assert found["2"].message == "the answer holds a function call and no text"
    assert found["2"].response == texts["2"]


@pytest.mark.parametrize("echo", ["key", "nothing"])
def test_request_that_was_sent_again_is_yielded_once(files, echo):
    source = files.requests("1", "2", "3", "4")
    failed = [line(key, bad(503, "first"), echo) for key in ("2", "3", "4")]
    first = files.output(line("1", good("one"), echo), *failed)
    second = files.output(line("3", bad(503, "second"), echo), line("2", good("two"), echo))
    found = read(files.manifest(source, first, second))
    assert {key: (one.outcome.value, one.text) for key, one in found.items()} == {
        "1": ("ok", "one"),
        "2": ("ok", "two"),
        "3": ("retryable", ""),
        "4": ("retryable", ""),
    }
    assert "second" in found["3"].message
    assert "first" in found["4"].message


def test_good_row_of_a_follow_up_counts_wherever_it_stands(files):
    source = files.requests("1")
    first = files.output(line("1", bad(503)))
    second = files.output(line("1", bad(503)), line("1", good("one")), line("1", bad(503)))
    assert read(files.manifest(source, first, second))["1"].text == "one"


def test_row_that_came_twice_is_yielded_once_a_good_one_first(files):
    source = files.requests("1", "2")
    output = files.output(
        line("1", bad(503)), line("2", good("two")), line("1", good("one")), line("2", good("again"))
    )
    manifest = files.manifest(source, output)
    content = manifest.to_json()
    content["rounds"][0]["surplus"] = {"duplicate": 2, "unknown": 0}
    found = list(iter_responses(content))
    assert sorted((one.key, one.text) for one in found) == [("1", "one"), ("2", "two")]


def test_reading_is_lazy(files, monkeypatch):
    monkeypatch.setattr("airflow_gemini_batch.responses._MOST_ROWS", 2)
    keys = [str(number) for number in range(6)]
    output = files.output(*(line(key, good("answer")) for key in keys))
    lines = []
    read_lines = CloudStorage.lines

    def counted(storage, blobs):
        for one in read_lines(storage, blobs):
            lines.append(one)
            yield one

    monkeypatch.setattr(CloudStorage, "lines", counted)
    answers = iter_responses(files.manifest(files.requests(*keys), output).to_json())
    assert lines == []
    assert [one.key for one in itertools.islice(answers, 1)] == ["0"]
    assert len(lines) == 2
    assert [one.key for one in answers] == keys[1:]


def test_lines_that_can_t_be_read_and_rows_that_nobody_asked_for_are_left_out(files, caplog):
    source = files.requests("1")
    output = files.output(b"{", b"<html>", line("1", good("one")), line("nobody", good("x"), "nothing"))
    assert list(read(files.manifest(source, output))) == ["1"]
    assert "2 lines of the answers are not JSON objects and are left out" in caplog.text


def test_answers_and_requests_without_keys_are_refused(files):
    source = files.put("in.jsonl", orjson.dumps({"request": asked("1")}))
    manifest = files.manifest(source, files.output(line("1", good("one"), "nothing")))
    with pytest.raises(InvalidRequestError, match='give each line a "key"'):
        read(manifest)


def test_output_that_is_gone_is_no_end_of_the_answers(files):
    source = files.requests("1")
    with pytest.raises(OutputNotReadyError, match="vanished holds no prediction files"):
        read(files.manifest(source, f"gs://{files.bucket}/vanished"))
    assert read(files.manifest(source, f"gs://{files.bucket}/vanished", state=EXPIRED)) == {}
    assert read(files.manifest(source, "")) == {}


def test_answers_of_all_mapped_tasks_and_their_follow_ups_are_read(files):
    one = files.manifest(
        files.requests("1", "2"),
        files.output(line("1", good("one")), line("2", bad(503))),
        files.output(line("2", good("two"))),
    )
    other = files.manifest(files.requests("3"), files.output(line("3", good("three"))))
    found = list(iter_responses(manifest.to_json() for manifest in (one, other)))
    assert sorted((response.key, response.text) for response in found) == [
        ("1", "one"),
        ("2", "two"),
        ("3", "three"),
    ]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([], "manifest is empty"),
        ([{}], "expected the manifest of a batch job"),
        ([None], "expected the manifest of a batch job"),
        (None, "expected the manifest of a batch job"),
        ({}, "expected the manifest of a batch job"),
        ({"version": 99}, "Upgrade airflow-gemini-batch"),
        ("gs://b", "expected the manifest"),
    ],
)
def test_what_is_no_manifest_is_refused(content, message):
    with pytest.raises(InvalidRequestError, match=message):
        iter_responses(content)


def test_schema_that_can_t_be_expressed_is_refused(files):
    with pytest.raises(InvalidRequestError, match="response_schema"):
        iter_responses(files.manifest(files.requests("1")).to_json(), response_schema={"a": object})


@pytest.mark.parametrize("response", ["JSON", "STRING"])
def test_answers_in_tables_have_the_key_that_passes_through(gemini_batch_stack, response):
    landing = Landing(gemini_batch_stack, response=response)
    cells = {"978-1": good("one"), "978-2": bad(503), "978-3": bad(503)}
    if response == "STRING":
        cells = {key: {**one, "response": json.dumps(one["response"])} for key, one in cells.items()}
    source = landing.requests(*cells)
    again = (
        good("two")
        if response == "JSON"
        else {**good("two"), "response": json.dumps(good("two")["response"])}
    )
    manifest = landing.manifest(source, landing.output(*cells.items()), landing.output(("978-2", again)))
    found = read(manifest)
    assert {key: (one.outcome.value, one.text) for key, one in found.items()} == {
        "978-1": ("ok", "one"),
        "978-2": ("ok", "two"),
        "978-3": ("retryable", ""),
    }


@pytest.mark.parametrize("own", [False, True], ids=["of-the-service", "of-the-source"])
def test_error_column_of_a_table_is_an_error_or_part_of_the_key(gemini_batch_stack, own):
    key = {"isbn": "STRING", "error": "STRING"} if own else {"isbn": "STRING"}
    landing = Landing(gemini_batch_stack, key=key)
    values = ("978-1", '{"code": 400}') if own else "978-1"
    source = landing.requests(values, fingerprint=None)
    row = {"status": "", "response": {}, "error": '{"code": 400}'}
    output = landing.output((values, row), error="STRING")
    found = read(landing.manifest(source, output))
    expected = ('["978-1","{\\"code\\": 400}"]', Outcome.MISSING) if own else ("978-1", Outcome.REJECTED)
    assert [(name, one.outcome) for name, one in found.items()] == [expected]


def test_several_columns_of_a_table_make_a_key(gemini_batch_stack):
    landing = Landing(gemini_batch_stack, key={"isbn": "STRING", "edition": "INT64"})
    source = landing.requests(("978-1", 2))
    output = landing.output((("978-1", 2), good("one")))
    assert list(read(landing.manifest(source, output))) == ['["978-1","2"]']


def test_output_table_that_is_gone_is_no_end_of_the_answers(gemini_batch_stack):
    landing = Landing(gemini_batch_stack)
    manifest = landing.manifest(landing.requests("978-1"), f"{landing.dataset}.vanished")
    with pytest.raises(OutputNotReadyError, match="there is no table"):
        read(manifest)
