"""The table of faults: every way in which the server misbehaves when it is asked to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any


class Strikes(Enum):
    """Where a fault strikes."""

    CALL = "call"
    JOB = "job"


@dataclass(frozen=True, slots=True)
class Kind:
    """One line of the table: what a fault does and what may be said about it.

    :param parameters: names with their defaults; the type of a default is the type expected.
    :param on: the API methods that it can strike; the first is the default.
    :param times: strikes unless said otherwise; ``None`` is until cleared.
    """

    strikes: Strikes
    does: str
    parameters: Mapping[str, Any] = field(default_factory=dict)
    on: tuple[str, ...] = ()
    times: int | None = 1


METHODS = ("create", "get", "list", "cancel", "delete", "operation")


def _call(does: str, *, on: tuple[str, ...] = METHODS, times: int | None = 1, **parameters: Any) -> Kind:
    return Kind(Strikes.CALL, does, parameters, on, times)


def _job(does: str, **parameters: Any) -> Kind:
    return Kind(Strikes.JOB, does, parameters)


FAULTS: dict[str, Kind] = {
    # Calls
    "drop_before": _call("The connection drops before the call has any effect."),
    "drop_after": _call("The call takes effect, then the connection drops without an answer."),
    "error": _call("Answers an error without acting.", status="UNAVAILABLE", message="", retry_after=0),
    "error_after": _call("The call takes effect, then answers an error.", status="UNAVAILABLE", message=""),
    "empty_answer": _call("The call takes effect, then answers 200 with an empty body."),
    "html_answer": _call("The call takes effect, then answers 200 with a page of HTML."),
    "delay": _call("Waits before acting.", seconds=1.0),
    "delay_after": _call("Acts, then waits before answering.", seconds=1.0),
    "stale_list": _call("Leaves out jobs younger than this.", on=("list",), times=None, seconds=5.0),
    "empty_list_without_page_size": _call(
        "Answers an empty list to a call that names no page size.", on=("list",), times=None
    ),
    # Life of a job
    "slow": _job("Takes other times than the server's clock.", queue_seconds=3600.0, run_seconds=3600.0),
    "expire_queued": _job("EXPIRED before it ever runs."),
    "expire_running": _job("EXPIRED while running; a share of the rows is done.", share=0.5),
    "partly_succeed": _job("PARTIALLY_SUCCEEDED with a share of the rows.", share=0.5),
    "rare_states": _job("QUEUED amid PENDING, and UPDATING amid RUNNING."),
    "pause": _job("PAUSED instead of ending."),
    "fail": _job(
        "FAILED with this error; a share of the rows is done.",
        status="INTERNAL",
        message="INTERNAL",
        share=0.0,
    ),
    "error_details": _job("The job's error carries a list of details that are objects."),
    "cancel_comes_late": _job("CANCELLING ends as SUCCEEDED, with every row."),
    "cancel_fails": _job("CANCELLING ends as FAILED."),
    # Where the output is
    "lose_output": _job("The output folder or table is named, and does not exist."),
    "full_table_address": _job("outputInfo.bigqueryOutputTable is a whole bq:// address."),
    "shards": _job("Prediction files come in parts, predictions.jsonl-00000-of-00002.", parts=2),
    "slow_export": _job("Output grows part by part while the job runs.", parts=2, seconds=1.0),
    "incremental_file": _job("incremental_predictions.jsonl lies beside the predictions."),
    # Rows
    "repeat_rows": _job("A share of the rows is written twice.", share=0.2),
    "missing_rows": _job("A share of the rows is not written at all.", share=0.2),
    "foreign_rows": _job("Rows that nobody asked for are written too.", count=1),
    "input_order": _job("Rows keep the order of the input."),
    "all_rows_failed": _job(
        "SUCCEEDED, but every row failed with this.",
        status="RESOURCE_EXHAUSTED",
        message="Resource exhausted. Please try again later.",
    ),
    "status_form": _job("Failed rows tell their status in another form: json, object, text.", form="json"),
    "response_of_failed_rows": _job("Failed rows carry a response that is not empty."),
    "other_model": _job("Another model answers, as for one that is retired.", model="gemini-3.5-flash-lite"),
    "full_vectors": _job("Vectors have the model's full length, whatever was asked for."),
}
