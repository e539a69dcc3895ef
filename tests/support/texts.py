"""Texts for people, compared without their line ends."""

from __future__ import annotations


def flat(text: object) -> str:
    """Return a text as one line."""
    return " ".join(str(text).split())
