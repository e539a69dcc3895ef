"""The request as the service gives it back: the same, but not as it was written."""

from __future__ import annotations

from typing import Any

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


def _nulls(part: dict[str, Any]) -> dict[str, None]:
    return {name: None for name in _NULLS_OF_PARTS if name not in part}


def _sorted(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _sorted(value[key]) for key in sorted(value)}
    if isinstance(value, list):
        return [_sorted(item) for item in value]
    return value
