"""Checks of a job or its output, through the hook.

Sensors check in the worker and in the triggerer, so a probe consists of JSON types, and another process can make it
again from them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Protocol

from airflow_gemini_batch.core.addresses import GcsAddress, parse_address
from airflow_gemini_batch.exceptions import JobServiceError, SourceNotReadyError, as_invalid_request
from airflow_gemini_batch.jobs.client import JobQuery
from airflow_gemini_batch.jobs.readiness import (
    Readiness,
    ReadinessState,
    job_readiness,
    never,
    not_yet,
    rows_readiness,
)
from airflow_gemini_batch.jobs.submission import parse_requests

if TYPE_CHECKING:
    from airflow_gemini_batch.hooks.gemini_batch import GeminiBatchHook


class Probe(Protocol):
    """What a sensor checks."""

    def check(self, hook: GeminiBatchHook) -> Readiness:
        """Check once, without waiting."""


@dataclass(frozen=True, slots=True)
class JobProbe:
    """Checks a job: by its name, or the newest one with these labels."""

    job_name: str | None = None
    labels: Mapping[str, str] | None = None

    def check(self, hook: GeminiBatchHook) -> Readiness:
        """Read the job and judge its state."""
        if self.job_name:
            with as_invalid_request("job_name"):
                name = hook.job_name(self.job_name)
            return job_readiness(hook.get_conn(name).get(name))
        labels = self.labels or {}
        client = hook.get_conn()
        for job in client.list(JobQuery(labels=labels)):
            if labels.items() <= job.labels.items():
                return job_readiness(job)
        named = ", ".join(f"{key}={value}" for key, value in sorted(labels.items()))
        return not_yet(f"no job in {client.parent} has the labels {named}")


@dataclass(frozen=True, slots=True)
class OutputProbe:
    """Checks a job's output table or output files, and the job itself where it is known.

    :param output: ``bq://`` table, or ``gs://`` folder.
    :param expected_rows: rows of complete output.
    :param expected_from: the requests to compare with, ``gs://`` or ``bq://``, instead of a number.
    :param max_failed_fraction: share of rows, 0 to 1, that may be without an answer.
    :param job_name: the job that writes the output.
    """

    output: str
    expected_rows: int | None = None
    expected_from: Sequence[str] = ()
    max_failed_fraction: float = 0.0
    job_name: str | None = None

    def check(self, hook: GeminiBatchHook) -> Readiness:
        """Check the job, if it is named, then count the rows."""
        if self.job_name:
            check = JobProbe(self.job_name).check(hook)
            if check.state is not ReadinessState.READY:
                return check
        output = parse_address(self.output)
        if isinstance(output, GcsAddress) and len(folders := hook.store.files.prediction_folders(output)) > 1:
            named = ", ".join(map(str, folders))
            return never(
                f"{output} has the output of {len(folders)} jobs. Name the folder of one job: {named}"
            )
        tally = hook.store.of(output).tally(output)
        if tally is None:
            absent = f"there is no output at {output}"
            return never(f"{absent}, though {self.job_name} succeeded") if self.job_name else not_yet(absent)
        return rows_readiness(
            str(output),
            rows=tally.rows,
            failed=tally.failed,
            expected=self._expected(hook),
            max_failed_fraction=self.max_failed_fraction,
        )

    def _expected(self, hook: GeminiBatchHook) -> int | None:
        if not self.expected_from:
            return self.expected_rows
        requests = parse_requests(self.expected_from)
        return hook.store.of(requests[0]).count_requests(requests)


_KINDS: dict[str, type[JobProbe | OutputProbe]] = {"job": JobProbe, "output": OutputProbe}


def probe_to_json(probe: JobProbe | OutputProbe) -> dict[str, Any]:
    """Return a probe as JSON types."""
    kind = next(kind for kind, class_ in _KINDS.items() if isinstance(probe, class_))
    return {"kind": kind, **asdict(probe)}


def probe_from_json(content: Mapping[str, Any]) -> JobProbe | OutputProbe:
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
