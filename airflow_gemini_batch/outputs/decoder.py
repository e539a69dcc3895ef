"""A fast reader for the lines of output files that hold a good answer.

Nearly all lines are good answers of one shape, and most of such a line repeats the request. Decoding just the rest
takes less than half the time. All other lines go through :func:`airflow_gemini_batch.outputs.rows.classify_output`,
which gives the same result for good ones.
"""

from __future__ import annotations

from typing import Annotated

import msgspec

from airflow_gemini_batch.outputs.matching import UNREADABLE, KeyedLine
from airflow_gemini_batch.outputs.usage import AUDIO, ModelUsage, counted_usage

_LARGEST = 2**63 - 1

_Tokens = Annotated[int, msgspec.Meta(ge=0, le=_LARGEST)] | None


class Part(msgspec.Struct, gc=False):
    """A piece of an answer; ``text`` is ``None`` where it is something else."""

    text: str | None = None
    thought: bool | None = None


class _Content(msgspec.Struct, gc=False):
    parts: Annotated[list[Part], msgspec.Meta(min_length=1)]


class _Grounding(msgspec.Struct, gc=False):
    webSearchQueries: list[str] | None = None  # noqa: N815 - the service's names


class _Candidate(msgspec.Struct, gc=False):
    content: _Content
    finishReason: str  # noqa: N815
    groundingMetadata: _Grounding | None = None  # noqa: N815


class _Modality(msgspec.Struct, gc=False):
    modality: str | None = None
    tokenCount: _Tokens = None  # noqa: N815


class TokenCounts(msgspec.Struct, gc=False):
    """The tokens of an answer."""

    promptTokenCount: _Tokens = None  # noqa: N815
    candidatesTokenCount: _Tokens = None  # noqa: N815
    thoughtsTokenCount: _Tokens = None  # noqa: N815
    cachedContentTokenCount: _Tokens = None  # noqa: N815
    toolUsePromptTokenCount: _Tokens = None  # noqa: N815
    promptTokensDetails: list[_Modality] | None = None  # noqa: N815


class _Response(msgspec.Struct, gc=False):
    candidates: Annotated[list[_Candidate], msgspec.Meta(min_length=1)]
    modelVersion: str | None = None  # noqa: N815
    usageMetadata: TokenCounts = msgspec.field(default_factory=TokenCounts)  # noqa: N815


class AnswerLine(KeyedLine, gc=False, kw_only=True):
    """A good answer."""

    response: _Response
    status: str | None = None
    processed_time: str | None = None

    @property
    def text(self) -> str:
        """The answer, without the model's thoughts."""
        return _text_of(self.response.candidates[0].content.parts)

    @property
    def usage(self) -> ModelUsage:
        """The model version and the token counts, as :func:`airflow_gemini_batch.outputs.rows.row_usage` gives them."""
        tokens = self.response.usageMetadata
        grounding = self.response.candidates[0].groundingMetadata
        return ModelUsage(
            self.response.modelVersion or "",
            counted_usage(
                tokens.promptTokenCount or 0,
                tokens.candidatesTokenCount or 0,
                tokens.thoughtsTokenCount or 0,
                tokens.cachedContentTokenCount or 0,
                tokens.toolUsePromptTokenCount or 0,
                audio=sum(
                    one.tokenCount or 0 for one in tokens.promptTokensDetails or () if one.modality == AUDIO
                ),
                searches=len(grounding.webSearchQueries or ()) if grounding else 0,
            ),
        )


def _text_of(parts: list[Part]) -> str:
    if len(parts) == 1 and not parts[0].thought:
        return parts[0].text or ""
    return "".join(part.text or "" for part in parts if not part.thought)


_decode_answer = msgspec.json.Decoder(AnswerLine).decode


def read_answer(line: bytes) -> AnswerLine | None:
    """Return the good answer that a line holds; None if the whole line has to be read to know."""
    try:
        row = _decode_answer(line)
    except UNREADABLE:
        return None
    candidate = row.response.candidates[0]
    if row.status or candidate.finishReason != "STOP":
        return None
    text = row.text
    return row if text and not text.isspace() else None
