"""The page of the local servers lists the calls that are tested, each and no others."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.clients import test_airflow_bigquery, test_airflow_storage, test_other_clients

PAGE = (Path(__file__).parents[2] / "docs" / "local-stack.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("heading", "calls"),
    [
        (
            "Airflow's BigQuery operators and sensors",
            [
                *test_airflow_bigquery.CASES,
                *(f"BigQueryHook.{name}" for name in test_airflow_bigquery.HOOK_CALLS),
            ],
        ),
        ("Airflow's Cloud Storage operators and sensors", list(test_airflow_storage.CASES)),
        ("other clients", list(test_other_clients.CALLS)),
    ],
)
def test_page_lists_the_calls_that_are_tested(heading: str, calls: list[str]) -> None:
    table = PAGE.partition(f"| {heading} |\n|---|\n")[2].partition("\n\n")[0]
    assert [line.strip("| ") for line in table.splitlines()] == calls
