"""Usage blocks of answers as the service writes them, and what they cost by hand."""

from __future__ import annotations

from datetime import date
from typing import Any, NamedTuple

from airflow_gemini_batch.outputs.usage import Usage


class Block(NamedTuple):
    """The tokens of one answer.

    :param searches: of Google Search, as ``groundingMetadata`` lists them.
    :param usage: what counts of it.
    :param dollars: their price at batch rates of ``day``, in ``location``.
    """

    name: str
    model: str
    metadata: dict[str, Any]
    usage: Usage
    dollars: float
    searches: int = 0
    day: date = date(2026, 11, 30)
    location: str = "global"

    @property
    def response(self) -> dict[str, Any]:
        """The answer that the block stands in."""
        candidate: dict[str, Any] = {
            "finishReason": "STOP",
            "content": {"role": "model", "parts": [{"text": "ok"}]},
        }
        if self.searches:
            candidate["groundingMetadata"] = {"webSearchQueries": ["gemini api"] * self.searches}
        return {"candidates": [candidate], "modelVersion": self.model, "usageMetadata": self.metadata}


def details(**tokens: int) -> list[dict[str, Any]]:
    return [{"modality": modality, "tokenCount": count} for modality, count in tokens.items()]


BLOCKS = [
    # 151 + 18,329 input tokens of $0.25 a million, 1,089 + 1,120 output tokens of $1.50.
    Block(
        "search",
        "gemini-3-flash-preview",
        {
            "promptTokenCount": 151,
            "candidatesTokenCount": 1089,
            "totalTokenCount": 20689,
            "toolUsePromptTokenCount": 18329,
            "thoughtsTokenCount": 1120,
            "promptTokensDetails": details(TEXT=151),
            "toolUsePromptTokensDetails": details(TEXT=18329),
        },
        Usage(1, 151, 1089, 1120, tool_tokens=18329, searches=3),
        (151 * 0.25 + 18329 * 0.25 + 1089 * 1.5 + 1120 * 1.5) / 1e6,  # $0.007934
        searches=3,
    ),
    # The same kind of answer where the total leaves the tool tokens out: 70 + 53 + 199 = 322.
    Block(
        "search-outside-the-total",
        "gemini-2.5-flash",
        {
            "promptTokenCount": 70,
            "candidatesTokenCount": 53,
            "thoughtsTokenCount": 199,
            "toolUsePromptTokenCount": 79,
            "totalTokenCount": 322,
        },
        Usage(1, 70, 53, 199, tool_tokens=79),
        (70 * 0.15 + 79 * 0.15 + 53 * 1.25 + 199 * 1.25) / 1e6,  # $0.00033735
    ),
    # An answer of thoughts only is billed: $1.875 a million.
    Block(
        "thoughts",
        "gemini-3.8-flash",
        {
            "promptTokenCount": 312,
            "thoughtsTokenCount": 1416,
            "totalTokenCount": 1728,
            "trafficType": "ON_DEMAND",
        },
        Usage(1, 312, 0, 1416),
        (312 * 0.375 + 1416 * 1.875) / 1e6,  # $0.002772
    ),
    # 90 tokens at the full rate of $0.15, 1,000 out of the cache at a tenth of it.
    Block(
        "cached",
        "gemini-3.5-flash-lite-001",
        {
            "promptTokenCount": 1090,
            "candidatesTokenCount": 95,
            "thoughtsTokenCount": 12,
            "cachedContentTokenCount": 1000,
            "totalTokenCount": 1197,
        },
        Usage(1, 1090, 95, 12, 1000),
        (90 * 0.15 + 1000 * 0.015 + 95 * 1.25 + 12 * 1.25) / 1e6,  # $0.00016225
    ),
    # More than 200,000 input tokens: the whole row at $1.25 and $7.50 a million instead of $0.625 and $5.
    Block(
        "tier",
        "gemini-2.5-pro",
        {"promptTokenCount": 250_000, "candidatesTokenCount": 800, "thoughtsTokenCount": 2200},
        Usage(1, 250_000, 800, 2200, 0, 250_000, 3000, 0),
        (250_000 * 1.25 + 800 * 7.5 + 2200 * 7.5) / 1e6,  # $0.335
    ),
    # The pages that a tool reads are part of the input: 150,000 + 60,000 is above 200,000.
    Block(
        "tier-with-tools",
        "gemini-2.5-pro",
        {"promptTokenCount": 150_000, "candidatesTokenCount": 1000, "toolUsePromptTokenCount": 60_000},
        Usage(1, 150_000, 1000, 0, 0, 150_000, 1000, 0, 60_000, 60_000),
        (150_000 * 1.25 + 60_000 * 1.25 + 1000 * 7.5) / 1e6,  # $0.27
    ),
    # 1,920 tokens of audio at $0.50, 258 of an image and 40 of text at $0.15.
    Block(
        "audio",
        "gemini-2.5-flash",
        {
            "promptTokenCount": 2218,
            "candidatesTokenCount": 310,
            "totalTokenCount": 2528,
            "promptTokensDetails": details(TEXT=40, IMAGE=258, AUDIO=1920),
        },
        Usage(1, 2218, 310, audio_tokens=1920),
        (298 * 0.15 + 1920 * 0.5 + 310 * 1.25) / 1e6,  # $0.0013922
    ),
    # The rates of gemini-4-argon double from one day to the next.
    *(
        Block(
            f"argon-{day}",
            "gemini-4-argon",
            {"promptTokenCount": 46, "candidatesTokenCount": 7, "thoughtsTokenCount": 188},
            Usage(1, 46, 7, 188),
            factor * (46 * 1 + 7 * 5 + 188 * 5) / 1e6,  # $0.001021, then $0.002042
            day=day,
        )
        for day, factor in ((date(2026, 11, 30), 1), (date(2026, 12, 1), 2), (date(2027, 4, 1), 2))
    ),
    # Outside "global" a tenth more.
    Block(
        "regional",
        "gemini-3.8-flash",
        {"promptTokenCount": 1000, "candidatesTokenCount": 100},
        Usage(1, 1000, 100),
        1.1 * (1000 * 0.375 + 100 * 1.875) / 1e6,  # $0.00061875
        location="us-central1",
    ),
]
