"""Fixtures for pytest: the local servers, for the tests of your own DAGs.

Name this module in a ``conftest.py``::

    pytest_plugins = ["airflow_gemini_batch.testing.fixtures"]

and run pytest with ``-p no:bqemulator``, since bqemulator's own plugin needs a package that it does not install.

- ``gemini_batch_stack`` leads the clients of the test process to the servers, lets none look up a host of Google's,
  and is a :class:`~airflow_gemini_batch.testing.LocalStack`
- ``run_dag`` runs a whole DAG on it in the test process, without a scheduler:
  :func:`~airflow_gemini_batch.testing.dag_runs.run_dag`
- ``bucket`` is the name of a new bucket
- ``local_stack`` is the same stack for fixtures with the scope of a session; it sets no environment variable
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import pytest

from airflow_gemini_batch.testing.leading import lead_clients
from airflow_gemini_batch.testing.stack import LocalStack

if TYPE_CHECKING:
    from airflow_gemini_batch.testing.dag_runs import DagRun

__all__ = ["bucket", "gemini_batch_stack", "local_stack", "run_dag"]


@pytest.fixture(scope="session")
def local_stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalStack]:
    """Run the three servers for the whole session; jobs end within a second."""
    folder = tmp_path_factory.mktemp("local-stack")
    with LocalStack(folder, queue_seconds=0.02, run_seconds=0.05, cancel_seconds=0.05) as stack:
        yield stack


@pytest.fixture
def gemini_batch_stack(local_stack: LocalStack, monkeypatch: pytest.MonkeyPatch) -> LocalStack:
    """Lead the clients in this process to the local servers, and return them; none reaches a host of Google's."""
    environment = local_stack.environment()
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    lead_clients(environment, monkeypatch.setattr)
    return local_stack


@pytest.fixture
def bucket(gemini_batch_stack: LocalStack) -> str:
    """Create a bucket and return its name."""
    name = f"bucket-{uuid.uuid4().hex[:12]}"
    gemini_batch_stack.storage.create_bucket(name)
    return name


@pytest.fixture
def run_dag(gemini_batch_stack: LocalStack) -> Callable[..., DagRun]:
    """Return the function that runs a DAG on the local servers."""
    from airflow_gemini_batch.testing.dag_runs import run_dag

    return run_dag
