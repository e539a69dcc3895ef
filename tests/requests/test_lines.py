from __future__ import annotations

import json

import pytest

from airflow_gemini_batch.core.fingerprints import fingerprint_of
from airflow_gemini_batch.core.keys import sent_key
from airflow_gemini_batch.core.model_families import (
    FAMILIES,
    GEMINI_EMBEDDING,
    GENERATE_CONTENT,
    TEXT_EMBEDDING,
    ModelFamily,
)
from airflow_gemini_batch.requests.forms import FORMS
from airflow_gemini_batch.requests.lines import fingerprint_of_line, request_line
from airflow_gemini_batch.requests.prompts import PromptTemplate
from airflow_gemini_batch.requests.templates import BadRow, BadRowError, gemini_request

MODEL = "gemini-2.5-flash"
REQUESTS = {
    GENERATE_CONTENT: b'{"contents":[{"role":"user","parts":[{"text":"a"}]}]}',
    GEMINI_EMBEDDING: b'{"content":{"parts":[{"text":"a"}]}}',
    TEXT_EMBEDDING: b'{"content":"a","task_type":"RETRIEVAL_QUERY"}',
}
each_format = pytest.mark.parametrize("family", FAMILIES.values())
KEYS = ["book-1", 'a/b"c', "x" * 10_000, "Ünï😀", "a\nb", ""]


@pytest.mark.parametrize("key", KEYS)
@each_format
def test_line_is_one_json_object_with_the_key(family: ModelFamily, key: str) -> None:
    line = FORMS[family].line(key, REQUESTS[family])
    assert line.endswith(b"\n")
    assert line.count(b"\n") == 1
    content = json.loads(line)
    assert next(iter(content)) == "key"
    assert content["key"] == sent_key(key)


@pytest.mark.parametrize("family", [GENERATE_CONTENT, GEMINI_EMBEDDING], ids=str)
def test_request_stands_as_it_is_behind_its_key(family: ModelFamily) -> None:
    line = FORMS[family].line("1", REQUESTS[family])
    assert line == b'{"key":"key=1;","request":%b}\n' % REQUESTS[family]


def test_text_embedding_stands_beside_its_key() -> None:
    line = FORMS[TEXT_EMBEDDING].line("1", REQUESTS[TEXT_EMBEDDING])
    assert line == b'{"key":"key=1;","content":"a","task_type":"RETRIEVAL_QUERY"}\n'


@each_format
def test_key_that_is_no_text_is_refused(family: ModelFamily) -> None:
    with pytest.raises(BadRowError) as caught:
        FORMS[family].line("\ud800", REQUESTS[family])
    assert caught.value.reason is BadRow.NOT_TEXT


@each_format
def test_fingerprint_of_a_line_is_that_of_its_request(family: ModelFamily) -> None:
    request = REQUESTS[family]
    line = json.loads(FORMS[family].line("1", request))
    assert fingerprint_of_line(MODEL, line) == fingerprint_of(MODEL, request)


@pytest.mark.parametrize("value", ['"\\/\b\f', "\x00\x1f\x7f\u2028", "é日😀", "<a href='x'>&"])
def test_fingerprint_survives_reading_whatever_the_text(value: str) -> None:
    template = gemini_request(
        PromptTemplate.parse("[[ a ]]"), generation_config={"temperature": 1e-7, "topP": 1.0, "seed": 2**53}
    )
    request = template.fill({"a": value})
    line = json.loads(request_line("1", request))
    assert fingerprint_of_line(MODEL, line) == fingerprint_of(MODEL, request)


def test_labels_of_users_count() -> None:
    line = {"request": {"contents": [], "labels": {"team": "a", "gemini_batch_key": "1"}}}
    assert fingerprint_of_line(MODEL, line) == fingerprint_of(MODEL, b'{"contents":[],"labels":{"team":"a"}}')


@pytest.mark.parametrize("labels", [None, {}])
def test_no_labels_are_no_part_of_it(labels: dict[str, str] | None) -> None:
    line = {"request": {"contents": [], "labels": labels}}
    assert fingerprint_of_line(MODEL, line) == fingerprint_of(MODEL, b'{"contents":[]}')


@pytest.mark.parametrize(
    "request_",
    [
        '{"content":{},"embed_content_config":{"output_dimensionality":256,"a":1}}',
        '{"content":{},"output_dimensionality":256,"a":1}',
    ],
)
def test_whole_number_that_was_exported_as_a_string_is_the_same(request_: str) -> None:
    line = {"key": "1", "request": json.loads(request_.replace("256", '"256"'))}
    assert fingerprint_of_line(MODEL, line) == fingerprint_of(MODEL, request_.encode())
