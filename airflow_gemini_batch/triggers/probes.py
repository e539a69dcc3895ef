"""Checks of a job or its output, through the hook.

Sensors check in the worker and in the triggerer, so a probe consists of JSON types, and another process can make it
again from them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Protocol

from airflow_gemini_batch.core.addresses import Address, GcsAddress, parse_address
from airflow_gemini_batch.core.defaults import DEFAULT_FOLLOW_UP_WAIT
from airflow_gemini_batch.exceptions import (
    InvalidRequestError,
    JobServiceError,
    SourceNotReadyError,
    as_invalid_request,
)
from airflow_gemini_batch.jobs.listed import (
    ListedSubmission,
    are_of_one_task_run,
    of_newest_run,
    submissions_of,
    whole_readiness,
)
from airflow_gemini_batch.jobs.readiness import (
    Readiness,
    ReadinessState,
    never,
    not_yet,
    ready,
    rows_readiness,
)
from airflow_gemini_batch.jobs.submission import parse_requests
from airflow_gemini_batch.outputs.classify import Tally
from airflow_gemini_batch.triggers.lookup import (
    created_time,
    judged,
    labelled,
    submission_with,
    submissions_writing_to,
    tally_of,
    writes_to,
)
from airflow_gemini_batch.triggers.task_run_probe import TaskRunProbe

if TYPE_CHECKING:
    from airflow_gemini_batch.hooks.gemini_batch import GeminiBatchHook


class Probe(Protocol):
    """What a sensor checks."""

    def check(self, hook: GeminiBatchHook) -> Readiness:
        """Check once, without waiting."""


@dataclass(frozen=True, slots=True)
class JobProbe:
    """Checks a submission by one of its jobs, or all submissions with these labels.

    :param expected_jobs: how many submissions with the labels there are at least.
    :param follow_up_wait: how long a follow-up is waited for, in seconds after a job's end.
    """

    job_name: str | None = None
    labels: Mapping[str, str] | None = None
    expected_jobs: int = 1
    follow_up_wait: float = DEFAULT_FOLLOW_UP_WAIT

    def check(self, hook: GeminiBatchHook) -> Readiness:
        """Read the jobs and judge their states."""
        if self.job_name:
            return judged(hook, named(hook, self.job_name), self.follow_up_wait)
        labels = self.labels or {}
        client = hook.get_conn()
        # Of several runs the newest counts, with all its jobs.
        found = submissions_of(of_newest_run(labelled(client, labels)))
        if len(found) < self.expected_jobs:
            with_labels = ", ".join(f"{key}={value}" for key, value in sorted(labels.items()))
            count = f"{len(found)} of {self.expected_jobs} jobs have" if found else "no job has"
            return not_yet(f"in {client.parent} {count} the labels {with_labels}")
        return whole_readiness([judged(hook, one, self.follow_up_wait) for one in found])


def named(hook: GeminiBatchHook, job_name: str) -> ListedSubmission:
    """Return the submission that a named job is part of."""
    with as_invalid_request("job_name"):
        name = hook.job_name(job_name)
    client = hook.get_conn(name)
    return submission_with(client, client.get(name))


@dataclass(frozen=True, slots=True)
class OutputProbe:
    """Checks the output of a submission: a table or files, and those of its follow-ups.

    A follow-up writes to a table or folder of its own, which the labels of its job tell.

    :param output: ``bq://`` table, or ``gs://`` folder or prefix.
    :param expected_rows: rows of complete output.
    :param expected_from: the requests to compare with, ``gs://`` or ``bq://``, instead of a number.
    :param max_failed_fraction: share of rows, 0 to 1, that may be without an answer.
    :param job_name: a job of the submission.
    :param follow_up_wait: how long a follow-up is waited for, in seconds after a job's end.
    """

    output: str
    expected_rows: int | None = None
    expected_from: Sequence[str] = ()
    max_failed_fraction: float = 0.0
    job_name: str | None = None
    follow_up_wait: float = DEFAULT_FOLLOW_UP_WAIT

    def check(self, hook: GeminiBatchHook) -> Readiness:
        """Check the jobs, if they are known, then count the rows."""
        output = parse_address(self.output)
        if self.job_name:
            submission = named(hook, self.job_name)
            check = judged(hook, submission, self.follow_up_wait)
            if check.state is not ReadinessState.READY:
                return check
            return self._of_submissions(hook, output, [submission])
        tally = hook.store.of(output).tally(output)
        if tally is None:
            return not_yet(f"there is no output at {output}")
        # After the rows, since a folder may be written meanwhile.
        outputs = hook.store.files.prediction_folders(output) if isinstance(output, GcsAddress) else [output]
        expected = self._expected(hook)
        if len(outputs) == 1 and tally.rows >= (expected or 0) and not tally.to_retry:
            return self._judge([output], tally, expected)
        submissions, problem = self._writers(hook, output)
        if not are_of_one_task_run(submissions) or (len(outputs) > 1 and not submissions):
            listed = ", ".join(map(str, outputs))
            return never(
                f"{output} has the output of {len(submissions) or len(outputs)} jobs{problem}. "
                f"Name the folder of one job: {listed}"
            )
        if not submissions:
            return self._judge([output], tally, expected)
        check = whole_readiness([judged(hook, one, self.follow_up_wait) for one in submissions])
        if check.state is not ReadinessState.READY:
            # A job that has failed may be followed by one of its task's next try.
            return not_yet(check.reason)
        return self._of_submissions(hook, output, submissions)

    def _writers(self, hook: GeminiBatchHook, output: Address) -> tuple[list[ListedSubmission], str]:
        """Return the submissions that write to the output, or why they cannot be looked for."""
        try:
            return submissions_writing_to(hook.get_conn(), output, created_time(hook.store, output)), ""
        except JobServiceError as error:
            if error.transient:
                raise
            return (
                [],
                f" (the jobs cannot be listed, so it is not known whether they are follow-ups: {error})",
            )
        except InvalidRequestError as error:  # no location, say
            return (
                [],
                f" (the jobs cannot be listed, so it is not known whether they are follow-ups: {error})",
            )

    def _of_submissions(
        self, hook: GeminiBatchHook, output: Address, submissions: Sequence[ListedSubmission]
    ) -> Readiness:
        """Judge the rows of submissions that have ended."""
        jobs = [job for one in submissions for job in one.rounds]
        tally = hook.store.of(output).tally(output)
        if tally is None:
            return never(f"there is no output at {output}, though {jobs[0].name} succeeded")
        outputs: list[Address | None] = [output]
        if any(writes_to(job, output) for job in jobs):
            outputs, tally = [job.output for job in jobs], Tally()
            for one in submissions:
                tally.merge(tally_of(hook.store, one))
        return self._judge(outputs, tally, self._expected(hook))

    def _judge(self, outputs: Sequence[Address | None], tally: Tally, expected: int | None) -> Readiness:
        check = rows_readiness(
            str(parse_address(self.output)),
            rows=tally.rows,
            failed=tally.failed,
            expected=expected,
            max_failed_fraction=self.max_failed_fraction,
        )
        if check.result is None:
            return check
        return ready(check.reason, **check.result, outputs=[str(output) for output in outputs if output])

    def _expected(self, hook: GeminiBatchHook) -> int | None:
        if not self.expected_from:
            return self.expected_rows
        requests = parse_requests(self.expected_from)
        return hook.store.of(requests[0]).count_requests(requests)


AnyProbe = JobProbe | OutputProbe | TaskRunProbe

_KINDS: dict[str, type[AnyProbe]] = {"job": JobProbe, "output": OutputProbe, "task_run": TaskRunProbe}
_ADDED = {"expected_jobs": 1, "follow_up_wait": DEFAULT_FOLLOW_UP_WAIT}
"""Fields that a release before them does not read, with their defaults: left out where nothing else is set."""


def probe_to_json(probe: AnyProbe) -> dict[str, Any]:
    """Return a probe as JSON types."""
    kind = next(kind for kind, class_ in _KINDS.items() if isinstance(probe, class_))
    fields = {key: value for key, value in asdict(probe).items() if key not in _ADDED or value != _ADDED[key]}
    return {"kind": kind, **fields}


def probe_from_json(content: Mapping[str, Any]) -> AnyProbe:
    """Make the probe again."""
    return _KINDS[content["kind"]](**{key: value for key, value in content.items() if key != "kind"})


def check_with_retry(probe: Probe, hook: GeminiBatchHook) -> Readiness:
    """Check once; where the service says "not now" or does not answer, the result is "not yet"."""
    from google.api_core.exceptions import (
        NotFound,
        PreconditionFailed,
        RetryError,
        ServerError,
        TooManyRequests,
    )
    from requests.exceptions import ConnectionError as NoConnectionError
    from requests.exceptions import Timeout

    try:
        return probe.check(hook)
    except JobServiceError as error:
        if not error.transient:
            raise
        return not_yet(str(error))
    except SourceNotReadyError as error:
        return not_yet(str(error))
    except (NotFound, PreconditionFailed) as error:
        return not_yet(f"the data changed while it was read: {error}")
    except (ServerError, TooManyRequests, RetryError, NoConnectionError, Timeout) as error:
        return not_yet(f"the data could not be read: {error}")
