"""Template fields after rendering, which may have changed their types.

With ``render_template_as_native_obj=True``, Airflow makes a number of ``"2026"``, and a list of a text that looks like
one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import date, datetime
from decimal import Decimal
from typing import Any

from airflow_gemini_batch.exceptions import InvalidRequestError

TEXTS = frozenset(
    {
        "project_id",
        "location",
        "gcp_conn_id",
        "quota_project_id",
        "user_project",
        "model",
        "destination",
        "display_name",
        "target",
        "failed_target",
        "kms_key_name",
        "service_account",
        "unpriced",
        "prompt",
        "text",
        "title",
        "request_format",
        "text_column",
        "vector_column",
        "job_name",
        "external_dag_id",
        "external_task_id",
        "external_run_id",
        "table",
        "prefix",
        "question",
        "run",
        "order_by",
        "canary_target",
        "canary_failed_target",
        "golden",
        "report_folder",
    }
)
TEXT_LISTS = frozenset({"impersonation_chain", "key", "media_prefixes", "requests"})
"""A text, or several."""
TEXTS_OR_DICTS = frozenset({"media"})
DATES = frozenset({"external_logical_date"})
ROWS = frozenset({"source"})
"""A text, several, or rows of Python."""
RESULTS = frozenset({"manifest"})
"""The result of a task before, or of several."""
DICTS = frozenset({"source_parameters", "model_parameters"})
LABELS = frozenset({"labels"})
"""Dicts of texts."""
OTHERS = frozenset(
    {
        "max_cost_usd",
        "max_cost_usd_per_run",
        "ledger",
        "rest_rows",
        "ask_failed_again",
        "force_rerun",
        "expected_rows",
        "system_instruction",
        "generation_config",
        "safety_settings",
        "tools",
    }
)
"""Read by functions that take whatever rendering makes of them, or say what they want."""

_SCALARS = (bool, int, float, Decimal, date)
_KINDS = {dict: "a dict", list: "a list", tuple: "a tuple", set: "a set", bytes: "bytes"}


def take_rendered(task: Any) -> None:
    """Give the template fields of a task the types that it reads.

    A number, date, true or false becomes the text that it was made of; other objects (a path, say) stay.

    Raises :class:`.InvalidRequestError` for a value that can't be what the field is, and says what it was given.
    """
    for name in task.template_fields:
        value = getattr(task, name, None)
        if value is None:
            continue
        taken = value
        if name in TEXTS or (name in DATES and not isinstance(value, datetime)):
            taken = _text(name, value)
        elif (
            name in TEXT_LISTS or name in ROWS or (name in TEXTS_OR_DICTS and not isinstance(value, Mapping))
        ):
            taken = _texts(name, value)
        elif name in RESULTS and isinstance(value, (*_SCALARS, bytes)):
            raise _unexpected(name, "the result of a task", value)
        elif name in DICTS or name in LABELS:
            taken = _dict(name, value)
        if taken is not value:
            setattr(task, name, taken)


def _text(name: str, value: Any) -> Any:
    if isinstance(value, str):
        return value
    if isinstance(value, _SCALARS):
        return str(value)
    for kind in _KINDS:
        if isinstance(value, kind):
            raise _unexpected(name, "a text", value)
    return value


def _texts(name: str, value: Any) -> Any:
    if isinstance(value, (list, tuple)):
        if name not in ROWS and any(isinstance(one, _SCALARS) for one in value):
            return [str(one) if isinstance(one, _SCALARS) else one for one in value]
        return value
    if isinstance(value, (Mapping, bytes)):
        raise _unexpected(name, "rows, a text, or several" if name in ROWS else "a text, or several", value)
    return str(value) if isinstance(value, _SCALARS) else value


def _dict(name: str, value: Any) -> Any:
    if value == "":
        return None
    if not isinstance(value, Mapping):
        raise _unexpected(name, "a dict", value)
    if name in LABELS and not all(isinstance(one, str) for one in (*value, *value.values())):
        return {_label(key): _label(one) for key, one in value.items()}
    return value


def _label(value: Any) -> Any:
    """Return a label as text, in lower case: Google takes no other."""
    return str(value).lower() if isinstance(value, _SCALARS) else value


def _unexpected(name: str, wanted: str, value: Any) -> InvalidRequestError:
    kind = next((text for kind, text in _KINDS.items() if isinstance(value, kind)), type(value).__name__)
    kind = "a text" if isinstance(value, str) else kind
    return InvalidRequestError(f"{name}: expected {wanted}, got {kind}, {value!r:.100}. {_reason(value)}")


def _reason(value: Any) -> str:
    if isinstance(value, str):
        return "A template gives a text, unless the DAG has render_template_as_native_obj=True"
    return (
        "With render_template_as_native_obj=True on the DAG, Airflow makes such a value of a text that looks like one: "
        "leave that out, or begin the text with a word"
    )


def unplaced_fields(names: Iterable[str]) -> set[str]:
    """Return the template fields that this module does not know."""
    return set(names).difference(
        TEXTS, TEXT_LISTS, TEXTS_OR_DICTS, DATES, ROWS, RESULTS, DICTS, LABELS, OTHERS
    )
