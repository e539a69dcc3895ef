"""What comes back for a row of text generation."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from airflow_gemini_batch.testing.vertex_ai import LocalVertex, text_response
from tests.testing.vertex_ai.conftest import Folder
from tests.testing.vertex_ai.http import VertexCaller, job_body, prompt, prompts

Answer = Callable[..., list[dict[str, Any]]]


@pytest.fixture
def answers(start_vertex: Callable[..., LocalVertex], folder: Folder) -> Answer:
    """Runs rows through a job of a new server; returns the output rows in the order of the input."""

    def run(rows: list[Any], *, model: str = "gemini-2.5-flash", **server: Any) -> list[dict[str, Any]]:
        vertex = start_vertex(**server)
        vertex.faults.plan("input_order")
        body = job_body(folder.write(rows), folder.uri("out"), model=f"publishers/google/models/{model}")
        job = VertexCaller(vertex.url).run(body)
        return folder.predictions(job["outputInfo"]["gcsOutputDirectory"])

    return run


def _text(row: dict[str, Any]) -> str:
    return row["response"]["candidates"][0]["content"]["parts"][0]["text"]


def test_answers_in_the_shape_of_the_service(answers: Answer) -> None:
    (row,) = answers([prompt("Describe the book.")])
    assert row.keys() == {"status", "processed_time", "request", "response"}
    assert row["status"] == ""
    assert row["processed_time"].endswith("+00:00")
    response = row["response"]
    assert response.keys() == {"candidates", "modelVersion", "responseId", "usageMetadata"}
    (candidate,) = response["candidates"]
    assert candidate["content"]["role"] == "model"
    assert candidate["finishReason"] == "STOP"
    assert candidate["avgLogprobs"] < 0
    assert response["modelVersion"] == "gemini-2.5-flash"
    usage = response["usageMetadata"]
    assert usage["promptTokenCount"] == 5
    assert usage["totalTokenCount"] == 5 + usage["candidatesTokenCount"] + usage["thoughtsTokenCount"]
    assert usage["trafficType"] == "ON_DEMAND"


def test_says_that_it_is_a_stand_in_and_repeats_itself(answers: Answer) -> None:
    first, second, other = (_text(row) for row in answers([prompt("One"), prompt("One"), prompt("Two")]))
    assert first.startswith("[local stand-in]")
    assert "One" in first
    assert first == second != other


def test_answers_the_question_whatever_its_label(answers: Answer) -> None:
    schema = {"type": "ARRAY", "items": {"type": "INTEGER"}, "minItems": 9}
    config = {"responseMimeType": "application/json", "responseSchema": schema}
    rows = [prompt("x", generationConfig=config, labels={"key": f"k{number}"}) for number in range(2)]
    first, second = answers(rows)
    assert _text(first) == _text(second)


def test_fails_the_question_whatever_its_label(answers: Answer) -> None:
    rows = answers([prompt("x", labels={"round": f"{number}"}) for number in range(40)], fail_rate=1)
    permanent = ("Bad Request" in row["status"] or "promptFeedback" in row["response"] for row in rows)
    # Once the one question has met its permanent failure it meets no other.
    reached = list(permanent)
    assert reached[reached.index(True) :] == [True] * (40 - reached.index(True))


def test_echoes_a_normalised_request(answers: Answer) -> None:
    sent = {
        "request": {
            "system_instruction": {"parts": {"text": "Be brief."}},
            "generation_config": {"top_p": 0.5, "max_output_tokens": 64},
            "contents": {"role": "user", "parts": {"text": "Hello"}},
            "labels": {"key": "k1"},
        }
    }
    (row,) = answers([sent])
    assert json.dumps(row["request"]) == json.dumps(
        {
            "contents": [
                {"parts": [{"text": "Hello", "fileData": None, "inlineData": None}], "role": "user"}
            ],
            "generationConfig": {"maxOutputTokens": 64, "topP": 0.5},
            "labels": {"key": "k1"},
            "systemInstruction": {"parts": [{"text": "Be brief."}]},
        }
    )


def test_takes_its_own_echo_as_input(answers: Answer) -> None:
    (first,) = answers([prompt("Hello")])
    (second,) = answers([first])
    assert (second["status"], second["request"], _text(second)) == ("", first["request"], _text(first))


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (
            {"request": {"contents": [{"role": "tester", "parts": [{"text": "x"}]}]}},
            "Please use a valid role: user, model.",
        ),
        ({"request": {"content": []}}, "Unknown name"),
        ({"key": "k"}, "Invalid value at ''"),
    ],
)
def test_answers_bad_rows_with_their_error(answers: Answer, row: dict[str, Any], message: str) -> None:
    good, bad = answers([prompt("Good"), row])
    assert good["status"] == ""
    reason, _, envelope = bad["status"].partition(": ")
    error = json.loads(envelope)["error"]
    assert (reason, error["code"], error["status"]) == ("Bad Request", 400, "INVALID_ARGUMENT")
    assert error["message"].startswith(message) or message in error["message"]
    assert bad["response"] == {}


def test_answers_with_json_that_fits_the_schema(answers: Answer) -> None:
    schema = {
        "type": "OBJECT",
        "properties": {"genre": {"type": "STRING", "enum": ["novel", "essay"]}, "pages": {"type": "INTEGER"}},
        "required": ["genre", "pages"],
    }
    config = {"responseMimeType": "application/json", "responseSchema": schema}
    enum = {"responseMimeType": "text/x.enum", "responseSchema": {"type": "STRING", "enum": ["a", "b"]}}
    plain = {"responseMimeType": "application/json"}
    with_schema, with_enum, without = answers(
        [prompt("x", generationConfig=value) for value in (config, enum, plain)]
    )
    value = json.loads(_text(with_schema))
    assert value["genre"] in ("novel", "essay")
    assert isinstance(value["pages"], int)
    assert _text(with_enum) in ("a", "b")
    assert "[local stand-in]" in json.loads(_text(without))["answer"]


def test_cuts_answers_at_the_token_limit(answers: Answer) -> None:
    (row,) = answers([prompt("A long question. " * 20, generationConfig={"maxOutputTokens": 5})])
    assert row["response"]["candidates"][0]["finishReason"] == "MAX_TOKENS"
    assert len(_text(row)) == 20
    assert row["response"]["usageMetadata"]["candidatesTokenCount"] == 5


def test_names_media_by_type_and_address(answers: Answer) -> None:
    parts = [
        {"text": "Compare"},
        {"fileData": {"fileUri": "gs://b/a.mp4", "mimeType": "video/mp4"}},
        {"inlineData": {"data": "aGVsbG8=", "mimeType": "image/png"}},
    ]
    (row,) = answers([{"request": {"contents": [{"role": "user", "parts": parts}]}}])
    assert "Compare <video/mp4 at gs://b/a.mp4> <image/png, inline>" in _text(row)
    assert row["response"]["usageMetadata"]["promptTokenCount"] > 500


@pytest.mark.parametrize(
    ("model", "config", "thinks"),
    [
        ("gemini-2.5-flash", {}, True),
        ("gemini-2.5-flash", {"thinkingConfig": {"thinkingBudget": 0}}, False),
        ("gemini-2.5-flash-lite", {}, False),
        ("gemini-2.5-flash-lite", {"thinkingConfig": {"thinkingBudget": 100}}, True),
    ],
)
def test_counts_thoughts(answers: Answer, model: str, config: dict[str, Any], thinks: bool) -> None:
    (row,) = answers([prompt("x", **({"generationConfig": config} if config else {}))], model=model)
    assert ("thoughtsTokenCount" in row["response"]["usageMetadata"]) is thinks


def test_asks_a_responder_of_ones_own(answers: Answer) -> None:
    seen = []

    def responder(request: dict[str, Any]) -> dict[str, Any]:
        seen.append(request)
        return text_response("Mine", finish_reason="SAFETY")

    (row,) = answers(
        [{"request": {"contents": {"role": "user", "parts": {"text": "x"}}}}], responder=responder
    )
    assert seen == [{"contents": [{"role": "user", "parts": [{"text": "x"}]}]}]
    assert _text(row) == "Mine"
    assert row["response"]["candidates"][0]["finishReason"] == "SAFETY"
    assert row["response"]["usageMetadata"]["candidatesTokenCount"] == 1


@pytest.mark.parametrize(
    ("result", "message"),
    [
        (ValueError("no idea"), "ValueError('no idea') at "),
        ("text", "returned str, not a dict"),
        ({"a": object()}, "TypeError"),
    ],
)
def test_fails_rows_whose_responder_fails(answers: Answer, result: object, message: str) -> None:
    def responder(request: dict[str, Any]) -> dict[str, Any]:
        if isinstance(result, Exception):
            raise result
        return result  # type: ignore[return-value]

    (row,) = answers(prompts(1), responder=responder)
    assert row["status"].startswith("Internal Server Error: ")
    assert message in json.loads(row["status"].partition(": ")[2])["error"]["message"]


def test_fails_a_share_of_the_rows_in_every_way(answers: Answer) -> None:
    rows = answers(prompts(300), fail_rate=0.5, seed=3)
    reasons = {row["status"].partition(":")[0] for row in rows}
    assert reasons == {
        "",
        "Bad Request",
        "RESOURCE_EXHAUSTED error occurred",
        "Service Unavailable",
        "Internal Server Error",
    }
    blocked = [row for row in rows if "promptFeedback" in row["response"]]
    assert blocked
    assert all(row["status"] == "" and "candidates" not in row["response"] for row in blocked)
    failed = sum(bool(row["status"]) for row in rows) + len(blocked)
    assert 110 < failed < 190
