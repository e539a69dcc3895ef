from __future__ import annotations

from datetime import date

import pytest

from airflow_gemini_batch.costs.prices import PriceTable
from airflow_gemini_batch.preflight.findings import Severity
from airflow_gemini_batch.preflight.models import model_findings

CLOSED = "warning: model {}: it is closed to new projects since 2026-10-20"
FLASH = "gemini-2.5-flash"


def found(model: str, day: date, *, needs_price: bool = False) -> list[str]:
    findings = model_findings(model, PriceTable.load(), day, needs_price=needs_price)
    return [f"{finding.severity}: {finding}" for finding in findings]


@pytest.mark.parametrize(
    ("model", "day", "told"),
    [
        (FLASH, date(2026, 10, 19), None),
        (FLASH, date(2026, 10, 20), CLOSED.format(FLASH) + ", and retires on 2027-03-31"),
        (FLASH, date(2026, 11, 30), CLOSED.format(FLASH) + ", and retires on 2027-03-31"),
        (FLASH, date(2026, 12, 1), CLOSED.format(FLASH) + ", and retires on 2027-03-31"),
        (FLASH, date(2027, 1, 29), CLOSED.format(FLASH) + ", and retires on 2027-03-31"),
        (FLASH, date(2027, 1, 30), f"warning: model {FLASH}: Vertex AI retires it on 2027-03-31"),
        (FLASH, date(2027, 3, 31), f"warning: model {FLASH}: Vertex AI retires it on 2027-03-31"),
        (FLASH, date(2027, 4, 1), f"error: model {FLASH}: Vertex AI retired it on 2027-03-31"),
        (
            "publishers/google/models/gemini-2.5-pro-001",
            date(2027, 4, 1),
            "error: model gemini-2.5-pro-001: ",
        ),
        (
            "gemini-2.5-flash-lite",
            date(2027, 4, 1),
            CLOSED.format("gemini-2.5-flash-lite") + "; use a current",
        ),
        (
            "gemini-2.0-flash",
            date(2026, 11, 30),
            "error: model gemini-2.0-flash: Vertex AI retired it on",
        ),
        *(
            (model, day, None)
            for model in (
                "gemini-3.8-flash",
                "gemini-3.5-flash-lite",
                "gemini-4-argon",
                "text-embedding-005",
                "my-own",
            )
            for day in (date(2026, 11, 30), date(2026, 12, 1), date(2027, 4, 1))
        ),
    ],
)
def test_end_of_a_model_is_told_by_the_day(model: str, day: date, told: str | None) -> None:
    findings = found(model, day)
    assert len(findings) == (told is not None)
    assert all(finding.startswith(str(told)) for finding in findings)


def test_retired_model_has_a_way_out() -> None:
    [finding] = found(FLASH, date(2027, 4, 1))
    assert "use a current one" in finding
    assert "give a later day in your own price file, column retires" in finding


def test_missing_price_is_an_error_where_it_is_needed() -> None:
    day = date(2026, 11, 30)
    assert found("gemini-9", day) == []
    assert found("gemini-3.8-flash", day, needs_price=True) == []
    [finding] = model_findings("gemini-9", PriceTable.load(), day, needs_price=True)
    assert finding.severity is Severity.ERROR
    assert str(finding).startswith(
        "max_cost_usd can't be checked: there is no batch rate for gemini-9; Add its"
    )
