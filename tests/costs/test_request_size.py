from __future__ import annotations

import json
from datetime import date
from typing import Any

import pytest

from airflow_gemini_batch.core.model_families import GEMINI_EMBEDDING, GENERATE_CONTENT, TEXT_EMBEDDING
from airflow_gemini_batch.costs.prices import PriceTable
from airflow_gemini_batch.costs.rates import Prices, Rate
from airflow_gemini_batch.costs.request_size import RequestSize, SizeSample, measure
from airflow_gemini_batch.exceptions import InvalidRequestError
from tests.support.requests_data import request

GEMINI, TEXT, EMBED = (
    GENERATE_CONTENT,
    TEXT_EMBEDDING,
    GEMINI_EMBEDDING,
)
TABLE = PriceTable({"pro": [Rate(Prices(1, 6, 1), Prices(2, 9, 2), "2026-11")]})
TODAY = date(2026, 11, 30)
IMAGE = {"fileData": {"mimeType": "image/png", "fileUri": "gs://b/a.png"}}


def contents(*parts: Any) -> dict[str, Any]:
    return {"contents": [{"role": "user", "parts": list(parts)}]}


@pytest.mark.parametrize(
    ("asked", "size"),
    [
        pytest.param(contents({"text": "four"}, {"text": "ty"}), (6, 0, None), id="texts"),
        pytest.param({"contents": {"parts": {"text": "four"}}}, (4, 0, None), id="one-for-a-list"),
        pytest.param(
            {"contents": [contents()["contents"][0], {"parts": [{"text": "é"}]}]}, (1, 0, None), id="turns"
        ),
        pytest.param(
            {**contents({"text": "a"}), "systemInstruction": {"parts": [{"text": "bcd"}]}},
            (4, 0, None),
            id="system",
        ),
        pytest.param({"system_instruction": {"parts": {"text": "bcd"}}}, (3, 0, None), id="snake-case"),
        pytest.param(
            contents(IMAGE, {"text": "a"}, {"inline_data": {"data": "eA=="}}), (1, 2, None), id="media"
        ),
        pytest.param(contents({"text": "a", "fileData": None}), (1, 0, None), id="null-is-no-file"),
        pytest.param({"generationConfig": {"maxOutputTokens": 9}}, (0, 0, 9), id="limit"),
        pytest.param({"generation_config": {"max_output_tokens": "9"}}, (0, 0, 9), id="limit-as-text"),
        pytest.param({"generationConfig": {"maxOutputTokens": True}}, (0, 0, None), id="odd-limit"),
        pytest.param(
            {"generationConfig": {"thinkingConfig": {"thinkingBudget": 0}}},
            (0, 0, None, False),
            id="no-thoughts",
        ),
        pytest.param(
            {"generation_config": {"thinking_config": {"thinking_budget": "0"}}},
            (0, 0, None, False),
            id="no-thoughts-as-text",
        ),
        pytest.param(
            {"generationConfig": {"thinkingConfig": {"thinkingBudget": -1}}},
            (0, 0, None, True),
            id="thoughts",
        ),
        pytest.param({"generationConfig": {"thinkingConfig": 0}}, (0, 0, None, True), id="odd-thoughts"),
        pytest.param({"tools": [{"googleSearch": {}}]}, (0, 0, None, True, True), id="tools"),
        pytest.param({"tools": []}, (0, 0, None, True, False), id="no-tools"),
        pytest.param({"contents": "oops", "generationConfig": []}, (0, 0, None), id="broken"),
        pytest.param({"contents": [{"parts": ["oops", {"text": 5}]}, None]}, (0, 0, None), id="broken-parts"),
    ],
)
def test_gemini_request_is_measured(asked: dict[str, Any], size: tuple[Any, ...]) -> None:
    assert measure(asked, GEMINI) == RequestSize(*size)


def test_embedding_requests_are_measured() -> None:
    assert measure({"content": "four", "title": "ti", "task_type": "X"}, TEXT) == RequestSize(6)
    assert measure({"content": None}, TEXT) == RequestSize(0)
    asked = {"content": {"parts": [{"text": "four"}]}, "embed_content_config": {"title": "ti"}}
    assert measure(asked, EMBED) == RequestSize(6)
    parts = [{"text": "four"}, {"fileData": {"fileUri": "gs://b/a.png"}}]
    assert measure({"content": {"parts": parts}, "title": "ti"}, EMBED) == RequestSize(6, 1)


def lines(*rows: Any) -> list[bytes]:
    return [json.dumps(row).encode() + b"\n" for row in rows]


def test_sample_is_added_up() -> None:
    sample = SizeSample(GEMINI)
    limit = {"generationConfig": {"maxOutputTokens": 50}}
    both = {"request": {**contents({"text": "x" * 100}, IMAGE), **limit}}
    assert sample.add_lines([b"\xef\xbb\xbf" + lines(both)[0], b"\n", *lines(both)])
    found = sample.estimate("pro", TABLE, on=TODAY)
    assert (found.rows, found.prompt_tokens, found.output_tokens) == (2, 50 + 2 * 258, 100)
    assert "estimated from all rows" in found.basis


def test_limits_count_only_when_each_row_has_one() -> None:
    def output_tokens(*limits: int | None) -> int:
        sample = SizeSample(GEMINI)
        configs = [{"maxOutputTokens": limit} for limit in limits]
        sample.add_lines(lines(*({"request": {"generationConfig": config}} for config in configs)))
        return sample.estimate("pro", TABLE, on=TODAY).output_tokens

    assert output_tokens(10, 30) == 40
    assert output_tokens(10, None) == 2 * 5000


def test_rest_is_estimated_from_the_sample() -> None:
    rows = lines(*[request("x" * 40)] * 30)
    sample = SizeSample(GEMINI)
    assert not sample.add_lines(rows, 10)
    found = sample.estimate("pro", TABLE, on=TODAY, file_bytes=len(b"".join(rows)))
    assert (found.rows, found.prompt_tokens) == (30, 300)
    assert "estimated from 10 of 30 rows" in found.basis
    assert found.basis.endswith("the number of rows is estimated from the size of the files")


def test_limit_at_the_very_end_is_the_whole() -> None:
    assert SizeSample(GEMINI).add_lines(lines(request("a"), request("b")), 2)


def test_table_rows_hold_text_or_objects() -> None:
    inner = request("x" * 40)["request"]
    sample = SizeSample(GEMINI)
    sample.add_table_rows([{"request": inner}, {"request": json.dumps(inner)}, {"request": "oops"}])
    found = sample.estimate("pro", TABLE, on=TODAY)
    assert (sample.rows, found.rows, found.prompt_tokens) == (2, 3, 30)


def test_rows_of_text_embeddings_take_no_output() -> None:
    sample = SizeSample(TEXT)
    sample.add_lines(lines({"content": "x" * 40}))
    found = sample.estimate("pro", TABLE, on=TODAY)
    assert (found.prompt_tokens, found.output_tokens) == (10, 0)


def test_lines_that_are_no_requests_are_passed_over() -> None:
    sample = SizeSample(GEMINI)
    sample.add_lines([b"oops\n", b"[1]\n", *lines({"content": "x"}, {"request": 5}, request("x" * 4))])
    assert (sample.lines, sample.rows) == (5, 1)
    assert sample.estimate("pro", TABLE, on=TODAY).prompt_tokens == 5


def test_no_request_at_all_is_an_error() -> None:
    sample = SizeSample(GEMINI)
    sample.add_lines([b"oops\n"])
    with pytest.raises(InvalidRequestError, match="none of the first 1 rows is a request for pro"):
        sample.estimate("pro", TABLE, on=TODAY)
    assert SizeSample(GEMINI).estimate("pro", TABLE, on=TODAY).rows == 0
