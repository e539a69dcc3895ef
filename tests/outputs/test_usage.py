from __future__ import annotations

import json
from typing import Any

import pytest

from airflow_gemini_batch.outputs.rows import row_usage
from airflow_gemini_batch.outputs.usage import (
    LONG_PROMPT,
    Usage,
    UsageByModel,
    add_usage,
    gemini_embedding_usage,
    merge_usage,
    text_embedding_usage,
    usage_of,
)

METADATA: dict[str, Any] = {
    "promptTokenCount": 1090,
    "candidatesTokenCount": 95,
    "thoughtsTokenCount": 12,
    "cachedContentTokenCount": 1000,
    "totalTokenCount": 1197,
    "trafficType": "ON_DEMAND",
}
USAGE = Usage(rows=1, prompt_tokens=1090, output_tokens=95, thoughts_tokens=12, cached_tokens=1000)


def response(**counts: Any) -> dict[str, Any]:
    return {"modelVersion": "gemini-2.5-flash", "usageMetadata": counts}


def test_response_tells_model_and_tokens() -> None:
    assert usage_of(response(**METADATA)) == ("gemini-2.5-flash", USAGE)


def test_counts_may_be_strings() -> None:
    as_strings = {name: str(count) for name, count in METADATA.items()}
    assert usage_of(response(**as_strings))[1] == USAGE


@pytest.mark.parametrize(
    ("count", "tokens"),
    [
        (7, 7),
        ("7", 7),
        (7.0, 7),
        (0, 0),
        (-7, 0),
        (True, 0),
        (None, 0),
        ("", 0),
        ("-7", 0),
        ("seven", 0),
        ("²", 0),
        (float("nan"), 0),
        (float("inf"), 0),
        ([7], 0),
        ({"count": 7}, 0),
    ],
)
def test_what_is_no_count_is_taken_for_none(count: Any, tokens: int) -> None:
    assert usage_of(response(promptTokenCount=1, candidatesTokenCount=count))[1] == Usage(1, 1, tokens)


@pytest.mark.parametrize(
    "content",
    [
        pytest.param({}, id="failed-row"),
        pytest.param({"candidates": []}, id="no-usage"),
        pytest.param({"usageMetadata": None}, id="null"),
        pytest.param({"usageMetadata": {}}, id="empty"),
        pytest.param({"usageMetadata": {"trafficType": "ON_DEMAND"}}, id="no-counts"),
        pytest.param({"usageMetadata": [1090]}, id="list"),
        pytest.param({"usageMetadata": "1090"}, id="text"),
    ],
)
def test_row_without_tokens_is_no_row_of_the_account(content: dict[str, Any]) -> None:
    assert usage_of(content) == ("", Usage())
    assert usage_of({**content, "modelVersion": "gemini-2.5-pro"}) == ("gemini-2.5-pro", Usage())


@pytest.mark.parametrize(
    "details",
    [
        None,
        {},
        "AUDIO",
        [None],
        [{"modality": "AUDIO"}],
        [{"tokenCount": 5}],
        [{"modality": "TEXT", "tokenCount": 5}],
    ],
)
def test_odd_details_are_no_audio(details: Any) -> None:
    assert usage_of(response(promptTokenCount=9, promptTokensDetails=details))[1] == Usage(1, 9)


@pytest.mark.parametrize(
    "grounding", [None, {}, "none", {"webSearchQueries": None}, {"webSearchQueries": []}]
)
def test_answer_without_queries_took_no_search(grounding: Any) -> None:
    answer = {**response(promptTokenCount=9), "candidates": [{"groundingMetadata": grounding}]}
    assert usage_of(answer)[1] == Usage(1, 9)


def test_blocked_prompt_is_billed() -> None:
    blocked = {"promptFeedback": {"blockReason": "SAFETY"}, "usageMetadata": {"promptTokenCount": 9}}
    assert usage_of(blocked) == ("", Usage(rows=1, prompt_tokens=9))


def test_model_version_that_is_no_text_is_unknown() -> None:
    assert usage_of({"modelVersion": 5})[0] == ""


def test_prompt_at_the_limit_is_not_long() -> None:
    usage = usage_of(response(promptTokenCount=LONG_PROMPT, candidatesTokenCount=5))[1]
    assert usage == Usage(rows=1, prompt_tokens=200_000, output_tokens=5)


def test_long_prompt_takes_its_whole_row_along() -> None:
    usage = usage_of(
        response(
            promptTokenCount=200_001,
            candidatesTokenCount=5,
            thoughtsTokenCount=2,
            cachedContentTokenCount=100,
        )
    )[1]
    assert usage == Usage(1, 200_001, 5, 2, 100, 200_001, 7, 100)


def test_sum_adds_each_count_to_its_like() -> None:
    one = Usage(*range(1, 14))
    other = Usage(*range(10, 140, 10))
    assert one + other == Usage(*range(11, 144, 11))


def test_totals_are_kept_by_model() -> None:
    totals: UsageByModel = {}
    for model, usage in (("a", USAGE), ("b", USAGE), ("a", USAGE), ("", Usage())):
        add_usage(totals, model, usage)
    assert totals == {"a": USAGE + USAGE, "b": USAGE}


def test_merging_leaves_its_parts_alone() -> None:
    first, second = {"a": USAGE}, {"a": USAGE, "b": USAGE}
    assert merge_usage(first, second) == {"a": USAGE + USAGE, "b": USAGE}
    assert (first, second) == ({"a": USAGE}, {"a": USAGE, "b": USAGE})


def test_merging_nothing_is_nothing() -> None:
    assert merge_usage() == {}


def test_usage_survives_json() -> None:
    usage = Usage(*range(1, 14))
    assert Usage.from_json(json.loads(json.dumps(usage.to_json()))) == usage


def test_json_has_the_documented_names() -> None:
    assert list(Usage().to_json()) == [
        "rows",
        "prompt_tokens",
        "output_tokens",
        "thoughts_tokens",
        "cached_tokens",
        "long_prompt_tokens",
        "long_output_tokens",
        "long_cached_tokens",
        "tool_tokens",
        "long_tool_tokens",
        "audio_tokens",
        "long_audio_tokens",
        "searches",
    ]


def test_absent_counts_are_zero_and_added_ones_are_passed_over() -> None:
    assert Usage.from_json({"rows": 2, "prompt_tokens": "7", "other_tokens": 1}) == Usage(2, 7)


@pytest.mark.parametrize("content", [None, [], "usage", {"rows": "many"}, {"rows": None}])
def test_what_are_no_counts_is_refused(content: Any) -> None:
    with pytest.raises(ValueError, match="expected token counts"):
        Usage.from_json(content)


def test_usage_reads_well() -> None:
    usage = Usage(2000, 1_090_000, 95_000, 12_000, 1000, tool_tokens=18_329)
    assert str(usage) == (
        "1,090,000 prompt (1,000 of them cached), 18,329 tool, 95,000 output and 12,000 thoughts tokens in 2,000 rows"
    )


def embedded(tokens: Any) -> dict[str, Any]:
    return {"embeddings": {"statistics": {"token_count": tokens, "truncated": False}, "values": [0.2]}}


@pytest.mark.parametrize(
    ("predictions", "usage"),
    [
        pytest.param([embedded(8)], Usage(1, 8), id="one"),
        pytest.param([embedded("8")], Usage(1, 8), id="text"),
        pytest.param([embedded(8.0)], Usage(1, 8), id="float"),
        pytest.param([embedded(8), embedded(3)], Usage(1, 11), id="two"),
        pytest.param([{"embeddings": {"values": [0.2]}}], Usage(), id="no-statistics"),
        pytest.param([{"embeddings": None}], Usage(), id="null-embeddings"),
        pytest.param([None], Usage(), id="null-prediction"),
        pytest.param([], Usage(), id="empty"),
        pytest.param(None, Usage(), id="failed-row"),
        pytest.param("[]", Usage(), id="not-decoded"),
    ],
)
def test_text_embedding_tells_tokens(predictions: Any, usage: Usage) -> None:
    assert text_embedding_usage(predictions) == usage


@pytest.mark.parametrize(
    ("content", "usage"),
    [
        pytest.param({"tokenCount": "2", "embedding": {"values": [0.1]}}, Usage(1, 2), id="token-count"),
        pytest.param({"usageMetadata": {"promptTokenCount": 2}}, Usage(1, 2), id="usage-metadata"),
        pytest.param({"tokenCount": 2, "usageMetadata": {"promptTokenCount": 2}}, Usage(1, 2), id="both"),
        pytest.param({"embedding": {"values": [0.1]}}, Usage(), id="neither"),
        pytest.param({"usageMetadata": None}, Usage(), id="null-metadata"),
        pytest.param({}, Usage(), id="failed-row"),
        pytest.param(None, Usage(), id="null"),
    ],
)
def test_gemini_embedding_tells_tokens(content: Any, usage: Usage) -> None:
    assert gemini_embedding_usage(content) == usage


@pytest.mark.parametrize(
    ("row", "told"),
    [
        pytest.param({"predictions": [embedded(8)], "status": ""}, ("", Usage(1, 8)), id="text-embedding"),
        pytest.param({"key": "a", "response": {"tokenCount": "2"}}, ("", Usage(1, 2)), id="gemini-embedding"),
        pytest.param(
            {"response": {"modelVersion": "m", "usageMetadata": METADATA}},
            ("m", Usage(1, 1090, 95, 12, 1000)),
            id="generated",
        ),
        pytest.param(
            {"response": json.dumps({"modelVersion": "m", "usageMetadata": METADATA})},
            ("m", Usage(1, 1090, 95, 12, 1000)),
            id="generated-as-text",
        ),
        pytest.param({"response": "no answer"}, ("", Usage()), id="other-text"),
        pytest.param({"response": "[]"}, ("", Usage()), id="list-as-text"),
        pytest.param({"response": {}, "status": "Bad Request"}, ("", Usage()), id="failed-row"),
        pytest.param({}, ("", Usage()), id="nothing"),
    ],
)
def test_row_of_any_model_tells_tokens(row: dict[str, Any], told: tuple[str, Usage]) -> None:
    assert row_usage(row) == told
