"""What Airflow keeps of DAGs and their runs."""

from __future__ import annotations

from typing import Any

from airflow.providers.common.compat.version_compat import AIRFLOW_V_3_0_PLUS

from airflow_gemini_batch.testing.dag_runs import prepare_database


def serialized(dag: Any) -> dict[str, Any]:
    """Return a DAG as Airflow stores it."""
    try:
        from airflow.serialization.serialized_objects import DagSerialization as Serialized
    except ImportError:  # Airflow 2, which looks for aliases of assets in its database
        from airflow.serialization.serialized_objects import SerializedDAG as Serialized

        prepare_database()
    content: dict[str, Any] = Serialized.to_dict(dag)
    return content


def know_alias(name: str) -> None:
    """Let Airflow 2 know an alias, as its DAG processor does."""
    from airflow.utils.session import create_session

    prepare_database()
    if AIRFLOW_V_3_0_PLUS:
        return
    from airflow.models.dataset import DatasetAliasModel

    with create_session() as session:
        session.add(DatasetAliasModel(name=name))


def asset_events(uri: str) -> list[dict[str, Any]]:
    """Return what the events of an asset say, the oldest first."""
    from airflow.utils.session import create_session
    from sqlalchemy import select

    if AIRFLOW_V_3_0_PLUS:
        from airflow.models.asset import AssetEvent as Event
        from airflow.models.asset import AssetModel as Model

        same = Model.id == Event.asset_id
    else:
        from airflow.models.dataset import DatasetEvent as Event
        from airflow.models.dataset import DatasetModel as Model

        same = Model.id == Event.dataset_id
    with create_session() as session:
        return list(
            session.scalars(select(Event.extra).join(Model, same).where(Model.uri == uri).order_by(Event.id))
        )
