"""Whatever comes back of a key and of a request, an answer lands in its own row, or in none.

Each case is read by all three readers of output files: the landing, ``iter_responses`` and the count after a job.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import orjson
import pytest

from airflow_gemini_batch import iter_responses
from airflow_gemini_batch.core.addresses import GcsAddress
from airflow_gemini_batch.core.keys import sent_key
from airflow_gemini_batch.outputs.files import CloudStorage
from tests.landing.answer_files import AnswerFiles, asked, parquet
from tests.landing.landings import TEXT, good
from tests.support.odd_keys import ODD_KEYS

Line = dict[str, Any]

# Keys of the release before, which wrote them bare, and once more as a label: a digest where the key is not legal.
FORMER_LABELS = {
    "000000": "000000",
    "1e5": "1e5",
    "100000.0": "h-c74e420a596f0b294127c7c6d46ec88e",
    "true": "true",
    "null": "null",
    "2026-01-31": "2026-01-31",
    "ol1w": "ol1w",
    "ISBN 978/0": "h-499a922cb77b6b8c684daef0110a7eaa",
}


def ours(key: str) -> Line:
    return {"key": sent_key(key), "request": asked(key)}


def former(key: str) -> Line:
    return {"key": key, "request": {**asked(key), "labels": {"gemini_batch_key": FORMER_LABELS[key]}}}


def users(key: str) -> Line:
    return {"key": key, "request": asked(key)}


def dropped(line: Line) -> Line:
    return {"request": line["request"]}


def without_labels(line: Line) -> Line:
    return {**line, "request": {name: value for name, value in line["request"].items() if name != "labels"}}


def read_as_json(line: Line) -> Line:
    """The key with the type that a reader of JSON, who infers types, may take it for."""
    try:
        key = json.loads(line["key"])
    except ValueError:
        key = line["key"].strip()
    return {**line, "key": key}


def read_as_float(line: Line) -> Line:
    """The same, with numbers as BigQuery writes those of a FLOAT64 column into text."""
    key = read_as_json(line)["key"]
    return {**line, "key": f"{float(key)}" if type(key) in (int, float) else key}


def as_sent(line: Line) -> Line:
    return line


def respelt(line: Line) -> Line:
    """The request as a table with a column for each field gives it back."""
    parts = [{"fileData": None, **part} for part in line["request"]["contents"][0]["parts"]]
    request = {"tools": [], "contents": [{"parts": parts, "role": "user"}], "generationConfig": None}
    return {**line, "request": {**request, **{k: v for k, v in line["request"].items() if k == "labels"}}}


def unknown(line: Line) -> Line:
    """A spelling that nobody understands."""
    return {**line, "request": {"asked": "something"}}


def landed(
    files: AnswerFiles, sent: list[Line], keys: list[str], *changes: Callable[[Line], Line]
) -> dict[str, str]:
    """Return the answers by key as they landed, and see that all readers agree."""
    lines = []
    for key, line in zip(keys, sent, strict=True):
        for change in changes:
            line = change(line)
        lines.append(orjson.dumps({**good(f"about {key[:50]}"), **line}))
    source = files.put("in.jsonl", b"".join(orjson.dumps(line) + b"\n" for line in sent))
    manifest = files.manifest(source, files.output(*reversed(lines)))
    files.run(TEXT, manifest)
    found = dict(parquet(files.target, "isbn", "answer"))
    assert {one.key: one.text for one in iter_responses(manifest.to_json())} == found
    folder = GcsAddress.parse(manifest.rounds[0].output)
    summary = CloudStorage(files.client).summarize(folder, [GcsAddress.parse(source)])
    assert summary is not None
    if len(found) == len(keys):
        assert (summary.tally.answered, summary.tally.unknown) == (len(found), len(keys) - len(found))
    return found


def expected(keys: list[str]) -> dict[str, str]:
    return {key: f"about {key[:50]}" for key in keys}


@pytest.mark.parametrize("request_echo", [as_sent, respelt])
@pytest.mark.parametrize("key_echo", [as_sent, read_as_json, read_as_float, dropped])
def test_our_requests(files, key_echo, request_echo):
    sent = list(map(ours, ODD_KEYS))
    assert landed(files, sent, ODD_KEYS, key_echo, request_echo) == expected(ODD_KEYS)


def test_of_ours_the_key_alone_is_enough(files):
    sent = list(map(ours, ODD_KEYS))
    assert landed(files, sent, ODD_KEYS, unknown) == expected(ODD_KEYS)


@pytest.mark.parametrize("make", [ours, users])
def test_without_a_key_an_unknown_request_lands_nowhere(files, make):
    assert landed(files, [make("a"), make("1")], ["a", "1"], dropped, unknown) == {}


@pytest.mark.parametrize("label_echo", [as_sent, without_labels])
@pytest.mark.parametrize("key_echo", [as_sent, read_as_json, read_as_float, dropped])
def test_requests_of_the_release_before(files, key_echo, label_echo):
    keys = list(FORMER_LABELS)
    sent = list(map(former, keys))
    assert landed(files, sent, keys, label_echo, respelt, key_echo) == expected(keys)


@pytest.mark.parametrize("key_echo", [as_sent, read_as_json, read_as_float, dropped])
def test_requests_that_users_wrote(files, key_echo):
    keys = [key for key in ODD_KEYS if key != "key=1;"]
    assert landed(files, list(map(users, keys)), keys, key_echo, respelt) == expected(keys)


@pytest.mark.parametrize("key_echo", [as_sent, read_as_json, read_as_float])
def test_bare_numbers_are_known_again_without_the_request(files, key_echo):
    keys = ["000000", "1e5", "9780439023480", "12", "0.50", "ol1w"]
    assert landed(files, list(map(users, keys)), keys, key_echo, unknown) == expected(keys)


@pytest.mark.parametrize("key_echo", [as_sent, read_as_json, read_as_float])
def test_bare_keys_that_come_back_alike_lead_to_no_wrong_row(files, key_echo):
    keys = ["1e5", "100000.0", "100000", "7"]
    found = landed(files, list(map(users, keys)), keys, key_echo, unknown)
    assert found.items() <= expected(keys).items()


def test_equal_requests_under_bare_numbers_keep_their_own_answers(files):
    keys = ["1", "2", "3"]
    sent = [{"key": key, "request": asked("the same")} for key in keys]
    assert landed(files, sent, keys, read_as_json) == expected(keys)
