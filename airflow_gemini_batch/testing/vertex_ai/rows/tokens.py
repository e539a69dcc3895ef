"""How long a text is to an embedding model."""

from __future__ import annotations

MOST_TOKENS = 2048
_CHARACTERS_PER_TOKEN = 4


def count_tokens(text: str) -> int:
    """Estimate tokens from characters, four to one."""
    return -(-len(text) // _CHARACTERS_PER_TOKEN)
