"""The faults of the service and the end that a task has to come to: the table of test_faults.py."""

from __future__ import annotations

from airflow_gemini_batch.exceptions import JobFailedError, JobLostError, VertexApiError
from tests.operators.fault_scenarios import (
    ALL_ANSWERED,
    CREATION_UNKNOWN,
    NOT_ASKED,
    PAID_ONCE,
    ROWS,
    SLOW,
    SLOW_RUN,
    Fails,
    Killed,
    Scenario,
    Try,
    asking,
    asks_again,
    ends_badly,
    fault,
    next_try_pays,
    rows_fail,
    succeeds,
    waits_on,
)

NONE_DONE = {"missing": ROWS}
HALF_DONE = {"ok": ROWS // 2, "missing": ROWS // 2}
ONE_MISSING = {"ok": ROWS - 1, "missing": 1}
ONE_REJECTED = {"ok": ROWS - 1, "rejected": 1}

SCENARIOS = [
    # Creating
    next_try_pays("create: dropped before acting", CREATION_UNKNOWN, fault("drop_before", "create")),
    succeeds("create: dropped after acting", fault("drop_after", "create")),
    next_try_pays(
        "create: 429",
        Fails(VertexApiError, ("creating the job", "429")),
        fault("error", "create", status="RESOURCE_EXHAUSTED"),
    ),
    next_try_pays("create: 500 before acting", CREATION_UNKNOWN, fault("error", "create", status="INTERNAL")),
    succeeds("create: 500 after acting", fault("error_after", "create", status="INTERNAL")),
    next_try_pays(
        "create: 503 before acting", CREATION_UNKNOWN, fault("error", "create", status="UNAVAILABLE")
    ),
    succeeds("create: 503 after acting", fault("error_after", "create", status="UNAVAILABLE")),
    succeeds("create: empty 200", fault("empty_answer", "create")),
    succeeds("create: HTML", fault("html_answer", "create")),
    succeeds("create: acts at once, answers too late", fault("delay_after", "create", seconds=0.8)),
    succeeds("create: acts after the client has gone", fault("delay", "create", seconds=0.6)),
    next_try_pays(
        "create: acts after the try has failed",
        CREATION_UNKNOWN,
        fault("delay", "create", seconds=1.8),
        jobs="SUCCEEDED",
    ),
    next_try_pays(
        "create: refused",
        Fails(VertexApiError, ("creating the job", "400", "no such model"), hopeless=True),
        fault("error", "create", status="INVALID_ARGUMENT", message="no such model"),
    ),
    next_try_pays(
        "create: 403",
        Fails(VertexApiError, ("creating the job", "403")),
        fault("error", "create", status="PERMISSION_DENIED"),
    ),
    # Looking before creating
    next_try_pays("list: dropped", NOT_ASKED, fault("drop_before", "list")),
    next_try_pays("list: 429", NOT_ASKED, fault("error", "list", status="RESOURCE_EXHAUSTED")),
    next_try_pays("list: 500", NOT_ASKED, fault("error", "list", status="INTERNAL")),
    next_try_pays("list: 503", NOT_ASKED, fault("error", "list", status="UNAVAILABLE")),
    next_try_pays("list: 403", NOT_ASKED, fault("error", "list", status="PERMISSION_DENIED")),
    next_try_pays("list: empty 200", NOT_ASKED, fault("empty_answer", "list")),
    next_try_pays("list: HTML", NOT_ASKED, fault("html_answer", "list")),
    next_try_pays("list: too late", NOT_ASKED, fault("delay", "list", seconds=0.8)),
    Scenario(
        "list: empty without a page size",
        (
            Try(Killed(), "SUCCEEDED", (fault("empty_list_without_page_size", "list"),)),
            Try(ALL_ANSWERED, "SUCCEEDED", (fault("empty_list_without_page_size", "list"),)),
        ),
    ),
    Scenario(
        "list: 503 while a job is under way",
        (Try(Killed(), "SUCCEEDED"), Try(NOT_ASKED, "SUCCEEDED", (fault("error", "list"),)), PAID_ONCE),
    ),
    # Before it creates a job, a task lists its own jobs, then those of overlapping runs.
    next_try_pays("list: 503 for other runs", NOT_ASKED, fault("error", "list", skip=1)),
    succeeds("list: 503 after a clear create", fault("error", "list", skip=2)),
    succeeds("list: 503 twice after a clear create", fault("error", "list", skip=2, times=2)),
    succeeds(
        "list: stale for a moment after an unclear create",
        fault("drop_after", "create"),
        fault("stale_list", "list", seconds=0.2),
    ),
    succeeds(
        "list: 503 after an unclear create",
        fault("drop_after", "create"),
        fault("error", "list", skip=2, times=2),
    ),
    next_try_pays(
        "list: stale for long after an unclear create",
        CREATION_UNKNOWN,
        fault("drop_after", "create"),
        fault("stale_list", "list"),
        jobs="SUCCEEDED",
    ),
    # Asking while the task waits
    waits_on("wait: dropped", asking("drop_before")),
    waits_on("wait: 429", asking("error", status="RESOURCE_EXHAUSTED")),
    waits_on("wait: 500", asking("error", status="INTERNAL")),
    waits_on("wait: 503", asking("error", status="UNAVAILABLE")),
    waits_on("wait: 403 once", asking("error", status="PERMISSION_DENIED", times=1)),
    waits_on("wait: empty 200", asking("empty_answer")),
    waits_on("wait: HTML", asking("html_answer")),
    waits_on("wait: too late", asking("delay", seconds=0.8, times=1)),
    waits_on("wait: stale list", fault("stale_list", "list")),
    succeeds("wait in the worker: 503", fault("error", "get", times=2), settings={"deferrable": False}),
    succeeds(
        "wait in the worker: dropped", fault("drop_before", "get", times=2), settings={"deferrable": False}
    ),
    Scenario(
        "wait: refused for good",
        (
            Try(
                Fails(JobLostError, ("refused to return its state", "may still be running")),
                "SUCCEEDED",
                waiting=(asking("error", status="PERMISSION_DENIED", times=None),),
            ),
            PAID_ONCE,
        ),
    ),
    Scenario(
        "wait: no answer for good",
        (
            Try(
                Fails(JobLostError, ("could not be read",)),
                "SUCCEEDED",
                waiting=(asking("error", times=None),),
                settings={"queue_timeout": 0.3, "run_timeout": 0.3},
            ),
            PAID_ONCE,
        ),
    ),
    # Asking once more when the job has ended
    asks_again("end: dropped", asking("drop_before")),
    asks_again("end: 429", asking("error", status="RESOURCE_EXHAUSTED")),
    asks_again("end: 500", asking("error", status="INTERNAL")),
    asks_again("end: 503", asking("error", status="UNAVAILABLE")),
    asks_again("end: empty 200", asking("empty_answer")),
    asks_again("end: HTML", asking("html_answer")),
    asks_again("end: too late", asking("delay", seconds=0.8, times=1)),
    Scenario(
        "end: no answer for good",
        (
            Try(
                Fails(
                    JobLostError, ("could not be read", "The next try"), never=("still be running", "billing")
                ),
                "SUCCEEDED",
                ended=(asking("error", times=None),),
            ),
            PAID_ONCE,
        ),
    ),
    # The job's end
    ends_badly(
        "job: PAUSED",
        fault("pause"),
        state="PAUSED",
        words=("is PAUSED", "may still hold resources"),
        counts=NONE_DONE,
    ),
    ends_badly(
        "job: PAUSED while the task waits in the worker",
        fault("pause"),
        state="PAUSED",
        words=("is PAUSED",),
        settings={"deferrable": False},
    ),
    ends_badly(
        "job: FAILED",
        fault("fail", status="RESOURCE_EXHAUSTED", message="Quota exceeded."),
        state="FAILED",
        words=("failed.", "Error [code 8] Quota exceeded."),
        counts=NONE_DONE,
        never=("are kept",),
    ),
    Scenario(
        "job: FAILED because of its requests",
        (
            Try(
                Fails(
                    JobFailedError,
                    ("[code 3] Failed to import data.", "A new job would fail in the same way"),
                    hopeless=True,
                    never=("The next try",),
                ),
                "FAILED",
                (fault("fail", status="INVALID_ARGUMENT", message="Failed to import data."),),
            ),
            Try(ALL_ANSWERED, "FAILED SUCCEEDED"),
        ),
    ),
    ends_badly(
        "job: FAILED with some rows done",
        fault("fail", share=0.3),
        state="FAILED",
        words=("[code 13] INTERNAL", "Its 6 finished rows are kept."),
        counts={"ok": 6, "missing": 14},
    ),
    ends_badly(
        "job: FAILED with details that are objects",
        fault("fail"),
        fault("error_details"),
        state="FAILED",
        words=("[code 13] INTERNAL",),
        counts=NONE_DONE,
    ),
    ends_badly(
        "job: EXPIRED while queued",
        fault("expire_queued"),
        state="EXPIRED",
        words=("expired", "[code 4] The job was queued for longer than 72 hours."),
        counts=NONE_DONE,
        never=("are kept",),
    ),
    ends_badly(
        "job: EXPIRED while running",
        fault("expire_running", share=0.5),
        state="EXPIRED",
        words=("expired", "Its 10 finished rows are kept.", "Answers gs://"),
        counts=HALF_DONE,
    ),
    rows_fail(
        "job: PARTIALLY_SUCCEEDED",
        fault("partly_succeed", share=0.5),
        state="PARTIALLY_SUCCEEDED",
        words=("10 of 20 rows have no answer", "Answers gs://"),
        counts=HALF_DONE,
    ),
    succeeds(
        "job: PARTIALLY_SUCCEEDED as far as allowed",
        fault("partly_succeed", share=0.5),
        state="PARTIALLY_SUCCEEDED",
        settings={"max_failed_fraction": 0.5},
        counts=HALF_DONE,
    ),
    ends_badly(
        "job: cancelled by somebody while queued",
        SLOW,
        cancelled_after=0.0,
        state="CANCELLED",
        words=("was cancelled",),
        counts=NONE_DONE,
        never=("are kept",),
    ),
    ends_badly(
        "job: cancelled by somebody while running",
        fault("slow", queue_seconds=0.0, run_seconds=2.0),
        cancelled_after=0.4,
        state="CANCELLED",
        words=("was cancelled", "finished rows are kept."),
    ),
    ends_badly(
        "job: cancelling ends as FAILED",
        SLOW_RUN,
        fault("cancel_fails"),
        cancelled_after=0.0,
        state="FAILED",
        words=("failed.", "[code 13] INTERNAL"),
        counts=NONE_DONE,
    ),
    Scenario(
        "job: cancelling ends as SUCCEEDED",
        (
            Try(ALL_ANSWERED, "SUCCEEDED", (SLOW_RUN, fault("cancel_comes_late")), cancelled_after=0.0),
            PAID_ONCE,
        ),
    ),
    Scenario(
        "job: being cancelled when the task is cleared",
        (Try(Killed(), "CANCELLING", (SLOW,), cancelled_after=0.0), Try(ALL_ANSWERED, "CANCELLED SUCCEEDED")),
    ),
    Scenario(
        "job: a bad end twice",
        (
            Try(Fails(JobFailedError, ("failed.",)), "FAILED", (fault("fail"),)),
            Try(Fails(JobFailedError, ("expired",)), "FAILED EXPIRED", (fault("expire_queued"),)),
            Try(ALL_ANSWERED, "FAILED EXPIRED SUCCEEDED"),
            Try(ALL_ANSWERED, "FAILED EXPIRED SUCCEEDED"),
        ),
    ),
    succeeds("job: QUEUED and UPDATING on the way", fault("rare_states")),
    Scenario(
        "job: ends between its deadline and the worker that is to cancel it",
        (
            Try(
                ALL_ANSWERED,
                "SUCCEEDED",
                (fault("slow", queue_seconds=0.0, run_seconds=0.5),),
                resumed_after=0.5,
                settings={"run_timeout": 0.3},
            ),
        ),
    ),
    # Two jobs with one identity: the second try does not see the first one's job in time
    Scenario(
        "two jobs: created at the same moment",
        (
            Try(Killed(), "PENDING", (SLOW,)),
            # Neither of its looks shows the other job; the one after its own create call does.
            Try(Killed(), "PENDING CANCELLED", (SLOW, fault("stale_list", "list", times=3, seconds=60.0))),
        ),
    ),
    Scenario(
        "two jobs: both under way",
        (
            Try(Killed(), "PENDING", (SLOW,)),
            Try(Killed(), "PENDING PENDING", (SLOW, fault("stale_list", "list", seconds=60.0))),
            Try(Killed(), "PENDING CANCELLED"),
        ),
    ),
    Scenario(
        "two jobs: the older has succeeded",
        (
            Try(Killed(), "SUCCEEDED"),
            Try(Killed(), "SUCCEEDED PENDING", (SLOW, fault("stale_list", "list", seconds=60.0))),
            Try(ALL_ANSWERED, "SUCCEEDED CANCELLED"),
        ),
    ),
    # Output and rows
    rows_fail(
        "output: folder lost",
        fault("lose_output"),
        words=("succeeded, but", "force_rerun"),
        counts=NONE_DONE,
    ),
    rows_fail(
        "output: table lost",
        fault("lose_output"),
        table=True,
        words=("succeeded, but",),
        counts=NONE_DONE,
    ),
    succeeds("output: in shards", fault("shards", parts=3)),
    succeeds("output: grows while the job runs", fault("slow_export", parts=3, seconds=0.2)),
    succeeds("output: an incremental file beside it", fault("incremental_file")),
    succeeds("output: table named by its whole address", fault("full_table_address"), table=True),
    succeeds("rows: shuffled"),
    succeeds("rows: in the order of the input", fault("input_order")),
    succeeds("rows: one missing", fault("missing_rows", share=0.0), counts=ONE_MISSING),
    succeeds(
        "rows: one missing in a table", fault("missing_rows", share=0.0), table=True, counts=ONE_MISSING
    ),
    succeeds("rows: repeated", fault("repeat_rows", share=0.0), surplus={"duplicate": 1}),
    succeeds(
        "rows: repeated in a table", fault("repeat_rows", share=0.0), table=True, surplus={"duplicate": 1}
    ),
    succeeds(
        "rows: one repeated in place of another",
        fault("missing_rows", share=0.0),
        fault("repeat_rows", share=0.0),
        counts=ONE_MISSING,
        surplus={"duplicate": 1},
    ),
    succeeds(
        "rows: one repeated in place of another in a table",
        fault("missing_rows", share=0.0),
        fault("repeat_rows", share=0.0),
        table=True,
        counts=ONE_MISSING,
        surplus={"duplicate": 1},
    ),
    succeeds("rows: unknown", fault("foreign_rows", count=2), surplus={"unknown": 2}),
    succeeds("rows: unknown in a table", fault("foreign_rows", count=2), table=True, surplus={"unknown": 2}),
    succeeds(
        "rows: an unknown one in place of another",
        fault("missing_rows", share=0.0),
        fault("foreign_rows"),
        counts=ONE_MISSING,
        surplus={"unknown": 1},
    ),
    succeeds("rows: alike because the requests are", alike=True),
    rows_fail(
        "rows: every one failed",
        fault("all_rows_failed"),
        words=("no row has an answer", "Resource exhausted. Please try again later."),
        counts={"retryable": ROWS},
    ),
    rows_fail(
        "rows: every one failed in a table",
        fault("all_rows_failed"),
        table=True,
        words=("no row has an answer", "Resource exhausted. Please try again later."),
        counts={"retryable": ROWS},
    ),
    succeeds("rows: a failed one", bad=1, counts=ONE_REJECTED),
    rows_fail(
        "rows: more failed than allowed",
        bad=2,
        words=("2 of 20 rows have no answer", "Please use a valid role: user, model."),
        counts={"ok": 18, "rejected": 2},
    ),
    succeeds("rows: status as JSON", fault("status_form", form="json"), bad=1, counts=ONE_REJECTED),
    succeeds("rows: status as an object", fault("status_form", form="object"), bad=1, counts=ONE_REJECTED),
    succeeds(
        "rows: status as plain text",
        fault("status_form", form="text"),
        bad=1,
        counts={"ok": 19, "retryable": 1},
    ),
    succeeds(
        "rows: a failed one with a response", fault("response_of_failed_rows"), bad=1, counts=ONE_REJECTED
    ),
]
