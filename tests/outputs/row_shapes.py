"""Output rows in every shape that was seen or documented, with what is to become of each."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from airflow_gemini_batch.outputs.classify import Outcome

ANSWER: dict[str, Any] = {"role": "model", "parts": [{"text": "A novel."}]}


@dataclass(frozen=True)
class Shape:
    """One row: its name, its ``status`` as text, its ``response``, and the outcome that both readers owe."""

    name: str
    outcome: Outcome
    status: str | None
    response: Any


def candidate(reason: Any = "STOP", content: Any = ANSWER, **more: Any) -> dict[str, Any]:
    return {"candidates": [{"finishReason": reason, "content": content, "avgLogprobs": -0.2}], **more}


def _failed(name: str, outcome: Outcome, status: str, response: Any = None) -> Shape:
    return Shape(name, outcome, status, {} if response is None else response)


def _envelope(code: int, status: str = "", message: str = "m") -> str:
    return json.dumps({"error": {"code": code, "message": message, "status": status}})


def _answered(name: str, outcome: Outcome, response: Any) -> Shape:
    return Shape(name, outcome, "", response)


_USAGE = {"promptTokenCount": 1090, "candidatesTokenCount": 95, "trafficType": "ON_DEMAND"}

SHAPES = [
    _answered("answer", Outcome.OK, candidate(usageMetadata=_USAGE, modelVersion="gemini-2.5-flash")),
    Shape("status-null", Outcome.OK, None, candidate()),
    Shape("status-blank", Outcome.OK, " \n", candidate()),
    Shape("status-empty-object", Outcome.OK, "{}", candidate()),
    Shape("status-of-code-0", Outcome.OK, '{"code": 0, "message": ""}', candidate()),
    _answered("explicit-nulls", Outcome.OK, candidate(promptFeedback=None)),
    _answered("unicode", Outcome.OK, candidate(content={"parts": [{"text": "本 😀 \u2028 \\ \" ' `"}]})),
    _answered("function-call", Outcome.OK, candidate(content={"parts": [{"functionCall": {"name": "f"}}]})),
    _answered("parts-as-an-object", Outcome.OK, candidate(content={"parts": {"text": "A novel."}})),
    _answered("several-candidates", Outcome.OK, {"candidates": [*candidate()["candidates"], {}]}),
    _failed("400", Outcome.REJECTED, f"Bad Request: {_envelope(400, 'INVALID_ARGUMENT')}"),
    _failed("403", Outcome.REJECTED, f"Forbidden: {_envelope(403)}"),
    _failed("404", Outcome.REJECTED, f"Not Found: {_envelope(404)}"),
    _failed("400-with-a-response", Outcome.REJECTED, f"Bad Request: {_envelope(400)}", candidate()),
    _failed("rpc-invalid-argument", Outcome.REJECTED, '{"code": 3, "message": "no role"}'),
    _failed("rpc-compact", Outcome.REJECTED, '{"code":5,"message":"no file"}'),
    _failed(
        "rpc-with-details", Outcome.REJECTED, '{"code": 7, "message": "m", "details": [{"a": {"code": 14}}]}'
    ),
    _failed("code-after-the-message", Outcome.REJECTED, '{"message": "no role", "code": 3}'),
    _failed("status-on-several-lines", Outcome.REJECTED, '\n{\n  "code" : 3,\n  "message": "m"\n}\n'),
    _failed("429", Outcome.RETRYABLE, f"RESOURCE_EXHAUSTED error occurred: {_envelope(429)}"),
    _failed("499", Outcome.RETRYABLE, f"Client Closed Request: {_envelope(499)}"),
    _failed("500", Outcome.RETRYABLE, f"Internal Server Error: {_envelope(500)}"),
    _failed("503", Outcome.RETRYABLE, f"Service Unavailable: {_envelope(503)}"),
    _failed("504", Outcome.RETRYABLE, f"Gateway Timeout: {_envelope(504)}"),
    _failed("503-with-a-response", Outcome.RETRYABLE, f"Service Unavailable: {_envelope(503)}", candidate()),
    _failed("rpc-resource-exhausted", Outcome.RETRYABLE, '{"code": 8, "message": "busy"}'),
    _failed("code-too-long-for-a-number", Outcome.RETRYABLE, '{"code": 40000000000000000000000}'),
    _failed("free-text", Outcome.RETRYABLE, "Something went wrong."),
    _failed("free-text-with-quotes", Outcome.RETRYABLE, 'The model\'s "answer" was `lost` \\ 本'),
    _failed("number-in-the-text", Outcome.RETRYABLE, "400 rows were in the way."),
    _answered("malformed-function-call", Outcome.RETRYABLE, candidate("MALFORMED_FUNCTION_CALL")),
    _answered("other-reason", Outcome.RETRYABLE, candidate("OTHER")),
    _answered("reason-null", Outcome.RETRYABLE, candidate(None)),
    _answered("candidate-without-anything", Outcome.RETRYABLE, {"candidates": [{}]}),
    _answered("no-content", Outcome.RETRYABLE, {"candidates": [{"finishReason": "STOP"}]}),
    _answered("content-null", Outcome.RETRYABLE, candidate(content=None)),
    _answered("content-without-parts", Outcome.RETRYABLE, candidate(content={"role": "model"})),
    _answered("parts-null", Outcome.RETRYABLE, candidate(content={"parts": None})),
    _answered("parts-empty", Outcome.RETRYABLE, candidate(content={"parts": []})),
    *(
        _answered(reason.lower(), Outcome.BLOCKED, candidate(reason, {"role": "model"}))
        for reason in ("SAFETY", "RECITATION", "BLOCKLIST", "PROHIBITED_CONTENT", "SPII", "IMAGE_SAFETY")
    ),
    _answered("safety-with-a-part-of-the-answer", Outcome.BLOCKED, candidate("SAFETY")),
    _answered(
        "prompt-blocked",
        Outcome.BLOCKED,
        {"promptFeedback": {"blockReason": "PROHIBITED_CONTENT"}, "usageMetadata": _USAGE},
    ),
    _answered(
        "prompt-blocked-candidates-empty",
        Outcome.BLOCKED,
        {"promptFeedback": {"blockReason": "OTHER"}, "candidates": []},
    ),
    _answered(
        "prompt-blocked-candidates-null",
        Outcome.BLOCKED,
        {"promptFeedback": {"blockReason": "OTHER"}, "candidates": None},
    ),
    _answered("max-tokens", Outcome.TRUNCATED, candidate("MAX_TOKENS")),
    _answered("max-tokens-spent-on-thoughts", Outcome.TRUNCATED, candidate("MAX_TOKENS", {"role": "model"})),
    _answered("response-null", Outcome.MISSING, None),
    Shape("status-and-response-null", Outcome.MISSING, None, None),
    _answered("response-empty", Outcome.MISSING, {}),
    _answered("candidates-empty", Outcome.MISSING, {"candidates": []}),
    _answered("candidates-null", Outcome.MISSING, {"candidates": None}),
    _answered("usage-only", Outcome.MISSING, {"usageMetadata": _USAGE, "promptFeedback": {}}),
]
