"""mypy refuses a misspelt or mistyped parameter in a user's DAG, and accepts a right one."""

from __future__ import annotations

import re
import subprocess
import sys
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import DAG, AirflowException

from airflow_gemini_batch import BuildGeminiRequestsOperator, GeminiEnrichmentTaskGroup
from airflow_gemini_batch.task_groups.pipeline import PipelineOptions

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
USER_DAG = Path(__file__).with_name("user_dag.py")
EXPECTED = {
    number: comment
    for number, line in enumerate(USER_DAG.read_text(encoding="utf-8").splitlines(), start=1)
    for _, separator, comment in [line.partition("# E: ")]
    if separator
}


# Airflow 2 has an exception of its own.
REFUSALS = (TypeError, AirflowException)


@pytest.fixture(scope="module")
def refused() -> dict[int, list[str]]:
    """Return what mypy says, by line: with a user's settings, not with those of this project."""
    options = ["--config-file=", "--follow-imports=silent", "--no-error-summary"]
    ran = subprocess.run(
        [sys.executable, "-m", "mypy", *options, "--cache-dir", ".mypy_cache/user_dag", str(USER_DAG)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 1, ran.stderr
    messages: dict[int, list[str]] = {}
    for line in ran.stdout.splitlines():
        match = re.fullmatch(r".*?user_dag\.py:(\d+): error: (.*?)  \[[a-z-]+\]", line)
        if match:
            messages.setdefault(int(match[1]), []).append(match[2])
    return messages


def test_lines_without_a_comment_are_accepted(refused):
    assert {number: said for number, said in refused.items() if number not in EXPECTED} == {}


@pytest.mark.parametrize("number", EXPECTED)
def test_wrong_parameter_is_refused(refused, number):
    (message,) = refused.get(number, [""])
    assert message.startswith(EXPECTED[number])


@pytest.mark.parametrize("kind", [GeminiEnrichmentTaskGroup, BuildGeminiRequestsOperator])
def test_misspelt_parameter_fails_when_the_dag_file_is_read(kind):
    name: dict[str, Any] = {"task_id": "a"} if kind is BuildGeminiRequestsOperator else {"group_id": "a"}
    with DAG("misspelt", start_date=datetime(2026, 1, 1), schedule=None), pytest.raises(REFUSALS) as error:
        kind(
            **name,
            source="bq://p-1.d.t",
            key="id",
            prompt="a",
            model="gemini-3.8-flash",
            target="bq://p-1.d.u",
            max_cost_ust=1,
        )
    assert "max_cost_ust" in str(error.value)


@pytest.mark.parametrize("name", PipelineOptions.__annotations__)
def test_every_shared_parameter_says_what_it_means(name):
    source = Path(sys.modules[PipelineOptions.__module__].__file__ or "").read_text(encoding="utf-8")
    assert re.search(rf'\n    {name}: [^\n]+\n    """\w', source)
