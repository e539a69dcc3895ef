"""How a fault of the service and what a user does about it are told: the lines of fault_table.py."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from airflow_gemini_batch.exceptions import (
    GeminiBatchError,
    JobFailedError,
    RowsFailedError,
    SubmissionUnknownError,
    VertexApiError,
)

ROWS = 20


@dataclass(frozen=True, slots=True)
class Fault:
    """A fault to plan on each of some methods; which of them meets it is the code's affair.

    :param on: API methods; none for the fault of a job.
    """

    name: str
    on: tuple[str, ...]
    arguments: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Answers:
    """The task succeeds; outcomes that are not named count no rows.

    :param surplus: rows beside the outcomes: ``duplicate``, ``unknown``.
    """

    counts: Mapping[str, int]
    state: str = "SUCCEEDED"
    surplus: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Fails:
    """The task fails.

    :param words: all of them are in the message.
    :param never: none of them is.
    :param counts: what the message says of the rows, when that is known.
    :param hopeless: Airflow is told not to retry.
    """

    error: type[GeminiBatchError]
    words: tuple[str, ...]
    counts: Mapping[str, int] | None = None
    never: tuple[str, ...] = ()
    hopeless: bool = False


DEFERRED = "deferred"
BEFORE_CREATE = "before create"
AFTER_CREATE = "after create"


@dataclass(frozen=True, slots=True)
class Killed:
    """The worker dies.

    :param at: when the job is submitted, before the task has deferred; or right before or after the create call of
        a follow-up.
    """

    at: str = DEFERRED


@dataclass(frozen=True, slots=True)
class Try:
    """One try of the task and what is the case after it.

    :param jobs: states of all jobs of the submission, oldest first.
    :param faults: planned before the try.
    :param waiting: planned when the task has deferred.
    :param ended: planned when the wait in the triggerer is over.
    :param cancelled_after: seconds in the deferred state after which somebody cancels the job.
    :param resumed_after: seconds from the end of that wait until a worker takes the task up again.
    :param deferral: which deferral of this try, from 0, the four before and a worker that dies deferred mean.
    :param settings: arguments of the operator.
    """

    end: Answers | Fails | Killed
    jobs: str
    faults: tuple[Fault, ...] = ()
    waiting: tuple[Fault, ...] = ()
    ended: tuple[Fault, ...] = ()
    cancelled_after: float | None = None
    resumed_after: float = 0.0
    deferral: int = 0
    settings: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Scenario:
    """One line of the table.

    :param tries: what the user did: the first try, the retries after it, the task cleared.
    :param table: requests and answers lie in tables instead of files.
    :param bad: how many of the requests the model refuses.
    :param alike: all requests are the same, word for word.
    """

    name: str
    tries: tuple[Try, ...]
    table: bool = False
    bad: int = 0
    alike: bool = False

    @property
    def delays(self) -> bool:
        """Whether the service answers later than a client waits."""
        faults = (fault for one in self.tries for fault in (*one.faults, *one.waiting, *one.ended))
        return any(fault.name in ("delay", "delay_after") for fault in faults)


def fault(name: str, *on: str, **arguments: Any) -> Fault:
    return Fault(name, on, arguments)


def asking(name: str, **arguments: Any) -> Fault:
    """Strike every way of asking about a job, more than once."""
    return Fault(name, ("get", "list"), {"times": 2, **arguments})


ALL_ANSWERED = Answers({"ok": ROWS})
PAID_ONCE = Try(ALL_ANSWERED, "SUCCEEDED")
CREATION_UNKNOWN = Fails(SubmissionUnknownError, ("creating the job", "The next try looks for it once more"))
NOT_ASKED = Fails(VertexApiError, ("listing the jobs of demo-project in us-central1",))
SLOW = fault("slow")
SLOW_RUN = fault("slow", queue_seconds=0.0)


def succeeds(
    name: str,
    *faults: Fault,
    counts: Mapping[str, int] = ALL_ANSWERED.counts,
    state: str = "SUCCEEDED",
    surplus: Mapping[str, int] | None = None,
    settings: Mapping[str, Any] | None = None,
    **more: Any,
) -> Scenario:
    """One try is enough."""
    end = Answers(counts, state, surplus or {})
    return Scenario(name, (Try(end, state, faults, settings=settings or {}),), **more)


def next_try_pays(name: str, end: Fails, *faults: Fault, jobs: str = "") -> Scenario:
    """The try fails before it has a job; the next one leaves exactly one.

    :param jobs: what the failed try has left behind without knowing.
    """
    return Scenario(name, (Try(end, jobs, faults), PAID_ONCE))


def waits_on(name: str, *faults: Fault) -> Scenario:
    return Scenario(name, (Try(ALL_ANSWERED, "SUCCEEDED", waiting=faults),))


def asks_again(name: str, *faults: Fault) -> Scenario:
    return Scenario(name, (Try(ALL_ANSWERED, "SUCCEEDED", ended=faults),))


def ends_badly(
    name: str,
    *faults: Fault,
    state: str,
    words: tuple[str, ...],
    counts: Mapping[str, int] | None = None,
    never: tuple[str, ...] = (),
    **more: Any,
) -> Scenario:
    """The job is of no use: the try says why, the next one pays for exactly one new job."""
    end = Fails(JobFailedError, (*words, "The next try submits a new job."), counts, never)
    first = Try(end, state, faults, **more)
    return Scenario(name, (first, Try(ALL_ANSWERED, f"{state} SUCCEEDED")))


def rows_fail(
    name: str,
    *faults: Fault,
    counts: Mapping[str, int],
    words: tuple[str, ...] = ("rows have no answer",),
    state: str = "SUCCEEDED",
    **more: Any,
) -> Scenario:
    """The job's rows are of no use, and stay so: neither a retry nor clearing the task pays again."""
    end = Fails(RowsFailedError, words, counts, hopeless=True)
    return Scenario(name, (Try(end, state, faults), Try(end, state)), **more)
