"""Labels of jobs and of requests, as the API's reference allows them."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping

_MOST = 64


def label_error(labels: Mapping[str, str], *, longest: int) -> str | None:
    """Say what is wrong with ``labels``, or nothing: lower-case letters of any script, digits, ``_`` and ``-``.

    :param longest: most characters of a key or a value; 64 for jobs, 63 for requests.
    """
    if len(labels) > _MOST:
        return f"Too many labels: {len(labels)}. At most {_MOST} are allowed."
    if "" in labels:
        return "Label keys must not be empty."
    for label in labels.items():
        for what, text in zip(("key", "value"), label, strict=True):
            if len(text) > longest:
                return f"Label {what} '{text}' has {len(text)} characters. At most {longest} are allowed."
            if not all(map(_is_allowed, text)):
                return (
                    f"Label {what} '{text}' is not valid. Only lowercase letters, numeric characters, "
                    "underscores and dashes are allowed. International characters are allowed."
                )
    return None


def _is_allowed(character: str) -> bool:
    # Marks stand on letters of other scripts: the vowel signs of Hindi, say.
    kind = unicodedata.category(character)
    return character in "_-" or kind in ("Ll", "Lm", "Lo", "Nd", "Mn", "Mc")
