"""Which server the request at hand belongs to."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any

from bqemulator.domain.errors import AlreadyExistsError, NotFoundError


@dataclasses.dataclass(frozen=True)
class Serving:
    """What the corrections need to know of the server that runs them.

    :param context: bqemulator's ``AppContext``: engine, catalog, clock, settings.
    :param default_location: location of datasets and jobs that are created without one.
    :param storage_url: gives the address of the storage server that jobs read and write; None leaves it to
        ``STORAGE_EMULATOR_HOST``.
    :param job_locations: job id → location that its creator asked for.
    """

    context: Any
    default_location: str
    storage_url: Callable[[], str] | None = None
    job_locations: dict[str, str] = dataclasses.field(default_factory=dict)

    def location_of(self, job_id: str) -> str:
        """Tell where a job runs."""
        return self.job_locations.get(job_id, self.default_location)

    def admit(self, project: str, reference: dict[str, str]) -> None:
        """Take note of a new job's location.

        :param reference: ``jobReference`` of the request.

        Raises bqemulator's ``AlreadyExistsError`` (HTTP 409) for a job id that was used before, as Airflow's
        operators rely on; bqemulator runs such a job once more.
        """
        ask_for(reference.get("location"))
        job_id = reference.get("jobId")
        if not job_id:
            return
        earlier = self.context.catalog.get_job(project, job_id)
        if earlier is not None and not earlier.configuration.get("dryRun"):
            raise AlreadyExistsError(f"Already Exists: Job {project}:{self.location_of(job_id)}.{job_id}")
        if reference.get("location"):
            self.job_locations[job_id] = reference["location"]

    def check_location(self, project: str, dataset: str) -> None:
        """Raise bqemulator's ``NotFoundError`` for a dataset that is elsewhere than the job asks to run."""
        asked = _ASKED.get()
        found = self.context.catalog.get_dataset(project, dataset) if asked else None
        if found is not None and found.location.lower() != str(asked).lower():
            raise NotFoundError(f"Not found: Dataset {project}:{dataset} was not found in location {asked}")


_CURRENT: ContextVar[Serving] = ContextVar("serving")
_ASKED: ContextVar[str | None] = ContextVar("asked", default=None)


def current() -> Serving:
    """Give the server whose request is being answered; ``LookupError`` outside of one."""
    return _CURRENT.get()


def enter(serving: Serving) -> None:
    """Say, in this task, whose request is being answered from here on."""
    _CURRENT.set(serving)
    _ASKED.set(None)


def ask_for(location: str | None) -> None:
    """Say where the job of this request is asked to run; None leaves it to its datasets."""
    _ASKED.set(location)
