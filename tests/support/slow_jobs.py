"""Jobs of BigQuery that seem to take long."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest


@contextmanager
def slow_jobs(kind: type[Any]) -> Iterator[None]:
    """Let the first wait for each job of a kind, ``QueryJob`` or ``LoadJob``, run into its timeout meanwhile."""
    result, waited = kind.result, set()

    def wait(job: Any, *arguments: Any, **options: Any) -> Any:
        if job.job_id not in waited:
            waited.add(job.job_id)
            raise TimeoutError
        return result(job, *arguments, **options)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(kind, "result", wait)
        yield
