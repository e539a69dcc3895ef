"""What of an answer, or of a text, is likely to be lost with nobody saying so: doubts, since it may be wanted."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from airflow_gemini_batch.core.model_families import most_tokens
from airflow_gemini_batch.core.models import short_model_name

_BYTES_PER_TOKEN = 4
"""Of texts in most languages; a text of more bytes is likely to be too long."""


def textless_answers(request: Mapping[str, Any]) -> Iterator[str]:
    """Yield why answers to a GenerateContentRequest, once it is read, are likely to hold no text."""
    calling = request.get("toolConfig", {}).get("functionCallingConfig", {})
    tools = [tool for tool in request.get("tools", []) if isinstance(tool, Mapping)]
    if calling.get("mode") != "NONE" and any(tool.get("functionDeclarations") for tool in tools):
        yield (
            "functionDeclarations: nobody calls the functions in a batch job, so an answer that calls one and holds no "
            "text is invalid and does not land. Leave them out, or allow for such rows in max_failed_fraction"
        )
    modalities = request.get("generationConfig", {}).get("responseModalities")
    if modalities and "TEXT" not in modalities:
        yield (
            f"responseModalities {', '.join(map(str, modalities))}: an answer without any text is invalid and does not "
            "land. Add TEXT, or allow for such rows in max_failed_fraction"
        )


def cut_text(text: str, model: str) -> Iterator[str]:
    """Yield that a model which embeds is likely to read the beginning of a text only.

    :param model: plain or resource name; empty when it is not known.
    """
    limit, tokens = most_tokens(model), len(text.encode("utf-8", "replace")) // _BYTES_PER_TOKEN
    reader = short_model_name(model) or "the model"
    if tokens > limit:
        yield (
            f"a text of about {tokens:,} tokens: {reader} reads the first {limit:,}, and does not say that it leaves "
            "the rest out. Divide the text"
        )
