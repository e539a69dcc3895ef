"""Labels of a job: those of the user, and those that name the parts of Airflow.

Limits: https://cloud.google.com/vertex-ai/docs/general/labels
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping

IDENTITY_LABEL = "gemini_batch_id"
# On follow-up jobs only: the identity of the submission, the number of the round, and the id of the job before.
ROOT_LABEL = "gemini_batch_root"
ROUND_LABEL = "gemini_batch_round"
AFTER_LABEL = "gemini_batch_after"
# Digests of what a job asks, whatever the run that asks it, and of the target that its answers are for.
CONTENT_LABEL = "gemini_batch_content"
TARGET_LABEL = "gemini_batch_target"
# Keys hold no hyphen: in a list filter (labels.KEY="VALUE") it could be read as a minus sign.
DAG_LABEL = "airflow_dag"
TASK_LABEL = "airflow_task"
RUN_LABEL = "airflow_run"

MAX_LABELS = 64
_LONGEST = 63
_KEY = re.compile(r"[a-z][a-z0-9_-]{0,62}")
_VALUE = re.compile(r"[a-z0-9_-]{0,63}")
_RESERVED = frozenset(
    {
        IDENTITY_LABEL,
        ROOT_LABEL,
        ROUND_LABEL,
        AFTER_LABEL,
        CONTENT_LABEL,
        TARGET_LABEL,
        DAG_LABEL,
        TASK_LABEL,
        RUN_LABEL,
    }
)


def label_value(text: str) -> str:
    """Make a legal label value of any text; the same text always gives the same value.

    Letters become lowercase, and everything outside ``a-z 0-9 _ -`` becomes ``-``. A text that is too
    long is cut and ends in a digest, so that two long texts stay apart.
    """
    value = re.sub(r"[^a-z0-9_-]", "-", text.lower())
    if len(value) > _LONGEST:
        digest = hashlib.sha256(text.encode()).hexdigest()[:10]
        value = f"{value[: _LONGEST - len(digest) - 1]}-{digest}"
    return value


def airflow_labels(dag_id: str | None, task_id: str | None, run_id: str | None) -> dict[str, str]:
    """Return the labels that say which part of Airflow a job belongs to, for billing and for sensors."""
    named = {DAG_LABEL: dag_id, TASK_LABEL: task_id, RUN_LABEL: run_id}
    return {key: label_value(text) for key, text in named.items() if text}


def target_labels(target: str | None) -> dict[str, str]:
    """Return the label that says which target a job's answers are for; none without a target."""
    return {TARGET_LABEL: hashlib.sha256(target.encode()).hexdigest()[:32]} if target else {}


def checked_labels(labels: Mapping[str, str] | None) -> dict[str, str]:
    """Return the user's labels as they are; raises :class:`ValueError` that names the first illegal one."""
    if labels and not isinstance(labels, Mapping):
        raise ValueError(f"labels must be a dict, got {labels!r}")
    checked: dict[str, str] = {}
    for key, value in (labels or {}).items():
        if key in _RESERVED:
            raise ValueError(f"label {key!r} is set by the operator. Choose another key")
        if not isinstance(key, str) or not _KEY.fullmatch(key):
            raise ValueError(
                f"label key {key!r} is not valid: expected a lowercase letter, then up to 62 of a-z, 0-9, _ and -"
            )
        if not isinstance(value, str) or not _VALUE.fullmatch(value):
            raise ValueError(
                f"value {value!r} of label {key!r} is not valid: expected up to 63 of a-z, 0-9, _ and -"
            )
        checked[key] = value
    if len(checked) + len(_RESERVED) > MAX_LABELS:
        raise ValueError(
            f"{len(checked)} labels are too many: up to {MAX_LABELS - len(_RESERVED)} are allowed, since the operator "
            f"sets {len(_RESERVED)} of the {MAX_LABELS} that a job takes"
        )
    return checked
