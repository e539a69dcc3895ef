"""Types of files that a model can read, by the ending of their name."""

from __future__ import annotations

import re

# https://cloud.google.com/vertex-ai/generative-ai/docs/multimodal/image-understanding and its neighbours
MIME_TYPES = {
    "png": "image/png",
    "jpg": "image/jpeg",
    "jpeg": "image/jpeg",
    "webp": "image/webp",
    "heic": "image/heic",
    "heif": "image/heif",
    "pdf": "application/pdf",
    "txt": "text/plain",
    "mp3": "audio/mpeg",
    "wav": "audio/wav",
    "flac": "audio/flac",
    "aac": "audio/aac",
    "m4a": "audio/m4a",
    "ogg": "audio/ogg",
    "opus": "audio/opus",
    "mp4": "video/mp4",
    "mov": "video/quicktime",
    "mpeg": "video/mpeg",
    "mpg": "video/mpg",
    "webm": "video/webm",
    "wmv": "video/wmv",
    "3gp": "video/3gpp",
    "flv": "video/x-flv",
}

ENDING_PATTERN = r"\.([A-Za-z0-9]+)(?:[?#].*)?$"
"""Finds the ending of an address in RE2, where ``$`` is the end of the text."""

_ENDING = re.compile(ENDING_PATTERN[:-1] + r"\Z")


def mime_type_of(uri: str) -> str | None:
    """Return the MIME type of a file by the ending of its address, ``None`` for an ending that is not known."""
    ending = _ENDING.search(uri)
    return MIME_TYPES.get(ending[1].lower()) if ending else None
