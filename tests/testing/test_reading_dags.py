"""read_dag: a DAG of a file, or why there is none."""

from __future__ import annotations

import pytest

from airflow_gemini_batch.testing.dag_runs import read_dag

FILE = """
from airflow.providers.common.compat.sdk import DAG, BaseOperator

with DAG("shop", schedule=None):
    BaseOperator(task_id="one")
"""


def test_dag_of_a_file_is_read(tmp_path) -> None:
    (tmp_path / "shop.py").write_text(FILE)
    assert read_dag(tmp_path / "shop.py", "shop").task_ids == ["one"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (FILE, "shop.py has no DAG 'other'. Its DAGs are: shop"),
        ("x = 1", "shop.py has no DAG 'other'. Its DAGs are: none"),
        (f"{FILE}\n1 / 0", "shop.py can't be read by Airflow, so it has no DAG 'other': .*division by zero"),
    ],
    ids=["another DAG", "no DAG", "an error"],
)
def test_dag_that_is_not_there_is_told(tmp_path, content: str, message: str) -> None:
    (tmp_path / "shop.py").write_text(content)
    with pytest.raises(ValueError, match=f"(?s){message}"):
        read_dag(tmp_path / "shop.py", "other")
