"""The test of a user's own DAG, as docs/how-to/testing.md shows it, in a process and a folder of its own."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from airflow.providers.common.compat.sdk import DAG

from airflow_gemini_batch.exceptions import GeminiBatchError
from airflow_gemini_batch.testing.dag_runs import prepare_database, run_dag

pytestmark = pytest.mark.slow

PAGE = Path(__file__).parents[2] / "docs/how-to/testing.md"
FILES = {
    name: re.search(rf"```python\n(# {name}\n.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)[1]
    for name in ("conftest.py", "test_shop.py")
}
OWN_DAG = """
from datetime import datetime

from airflow.providers.common.compat.sdk import DAG

from airflow_gemini_batch import GeminiEnrichmentTaskGroup

with DAG("shop", schedule="@daily", start_date=datetime(2026, 1, 1), catchup=False) as dag:
    GeminiEnrichmentTaskGroup(
        group_id="describe",
        source="bq://demo-project.shop.products",
        key="sku",
        prompt="Describe [[ title ]].",
        model="gemini-3.8-flash",
        response_schema={"description": str},
        target="bq://demo-project.shop.descriptions",
    )
"""


def test_own_dag_runs_in_its_test(tmp_path):
    for name, content in {
        **FILES,
        "dags/shop.py": OWN_DAG,
        "products.csv": "sku,title\nA1,Mug\nA2,Jar\nA3,Pan\n",
    }.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(content)
    ended = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:bqemulator", "-q"],
        cwd=tmp_path,
        env={key: value for key, value in os.environ.items() if not key.startswith("PYTEST_")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stdout[-5000:] + ended.stderr[-2000:]
    assert "2 passed" in ended.stdout


def test_database_of_a_real_airflow_is_left_alone(monkeypatch):
    monkeypatch.setenv("AIRFLOW__DATABASE__SQL_ALCHEMY_CONN", "postgresql://127.0.0.1:1/airflow")
    prepare_database.cache_clear()
    with pytest.raises(GeminiBatchError, match=r"this one is not SQLite\. Set AIRFLOW_HOME"):
        run_dag(DAG("never", schedule=None))
