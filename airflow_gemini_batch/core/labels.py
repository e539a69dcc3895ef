"""Labels of a job: those of the user, and those that name the parts of Airflow.

Limits: https://cloud.google.com/vertex-ai/docs/general/labels
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from datetime import UTC, datetime

IDENTITY_LABEL = "gemini_batch_id"
# On follow-up jobs only: the identity of the submission, the number of the round, and the id of the job before.
ROOT_LABEL = "gemini_batch_root"
ROUND_LABEL = "gemini_batch_round"
AFTER_LABEL = "gemini_batch_after"
# Digests of what a job asks, whatever the run that asks it, and of the target that its answers are for.
CONTENT_LABEL = "gemini_batch_content"
TARGET_LABEL = "gemini_batch_target"
# How many follow-ups there may be. The jobs of earlier releases lack this label.
LAST_ROUND_LABEL = "gemini_batch_last_round"
# Keys hold no hyphen: in a list filter (labels.KEY="VALUE") it could be read as a minus sign.
DAG_LABEL = "airflow_dag"
TASK_LABEL = "airflow_task"
RUN_LABEL = "airflow_run"
# The run's logical date, if it has one, and the map index of a mapped task.
DATE_LABEL = "airflow_logical_date"
MAP_LABEL = "airflow_map_index"

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
        LAST_ROUND_LABEL,
        DAG_LABEL,
        TASK_LABEL,
        RUN_LABEL,
        DATE_LABEL,
        MAP_LABEL,
    }
)


def label_value(text: str) -> str:
    """Make a legal label value of any text; the same text always gives the same value, another text another one.

    Letters become lowercase, and everything outside ``a-z 0-9 _ -`` becomes ``-``. A text that is changed by this, or
    that is too long and is cut, ends in a digest: ``sales.daily`` is not taken for ``sales-daily``.
    """
    value = _cleaned(text)
    return value if value == text and len(value) <= _LONGEST else _with_digest(value, text)


def airflow_labels(dag_id: str | None, task_id: str | None, run_id: str | None) -> dict[str, str]:
    """Return the labels that say which part of Airflow a job belongs to, for billing and for sensors."""
    named = {DAG_LABEL: dag_id, TASK_LABEL: task_id, RUN_LABEL: run_id}
    return {key: label_value(text) for key, text in named.items() if text}


def target_labels(target: str | None) -> dict[str, str]:
    """Return the label that says which target a job's answers are for; none without a target."""
    return {TARGET_LABEL: hashlib.sha256(target.encode()).hexdigest()[:32]} if target else {}


def former_airflow_labels(dag_id: str | None, task_id: str | None, run_id: str | None) -> dict[str, str]:
    """Return what releases without digests wrote for :func:`airflow_labels`: their jobs may still be under way."""
    named = {DAG_LABEL: dag_id, TASK_LABEL: task_id, RUN_LABEL: run_id}
    return {key: _former_value(text) for key, text in named.items() if text}


def names(labels: Mapping[str, str], dag_id: str | None, task_id: str | None, run_id: str | None) -> bool:
    """Whether the labels of a job name these parts of Airflow, as this release writes them or as earlier ones did."""
    parts = {DAG_LABEL: dag_id, TASK_LABEL: task_id, RUN_LABEL: run_id}
    named = all(key in labels for key, text in parts.items() if text)
    return named and not other_names(labels, dag_id, task_id, run_id)


def other_names(
    labels: Mapping[str, str], dag_id: str | None, task_id: str | None, run_id: str | None
) -> dict[str, str]:
    """Return the labels of a job that name other parts of Airflow than these; what is not labelled is in none."""
    forms = [airflow_labels(dag_id, task_id, run_id)]
    if LAST_ROUND_LABEL not in labels:
        forms.append(former_airflow_labels(dag_id, task_id, run_id))
    differ = [
        {key: labels[key] for key, own in form.items() if labels.get(key, own) != own} for form in forms
    ]
    return min(differ, key=len)


def run_labels(logical_date: datetime | None, map_index: int, last_round: int) -> dict[str, str]:
    """Return the labels by which a sensor in another DAG finds all jobs of a task run, and tells its last one.

    :param logical_date: of the DAG run.
    :param map_index: of the task; -1 for a task that is not mapped.
    :param last_round: how many follow-ups there may be.
    """
    labels = {LAST_ROUND_LABEL: str(last_round)}
    if logical_date:
        labels[DATE_LABEL] = date_value(logical_date)
    if map_index >= 0:
        labels[MAP_LABEL] = str(map_index)
    return labels


def date_value(moment: datetime) -> str:
    """Return a moment as the value of a label, in UTC."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dt%H-%M-%S-%f")


def _former_value(text: str) -> str:
    value = _cleaned(text)
    return value if len(value) <= _LONGEST else _with_digest(value, text)


def _cleaned(text: str) -> str:
    return re.sub(r"[^a-z0-9_-]", "-", text.lower())


def _with_digest(value: str, text: str) -> str:
    digest = hashlib.sha256(text.encode()).hexdigest()[:10]
    return f"{value[: _LONGEST - len(digest) - 1]}-{digest}"


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
