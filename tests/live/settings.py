"""Where the live suite asks, and what it may spend: read from the environment."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass

PREFIX = "GEMINI_BATCH_LIVE_"
REQUIRED = tuple(PREFIX + name for name in ("PROJECT", "LOCATION", "BUCKET", "DATASET"))

DEFAULT_MODEL = "gemini-3.5-flash-lite"


@dataclass(frozen=True, slots=True)
class Settings:
    """A project that the suite may use, and its limits.

    :param location: of the jobs; bucket and dataset have to be there.
    :param bucket: name of a bucket. The suite writes below ``gemini-batch-live/`` and removes what it wrote.
    :param dataset: name of a dataset of the project. The suite makes tables there and drops them.
    :param model: that generates; a cheap one will do.
    :param max_usd: nothing is submitted when the estimate is higher, in US dollars.
    :param wait: how long jobs may take, in seconds; those that have not ended by then are cancelled.
    :param poll: pause between two looks at the jobs, in seconds.
    :param is_google: whether Google answers, and not local servers.
    :param settle: how long to wait where time itself is asked about, in seconds.
    """

    project: str
    location: str
    bucket: str
    dataset: str
    model: str = DEFAULT_MODEL
    max_usd: float = 1.0
    wait: float = 24 * 3600.0
    poll: float = 30.0
    is_google: bool = True
    settle: float = 60.0

    @classmethod
    def from_environment(
        cls, environment: Mapping[str, str] = os.environ, **limits: float
    ) -> Settings | None:
        """Return the settings, or None when a variable of :data:`REQUIRED` is missing."""
        project, location, bucket, dataset = (environment.get(name, "") for name in REQUIRED)
        if not (project and location and bucket and dataset):
            return None
        model = environment.get(PREFIX + "MODEL") or DEFAULT_MODEL
        return cls(project, location, bucket, dataset, model, **limits)


SKIPPED = (
    "The live suite is skipped: it asks a real project of Google Cloud, for less than a dollar. Set "
    f"{', '.join(REQUIRED)} to run it; docs/open-questions.md says what it asks."
)
