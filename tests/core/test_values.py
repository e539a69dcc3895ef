from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Any

import pytest

from airflow_gemini_batch.core.values import text_of
from tests.requests.value_cases import VALUE_CASES, ValueCase


@pytest.mark.parametrize("case", VALUE_CASES, ids=str)
def test_value_is_spelled_as_bigquery_spells_it(case: ValueCase) -> None:
    assert text_of(case.value) == case.text


class NotATime(datetime):
    """Like the missing time of pandas, which equals nothing."""

    __hash__ = datetime.__hash__

    def __eq__(self, other: object) -> bool:
        return False

    def __ne__(self, other: object) -> bool:
        return True


@pytest.mark.parametrize("value", [None, float("nan"), Decimal("NaN"), NotATime(1, 1, 1)])
def test_missing_value_is_null(value: Any) -> None:
    assert text_of(value, "unknown") == "unknown"


def test_lone_surrogate_is_left_for_the_request_to_refuse() -> None:
    assert text_of("\ud800") == "\ud800"
    assert text_of(["\ud800"]) == '["\ud800"]'
