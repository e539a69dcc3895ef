"""Reading a line that is almost JSON: paid answers are not thrown away for a detail that nobody reads."""

from __future__ import annotations

import json
import re
from typing import Any

import orjson

_LONE_SURROGATE = re.compile("[\ud800-\udfff]")
_REPLACEMENT = "\ufffd"


def tolerant_object(line: bytes) -> dict[str, Any] | None:
    """Return the object that a line holds, ``None`` when it holds none.

    Half a surrogate pair becomes U+FFFD, ``NaN`` and ``Infinity`` become ``null``, and a byte order mark is passed
    over; a line that is cut off, or no UTF-8, holds none.
    """
    try:
        value = orjson.loads(line)
    except orjson.JSONDecodeError:
        try:
            text = line.decode("utf-8-sig", "surrogatepass")
            value = json.loads(text, parse_constant=lambda _: None)
            value = orjson.loads(_LONE_SURROGATE.sub(_REPLACEMENT, json.dumps(value, ensure_ascii=False)))
        except (ValueError, RecursionError):
            return None
    return value if isinstance(value, dict) else None
