"""Run one of the example DAGs in a process of its own, without a scheduler.

    python -m airflow_gemini_batch.demo.dag_run nightly_book_descriptions

It takes one start of Airflow, where ``airflow db migrate`` and ``airflow dags test`` take two.
"""

from __future__ import annotations

import sys

from airflow_gemini_batch.demo.workspace import example_dags_folder
from airflow_gemini_batch.testing.dag_runs import read_dag, run_dag


def main(dag_id: str) -> None:
    """Run a DAG that has the name of its file. The exit code is 0 when it succeeds, and else 1."""
    dag = read_dag(example_dags_folder() / f"{dag_id}.py", dag_id)
    sys.exit(run_dag(dag).state != "success")


if __name__ == "__main__":
    main(sys.argv[1])
