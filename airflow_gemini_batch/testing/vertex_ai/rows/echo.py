"""The request as the service gives it back: the same, but not as it was written."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

from airflow_gemini_batch.testing.vertex_ai.readings import Readings

_WHOLE = re.compile(r"[+-]?\d+")
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
_INT64 = range(-(2**63), 2**63)

# Explicit nulls that output rows were seen to carry.
_NULLS_OF_PARTS = ("fileData", "inlineData")


def echoed_request(request: dict[str, Any], *, with_labels: bool = True) -> dict[str, Any]:
    """Normalise a request that was read: camelCase, keys in alphabetical order, nulls for absent part fields.

    Comparing it byte by byte with what was sent has to fail.
    """
    echo: dict[str, Any] = _sorted(request)
    for content in echo.get("contents", []):
        content["parts"] = [{**part, **_nulls(part)} for part in content.get("parts", [])]
    if not with_labels:
        echo.pop("labels", None)
    return echo


def echoed_siblings(
    line: Mapping[str, Any], readings: Readings, *, always: tuple[str, ...] = ()
) -> dict[str, Any]:
    """Return what stands beside the request as it comes back.

    :param always: names that come back under every reading.
    """
    names = [name for name in line if name != "request" and (readings.echo_key or name in always)]
    return {name: _coerced(line[name]) if readings.numbers_coerced else line[name] for name in names}


def _coerced(value: object) -> object:
    if not isinstance(value, str) or not _NUMBER.fullmatch(value):
        return value
    if _WHOLE.fullmatch(value) and len(value) < 32 and int(value) in _INT64:
        return int(value)
    number = float(value)
    return number if math.isfinite(number) else value


def _nulls(part: dict[str, Any]) -> dict[str, None]:
    return {name: None for name in _NULLS_OF_PARTS if name not in part}


def _sorted(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _sorted(value[key]) for key in sorted(value)}
    if isinstance(value, list):
        return [_sorted(item) for item in value]
    return value
