"""Defaults that a DAG file needs while it is parsed, in a module that loads nothing else."""

from __future__ import annotations

DEFAULT_CONNECTION = "google_cloud_default"

DEFAULT_POLL_INTERVAL = 60.0
"""Seconds between two reads of the state of a job."""

DEFAULT_READ_TIMEOUT = 60.0
"""How long one call of Vertex AI may take, in seconds."""

# https://cloud.google.com/vertex-ai/generative-ai/docs/multimodal/batch-prediction-gemini
DEFAULT_QUEUE_TIMEOUT = 72 * 3600.0
"""Seconds that a job may wait to start: as long as Vertex AI lets it."""

DEFAULT_RUN_TIMEOUT = 24 * 3600.0
"""Seconds that a job may run: as long as Vertex AI lets it."""

LONGEST_TIMEOUT = 365 * 24 * 3600.0
"""Seconds that any limit of a wait may be: a year."""

DEFAULT_MAX_FAILED_FRACTION = 0.05
"""Share of the rows that may fail in a task that succeeds."""

DEFAULT_MAX_ROW_RETRIES = 1
"""Follow-up jobs at most, for rows that may succeed in another job."""

DEFAULT_FOLLOW_UP_WAIT = 900.0
"""Seconds after a job's end in which a sensor expects a follow-up job for the rows without an answer."""

SAMPLE_ROWS = 1000
"""Requests that a preflight looks at unless it is asked for all."""

LONGEST_LINE = 20 * 2**20
"""Bytes of the longest line that a preflight checks."""

LONGEST_ROW = 32 * 2**20
"""Bytes of the longest line, or row, that is read at all: a request and its answer together have room in it.

What is held in memory follows from it: Python's objects take up to some twenty times as much as their JSON.
"""
