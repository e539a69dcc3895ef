"""The text of values in SQL, on the emulator: the same table as for Python."""

from __future__ import annotations

import pytest

from airflow_gemini_batch.requests.bigquery.expressions import text_of
from tests.requests.value_cases import VALUE_CASES, ValueCase
from tests.support.tables import bigquery_client

IN_SQL = [case for case in VALUE_CASES if case.sql is not None]


@pytest.fixture(scope="module")
def texts(local_stack) -> dict[str, str]:
    values = ", ".join(f"{case.sql} AS v{n}" for n, case in enumerate(IN_SQL))
    selected = ", ".join(f"{text_of(f'v{n}', case.kind)} AS t{n}" for n, case in enumerate(IN_SQL))
    client = bigquery_client(local_stack)
    (row,) = client.query_and_wait(f"SELECT {selected} FROM (SELECT {values})")
    return dict(zip(map(str, IN_SQL), row.values(), strict=True))


@pytest.mark.parametrize("case", IN_SQL, ids=str)
def test_value_is_spelled_as_in_python(texts: dict[str, str], case: ValueCase) -> None:
    assert texts[case.id] == case.text
