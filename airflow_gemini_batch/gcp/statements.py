"""Statements and the values that travel beside them, never as part of their text."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, time
from decimal import Decimal
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from google.cloud.bigquery import QueryJobConfig
    from google.cloud.bigquery.query import _AbstractQueryParameter

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}")
_OWN_NAME = re.compile(r"p[0-9]+", re.IGNORECASE)
_INT64 = 2**63
# What a value of Python is in GoogleSQL; a class before those that it is derived from.
_TYPES: tuple[tuple[type, str], ...] = (
    (bool, "BOOL"),
    (int, "INT64"),
    (float, "FLOAT64"),
    (Decimal, "BIGNUMERIC"),
    (str, "STRING"),
    (bytes, "BYTES"),
    (datetime, "DATETIME"),
    (date, "DATE"),
    (time, "TIME"),
)


@dataclass(frozen=True, slots=True)
class Statement:
    """A statement and its parameters.

    :param parameters: of type STRING, by names that :class:`Parameters` gives.
    :param given: the user's own, which :func:`checked_parameters` has let through.
    """

    sql: str
    parameters: Mapping[str, str] = field(default_factory=dict)
    given: Mapping[str, Any] = field(default_factory=dict)

    def job_config(self, **options: Any) -> QueryJobConfig:
        """Return the parameters, and further options, as the BigQuery client takes them."""
        from google.cloud.bigquery import QueryJobConfig

        values = {**self.parameters, **self.given}
        return QueryJobConfig(
            query_parameters=[_query_parameter(name, value) for name, value in values.items()], **options
        )


def script(*statements: Statement) -> Statement:
    """Return statements as one script.

    Raises :class:`ValueError` when one parameter would have two values.
    """
    parameters: dict[str, str] = {}
    given: dict[str, Any] = {}
    for statement in statements:
        for values, more in ((parameters, statement.parameters), (given, statement.given)):
            if several := [name for name, value in more.items() if values.setdefault(name, value) != value]:
                raise ValueError(f"two statements of a script have parameters of the name {several[0]}")
    return Statement(";\n".join(one.sql.rstrip(";") for one in statements), parameters, given)


def checked_parameters(parameters: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return the user's parameters of a query by name.

    A value is a text, a number, True or False, bytes, a date, a time, a datetime (a TIMESTAMP when it has a time zone,
    else a DATETIME), or a list of one of these.

    Raises :class:`ValueError` for other values and for names that can't be used.
    """
    if not isinstance(parameters, Mapping | None):
        raise ValueError(f"source_parameters: expected a dict of names and values, got {parameters!r:.100}")
    for name, value in (parameters or {}).items():
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            raise ValueError(f"source_parameters: {name!r:.100} is not a name (letters, digits and _)")
        if _OWN_NAME.fullmatch(name):
            raise ValueError(
                f"source_parameters: this package uses names such as {name} itself. Choose another one"
            )
        try:
            _query_parameter(name, value)
        except (TypeError, ValueError) as error:
            raise ValueError(f"source_parameters: {name}: {error}") from None
    return dict(parameters or {})


def _query_parameter(name: str, value: Any) -> _AbstractQueryParameter:
    from google.cloud.bigquery import ArrayQueryParameter, ScalarQueryParameter

    if not isinstance(value, list | tuple):
        return ScalarQueryParameter(name, _type_of(value), value)
    kinds = sorted({_type_of(one) for one in value})
    if len(kinds) != 1:
        raise ValueError(
            f"expected values of one type in a list, got {' and '.join(kinds) or 'an empty list, which has none'}"
        )
    return ArrayQueryParameter(name, kinds[0], list(value))


def _type_of(value: Any) -> str:
    """Return GoogleSQL's type of a value; raises :class:`ValueError` for one that has none there."""
    if isinstance(value, datetime) and value.tzinfo:
        return "TIMESTAMP"
    if isinstance(value, int) and not -_INT64 <= value < _INT64:
        raise ValueError("the number is larger than INT64 takes")
    for kind, name in _TYPES:
        if isinstance(value, kind):
            return name
    raise ValueError(
        f"expected a text, a number, a date, a time or a list of one of them, got {value!r:.100}"
    )


@dataclass(slots=True)
class Parameters:
    """The values of one statement, while it is written."""

    values: dict[str, str] = field(default_factory=dict)
    _names: dict[str, str] = field(default_factory=dict)

    def bind(self, value: str) -> str:
        """Return the parameter that stands for a value."""
        name = self._names.setdefault(value, f"p{len(self._names)}")
        self.values[name] = value
        return f"@{name}"
