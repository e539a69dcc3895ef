"""Jobs without data: any number of them, for measuring how a client waits."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from airflow_gemini_batch.core.addresses import GcsAddress
from airflow_gemini_batch.testing.vertex_ai.errors import CallError
from airflow_gemini_batch.testing.vertex_ai.fault_table import FAULTS
from airflow_gemini_batch.testing.vertex_ai.faults import Fault
from airflow_gemini_batch.testing.vertex_ai.jobs.job import Job, JobRequest
from airflow_gemini_batch.testing.vertex_ai.jobs.models import parse_model
from airflow_gemini_batch.testing.vertex_ai.jobs.runner import Result

_BUCKET = "nowhere"
_ROWS = 100


@dataclass(frozen=True, slots=True)
class BareJobs:
    """What is asked of ``POST /local/v1/jobs:seed``.

    :param display_name: each job's name is this with its number behind it.
    :param queue_seconds: PENDING for so long.
    :param run_seconds: RUNNING for so long, the first job.
    :param spread_seconds: the last job runs this much longer than the first, the others evenly between.
    """

    count: int
    location: str = "us-central1"
    model: str = "publishers/google/models/gemini-3.8-flash"
    display_name: str = "bare-job"
    labels: dict[str, str] = field(default_factory=dict)
    queue_seconds: float = 1.0
    run_seconds: float = 60.0
    spread_seconds: float = 0.0

    def __post_init__(self) -> None:
        if self.count < 1:
            raise CallError("INVALID_ARGUMENT", f"count is {self.count}; at least 1 is needed.")

    def job(self, number: int, project_number: str) -> Job:
        """Make one of the jobs; ``number`` counts from 0."""
        uri = f"gs://{_BUCKET}/{self.display_name}-{number}.jsonl"
        prefix = f"gs://{_BUCKET}/{self.display_name}-{number}"
        model = parse_model(self.model, projects=frozenset(), location=self.location)
        body: dict[str, Any] = {
            "displayName": f"{self.display_name}-{number}",
            "model": model.resource,
            "labels": self.labels,
            "inputConfig": {"instancesFormat": "jsonl", "gcsSource": {"uris": [uri]}},
            "outputConfig": {"predictionsFormat": "jsonl", "gcsDestination": {"outputUriPrefix": prefix}},
        }
        sources, destination = (GcsAddress.parse(uri),), GcsAddress.parse(prefix)
        request = JobRequest(self.location, model, sources, destination, body)
        return Job(request, project_number, faults=(self._times(number),))

    def _times(self, number: int) -> Fault:
        run_seconds = self.run_seconds + self.spread_seconds * number / max(1, self.count - 1)
        times = {"queue_seconds": self.queue_seconds, "run_seconds": run_seconds}
        return Fault(id="", name="slow", on="", job="*", parameters={**FAULTS["slow"].parameters, **times})


class BareWork:
    """The work of a bare job: none; a hundred rows are said to have been answered."""

    def count_rows(self, job: Job) -> int:
        """Return a number of rows that nobody has counted."""
        return _ROWS

    def export(self, job: Job, rows: int, share: float) -> Result:
        """Return a result for which nothing was written."""
        done = round(rows * share)
        output = {"gcsOutputDirectory": str(job.request.destination)}
        return Result(succeeded=done, incomplete=rows - done, output=output)
