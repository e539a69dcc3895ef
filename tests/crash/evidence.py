"""What became of a run, by those who were there: the jobs on the server, the rows in its output."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import requests

from airflow_gemini_batch.testing.stack import LOCATION, PROJECT, LocalStack
from airflow_gemini_batch.testing.vertex_ai import LocalVertex
from tests.support.requests_data import answers

_HEADERS = {"Authorization": "Bearer token"}


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a run came to.

    :param duplicate_jobs: jobs beyond those that the run needs, whatever became of them: each was paid for.
    :param lost_rows: requests without an answer in the manifest or in the output that it names.
    :param stuck: the run did not come to its end in time.
    :param missed: the run ended without a crash, so it says nothing.
    :param trouble: what went wrong, for a person.
    """

    duplicate_jobs: int = 0
    lost_rows: int = 0
    stuck: bool = False
    missed: bool = False
    trouble: str = ""

    @property
    def clean(self) -> bool:
        """Whether the crash cost nothing."""
        return not (self.duplicate_jobs or self.lost_rows or self.stuck or self.missed)


def jobs_of(vertex: LocalVertex, source: str | None = None) -> list[dict[str, Any]]:
    """Return the jobs on a server, or those that read ``source``, without trusting any label."""
    url = f"{vertex.url}/v1/projects/{PROJECT}/locations/{LOCATION}/batchPredictionJobs"
    answer = requests.get(url, params={"pageSize": 1000}, headers=_HEADERS, timeout=30)
    answer.raise_for_status()
    jobs: list[dict[str, Any]] = answer.json().get("batchPredictionJobs", [])
    return [job for job in jobs if source is None or source in job["inputConfig"]["gcsSource"]["uris"]]


def lost_rows(stack: LocalStack, prompts: set[str], manifest: Mapping[str, Any] | None) -> int:
    """Return how many of the prompts have no answer, by the manifest or by the output, whichever is worse."""
    if manifest is None:
        return len(prompts)
    rows = [row for folder in manifest["outputs"] for row in answers(stack, folder)]
    answered = {
        row["request"]["contents"][0]["parts"][0]["text"] for row in rows if row["response"].get("candidates")
    }
    return max(len(prompts - answered), len(prompts) - int(manifest["counts"]["ok"]))
