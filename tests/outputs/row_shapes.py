"""Output rows in every shape that was seen or documented, with what is to become of each."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from airflow_gemini_batch.outputs.classify import Outcome

ANSWER: dict[str, Any] = {"role": "model", "parts": [{"text": "A novel."}]}


@dataclass(frozen=True)
class Shape:
    """One row: its name, its ``status`` as text, its ``response``, and the outcome that both readers owe.

    :param error: what stands beside the response; ``None`` where nothing does.
    :param code: of the error that the row tells.
    :param text: of a good answer.
    """

    name: str
    outcome: Outcome
    status: str | None
    response: Any
    error: Any = None
    code: int | None = None
    text: str = "A novel."


def candidate(reason: Any = "STOP", content: Any = ANSWER, **more: Any) -> dict[str, Any]:
    return {"candidates": [{"finishReason": reason, "content": content, "avgLogprobs": -0.2}], **more}


def _failed(name: str, outcome: Outcome, status: str, response: Any = None) -> Shape:
    return Shape(name, outcome, status, {} if response is None else response)


def _envelope(code: int, status: str = "", message: str = "m") -> str:
    return json.dumps({"error": {"code": code, "message": message, "status": status}})


def _answered(name: str, outcome: Outcome, response: Any, **more: Any) -> Shape:
    return Shape(name, outcome, "", response, **more)


def _said(*parts: Any, reason: Any = "STOP") -> dict[str, Any]:
    """Return a candidate of these parts."""
    return {"finishReason": reason, "content": {"role": "model", "parts": list(parts)}}


def _choices(*candidates: Any) -> dict[str, Any]:
    return {"candidates": list(candidates)}


_BLOCKED = {"finishReason": "SAFETY", "content": {"role": "model"}}
_THOUGHT = {"text": "Let me think.", "thought": True}
_CALL = {"functionCall": {"name": "f", "args": {}}, "thoughtSignature": "c2lnbmF0dXJl"}
_IMAGE = {"inlineData": {"mimeType": "image/png", "data": "iVBORw0K"}}
_CODE = {"executableCode": {"language": "PYTHON", "code": "print(1)"}}
_RESULT = {"codeExecutionResult": {"outcome": "OUTCOME_OK", "output": "1"}}
_NOVEL = {"text": "A novel."}

# What was seen of files that Vertex AI fetches over https: the service gives all of it the code 400.
_FETCH = (
    "Cannot fetch content from the provided URL. Please ensure that it is accessible by Vertex AI. Status: "
)
_FETCHES = {
    "URL_REJECTED-REJECTED_CLIENT_THROTTLED": Outcome.RETRYABLE,
    "URL_REJECTED-REJECTED_PROXY_THROTTLED": Outcome.RETRYABLE,
    "URL_REJECTED-REJECTED_RATE_LIMITED": Outcome.RETRYABLE,
    "URL_REJECTED-REJECTED_FC_TOO_MANY_PENDING": Outcome.RETRYABLE,
    "URL_REJECTED-REJECTED_RPC_APP_ERROR": Outcome.RETRYABLE,
    "URL_REJECTED-REJECTED_DEADLINE_EXCEEDED": Outcome.RETRYABLE,
    "URL_TIMEOUT-TIMEOUT_FETCHPROXY": Outcome.RETRYABLE,
    "URL_UNREACHABLE-UNREACHABLE_5xx": Outcome.RETRYABLE,
    "URL_UNREACHABLE-UNREACHABLE_NO_RESPONSE": Outcome.RETRYABLE,
    "URL_ERROR-ERROR_NOT_FOUND": Outcome.REJECTED,
    "URL_ERROR-ERROR_AUTHENTICATION": Outcome.REJECTED,
    "URL_ROBOTED-ROBOTED_DENIED": Outcome.REJECTED,
}
_PROVISIONED = (
    "Service agents are being provisioned (https://cloud.google.com/vertex-ai/docs/general/access-control). "
    "So please try again in a few minutes."
)


_USAGE = {"promptTokenCount": 1090, "candidatesTokenCount": 95, "trafficType": "ON_DEMAND"}

_ODD = "本 😀 \u2028 \\ \" ' `"

SHAPES = [
    _answered("answer", Outcome.OK, candidate(usageMetadata=_USAGE, modelVersion="gemini-2.5-flash")),
    Shape("status-null", Outcome.OK, None, candidate()),
    Shape("status-blank", Outcome.OK, " \n", candidate()),
    Shape("status-empty-object", Outcome.OK, "{}", candidate()),
    Shape("status-of-code-0", Outcome.OK, '{"code": 0, "message": ""}', candidate()),
    _answered("explicit-nulls", Outcome.OK, candidate(promptFeedback=None)),
    _answered("unicode", Outcome.OK, _choices(_said({"text": _ODD})), text=_ODD),
    _answered("parts-as-an-object", Outcome.OK, candidate(content={"parts": _NOVEL})),
    _answered("candidates-as-an-object", Outcome.OK, {"candidates": _said(_NOVEL)}),
    _answered("several-parts", Outcome.OK, _choices(_said({"text": "A "}, {"text": "novel."}))),
    _answered("thought-and-answer", Outcome.OK, _choices(_said(_THOUGHT, _NOVEL, {"text": ""}))),
    _answered("thought-is-false", Outcome.OK, _choices(_said({**_NOVEL, "thought": False}))),
    _answered("spaces-around-the-answer", Outcome.OK, _choices(_said({"text": " a\n"})), text=" a\n"),
    _answered("parts-of-odd-types", Outcome.OK, _choices(_said("b", None, {"text": 7}, _NOVEL))),
    _answered("text-beside-a-function-call", Outcome.OK, _choices(_said(_CALL, _NOVEL))),
    _answered("text-beside-an-image", Outcome.OK, _choices(_said(_NOVEL, _IMAGE))),
    _answered("text-behind-code", Outcome.OK, _choices(_said(_CODE, _RESULT, _NOVEL))),
    _answered("second-candidate-is-empty", Outcome.OK, _choices(_said(_NOVEL), {})),
    _answered("first-of-two-good-ones", Outcome.OK, _choices(_said(_NOVEL), _said({"text": "A poem."}))),
    _answered("first-candidate-is-blocked", Outcome.OK, _choices(_BLOCKED, _said(_NOVEL))),
    _answered(
        "first-candidate-is-cut",
        Outcome.OK,
        _choices(_said({"text": "A"}, reason="MAX_TOKENS"), _said(_NOVEL)),
    ),
    _answered("first-candidate-is-empty", Outcome.OK, _choices({}, _said(_NOVEL))),
    _answered("first-candidate-is-null", Outcome.OK, _choices(None, _said(_NOVEL))),
    _answered("first-candidate-says-nothing", Outcome.OK, _choices(_said({"text": ""}), _said(_NOVEL))),
    _answered("first-candidate-only-thinks", Outcome.OK, _choices(_said(_THOUGHT), _said(_NOVEL))),
    _answered("first-candidate-calls-a-function", Outcome.OK, _choices(_said(_CALL), _said(_NOVEL))),
    _answered("third-candidate-is-good", Outcome.OK, _choices(_BLOCKED, _said(), _said(_THOUGHT, _NOVEL))),
    _answered("error-null", Outcome.OK, candidate(error=None, status=None)),
    _answered("error-empty", Outcome.OK, candidate(error={}, status=""), error={}),
    _answered("function-call", Outcome.INVALID, _choices(_said(_CALL))),
    _answered("function-call-as-an-object", Outcome.INVALID, candidate(content={"parts": _CALL})),
    _answered("function-call-and-an-empty-text", Outcome.INVALID, _choices(_said({"text": ""}, _CALL))),
    _answered("thought-and-a-function-call", Outcome.INVALID, _choices(_said(_THOUGHT, _CALL))),
    _answered("image", Outcome.INVALID, _choices(_said(_IMAGE))),
    _answered("file", Outcome.INVALID, _choices(_said({"text": None, "fileData": {"fileUri": "gs://b/a"}}))),
    _answered("code", Outcome.INVALID, _choices(_said(_CODE))),
    _answered("result-of-code", Outcome.INVALID, _choices(_said(_CODE, _RESULT))),
    _answered("function-call-of-the-first-one", Outcome.INVALID, _choices(_said(_CALL), _BLOCKED)),
    *(
        _failed(kind, outcome, f"Bad Request: {_envelope(400, 'INVALID_ARGUMENT', _FETCH + kind)}")
        for kind, outcome in _FETCHES.items()
    ),
    _failed("being-provisioned", Outcome.RETRYABLE, _envelope(400, "FAILED_PRECONDITION", _PROVISIONED)),
    _failed("being-provisioned-rpc", Outcome.RETRYABLE, json.dumps({"code": 9, "message": _PROVISIONED})),
    _failed(
        "precondition-that-passes",
        Outcome.RETRYABLE,
        _envelope(400, "FAILED_PRECONDITION", "Not yet, try again."),
    ),
    _failed(
        "precondition-that-stays",
        Outcome.REJECTED,
        _envelope(400, "FAILED_PRECONDITION", "User location is not supported."),
    ),
    _failed(
        "try-again-later", Outcome.RETRYABLE, _envelope(400, "INVALID_ARGUMENT", "Please try again later.")
    ),
    _failed(
        "try-again-otherwise",
        Outcome.REJECTED,
        _envelope(400, "INVALID_ARGUMENT", "Shorten it and try again."),
    ),
    _failed("not-a-request", Outcome.REJECTED, "Failed to parse JSON into proto"),
    _failed(
        "not-a-request-with-a-code",
        Outcome.REJECTED,
        _envelope(500, "INTERNAL", "Failed to parse JSON into proto: INVALID_ARGUMENT"),
    ),
    _failed(
        "reason-without-a-code", Outcome.REJECTED, "INVALID_ARGUMENT: Please use a valid role: user, model."
    ),
    _failed("code-as-text", Outcome.REJECTED, '{"code": "400", "message": "m"}'),
    _failed("400", Outcome.REJECTED, f"Bad Request: {_envelope(400, 'INVALID_ARGUMENT')}"),
    *(
        Shape(f"{name}-{kind}", outcome, "", response, error, code)
        for code, outcome in ((400, Outcome.REJECTED), (3, Outcome.REJECTED), (429, Outcome.RETRYABLE))
        for kind, told in (
            ("object", {"code": code, "message": "m"}),
            ("envelope", {"error": {"message": "m", "code": code}}),
            ("text", json.dumps({"code": code, "message": "m"})),
            ("words", f"Error: {_envelope(code)}"),
        )
        for name, response, error in (
            (f"{code}-beside-no-response", None, told),
            (f"{code}-beside-an-empty-response", {}, told),
            (f"{code}-beside-an-empty-candidate", _choices({}), told),
            (f"{code}-as-error-in-the-response", {"error": told}, None),
            (f"{code}-as-status-in-the-response", {"status": told, "candidates": []}, None),
        )
    ),
    _answered(
        "provisioned-as-error", Outcome.RETRYABLE, {"error": {"code": 400, "message": _PROVISIONED}}, code=400
    ),
    _answered("words-beside-no-response", Outcome.RETRYABLE, None, error="The service was busy."),
    _answered("proto-beside-no-response", Outcome.REJECTED, {}, error="Failed to parse JSON into proto"),
    _answered("error-beside-an-answer", Outcome.OK, candidate(), error={"code": 400, "message": "m"}),
    _answered("words-beside-an-answer", Outcome.OK, candidate(status="FINISHED"), error="of a log"),
    _answered("error-beside-a-blocked-answer", Outcome.BLOCKED, _choices(_BLOCKED), error={"code": 503}),
    _answered("error-of-code-0", Outcome.MISSING, {"error": {"code": 0}}, error="null"),
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
    _answered(
        "text-empty",
        Outcome.RETRYABLE,
        _choices(_said({"text": ""})) | {"usageMetadata": {"thoughtsTokenCount": 1416}},
    ),
    _answered("text-null", Outcome.RETRYABLE, _choices(_said({"text": None}))),
    _answered("text-blank", Outcome.RETRYABLE, _choices(_said({"text": " \n"}, {"text": "\t"}))),
    _answered("thoughts-only", Outcome.RETRYABLE, _choices(_said(_THOUGHT))),
    _answered(
        "thoughts-and-an-empty-text",
        Outcome.RETRYABLE,
        _choices(_said(_THOUGHT, {"text": "", "thoughtSignature": "c2ln"})),
    ),
    _answered("function-call-null", Outcome.RETRYABLE, _choices(_said({"functionCall": None}))),
    _answered("parts-are-text", Outcome.RETRYABLE, candidate(content={"parts": "A novel."})),
    _answered("no-good-candidate", Outcome.RETRYABLE, _choices(_said(), _BLOCKED)),
    _answered("no-image", Outcome.RETRYABLE, candidate("NO_IMAGE")),
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
    _answered("continuation", Outcome.TRUNCATED, candidate("CONTINUATION")),
    _answered("cut-and-blocked", Outcome.TRUNCATED, _choices(_said(_NOVEL, reason="MAX_TOKENS"), _BLOCKED)),
    _answered("max-tokens-spent-on-thoughts", Outcome.TRUNCATED, candidate("MAX_TOKENS", {"role": "model"})),
    _answered("response-null", Outcome.MISSING, None),
    Shape("status-and-response-null", Outcome.MISSING, None, None),
    _answered("response-empty", Outcome.MISSING, {}),
    _answered("candidates-empty", Outcome.MISSING, {"candidates": []}),
    _answered("candidates-null", Outcome.MISSING, {"candidates": None}),
    _answered("usage-only", Outcome.MISSING, {"usageMetadata": _USAGE, "promptFeedback": {}}),
]


def cells(shape: Shape, kind: str) -> dict[str, Any]:
    """Return the cells of columns ``response`` and ``error`` of a type."""

    def cell(value: Any) -> Any:
        return value if kind == "JSON" or value is None or isinstance(value, str) else json.dumps(value)

    return {"response": cell(shape.response), "error": cell(shape.error)}
