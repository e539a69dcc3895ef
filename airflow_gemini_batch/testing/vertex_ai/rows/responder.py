"""Answers without a model: deterministic, built from the prompt, and labelled as such."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from typing import Any

import orjson

from airflow_gemini_batch.testing.vertex_ai.rows.schema_answers import answer_schema

LABEL = "[local stand-in]"
_CHARACTERS_PER_TOKEN = 4
_TOKENS_PER_MEDIUM = 258
_PROMPT_SHOWN = 240

Responder = Callable[[dict[str, Any]], dict[str, Any]]


def text_response(text: str, *, finish_reason: str = "STOP") -> dict[str, Any]:
    """Make a response that says ``text``, as a responder of one's own may return it."""
    content = {"role": "model", "parts": [{"text": text}]}
    return {"candidates": [{"content": content, "finishReason": finish_reason}]}


def stand_in(request: dict[str, Any]) -> dict[str, Any]:
    """Answer a GenerateContentRequest (camelCase); JSON that fits when a response schema is given."""
    config = request.get("generationConfig", {})
    schema = config.get("responseSchema") or config.get("responseJsonSchema")
    prompt = prompt_text(request)
    # Labels name the row, not the question.
    asked = {name: value for name, value in request.items() if name != "labels"}
    seed = hashlib.blake2b(orjson.dumps(asked, option=orjson.OPT_SORT_KEYS), digest_size=8).hexdigest()
    if schema:
        value = answer_schema(schema, seed=seed, text=f"{LABEL} {shorten(prompt, _PROMPT_SHOWN)}")
        # text/x.enum answers with the bare word.
        bare = config.get("responseMimeType") == "text/x.enum" and isinstance(value, str)
        return text_response(value if bare else orjson.dumps(value).decode())
    if config.get("responseMimeType") == "application/json":
        return text_response(orjson.dumps({"answer": f"{LABEL} {shorten(prompt, 60)}"}).decode())
    return text_response(f"{LABEL} An answer to: {shorten(prompt, _PROMPT_SHOWN)}")


def complete(response: dict[str, Any], request: dict[str, Any], *, model_version: str) -> dict[str, Any]:
    """Add what the service adds to a responder's answer: token counts, ids, and the cut at maxOutputTokens."""
    limit = int(request.get("generationConfig", {}).get("maxOutputTokens", 0))
    candidates = [_limited(candidate, limit) for candidate in response.get("candidates", [])]
    response_id = hashlib.blake2b(orjson.dumps([request, response]), digest_size=16).hexdigest()[:23]
    completed = {**response, "modelVersion": model_version, "responseId": response_id}
    if candidates:
        completed["candidates"] = candidates
    completed.setdefault("usageMetadata", _usage(request, candidates, model_version))
    return completed


def prompt_text(request: dict[str, Any]) -> str:
    """Return the words of the user's last turn; media are named by type and address."""
    contents = [content for content in request["contents"] if content.get("role") == "user"]
    return " ".join(_words((contents or request["contents"])[-1]))


def shorten(text: str, longest: int) -> str:
    """Put ``text`` on one line, cut at ``longest`` characters."""
    line = " ".join(text.split())
    return line if len(line) <= longest else line[: longest - 1] + "…"


def _words(content: dict[str, Any]) -> Iterator[str]:
    for part in content["parts"]:
        if "text" in part:
            yield part["text"]
        elif "fileData" in part:
            yield f"<{part['fileData']['mimeType']} at {part['fileData']['fileUri']}>"
        elif "inlineData" in part:
            yield f"<{part['inlineData']['mimeType']}, inline>"


def _limited(candidate: dict[str, Any], tokens: int) -> dict[str, Any]:
    parts = candidate.get("content", {}).get("parts", [])
    if tokens and _text_tokens(parts) > tokens:
        left = tokens * _CHARACTERS_PER_TOKEN
        cut = []
        for part in parts:
            text = part.get("text", "")[:left]
            left -= len(text)
            if text:
                cut.append({**part, "text": text})
        content = {**candidate["content"], "parts": cut}
        candidate = {**candidate, "content": content, "finishReason": "MAX_TOKENS"}
    return {"avgLogprobs": -0.25, **candidate}


def _usage(request: dict[str, Any], candidates: list[dict[str, Any]], model_version: str) -> dict[str, Any]:
    prompt = 0
    for content in [*request["contents"], request.get("systemInstruction", {"parts": []})]:
        media = sum("text" not in part for part in content["parts"])
        prompt += _text_tokens(content["parts"]) + media * _TOKENS_PER_MEDIUM
    answer = sum(_text_tokens(candidate.get("content", {}).get("parts", [])) for candidate in candidates)
    usage: dict[str, Any] = {"promptTokenCount": prompt, "trafficType": "ON_DEMAND"}
    if answer:
        usage["candidatesTokenCount"] = answer
    thinking = request.get("generationConfig", {}).get("thinkingConfig", {})
    # The lite models do not think unless told to; the others do unless told not to.
    if candidates and ("lite" not in model_version or thinking) and thinking.get("thinkingBudget") != 0:
        usage["thoughtsTokenCount"] = 8 + prompt % 32
    usage["totalTokenCount"] = prompt + answer + usage.get("thoughtsTokenCount", 0)
    return usage


def _text_tokens(parts: list[dict[str, Any]]) -> int:
    characters = sum(len(part.get("text", "")) for part in parts)
    return -(-characters // _CHARACTERS_PER_TOKEN)
