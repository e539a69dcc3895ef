"""The import of request files: the service makes one table of all lines, and fails the job when it can't.

What the columns of the table have to be, and what the service says, was counted by a project that ran such jobs for a
week. Google's pages on batch jobs say none of it; the error names BigQuery's page on column names.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from airflow_gemini_batch.testing.vertex_ai.errors import import_error

_MOST_LEVELS = 15
# https://cloud.google.com/bigquery/docs/schemas#column_names
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,299}")
_ADVICE = "Please check 'Prepare input' section of the batch predictions documentation."
# What a former job has written; its output may be the input of the next one.
_OUTPUT = frozenset({"response", "status", "processed_time"})


class ImportedTable:
    """The table that a job's lines are imported into; its columns are known by the lines added so far."""

    def __init__(self) -> None:
        self._types: dict[str, str] = {}
        self._rows = 0

    def add(self, line: Mapping[str, Any]) -> None:
        """Add a line.

        Raises :class:`~airflow_gemini_batch.testing.vertex_ai.errors.JobError` for an object without fields, more than
        15 objects inside each other, a name that a column can not have, a null in a list, and a field whose type
        differs from that of another line.
        """
        self._rows += 1
        self._fields({name: line[name] for name in line.keys() - _OUTPUT}, "", 0)

    def _fields(self, record: Mapping[str, Any], path: str, level: int) -> None:
        if level > _MOST_LEVELS:
            raise self._error(
                f"Schema nested too deeply, at least {level} compared to the maximum allowed level of {_MOST_LEVELS}",
                path,
            )
        for name, value in record.items():
            at = f"{path}.{name}" if path else name
            if not _NAME.fullmatch(name):
                raise self._error(f'Invalid field name "{name}"', at)
            self._value(value, at, level)

    def _value(self, value: object, path: str, level: int) -> None:
        if value is None:
            return
        if isinstance(value, list):
            if not value:
                return
            self._is(path, "list")
            for item in value:
                if item is None:
                    raise self._error("Only optional fields can be set to NULL", path)
                self._value(item, f"{path}[]", level)
        elif isinstance(value, dict):
            if not value:
                raise import_error(
                    f"{_ADVICE} Row {self._rows}: Cannot store struct '{_shown(path)}' with no fields"
                )
            self._is(path, "struct")
            self._fields(value, path, level + 1)
        elif isinstance(value, bool):
            self._is(path, "boolean")
        else:
            self._is(path, "string" if isinstance(value, str) else "number")

    def _is(self, path: str, kind: str) -> None:
        if (known := self._types.setdefault(path, kind)) == kind:
            return
        if "list" in (known, kind):
            raise self._error("Repeated field must be imported as a JSON array", path)
        raise self._error(f"Could not convert {kind} to {known}", path)

    def _error(self, what: str, path: str) -> Exception:
        return import_error(f"{_ADVICE} Row {self._rows}: {what}. Field: {_shown(path)}")


def _shown(path: str) -> str:
    return path.replace("[]", "")
