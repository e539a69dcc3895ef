"""Reading of proto3 JSON, as Google's front ends do it.

A field may be spelled ``camelCase`` or ``snake_case``, ``null`` means absent, one value may stand for a list of one,
and the values of enums may be in any case or numbers. What contradicts the message is refused, in the service's own
words. What the message does not know (a field, a value of an enum) is refused too, or told as a doubt: the service may
know it already.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from enum import Enum
from functools import cache
from typing import Any


class WireError(ValueError):
    """The JSON does not fit the message; the text is what the service would answer."""


class Scalar(Enum):
    """Leaves of a message; the value is the name that error messages use."""

    STRING = "TYPE_STRING"
    BYTES = "TYPE_BYTES"
    BOOL = "TYPE_BOOL"
    INT32 = "TYPE_INT32"
    INT64 = "TYPE_INT64"
    FLOAT = "TYPE_FLOAT"
    DURATION = "type.googleapis.com/google.protobuf.Duration"
    STRUCT = "type.googleapis.com/google.protobuf.Struct"
    VALUE = "type.googleapis.com/google.protobuf.Value"


@dataclass(frozen=True, slots=True)
class Choice:
    """An enum: its type's name and the names of its values.

    :param closed: whether no others are to be expected.
    """

    name: str
    values: frozenset[str]
    closed: bool = False


@dataclass(frozen=True, slots=True)
class Repeated:
    """A list of one type."""

    of: FieldType


@dataclass(frozen=True, slots=True)
class MapOf:
    """A map from strings to one type."""

    of: FieldType


@dataclass(frozen=True, slots=True, eq=False)
class Message:
    """A message: its fields by their camelCase names, and the groups of which only one may be set.

    Equality is identity, because a message may hold itself.
    """

    fields: dict[str, FieldType]
    oneofs: tuple[frozenset[str], ...] = ()
    spellings: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, kind in self.fields.items():
            self.add(name, kind)

    def add(self, name: str, kind: FieldType) -> None:
        """Add a field; for messages that hold themselves."""
        self.fields[name] = kind
        self.spellings[name] = name
        self.spellings[snake_case(name)] = name


FieldType = Scalar | Choice | Repeated | MapOf | Message


def choice(name: str, values: str, *, closed: bool = False) -> Choice:
    """Make a :class:`Choice` from space-separated value names."""
    return Choice(name, frozenset(values.split()), closed)


@cache
def snake_case(name: str) -> str:
    """``fileUri`` → ``file_uri``."""
    return re.sub(r"[A-Z]", lambda match: "_" + match[0].lower(), name)


def read(value: object, message: Message, at: str = "", doubts: list[str] | None = None) -> dict[str, Any]:
    """Check ``value`` against ``message``; returns it with camelCase names and without nulls.

    :param at: path of ``value`` in error messages, such as ``batch_prediction_job``.
    :param doubts: takes a text for each field and each value of an enum that the message does not know, and these are
        kept as they are. ``None`` refuses them.

    Raises :class:`WireError`.
    """
    if not isinstance(value, Mapping):
        raise WireError(_invalid(at, "message", value))
    result: dict[str, Any] = {}
    for spelled, inner in value.items():
        name = message.spellings.get(spelled)
        if name is None:
            if doubts is None:
                place = f" at '{at}'" if at else ""
                raise WireError(
                    f'Invalid JSON payload received. Unknown name "{spelled}"{place}: Cannot find field.'
                )
            doubts.append(_unknown_field(str(spelled), message, at))
            result[str(spelled)] = inner
            continue
        if inner is None:
            continue
        path = f"{at}.{snake_case(name)}" if at else snake_case(name)
        if name in result:
            raise WireError(f"Invalid value at '{path}', field was set twice under two spellings.")
        result[name] = _field(inner, message.fields[name], path, doubts)
    for group in message.oneofs:
        if len(chosen := sorted(group & result.keys())) > 1:
            raise WireError(
                f"Invalid value at '{at}' (oneof), oneof field is already set. Cannot set both "
                f"'{snake_case(chosen[0])}' and '{snake_case(chosen[1])}'."
            )
    return result


def _field(value: object, kind: FieldType, at: str, doubts: list[str] | None) -> Any:
    match kind:
        case Message():
            return read(value, kind, at, doubts)
        case Repeated(of):
            items: Iterable[object] = value if isinstance(value, list) else [value]
            return [_field(item, of, f"{at}[{position}]", doubts) for position, item in enumerate(items)]
        case MapOf(of):
            if not isinstance(value, Mapping):
                raise WireError(_invalid(at, "map", value))
            return {key: _field(item, of, f"{at}[{key}]", doubts) for key, item in value.items()}
        case Choice():
            return _choice(value, kind, at, doubts)
        case Scalar():
            if not _FITS[kind](value):
                raise WireError(_invalid(at, kind.value, value))
            return value


def _choice(value: object, kind: Choice, at: str, doubts: list[str] | None) -> object:
    if isinstance(value, str):
        if (name := value.upper()) in kind.values:
            return name
        if doubts is not None and not kind.closed:
            doubts.append(f"{at} is {value!r:.100}, which this release does not know as a {kind.name}")
            return value
    elif isinstance(value, int) and not isinstance(value, bool):
        return value  # the number of a value
    raise WireError(_invalid(at, kind.name, value))


def _unknown_field(spelled: str, message: Message, at: str) -> str:
    place = f" at {at}" if at else ""
    like = get_close_matches(spelled, message.fields, n=1)
    meant = f": is {like[0]} meant?" if like else ""
    return f'this release does not know the field "{spelled:.100}"{place}{meant}'


def _invalid(at: str, expected: str, value: object) -> str:
    shown = f'"{value}"' if isinstance(value, str) else str(value)
    return f"Invalid value at '{at}' ({expected}), {shown[:200]}"


def _is_whole(value: object, bits: int) -> bool:
    if isinstance(value, str):
        return re.fullmatch(r"-?\d{1,20}", value) is not None and _is_whole(int(value), bits)
    if not isinstance(value, int | float) or isinstance(value, bool) or value != int(value):
        return False
    limit = 1 << (bits - 1)
    return -limit <= value < limit


def _is_float(value: object) -> bool:
    if isinstance(value, str):
        return re.fullmatch(r"-?\d+(\.\d+)?([eE][+-]?\d+)?", value) is not None
    return isinstance(value, int | float) and not isinstance(value, bool)


def _matches(pattern: str) -> Callable[[object], bool]:
    compiled = re.compile(pattern)
    return lambda value: isinstance(value, str) and compiled.fullmatch(value) is not None


_is_duration_text = _matches(r"-?\d+(\.\d{1,9})?s")


def _is_duration(value: object) -> bool:
    """Take ``"1.5s"``, and ``{"seconds": 1, "nanos": 500000000}`` as BigQuery and the documentation's samples write."""
    if isinstance(value, Mapping):
        return value.keys() <= {"seconds", "nanos"} and all(_is_whole(part, 64) for part in value.values())
    return _is_duration_text(value)


_FITS: dict[Scalar, Callable[[object], bool]] = {
    Scalar.STRING: lambda value: isinstance(value, str),
    Scalar.BYTES: _matches(r"[A-Za-z0-9+/_-]*={0,2}"),
    Scalar.BOOL: lambda value: isinstance(value, bool),
    Scalar.INT32: lambda value: _is_whole(value, 32),
    Scalar.INT64: lambda value: _is_whole(value, 64),
    Scalar.FLOAT: _is_float,
    Scalar.DURATION: _is_duration,
    Scalar.STRUCT: lambda value: isinstance(value, Mapping),
    Scalar.VALUE: lambda value: True,
}
