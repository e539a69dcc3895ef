"""The job sensor in a DAG of its own, asking Airflow itself about the task of another DAG."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import DAG, PokeReturnValue

from airflow_gemini_batch import GeminiBatchJobSensor, SubmitGeminiBatchOperator
from airflow_gemini_batch.testing.dag_runs import run_dag
from tests.support.requests_data import request, upload

pytestmark = pytest.mark.slow

NIGHT = datetime(2026, 11, 26, tzinfo=UTC)
START = datetime(2026, 1, 1, tzinfo=UTC)


class InTheTriggerer(GeminiBatchJobSensor):
    """Defers, although everything is there."""

    def poke(self, context: Any) -> PokeReturnValue:
        return PokeReturnValue(is_done=False)


def test_sensor_waits_for_all_map_indexes_and_rounds_of_its_own_night(gemini_batch_stack, vertex, bucket):
    sources = [
        upload(gemini_batch_stack, bucket, f"in{number}.jsonl", [request(f"{number}.{n}") for n in range(4)])
        for number in range(2)
    ]
    with DAG(f"sales.{bucket}", schedule=None, start_date=START) as sales:
        SubmitGeminiBatchOperator.partial(
            task_id="ask", model="gemini-2.5-flash", poll_interval=0.1, deferrable=False
        ).expand(requests=sources)
    vertex.faults.plan("missing_rows", share=0.5)
    asked = run_dag(sales, date=NIGHT)
    assert asked.states == {"ask": ["success", "success"]}

    with DAG(f"report.{bucket}", schedule=None, start_date=START) as report:
        named = {"external_dag_id": f"sales.{bucket}", "external_task_id": "ask", "poke_interval": 0.1}
        InTheTriggerer(task_id="in_the_triggerer", **named)
        GeminiBatchJobSensor(task_id="in_the_worker", deferrable=False, **named)
        GeminiBatchJobSensor(task_id="all_tasks", external_dag_id=f"sales.{bucket}")
        # The night after, whose run does not exist yet.
        GeminiBatchJobSensor(
            task_id="next",
            external_logical_date="{{ (logical_date + macros.timedelta(days=1)).isoformat() }}",
            **named,
            deferrable=False,
            timeout=0.2,
            soft_fail=True,
        )
    reported = run_dag(report, date=NIGHT)
    assert {task: states[0] for task, states in reported.states.items()} == {
        "in_the_triggerer": "success",
        "in_the_worker": "success",
        "all_tasks": "success",
        "next": "skipped",
    }
    outputs = [output for manifest in asked.results["ask"] for output in manifest["outputs"]]
    assert len(outputs) == 3
    for task in ("in_the_triggerer", "in_the_worker"):
        (found,) = reported.results[task]
        assert found["outputs"] == outputs
        assert found["output"] == outputs[0]
    assert sorted(reported.results["all_tasks"][0]["outputs"]) == sorted(outputs)
