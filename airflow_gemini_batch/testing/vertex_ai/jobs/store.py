"""The jobs that exist, newest first, page by page."""

from __future__ import annotations

import base64
import hashlib
from bisect import bisect_left
from collections.abc import Callable
from operator import itemgetter

from airflow_gemini_batch.testing.vertex_ai.errors import CallError
from airflow_gemini_batch.testing.vertex_ai.jobs.job import Job


class JobStore:
    """Jobs by location and id. Used in the server's event loop only."""

    def __init__(self) -> None:
        self._jobs: dict[tuple[str, str], tuple[int, Job]] = {}
        # In order of creation; the number is the place that page tokens name.
        self._order: list[tuple[int, Job]] = []
        self._next = 1

    def add(self, job: Job) -> None:
        """Keep a new job."""
        entry = (self._next, job)
        self._next += 1
        self._jobs[job.request.location, job.id] = entry
        self._order.append(entry)

    def get(self, location: str, job_id: str) -> Job | None:
        """Return the job of that id in that location."""
        entry = self._jobs.get((location, job_id))
        return entry and entry[1]

    def remove(self, job: Job) -> None:
        """Forget a job."""
        self._order.remove(self._jobs.pop((job.request.location, job.id)))

    def all(self) -> list[Job]:
        """Return every job, oldest first."""
        return [job for _, job in self._order]

    def page(
        self,
        keep: Callable[[Job], bool],
        *,
        size: int,
        token: str,
        query: str,
        oldest_first: bool = False,
    ) -> tuple[list[Job], str]:
        """Return one page of the jobs that ``keep`` lets through, and the token of the next page or ``""``.

        :param query: what the caller asked for; a token is good for the same query only.

        Raises :class:`~airflow_gemini_batch.testing.vertex_ai.errors.CallError` for a token that is not one of ours.
        """
        mark = hashlib.blake2b(query.encode(), digest_size=4).hexdigest()
        start = _decoded(token, mark) if token else None
        if oldest_first:
            position = 0 if start is None else bisect_left(self._order, start, key=itemgetter(0))
            step = 1
        else:
            position = len(self._order) - 1
            if start is not None:
                position = bisect_left(self._order, start + 1, key=itemgetter(0)) - 1
            step = -1
        page: list[Job] = []
        while 0 <= position < len(self._order):
            number, job = self._order[position]
            if keep(job):
                if len(page) == size:
                    return page, base64.urlsafe_b64encode(f"{mark}:{number}".encode()).decode()
                page.append(job)
            position += step
        return page, ""


def _decoded(token: str, mark: str) -> int:
    try:
        found, _, number = base64.urlsafe_b64decode(token.encode()).decode().partition(":")
        if found == mark:
            return int(number)
    except ValueError:
        pass
    raise CallError("INVALID_ARGUMENT", "The page token is invalid or belongs to another query.")
