"""The import of request files: the service makes one table of all lines, and fails the job when it can't.

What the columns of the table have to be was counted by a project that ran such jobs for a week; the service documents
none of it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from airflow_gemini_batch.testing.vertex_ai.errors import import_error

_MOST_LEVELS = 15
_NAME = re.compile(r"[A-Za-z0-9_]+")
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
        15 objects inside each other, a name with anything but letters, digits and ``_``, a null in a list, and a
        field whose type differs from that of another line.
        """
        self._rows += 1
        self._fields({name: line[name] for name in line.keys() - _OUTPUT}, "", 0)

    def _fields(self, record: Mapping[str, Any], path: str, level: int) -> None:
        if level > _MOST_LEVELS:
            raise self._error(path, f"is nested more than {_MOST_LEVELS} levels deep")
        for name, value in record.items():
            at = f"{path}.{name}" if path else name
            if not _NAME.fullmatch(name):
                raise self._error(at, "has a name with other characters than letters, digits and underscores")
            self._value(value, at, level)

    def _value(self, value: object, path: str, level: int) -> None:
        if value is None:
            return
        if isinstance(value, list):
            if not value:
                return
            self._is(path, "a list")
            for item in value:
                if item is None:
                    raise self._error(path, "is a list with a null in it")
                self._value(item, f"{path}[]", level)
        elif isinstance(value, dict):
            if not value:
                raise self._error(path, "is of type RECORD but has no schema")
            self._is(path, "an object")
            self._fields(value, path, level + 1)
        elif isinstance(value, bool):
            self._is(path, "a boolean")
        else:
            self._is(path, "a text" if isinstance(value, str) else "a number")

    def _is(self, path: str, kind: str) -> None:
        if (known := self._types.setdefault(path, kind)) != kind:
            raise self._error(path, f"is {kind}, and {known} before")

    def _error(self, path: str, what: str) -> Exception:
        return import_error(f"Error while reading row {self._rows}: Field {path} {what}.")
