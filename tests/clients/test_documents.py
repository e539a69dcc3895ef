"""The page of the local servers lists the calls that are tested, each and no others."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

PAGE = (Path(__file__).parents[2] / "docs" / "local-stack.md").read_text(encoding="utf-8")


# To import these modules takes longer than most tests do.
def bigquery_calls() -> list[str]:
    from tests.clients.test_airflow_bigquery import CASES, HOOK_CALLS

    return [*CASES, *(f"BigQueryHook.{name}" for name in HOOK_CALLS)]


def storage_calls() -> list[str]:
    from tests.clients.test_airflow_storage import CASES

    return list(CASES)


def other_calls() -> list[str]:
    from tests.clients.test_other_clients import CALLS

    return list(CALLS)


@pytest.mark.parametrize(
    ("heading", "calls"),
    [
        ("Airflow's BigQuery operators and sensors", bigquery_calls),
        ("Airflow's Cloud Storage operators and sensors", storage_calls),
        ("other clients", other_calls),
    ],
)
def test_page_lists_the_calls_that_are_tested(heading: str, calls: Callable[[], list[str]]) -> None:
    table = PAGE.partition(f"| {heading} |\n|---|\n")[2].partition("\n\n")[0]
    assert [line.strip("| ") for line in table.splitlines()] == calls()
