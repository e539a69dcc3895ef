from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from airflow_gemini_batch.outputs.usage import LONG_PROMPT, Usage, UsageByModel, add_usage, merge_usage
from tests.outputs.lines import count_tokens

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


def usages_of(folder: Path, responses: Iterable[dict[str, Any]]) -> list[Usage]:
    """Return the tokens of each of some responses."""
    rows = [{"response": {**one, "modelVersion": str(number)}} for number, one in enumerate(responses)]
    found = count_tokens(folder, rows)
    return [found.get(str(number), Usage()) for number in range(len(rows))]


def test_response_tells_model_and_tokens(tmp_path: Path) -> None:
    as_strings = {name: str(count) for name, count in METADATA.items()}
    rows = [{"response": response(**METADATA)}, {"response": response(**as_strings)}]
    assert count_tokens(tmp_path, rows) == {"gemini-2.5-flash": USAGE + USAGE}


def test_what_is_no_count_is_taken_for_none(tmp_path: Path) -> None:
    counts: list[tuple[Any, int]] = [
        (7, 7),
        ("7", 7),
        (7.0, 7),
        (0, 0),
        (-7, 0),
        (None, 0),
        ("", 0),
        ("-7", 0),
        ("seven", 0),
        ("²", 0),
        (float("nan"), 0),
        (float("inf"), 0),
        ([7], 0),
        ({"count": 7}, 0),
    ]
    found = usages_of(tmp_path, (response(promptTokenCount=1, candidatesTokenCount=one) for one, _ in counts))
    assert found == [Usage(1, 1, tokens) for _, tokens in counts]


@pytest.mark.parametrize("model", [{}, {"modelVersion": "gemini-2.5-pro"}])
def test_row_without_tokens_is_no_row_of_the_account(tmp_path: Path, model: dict[str, Any]) -> None:
    rows: list[dict[str, Any]] = [
        {},
        {"candidates": []},
        {"usageMetadata": None},
        {"usageMetadata": {}},
        {"usageMetadata": {"trafficType": "ON_DEMAND"}},
        {"usageMetadata": [1090]},
        {"usageMetadata": "1090"},
    ]
    assert count_tokens(tmp_path, ({"response": {**row, **model}} for row in rows)) == {}


def test_odd_details_are_no_audio_and_odd_queries_no_search(tmp_path: Path) -> None:
    details: list[Any] = [
        None,
        {},
        "AUDIO",
        [None],
        [{"modality": "AUDIO"}],
        [{"tokenCount": 5}],
        [{"modality": "TEXT", "tokenCount": 5}],
    ]
    groundings: list[Any] = [None, {}, "none", {"webSearchQueries": None}, {"webSearchQueries": []}]
    rows = [response(promptTokenCount=9, promptTokensDetails=one) for one in details]
    rows += [
        {**response(promptTokenCount=9), "candidates": [{"groundingMetadata": one}]} for one in groundings
    ]
    assert usages_of(tmp_path, rows) == [Usage(1, 9)] * len(rows)


def test_blocked_prompt_is_billed_and_a_model_version_that_is_no_text_is_unknown(tmp_path: Path) -> None:
    blocked = {"promptFeedback": {"blockReason": "SAFETY"}, "usageMetadata": {"promptTokenCount": 9}}
    rows = [{"response": blocked}, {"response": {**blocked, "modelVersion": None}}]
    assert count_tokens(tmp_path, rows) == {"": Usage(2, 18)}


def test_long_prompt_takes_its_whole_row_along(tmp_path: Path) -> None:
    long = response(
        promptTokenCount=200_001, candidatesTokenCount=5, thoughtsTokenCount=2, cachedContentTokenCount=100
    )
    at_the_limit = response(promptTokenCount=LONG_PROMPT, candidatesTokenCount=5)
    assert usages_of(tmp_path, [long, at_the_limit]) == [
        Usage(1, 200_001, 5, 2, 100, 200_001, 7, 100),
        Usage(1, 200_000, 5),
    ]


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


VECTOR = {"embedding": {"values": [0.1]}}


@pytest.mark.parametrize(
    ("row", "told"),
    [
        pytest.param({"predictions": [embedded(8)], "status": ""}, Usage(1, 8), id="text-embedding"),
        pytest.param({"predictions": [embedded("8")]}, Usage(1, 8), id="text"),
        pytest.param({"predictions": [embedded(8.0)]}, Usage(1, 8), id="float"),
        pytest.param({"predictions": [{"embeddings": {"values": [0.2]}}]}, None, id="no-statistics"),
        pytest.param({"predictions": [{"embeddings": None}]}, None, id="null-embeddings"),
        pytest.param({"predictions": [None]}, None, id="null-prediction"),
        pytest.param({"predictions": []}, None, id="empty"),
        pytest.param({"predictions": None}, None, id="null-predictions"),
        pytest.param({"response": {"tokenCount": "2", **VECTOR}}, Usage(1, 2), id="token-count"),
        pytest.param(
            {"response": {**VECTOR, "usageMetadata": {"promptTokenCount": 2}}}, Usage(1, 2), id="usage"
        ),
        pytest.param(
            {"response": {**VECTOR, "tokenCount": 2, "usageMetadata": {"promptTokenCount": 2}}},
            Usage(1, 2),
            id="both",
        ),
        pytest.param({"response": VECTOR}, None, id="neither"),
        pytest.param({"response": {**VECTOR, "usageMetadata": None}}, None, id="null-metadata"),
        pytest.param({"response": "no answer"}, None, id="other-text"),
        pytest.param({"response": "[]"}, None, id="list-as-text"),
        pytest.param({"response": {}, "status": "Bad Request"}, None, id="failed-row"),
        pytest.param({}, None, id="nothing"),
    ],
)
def test_row_of_any_model_tells_tokens(tmp_path: Path, row: dict[str, Any], told: Usage | None) -> None:
    assert count_tokens(tmp_path, [row]) == ({"": told} if told else {})


def test_answer_as_text_tells_tokens(tmp_path: Path) -> None:
    row = {"response": json.dumps({"modelVersion": "m", "usageMetadata": METADATA})}
    assert count_tokens(tmp_path, [row]) == {"m": USAGE}
