"""The tests that run on every release of Airflow are found by what they import."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.needs_airflow import REPOSITORY, needs_airflow

TESTS = REPOSITORY / "tests"


@pytest.mark.parametrize(
    ("file", "needed"),
    [
        pytest.param("test_provider.py", True, id="imports-it"),
        pytest.param("task_groups/test_enrichment.py", True, id="takes-a-name-of-the-package"),
        pytest.param("hooks/test_who_pays.py", True, id="imports-what-imports-it"),
        pytest.param("operators/test_deadlines.py", True, id="has-a-conftest-that-imports-it"),
        pytest.param("cli/test_cli.py", True, id="starts-processes"),
        pytest.param("core/test_keys.py", False, id="pure"),
        pytest.param("landing/bigquery/test_collecting.py", False, id="local-servers"),
    ],
)
def test_imports_tell_who_needs_airflow(file: str, needed: bool) -> None:
    assert (TESTS / file).is_file()
    assert needs_airflow(TESTS / file) == needed


@pytest.mark.slow
def test_files_of_the_others_load_no_airflow() -> None:
    files = [path for path in sorted(TESTS.rglob("test_*.py")) if not needs_airflow(path)]
    assert len(files) > 100
    modules = [".".join(path.relative_to(REPOSITORY).with_suffix("").parts) for path in files]
    code = f"import sys\nimport {', '.join(modules)}\nassert 'airflow' not in sys.modules"
    ran = subprocess.run(
        [sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stderr
