"""Text vectors without a model: hashed n-grams, so that similar texts get similar vectors; and counts of tokens."""

from __future__ import annotations

import math
import re
import unicodedata
import zlib
from collections.abc import Iterator

from airflow_gemini_batch.testing.vertex_ai.errors import RowError

MOST_TOKENS = 2048
_CHARACTERS_PER_TOKEN = 4
_GRAM = 3
# Each n-gram touches several dimensions, so that no two texts meet in one by accident.
_SPREAD = 4
_DECIMALS = 8


def embed(text: str, dimensions: int) -> list[float]:
    """Return a vector of unit length; equal texts, up to case and spaces, have equal vectors."""
    values = [0.0] * dimensions
    for gram in _grams(text):
        seed = gram.encode()
        for turn in range(_SPREAD):
            hashed = zlib.crc32(seed, turn)
            values[hashed % dimensions] += 1.0 if hashed & 0x80000000 else -1.0
    length = math.sqrt(sum(value * value for value in values))
    if not length:
        # Every gram cancelled out, which only a few characters can do.
        values[zlib.crc32(text.encode()) % dimensions] = length = 1.0
    return [round(value / length, _DECIMALS) for value in values]


def count_tokens(text: str) -> int:
    """Estimate tokens from characters, four to one."""
    return -(-len(text) // _CHARACTERS_PER_TOKEN)


def too_long(tokens: int) -> RowError:
    """Make the error of a text that must not be cut."""
    return RowError(
        "INVALID_ARGUMENT", f"The input token count is {tokens} but the model supports up to {MOST_TOKENS}."
    )


def _grams(text: str) -> Iterator[str]:
    folded = unicodedata.normalize("NFKC", text).casefold()
    for word in re.findall(r"\w+", folded) or [folded]:
        yield word
        padded = f" {word} "
        for start in range(len(padded) - _GRAM + 1):
            yield padded[start : start + _GRAM]
