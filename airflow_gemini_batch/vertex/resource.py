"""The batch prediction job of Vertex AI as a resource: its name, its JSON, and the filters that list it.

https://cloud.google.com/vertex-ai/docs/reference/rest/v1/projects.locations.batchPredictionJobs
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, Self

from airflow_gemini_batch.core.addresses import Address, BigQueryAddress, GcsAddress, parse_address
from airflow_gemini_batch.core.places import (
    checked_job_id,
    checked_location,
    checked_project,
    may_be_same_project,
)
from airflow_gemini_batch.jobs.client import JobQuery
from airflow_gemini_batch.jobs.state import BatchJob, JobError, JobState

_JOB_NAME = re.compile(r"projects/([^/]+)/locations/([^/]+)/batchPredictionJobs/([^/]+)")


@dataclass(frozen=True, slots=True)
class VertexJobName:
    """``projects/P/locations/L/batchPredictionJobs/ID``.

    Raises :class:`ValueError` for parts that Google does not allow: addresses, of the service and of the console, are
    made of them.
    """

    project: str
    location: str
    job_id: str

    def __post_init__(self) -> None:
        checked_project(self.project, "project")
        checked_location(self.location)
        checked_job_id(self.job_id)

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read the full resource name; raises :class:`ValueError` for any other text."""
        match = isinstance(text, str) and _JOB_NAME.fullmatch(text)
        expected = "projects/PROJECT/locations/LOCATION/batchPredictionJobs/ID is expected"
        if not match:
            raise ValueError(f"{text!a:.300} is not the name of a batch job: {expected}")
        try:
            return cls(*match.groups())
        except ValueError as error:
            raise ValueError(f"{text!a:.300} is not the name of a batch job: {error}") from None

    @property
    def parent(self) -> str:
        """The project and location of the job."""
        return f"projects/{self.project}/locations/{self.location}"

    @property
    def console_url(self) -> str:
        """The job's page in the Google Cloud console."""
        return (
            "https://console.cloud.google.com/vertex-ai/"
            f"locations/{self.location}/batch-predictions/{self.job_id}?project={self.project}"
        )

    def sibling(self, job_id: str) -> Self:
        """Return the name of another job in the same project and location."""
        return replace(self, job_id=job_id)

    def is_in(self, parent: str) -> bool:
        """Whether the job can be of a project and location; answers name the project by its number."""
        project, _, location = parent.removeprefix("projects/").partition("/locations/")
        return self.location == location and may_be_same_project(self.project, project)

    def __str__(self) -> str:
        return f"{self.parent}/batchPredictionJobs/{self.job_id}"


def job_of(resource: Mapping[str, Any]) -> BatchJob:
    """Read the JSON of one job; raises :class:`ValueError`, :class:`TypeError` or :class:`AttributeError`."""
    stats = resource.get("completionStats") or {}
    error = resource.get("error") or {}
    return BatchJob(
        name=VertexJobName.parse(resource.get("name", "")),
        state=JobState(resource.get("state") or JobState.UNSPECIFIED),
        display_name=resource.get("displayName") or "",
        model=resource.get("model") or "",
        labels=resource.get("labels") or {},
        requests=_requests(resource.get("inputConfig") or {}),
        destination=_destination(resource.get("outputConfig") or {}),
        output=_output(resource.get("outputInfo") or {}),
        error=JobError(int(error.get("code", 0)), str(error.get("message", ""))) if error else None,
        successful_count=_count(stats.get("successfulCount")),
        failed_count=_count(stats.get("failedCount")),
        incomplete_count=_count(stats.get("incompleteCount")),
        create_time=parse_time(resource.get("createTime")),
        start_time=parse_time(resource.get("startTime")),
        end_time=parse_time(resource.get("endTime")),
        model_parameters=resource.get("modelParameters") or {},
        kms_key_name=(resource.get("encryptionSpec") or {}).get("kmsKeyName") or "",
        service_account=resource.get("serviceAccount") or "",
    )


def parse_time(text: str | None) -> datetime | None:
    """Read an RFC 3339 time as UTC; of the service's nine decimals Python keeps six."""
    return datetime.fromisoformat(text).astimezone(UTC) if text else None


def _count(value: Any) -> int | None:
    # int64 travels as a string; -1 stands for "unknown".
    return None if value is None or int(value) < 0 else int(value)


def _requests(config: Mapping[str, Any]) -> tuple[str, ...]:
    table = (config.get("bigquerySource") or {}).get("inputUri")
    return (table,) if table else tuple((config.get("gcsSource") or {}).get("uris") or ())


def _destination(config: Mapping[str, Any]) -> str:
    table = (config.get("bigqueryDestination") or {}).get("outputUri")
    return table or (config.get("gcsDestination") or {}).get("outputUriPrefix") or ""


def _output(info: Mapping[str, Any]) -> Address | None:
    if directory := info.get("gcsOutputDirectory"):
        return GcsAddress.parse(directory)
    table = info.get("bigqueryOutputTable") or ""
    dataset = info.get("bigqueryOutputDataset") or ""
    # The table comes as a bare name in some answers and as a full address in others.
    if table.startswith("bq://"):
        return parse_address(table)
    if dataset:
        address = BigQueryAddress.parse(dataset if dataset.startswith("bq://") else f"bq://{dataset}")
        return address.with_table(table) if table else address
    return None


def filter_of(query: JobQuery) -> str:
    """Return the list filter of a query.

    It names the states to leave out, so a state that is new to this package stays in; and it needs no OR, which binds
    tighter than AND in Google's filters.
    """
    terms = [f'labels.{key}="{value}"' for key, value in sorted(query.labels.items())]
    if query.unfinished:
        terms += sorted(f'state!="{state}"' for state in JobState if not state.stage.waits)
    if query.created:
        oldest, newest = (time.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ") for time in query.created)
        terms += [f'create_time>="{oldest}"', f'create_time<="{newest}"']
    return " AND ".join(terms)
