"""SummaryNotifier, called by Airflow as tasks end, and what it says where there is no summary."""

from __future__ import annotations

from datetime import datetime
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import DAG, AirflowFailException, BaseNotifier, BaseOperator

from airflow_gemini_batch import SubmitGeminiBatchOperator, SummaryNotifier
from airflow_gemini_batch.exceptions import InvalidRequestError
from airflow_gemini_batch.testing.dag_runs import run_dag
from tests.support.requests_data import request, upload

SECRET = "patient-4711"


class Recorder(BaseNotifier):
    """A notifier with a template, as those for chats and mail are."""

    template_fields = ("text",)

    def __init__(self, sent: list[str], text: str = "Night:\n{{ summary }}") -> None:
        super().__init__()
        self.sent = sent
        self.text = text

    def notify(self, context: Any) -> None:
        self.sent.append(self.text)


class Broken(BaseOperator):
    """A task of somebody else that fails."""

    def execute(self, context: Any) -> None:
        raise RuntimeError(f"row of {SECRET}")


def callbacks(notifier: SummaryNotifier) -> dict[str, Any]:
    return {"on_success_callback": notifier, "on_failure_callback": notifier}


@pytest.fixture
def source(gemini_batch_stack, bucket):
    return upload(gemini_batch_stack, bucket, "in/a.jsonl", [request(f"{SECRET} {n}") for n in range(4)])


def test_airflow_sends_the_summary_of_each_task_that_ends(gemini_batch_stack, source, bucket):
    sent: list[str] = []
    # The same notifier for all tasks, as in default_args.
    options = {
        "model": "gemini-3.8-flash",
        "requests": source,
        "poll_interval": 0.05,
        **callbacks(SummaryNotifier(send=Recorder(sent))),
    }
    with DAG("notified", start_date=datetime(2026, 1, 1), schedule=None) as dag:
        good = SubmitGeminiBatchOperator(task_id="good", destination=f"gs://{bucket}/good", **options)
        wrong = SubmitGeminiBatchOperator(
            task_id="wrong", labels={"Not a label": "x"}, trigger_rule="all_done", **options
        )
        broken = Broken(
            task_id="broken", trigger_rule="all_done", **callbacks(SummaryNotifier(send=Recorder(sent)))
        )
        good >> wrong >> broken
    run_dag(dag)
    answered, refused, other = sent
    assert answered.startswith("Night:\nnotified.good: success\nRun ")
    for told in ("4 of 4 rows answered.", "Cost        $", "batchPredictionJobs/", "\nLog http"):
        assert told in answered
    assert refused.startswith("Night:\nnotified.wrong: failed\nRun ")
    assert "A parameter of the task is not valid; nothing was sent. The log says more." in refused
    assert "RuntimeError. The log says more." in other
    assert SECRET not in "".join(sent)


def test_failed_submission_has_a_summary_without_rows(gemini_batch_stack, source, bucket):
    sent: list[str] = []
    gemini_batch_stack.vertex.faults.plan("fail")
    with DAG("notified_too", start_date=datetime(2026, 1, 1), schedule=None) as dag:
        SubmitGeminiBatchOperator(
            task_id="ask",
            model="gemini-3.8-flash",
            requests=source,
            destination=f"gs://{bucket}/out",
            poll_interval=0.05,
            **callbacks(SummaryNotifier(send=sent.append)),
        )
    run_dag(dag)
    (text,) = sent
    assert text.startswith("notified_too.ask: failed\nRun ")
    for told in ("The batch job failed.", "Error       ", "Job         FAILED", "Next        "):
        assert told in text
    assert SECRET not in text


def context(**more: Any) -> dict[str, Any]:
    def xcom_pull(**_arguments: Any) -> str | None:
        if isinstance(more.get("block"), Exception):
            raise more["block"]
        return more.get("block")

    ti = SimpleNamespace(
        dag_id="nightly",
        task_id="ask",
        run_id="r",
        map_index=more.get("index", -1),
        state="failed",
        xcom_pull=xcom_pull,
    )
    return {"ti": ti, "exception": more.get("exception")}


def wrapped() -> Exception:
    """Return the error that Airflow gets instead of one of ours."""
    try:
        try:
            raise InvalidRequestError(SECRET)
        except InvalidRequestError as error:
            raise AirflowFailException(str(error)) from None
    except AirflowFailException as error:
        return error


@pytest.mark.parametrize(
    ("context", "text"),
    [
        (context(block="3 rows landed."), "nightly.ask: failed\nRun r\n3 rows landed."),
        (context(block="x", index=3), "nightly.ask [3]: failed\nRun r\nx"),
        (context(), "nightly.ask: failed\nRun r\nIt has no summary."),
        (context(exception=KeyError(SECRET)), "nightly.ask: failed\nRun r\nKeyError. The log says more."),
        (
            context(exception=wrapped()),
            "nightly.ask: failed\nRun r\nA parameter of the task is not valid; nothing was sent. The log says more.",
        ),
        (
            context(block=ConnectionError("no API")),
            "nightly.ask: failed\nRun r\nIts summary could not be read. The log has it.",
        ),
        (
            {"dag": SimpleNamespace(dag_id="nightly"), "reason": "task_failure"},
            "A run of nightly has ended: task_failure",
        ),
    ],
)
def test_text_says_what_is_known(context, text):
    assert SummaryNotifier(send=print).text(context) == text
