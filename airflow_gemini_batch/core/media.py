"""Files that a model can read: their addresses, which Google fetches, and their types by the ending of the name."""

from __future__ import annotations

import re
from collections.abc import Sequence

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


LONGEST_ADDRESS = 8192
"""In characters."""

# An object, or a page of a named host: without user and password, and not an address of digits, of which there are many
# spellings. A dot is needed, since a name without one belongs to a private network. For Python and for RE2.
ADDRESS_PATTERN = (
    r"gs://[a-z0-9][a-z0-9._-]*/[^\x00-\x1f\x7f]+"
    r"|https://(?:[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?\.)+[A-Za-z](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
    r"(?::[0-9]{1,5})?(?:[/?#][^\x00-\x1f\x7f\\]*)?"
)
"""Matches the whole of an address that may be sent."""

# Names of private networks, the metadata server's among them; paths that lead elsewhere than they begin.
REFUSED_PATTERN = (
    r"(?i)^https://(?:[^/?#:]*\.(?:localhost|local|localdomain|internal|lan|home\.arpa)(?:[:/?#]|$)"
    r"|[^?#]*/(?:\.|%2e){1,2}(?:[/?#]|$))"
)
"""Finds an address that may not be sent although it matches :data:`ADDRESS_PATTERN`."""

_ADDRESS = re.compile(ADDRESS_PATTERN)
_REFUSED = re.compile(REFUSED_PATTERN)


def address_fault(uri: str, prefixes: Sequence[str] = ()) -> str | None:
    """Return what is wrong with the address of a file that Google is to fetch, as the end of a sentence.

    ``None`` for a good one.

    Its twin in SQL is in ``requests.bigquery.expressions``.

    :param prefixes: what the address may begin with; anything if there are none.
    """
    if len(uri) > LONGEST_ADDRESS or not _ADDRESS.fullmatch(uri) or _REFUSED.search(uri):
        return "not a gs:// or https:// address of a public host without user and password"
    if prefixes and not uri.startswith(tuple(prefixes)):
        return "which begins with none of media_prefixes"
    return None


def checked_prefixes(prefixes: str | Sequence[str] | None) -> tuple[str, ...]:
    """Return the beginnings of addresses, with a slash behind a bucket or host, so that no other one begins the same.

    Raises :class:`ValueError` for an empty list, and for what no address begins with.
    """
    if prefixes is None:
        return ()
    given = (prefixes,) if isinstance(prefixes, str) else tuple(prefixes)
    if not given:
        raise ValueError("media_prefixes is empty: name what addresses may begin with, or leave it out")
    checked = []
    for prefix in given:
        whole = prefix
        if isinstance(prefix, str) and prefix.count("/") == 2:
            whole = f"{prefix}/"
        if not isinstance(prefix, str) or address_fault(f"{whole}x"):
            raise ValueError(f"media_prefixes: expected gs://BUCKET/… or https://HOST/…, got {prefix!r:.200}")
        checked.append(whole)
    return tuple(checked)
