"""Run whole DAGs in this process, without a scheduler."""

from __future__ import annotations

import os
from collections import defaultdict
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Any

from airflow.providers.common.compat.version_compat import AIRFLOW_V_3_0_PLUS

BUNDLE = "dags-folder"


@dataclass(frozen=True)
class DagRun:
    """A DAG run that has ended.

    :param states: of the task instances, by task, in the order of their map indexes.
    :param results: what they have returned, in the same order; ``None`` for those that returned nothing.
    """

    state: str
    states: dict[str, list[str]]
    results: dict[str, list[Any]]


def run_dag(
    dag: Any, *, group: str = "", conf: dict[str, Any] | None = None, date: datetime | None = None
) -> DagRun:
    """Run a DAG once and return what came of it.

    :param group: task group whose name is left out of the tasks'.
    :param conf: what whoever triggers the run hands over.
    :param date: logical date of the run; by default now.
    """
    migrate()
    store(dag)
    named = "logical_date" if AIRFLOW_V_3_0_PLUS else "execution_date"
    run = dag.test(run_conf=conf, **({named: date} if date else {}))
    instances = sorted(run.get_task_instances(), key=lambda one: (one.task_id, one.map_index))
    states, results = defaultdict(list), defaultdict(list)
    for one in instances:
        name = one.task_id.removeprefix(f"{group}.")
        states[name].append(str(one.state))
        results[name].append(one.xcom_pull(task_ids=one.task_id, map_indexes=one.map_index))
    return DagRun(str(run.state), dict(states), dict(results))


@cache
def migrate() -> None:
    """Set up Airflow's database, once for the process."""
    from airflow.utils.db import initdb

    initdb()


def store(dag: Any) -> None:
    """Write a DAG to Airflow's database, from where Airflow 3 runs it."""
    try:
        from airflow.dag_processing.bundles.manager import DagBundlesManager
        from airflow.dag_processing.dagbag import DagBag, sync_bag_to_db
    except ImportError:  # Airflow 2
        return
    DagBundlesManager().sync_bundles_to_db()
    bag = DagBag(dag_folder=os.devnull, bundle_name=BUNDLE)
    dag.fileloc, dag.relative_fileloc = __file__, "dag_runs.py"
    bag.bag_dag(dag)
    sync_bag_to_db(bag, BUNDLE, None)


def serialized(dag: Any) -> dict[str, Any]:
    """Return a DAG as Airflow stores it."""
    try:
        from airflow.serialization.serialized_objects import DagSerialization as Serialized
    except ImportError:  # Airflow 2
        from airflow.serialization.serialized_objects import SerializedDAG as Serialized
    content: dict[str, Any] = Serialized.to_dict(dag)
    return content


def asset_events(uri: str) -> list[dict[str, Any]]:
    """Return what the events of an asset say, the oldest first, on Airflow 3."""
    from airflow.models.asset import AssetEvent, AssetModel
    from airflow.utils.session import create_session
    from sqlalchemy import select

    found = (
        select(AssetEvent.extra)
        .join(AssetModel, AssetModel.id == AssetEvent.asset_id)
        .where(AssetModel.uri == uri)
    )
    with create_session() as session:
        return list(session.scalars(found.order_by(AssetEvent.id)))
