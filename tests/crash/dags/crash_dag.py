"""Three submissions at a time, for the full level: two that wait in the triggerer and one that waits in the worker."""

from __future__ import annotations

from datetime import timedelta

from airflow.providers.common.compat.sdk import DAG

from airflow_gemini_batch import SubmitGeminiBatchOperator

with DAG("crash", schedule=None, default_args={"retries": 3, "retry_delay": timedelta(seconds=1)}):
    for task_id, deferrable in (("first", True), ("second", True), ("in_worker", False)):
        SubmitGeminiBatchOperator(
            task_id=task_id,
            model="gemini-3.8-flash",
            requests=f"{{{{ dag_run.conf['sources']['{task_id}'] }}}}",
            poll_interval=0.5,
            deferrable=deferrable,
        )
