"""What happens to rows that are worth another job: the table of test_reruns.py."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from airflow_gemini_batch.exceptions import (
    JobFailedError,
    JobTimeoutError,
    RowsFailedError,
    SubmissionUnknownError,
)
from tests.operators.fault_scenarios import (
    AFTER_CREATE,
    ALL_ANSWERED,
    BEFORE_CREATE,
    ROWS,
    Answers,
    Fails,
    Fault,
    Killed,
    Scenario,
    Try,
    fault,
)

HALF = ROWS // 2


@dataclass(frozen=True, slots=True)
class Rerun:
    """A story with follow-up jobs.

    :param rows: how many requests each job reads, oldest job first, when all is told.
    :param retries: ``max_row_retries``.
    """

    scenario: Scenario
    rows: tuple[int, ...]
    retries: int = 1

    @property
    def name(self) -> str:
        return self.scenario.name


def later(name: str, *on: str, **arguments: Any) -> Fault:
    """Plan a fault of a follow-up."""
    return fault(name, *on, job="* rerun *", **arguments)


def tell(name: str, *tries: Try, rows: tuple[int, ...], retries: int = 1, **more: Any) -> Rerun:
    return Rerun(Scenario(name, tries, **more), rows, retries)


def fine(
    name: str,
    *faults: Fault,
    rows: tuple[int, ...],
    jobs: str = "SUCCEEDED SUCCEEDED",
    counts: Mapping[str, int] = ALL_ANSWERED.counts,
    settings: Mapping[str, Any] | None = None,
    **more: Any,
) -> Rerun:
    """One try is enough, and clearing the task afterwards pays for nothing."""
    end = Answers(counts, jobs.rpartition(" ")[2])
    first = Try(end, jobs, faults, settings=settings or {})
    return tell(name, first, Try(end, jobs, settings=settings or {}), rows=rows, **more)


HALF_CAME = fault("partly_succeed", share=0.5)
ALL_BUSY = fault("all_rows_failed")
BAD_FOLLOW_UP = "The next try submits only this follow-up again"
DONE = "PARTIALLY_SUCCEEDED SUCCEEDED"


def follow_up_fails(
    name: str,
    *faults: Fault,
    state: str,
    words: tuple[str, ...],
    counts: Mapping[str, int],
    **more: Any,
) -> Rerun:
    """The next try submits the follow-up once more, and nothing but it."""
    end = Fails(JobFailedError, ("follow-up job", *words, BAD_FOLLOW_UP), counts)
    first = Try(end, f"PARTIALLY_SUCCEEDED {state}", (HALF_CAME, *faults), **more)
    second = Try(ALL_ANSWERED, f"PARTIALLY_SUCCEEDED {state} SUCCEEDED")
    return tell(name, first, second, rows=(ROWS, HALF, HALF))


def dies(name: str, at: str, jobs: str, **more: Any) -> Rerun:
    """The worker dies in the follow-up; the next try neither loses a row nor pays twice."""
    return tell(
        name,
        Try(Killed(at), jobs, (HALF_CAME,), deferral=1),
        Try(ALL_ANSWERED, DONE),
        rows=(ROWS, HALF),
        **more,
    )


SCENARIOS = [
    # Rows that are worth it, and rows that are not
    fine("all busy, then fine", ALL_BUSY, rows=(ROWS, ROWS)),
    fine("all busy in a table, then fine", ALL_BUSY, rows=(ROWS, ROWS), table=True),
    fine("all busy, waiting in the worker", ALL_BUSY, rows=(ROWS, ROWS), settings={"deferrable": False}),
    fine("one missing", fault("missing_rows", share=0.0), rows=(ROWS, 1)),
    fine("one missing in a table", fault("missing_rows", share=0.0), rows=(ROWS, 1), table=True),
    fine("half missing", HALF_CAME, rows=(ROWS, HALF), jobs=DONE),
    fine("half missing in a table", HALF_CAME, rows=(ROWS, HALF), jobs=DONE, table=True),
    fine("half missing of equal ones", HALF_CAME, rows=(ROWS, HALF), jobs=DONE, alike=True),
    fine(
        "half missing of equal ones in a table",
        HALF_CAME,
        rows=(ROWS, HALF),
        jobs=DONE,
        alike=True,
        table=True,
    ),
    fine("output in shards", HALF_CAME, fault("shards", parts=3), rows=(ROWS, HALF), jobs=DONE),
    fine(
        "some refused, which are not sent again",
        rows=(ROWS,),
        jobs="SUCCEEDED",
        bad=2,
        counts={"ok": 18, "rejected": 2},
        settings={"max_failed_fraction": 0.1},
    ),
    *(
        fine(
            f"half missing and some refused, which are not sent again, {where}",
            HALF_CAME,
            rows=(ROWS, HALF),
            jobs=DONE,
            bad=2,
            counts={"ok": 18, "rejected": 2},
            settings={"max_failed_fraction": 0.1},
            table=where == "table",
        )
        for where in ("files", "table")
    ),
    fine(
        "half missing twice, then fine",
        fault("partly_succeed", times=2, share=0.5),
        rows=(ROWS, HALF, HALF // 2),
        jobs="PARTIALLY_SUCCEEDED PARTIALLY_SUCCEEDED SUCCEEDED",
        retries=2,
    ),
    tell(
        "busy more often than allowed",
        *[
            Try(
                Fails(
                    RowsFailedError,
                    ("follow-up job", "succeeded, but no row has an answer", "force_rerun"),
                    {"retryable": ROWS},
                    hopeless=True,
                ),
                "SUCCEEDED SUCCEEDED",
                faults,
            )
            for faults in ((fault("all_rows_failed", times=2),), ())
        ],
        rows=(ROWS, ROWS),
    ),
    tell(
        "no follow-up allowed",
        Try(
            Fails(RowsFailedError, ("no row has an answer",), {"retryable": ROWS}, hopeless=True),
            "SUCCEEDED",
            (ALL_BUSY,),
        ),
        rows=(ROWS,),
        retries=0,
    ),
    # A first job without a complete end
    fine(
        "expired with half done",
        fault("expire_running", share=0.5),
        rows=(ROWS, HALF),
        jobs="EXPIRED SUCCEEDED",
    ),
    fine(
        "expired with half done in a table",
        fault("expire_running", share=0.5),
        rows=(ROWS, HALF),
        jobs="EXPIRED SUCCEEDED",
        table=True,
    ),
    fine("expired with all done", fault("expire_running", share=1.0), rows=(ROWS,), jobs="EXPIRED"),
    tell(
        "expired with nothing done",
        Try(
            Fails(JobFailedError, ("The next try submits a new job.",)), "EXPIRED", (fault("expire_queued"),)
        ),
        Try(ALL_ANSWERED, "EXPIRED SUCCEEDED"),
        rows=(ROWS, ROWS),
    ),
    tell(
        "failed with half done",
        Try(
            Fails(JobFailedError, ("The next try submits a new job.",)), "FAILED", (fault("fail", share=0.5),)
        ),
        Try(ALL_ANSWERED, "FAILED SUCCEEDED"),
        rows=(ROWS, ROWS),
    ),
    tell(
        "output lost",
        Try(Fails(RowsFailedError, ("force_rerun",), hopeless=True), "SUCCEEDED", (fault("lose_output"),)),
        rows=(ROWS,),
    ),
    # The follow-up's own end
    follow_up_fails(
        "follow-up fails",
        later("fail", status="RESOURCE_EXHAUSTED", message="Quota exceeded."),
        state="FAILED",
        words=("failed.", "[code 8] Quota exceeded."),
        counts={"ok": HALF, "missing": HALF},
    ),
    follow_up_fails(
        "follow-up fails with some done",
        later("fail", share=0.2),
        state="FAILED",
        words=("failed.",),
        counts={"ok": HALF + 2, "missing": HALF - 2},
    ),
    follow_up_fails(
        "follow-up fails while the task waits in the worker",
        later("fail"),
        state="FAILED",
        words=("failed.",),
        counts={"ok": HALF, "missing": HALF},
        settings={"deferrable": False},
    ),
    follow_up_fails(
        "follow-up expires",
        later("expire_running", share=0.5),
        state="EXPIRED",
        words=("expired",),
        counts={"ok": 15, "missing": 5},
    ),
    follow_up_fails(
        "follow-up is paused",
        later("pause"),
        state="PAUSED",
        words=("is PAUSED", "Cancel it in the console"),
        counts={"ok": HALF, "missing": HALF},
    ),
    follow_up_fails(
        "follow-up is cancelled by somebody",
        later("slow"),
        state="CANCELLED",
        words=("was cancelled.",),
        counts={"ok": HALF, "missing": HALF},
        cancelled_after=0.0,
        deferral=1,
    ),
    fine(
        "follow-up expires and has one of its own",
        HALF_CAME,
        later("expire_running", share=0.5),
        rows=(ROWS, HALF, HALF // 2),
        jobs="PARTIALLY_SUCCEEDED EXPIRED SUCCEEDED",
        retries=2,
    ),
    tell(
        "follow-up fails where enough is answered",
        Try(
            Answers({"ok": 19, "missing": 1}, "FAILED"),
            "SUCCEEDED FAILED",
            (fault("missing_rows", share=0.0), later("fail")),
        ),
        Try(ALL_ANSWERED, "SUCCEEDED FAILED SUCCEEDED"),
        rows=(ROWS, 1, 1),
    ),
    tell(
        "follow-up loses its output",
        *[
            Try(
                Fails(
                    RowsFailedError,
                    ("follow-up job", "10 of 20 rows have no answer"),
                    {"ok": HALF, "missing": HALF},
                    hopeless=True,
                ),
                DONE,
                faults,
            )
            for faults in ((HALF_CAME, later("lose_output")), ())
        ],
        rows=(ROWS, HALF),
    ),
    tell(
        "follow-up takes too long",
        Try(
            Fails(
                JobTimeoutError,
                ("the follow-up job", "The answers of the earlier rounds are kept", "was cancelled"),
            ),
            "PARTIALLY_SUCCEEDED CANCELLED",
            (HALF_CAME, later("slow")),
            settings={"queue_timeout": 0.5},
        ),
        Try(ALL_ANSWERED, "PARTIALLY_SUCCEEDED CANCELLED SUCCEEDED"),
        rows=(ROWS, HALF, HALF),
    ),
    tell(
        "follow-up takes too long and is left alone",
        Try(
            Fails(JobTimeoutError, ("the follow-up job", "It was not cancelled")),
            "PARTIALLY_SUCCEEDED PENDING",
            (HALF_CAME, later("slow")),
            settings={"queue_timeout": 0.5, "on_timeout": "leave"},
        ),
        rows=(ROWS, HALF),
    ),
    # Calls that go wrong
    fine(
        "answer to the follow-up's creation lost",
        HALF_CAME,
        later("drop_after", "create"),
        rows=(ROWS, HALF),
        jobs=DONE,
    ),
    tell(
        "follow-up not created",
        Try(
            Fails(SubmissionUnknownError, ("The next try looks for it once more",)),
            "PARTIALLY_SUCCEEDED",
            (HALF_CAME, later("drop_before", "create")),
        ),
        Try(ALL_ANSWERED, DONE),
        rows=(ROWS, HALF),
    ),
    fine(
        "the job before can't be read for a moment",
        HALF_CAME,
        fault("error", "get", job="*.describe [0-9a-f]*", skip=1, times=2),
        rows=(ROWS, HALF),
        jobs=DONE,
    ),
    # Workers that die
    dies("worker dies before the follow-up is created", BEFORE_CREATE, "PARTIALLY_SUCCEEDED"),
    dies(
        "worker dies before the follow-up of a table is created",
        BEFORE_CREATE,
        "PARTIALLY_SUCCEEDED",
        table=True,
    ),
    dies("worker dies when the follow-up is created", AFTER_CREATE, DONE),
    dies("worker dies when the follow-up of a table is created", AFTER_CREATE, DONE, table=True),
    dies("worker dies before it defers for the follow-up", "deferred", DONE),
]
