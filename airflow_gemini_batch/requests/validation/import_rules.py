"""What Vertex AI's import of request files asks of all lines together, whatever the requests mean.

It reads the files of a job as one table whose schema it infers, so one line can fail the whole job an hour later, with
"Failed to import data". Requests in a BigQuery table are not imported. The rules were counted by users, not documented;
they are those of tables: https://cloud.google.com/bigquery/docs/nested-repeated#limitations
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

DEEPEST = 15
"""Most objects within one another, without that of the line: ``request`` is the first."""
_MOST_FIELDS = 10_000
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,299}")
_KINDS: Mapping[type, str] = {
    dict: "an object",
    list: "a list",
    str: "a text",
    int: "a number",
    float: "a number",
    bool: "true or false",
}
# What a job has written beside its requests: its output may be the input of the next one.
_OUTPUT = frozenset({"response", "status", "processed_time"})
_TABLE = "put the requests into a BigQuery table, where this is allowed"

# Tools that may be given without a field, and one that changes nothing: the domain belongs to nobody.
_FILLED_TOOLS: Mapping[str, Mapping[str, Any]] = {
    "googleSearch": {"excludeDomains": ["example.com"]},
    "google_search": {"exclude_domains": ["example.com"]},
    "enterpriseWebSearch": {"excludeDomains": ["example.com"]},
    "enterprise_web_search": {"exclude_domains": ["example.com"]},
    "googleMaps": {"enableWidget": False},
    "google_maps": {"enable_widget": False},
}


@dataclass(frozen=True, slots=True)
class ImportFault:
    """Why the import of a line, and so the whole job, would fail.

    :param message: with the path of the culprit.
    :param hint: what to do about it.
    """

    message: str
    hint: str

    def __str__(self) -> str:
        return f"{self.message}; {self.hint}"


def importable_tools(tools: Iterable[Any]) -> list[Any]:
    """Return the tools of a request with a field in each that has none, where a field is known that changes nothing."""
    return [
        {name: value or _FILLED_TOOLS.get(name, value) for name, value in tool.items()}
        if isinstance(tool, Mapping)
        else tool
        for tool in tools
    ]


class _Field:
    """One path of all lines.

    :param kind: of its values; empty while there was none but ``null``.
    :param where: the first line with a value.
    """

    __slots__ = ("fields", "fold", "is_legal", "items", "kind", "name", "parent", "where")

    def __init__(self, name: str = "", parent: _Field | None = None) -> None:
        self.name = name
        self.parent = parent
        self.kind = ""
        self.where = ""
        self.items: _Field | None = None
        self.fields: dict[str, _Field] = {}
        self.fold: set[str] = set()
        self.is_legal = not name or name == "[]" or _NAME.fullmatch(name) is not None

    def __str__(self) -> str:
        if self.parent is None:
            return "the line"
        before = str(self.parent) if self.parent.parent else ""
        if self.name == "[]":
            return f"{before}[]"
        if _NAME.fullmatch(self.name):
            return f"{before}.{self.name}" if before else self.name
        return f'{before}["{self.name:.100}"]'


class ImportedLines:
    """All lines of a job so far, of one file or of several."""

    def __init__(self) -> None:
        self._line = _Field()
        self._count = 0

    def add(self, line: Mapping[str, Any], where: str) -> list[ImportFault]:
        """Return why the import would fail on a line, or on this one with an earlier one; each reason once.

        :param line: decoded.
        :param where: names the line, such as ``line 3``.
        """
        faults: dict[ImportFault, None] = {}
        requests = {name: line[name] for name in line if name not in _OUTPUT}
        left: list[tuple[Any, _Field, int]] = [(requests, self._line, 0)]
        while left:
            value, field, depth = left.pop()
            kind = _KINDS.get(type(value))
            if kind is None:  # null is of any type
                continue
            if field.kind != kind:
                if field.kind:
                    faults[_two_types(field, kind)] = None
                    continue
                field.kind, field.where = kind, where
            if kind == "an object":
                if fault := _object_fault(value, field, depth):
                    faults[fault] = None
                    continue
                for name, inner in value.items():
                    child = field.fields.get(name) or self._new_field(name, field)
                    if child is None:
                        faults[_too_many()] = None
                    elif child.is_legal:
                        left.append((inner, child, depth + 1))
                    else:
                        faults[_illegal_name(child)] = None
                if len(field.fold) < len(field.fields) and (fault := _one_name_twice(value, field)):
                    faults[fault] = None
            elif kind == "a list":
                if field.items is None:
                    field.items = _Field("[]", field)
                for item in value:
                    if item is None or type(item) is list:
                        faults[_bad_item(field, item)] = None
                    else:
                        left.append((item, field.items, depth))
        return list(faults)

    def _new_field(self, name: str, parent: _Field) -> _Field | None:
        if self._count >= _MOST_FIELDS:
            return None
        self._count += 1
        parent.fields[name] = child = _Field(name, parent)
        parent.fold.add(name.lower())
        return child


def _object_fault(value: dict[str, Any], field: _Field, depth: int) -> ImportFault | None:
    if not value:
        return ImportFault(
            f"{field} is an empty object, which can't be imported from a file", _hint_for_empty(field)
        )
    if depth > DEEPEST:
        return ImportFault(
            f"{field} is nested more than {DEEPEST} objects deep, which can't be imported from a file",
            f"flatten the schema, or {_TABLE}",
        )
    return None


def _one_name_twice(value: dict[str, Any], field: _Field) -> ImportFault | None:
    # Two spellings may also come from two lines.
    spelled: dict[str, str] = {}
    for name in value:
        if (other := spelled.setdefault(name.lower(), name)) != name:
            return ImportFault(
                f"{field} has the fields {other!r:.100} and {name!r:.100}, which are one when imported from a file",
                f"rename one, or {_TABLE}",
            )
    return None


def _hint_for_empty(field: _Field) -> str:
    if filled := _FILLED_TOOLS.get(field.name):
        ((name, value),) = filled.items()
        shown = str(value).lower() if isinstance(value, bool) else f'["{value[0]}"]'
        return f'write {{"{name}": {shown}}}, which changes nothing, or {_TABLE}'
    return f"leave it out, give it a field, or {_TABLE}"


def _two_types(field: _Field, kind: str) -> ImportFault:
    return ImportFault(
        f"{field} is {kind} here and {field.kind} in {field.where}, and files are imported with one type for a field",
        "write it in one form in all lines",
    )


def _illegal_name(field: _Field) -> ImportFault:
    hint = "write what it refers to in its place" if field.name.startswith("$") else "rename it"
    return ImportFault(
        f"{field}: in a file, the name of a field holds only letters a to z, digits and _, and begins with no digit",
        f"{hint}, or {_TABLE}",
    )


def _bad_item(field: _Field, item: Any) -> ImportFault:
    if item is None:
        return ImportFault(
            f"{field} holds null, which a list that is imported from a file can't",
            f"leave it out (in a schema, say nullable instead), or {_TABLE}",
        )
    return ImportFault(
        f"{field} holds a list within a list, which can't be imported from a file",
        f"put an object between the two, or {_TABLE}",
    )


def _too_many() -> ImportFault:
    return ImportFault(
        f"all lines together have more than {_MOST_FIELDS:,} different fields, and a table has no more",
        "do not put data into names of fields",
    )
