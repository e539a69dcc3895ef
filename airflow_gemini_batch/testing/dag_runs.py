"""Run a whole DAG in this process, without a scheduler: for the tests of your own DAGs.

Airflow 3 runs DAGs from its database only; :func:`run_dag` writes them there first. Set ``AIRFLOW_HOME`` to a folder of
the tests before anything imports Airflow.
"""

from __future__ import annotations

import inspect
import os
import sys
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

from airflow.providers.common.compat.version_compat import AIRFLOW_V_3_0_PLUS

from airflow_gemini_batch.exceptions import GeminiBatchError

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import DAG

__all__ = ["DagRun", "prepare_database", "read_dag", "run_dag"]

_BUNDLE = "dags-folder"


@dataclass(frozen=True)
class DagRun:
    """A DAG run that has ended.

    :param state: ``success`` or ``failed``.
    :param states: of the task instances, by task, in the order of their map indexes.
    :param results: what they have returned, in the same order; ``None`` for those that returned nothing.
    """

    state: str
    states: dict[str, list[str]]
    results: dict[str, list[Any]]


def run_dag(
    dag: DAG, *, group: str = "", conf: dict[str, Any] | None = None, date: datetime | None = None
) -> DagRun:
    """Run a DAG once and return the states and results of its tasks.

    :param group: task group whose name is left out of the tasks'.
    :param conf: what whoever triggers the run hands over.
    :param date: logical date of the run; by default now.

    Raises :class:`~airflow_gemini_batch.exceptions.GeminiBatchError` if Airflow's database is not one of SQLite: it
    might be that of a real Airflow.
    """
    prepare_database()
    _store(dag)
    named = "logical_date" if AIRFLOW_V_3_0_PLUS else "execution_date"
    dated: dict[str, Any] = {named: date} if date else {}
    with _short_pauses(dag):
        run = dag.test(run_conf=conf, **dated)
    instances = sorted(run.get_task_instances(), key=lambda one: (one.task_id, one.map_index))
    states, results = defaultdict(list), defaultdict(list)
    for one in instances:
        name = one.task_id.removeprefix(f"{group}.")
        states[name].append(str(one.state))
        results[name].append(one.xcom_pull(task_ids=one.task_id, map_indexes=one.map_index))
    return DagRun(str(run.state), dict(states), dict(results))


def read_dag(file: Path, dag_id: str) -> DAG:
    """Read a DAG of a file, as Airflow does; raises :class:`ValueError` with what is wrong where there is none."""
    from airflow_gemini_batch.version_compat import dags_in

    prepare_database()
    dags, errors = dags_in(str(file))
    if dag_id not in dags:
        reasons = "\n".join(errors.values())
        raise ValueError(
            f"{file} can't be read by Airflow, so it has no DAG {dag_id!r}: {reasons}"
            if reasons
            else f"{file} has no DAG {dag_id!r}. Its DAGs are: {', '.join(dags) or 'none'}"
        )
    dag: DAG = dags[dag_id]
    return dag


@contextmanager
def _short_pauses(dag: DAG) -> Iterator[None]:
    """Let ``DAG.test`` look again soon when no task can run: between two steps it would wait for a second."""
    waits_in, sleep = inspect.unwrap(type(dag).test).__code__, time.sleep

    def pause(seconds: float) -> None:
        sleep(min(seconds, 0.02) if sys._getframe(1).f_code is waits_in else seconds)

    with patch("time.sleep", pause):
        yield


@cache
def prepare_database() -> None:
    """Set up Airflow's database, once for the process."""
    from airflow.configuration import conf
    from airflow.utils.db import initdb

    if not conf.get("database", "sql_alchemy_conn").startswith("sqlite:"):
        raise GeminiBatchError(
            "run_dag writes into Airflow's database, and this one is not SQLite. Set AIRFLOW_HOME to an empty folder "
            "before the tests import Airflow, and unset AIRFLOW__DATABASE__SQL_ALCHEMY_CONN."
        )
    initdb()


def _store(dag: DAG) -> None:
    """Write a DAG to Airflow's database, from where Airflow 3 runs it."""
    if not AIRFLOW_V_3_0_PLUS:
        return
    from airflow.dag_processing.bundles.manager import DagBundlesManager

    named: dict[str, Any] = {"bundle_name": _BUNDLE}
    try:
        from airflow.dag_processing.dagbag import DagBag, sync_bag_to_db
    except ImportError:  # before Airflow 3.2
        from airflow.models.dagbag import DagBag, sync_bag_to_db  # type: ignore[no-redef, attr-defined, unused-ignore]

        named = {}
    DagBundlesManager().sync_bundles_to_db()  # type: ignore[no-untyped-call]
    bag = DagBag(dag_folder=os.devnull, **named)
    dag.fileloc, dag.relative_fileloc = __file__, os.path.basename(__file__)
    bag.bag_dag(dag)
    sync_bag_to_db(bag, _BUNDLE, None)
