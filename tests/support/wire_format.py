"""What crosses a process, there and back in every way in which Airflow stores it."""

from __future__ import annotations

import importlib.util
from typing import Any

import pytest

_HAS_SERDE = bool(importlib.util.find_spec("airflow.sdk") and importlib.util.find_spec("airflow.sdk.serde"))


def _by_serde(value: Any) -> Any:
    from airflow.sdk import serde

    return serde.deserialize(serde.serialize(value))


def _by_base_serialization(value: Any) -> Any:
    from airflow.serialization.serialized_objects import BaseSerialization

    return BaseSerialization.deserialize(BaseSerialization.serialize(value))


BOTH_WAYS = [
    pytest.param(
        _by_serde,
        id="serde",
        marks=pytest.mark.skipif(not _HAS_SERDE, reason="this Airflow has no airflow.sdk.serde"),
    ),
    pytest.param(_by_base_serialization, id="BaseSerialization"),
]
