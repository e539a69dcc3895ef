"""Which job belongs to which task run.

A job is paid once created and creation is not idempotent, so every job carries an identity that any later try
of the same task can work out again and ask the service for.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

_DISPLAY_NAME_LONGEST = 128


@dataclass(frozen=True, slots=True)
class TaskRun:
    """One task of one DAG run; never its try number, since tries share one job."""

    dag_id: str
    run_id: str
    task_id: str
    map_index: int = -1


def fingerprint(
    *,
    model: str,
    model_parameters: Mapping[str, Any],
    source_versions: Sequence[str],
    destination: str,
) -> str:
    """Digest of everything that changes the answers or where they go.

    :param source_versions: one text for each source, naming the data and its version (``gs://…#generation``,
        ``bq://…#etag``), so that a source rebuilt upstream gives another fingerprint.
    :param destination: where the user wants the output; empty for "beside the source".
    """
    return _digest(
        {
            "model": model,
            "model_parameters": dict(model_parameters),
            "source": sorted(source_versions),
            "destination": destination,
        }
    )


def identity(run: TaskRun, request_fingerprint: str, *, salt: str = "") -> str:
    """Return 32 hexadecimal digits: the same for every try of one task run with the same request.

    :param salt: set by a forced rerun, to get a new identity.
    """
    return _digest({**asdict(run), "request": request_fingerprint, "salt": salt})[:32]


def follow_up_identity(root: str, number: int, after: str) -> str:
    """Return the identity of a follow-up job, 32 hexadecimal digits.

    :param root: identity of the submission.
    :param number: number of the follow-up, from 1.
    :param after: id of the job whose rows are sent again, so that a follow-up is never taken for that of another
        job with the same identity.
    """
    return _digest({"root": root, "round": number, "after": after})[:32]


def display_name(name: str, identity: str) -> str:
    """Return the job's display name: the readable ``name``, then the identity."""
    suffix = f" {identity}"
    return f"{name[: _DISPLAY_NAME_LONGEST - len(suffix)]}{suffix}"


def _digest(content: Mapping[str, Any]) -> str:
    text = json.dumps(content, sort_keys=True, ensure_ascii=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()
