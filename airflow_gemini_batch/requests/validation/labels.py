"""What a label of a job or of a request may look like."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping

_MOST_LABELS = 64
# Lower-case letters, letters of alphabets without case, their marks, and digits.
_CATEGORIES = frozenset({"Ll", "Lo", "Lm", "Mn", "Mc", "Nd"})


def label_fault(labels: Mapping[str, str], *, longest: int) -> str | None:
    """Say what is wrong with ``labels``, or nothing.

    :param longest: most characters of a key or a value; 64 for jobs, 63 for requests.
    """
    if len(labels) > _MOST_LABELS:
        return f"Too many labels: {len(labels)}. At most {_MOST_LABELS} are allowed."
    for key, value in labels.items():
        if not key:
            return "Label keys must not be empty."
        for what, text in (("key", key), ("value", value)):
            if len(text) > longest:
                return f"Label {what} '{text}' has {len(text)} characters. At most {longest} are allowed."
            if not all(
                character in "_-" or unicodedata.category(character) in _CATEGORIES for character in text
            ):
                return (
                    f"Label {what} '{text}' is not valid. Only lowercase letters, numeric characters, "
                    "underscores and dashes are allowed. International characters are allowed."
                )
    return None
