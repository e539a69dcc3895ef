"""Objects of libraries such as google-genai → the dicts and lists that they stand for."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import Any


def plain(value: Any) -> Any:
    """Return a value with dicts for the Pydantic objects in it, without their empty fields, and values for enums.

    Other values stay as they are: a class, say.
    """
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, Mapping):
        return {name: plain(inner) for name, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(inner) for inner in value]
    if is_model(value):
        return value.model_dump(mode="json", by_alias=True, exclude_none=True)
    return value


def is_model(value: Any) -> bool:
    """Whether a value is an object of Pydantic, not a class."""
    return hasattr(value, "model_dump") and not isinstance(value, type)
