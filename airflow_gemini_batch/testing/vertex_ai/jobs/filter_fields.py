"""What a filter may compare: the fields of a job, and the operators that each of them takes."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable
from datetime import UTC, datetime

from airflow_gemini_batch.testing.vertex_ai.jobs.job import Job, State

_ORDER: dict[str, Callable[[datetime, datetime], bool]] = {
    "=": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
_TEXT_FIELDS: dict[str, Callable[[Job], str]] = {
    "display_name": lambda job: job.display_name,
    "displayName": lambda job: job.display_name,
    "model_display_name": lambda job: job.request.model.short_name,
    "modelDisplayName": lambda job: job.request.model.short_name,
}


def comparison(field: str, sign: str, value: str) -> Callable[[Job], bool]:
    """Return the test that ``field sign value`` stands for.

    Raises :class:`ValueError` for an unknown field, an operator that the field does not take, or a value that
    the field cannot have.
    """
    if field in _TEXT_FIELDS:
        return _text(_TEXT_FIELDS[field], field, sign, value)
    if field == "state":
        return _state(sign, value)
    if field in ("create_time", "createTime"):
        return _create_time(sign, value)
    if field == "labels" and sign == ":":
        return lambda job: value in job.labels
    if field.startswith("labels."):
        return _label(field.removeprefix("labels."), sign, value)
    raise ValueError(f"unknown field '{field}'")


def _text(read: Callable[[Job], str], field: str, sign: str, value: str) -> Callable[[Job], bool]:
    match sign:
        case "=":
            return lambda job: read(job) == value
        case "!=":
            return lambda job: read(job) != value
        case ":":
            pattern = re.compile(".*".join(re.escape(piece) for piece in value.split("*")), re.DOTALL)
            return lambda job: pattern.fullmatch(read(job)) is not None
    raise _refused(field, sign)


def _state(sign: str, value: str) -> Callable[[Job], bool]:
    if value not in [*State, "JOB_STATE_UNSPECIFIED"]:
        raise ValueError(f"'{value}' is not a state")
    match sign:
        case "=":
            return lambda job: job.state == value
        case "!=":
            return lambda job: job.state != value
    raise _refused("state", sign)


def _create_time(sign: str, value: str) -> Callable[[Job], bool]:
    if sign not in _ORDER:
        raise _refused("create_time", sign)
    try:
        moment = datetime.fromisoformat(value)
    except ValueError as error:
        raise ValueError(f"'{value}' is not an RFC 3339 time") from error
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    compare = _ORDER[sign]
    return lambda job: compare(job.created, moment)


def _label(key: str, sign: str, value: str) -> Callable[[Job], bool]:
    match sign:
        case ":" if value == "*":
            return lambda job: key in job.labels
        case "=" | ":":
            return lambda job: job.labels.get(key) == value
        case "!=":
            return lambda job: job.labels.get(key) != value
    raise _refused(f"labels.{key}", sign)


def _refused(field: str, sign: str) -> ValueError:
    return ValueError(f"the field '{field}' does not take '{sign}'")
