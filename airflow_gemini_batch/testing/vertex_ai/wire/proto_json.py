"""JSON as Google's front ends read it into a message.

They are strict about what a message does not describe, and lenient about how it is written: ``camelCase`` or
``snake_case``, one value for a list of one, numbers as text, enums in any case or as numbers, commas before a closing
bracket. ``null`` is absent.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import orjson

from airflow_gemini_batch.testing.vertex_ai.wire.messages import Field, Message, snake_case

# A text, which is left as it is, or a comma with nothing but a closing bracket behind it.
_TRAILING_COMMA = re.compile(rb'("(?:[^"\\]|\\.)*")|,(?=\s*[}\]])', re.DOTALL)


class WireError(ValueError):
    """The JSON does not fit the message; the text is what the service would answer."""


def parse(body: bytes) -> Any:
    """Read a JSON text; raises :class:`WireError` if it is not one."""
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError as error:
        try:
            return orjson.loads(_TRAILING_COMMA.sub(lambda found: found[1] or b"", body))
        except orjson.JSONDecodeError:
            raise WireError(f"Invalid JSON payload received. {error}") from error


def read(value: object, message: Message, at: str = "") -> dict[str, Any]:
    """Read a message; returns it with camelCase names, upper-case enums and without nulls.

    :param at: path of ``value`` in error messages, such as ``batch_prediction_job``.

    Raises :class:`WireError`.
    """
    if not isinstance(value, Mapping):
        raise _invalid(at, message.name, value)
    result: dict[str, Any] = {}
    for spelled, inner in value.items():
        name = message.spellings.get(spelled)
        if name is None:
            place = f" at '{at}'" if at else ""
            raise WireError(
                f'Invalid JSON payload received. Unknown name "{spelled}"{place}: Cannot find field.'
            )
        if inner is None:
            continue
        path = f"{at}.{snake_case(name)}" if at else snake_case(name)
        if name in result:
            raise WireError(f"Invalid value at '{path}', the field was given in two spellings.")
        result[name] = _shaped(inner, message.fields[name], path)
    if len(chosen := [name for name in message.one_of if name in result]) > 1:
        raise WireError(
            f"Invalid value at '{at}' (oneof), oneof field is already set. Cannot set both "
            f"{' and '.join(repr(snake_case(name)) for name in sorted(chosen)[:2])}."
        )
    return result


def missing(value: Mapping[str, Any], message: Message, at: str = "") -> Iterator[str]:
    """Return the paths of required fields that a message, once it is read, does not set."""
    for name, field in message:
        path = f"{at}.{snake_case(name)}" if at else snake_case(name)
        inner = value.get(name)
        if field.required and (inner is None or inner in ("", [])):
            yield path
        elif field.message and inner is not None:
            for place, item in _items(inner, field, path):
                yield from missing(item, field.message, place)


def _shaped(value: object, field: Field, at: str) -> Any:
    if field.shape == "list":
        return [_one(item, field, place) for place, item in _items(value, field, at)]
    if field.shape == "map":
        if not isinstance(value, Mapping):
            raise _invalid(at, "map", value)
        return {key: _one(item, field, f"{at}[{key}]") for key, item in value.items()}
    return _one(value, field, at)


def _items(value: Any, field: Field, at: str) -> Iterator[tuple[str, Any]]:
    if field.shape == "map":
        yield from ((f"{at}[{key}]", item) for key, item in value.items())
    elif field.shape == "list":
        for position, item in enumerate(value if isinstance(value, list) else [value]):
            yield f"{at}[{position}]", item
    else:
        yield at, value


def _one(value: object, field: Field, at: str) -> Any:
    if field.message:
        return read(value, field.message, at)
    if field.values:
        return _enum(value, field, at)
    if not _FITS[field.kind](value):
        raise _invalid(at, field.kind, value)
    return value


def _enum(value: object, field: Field, at: str) -> object:
    if isinstance(value, str) and (name := value.upper()) in field.values:
        return name
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    raise _invalid(at, "TYPE_ENUM", value)


def _invalid(at: str, expected: str, value: object) -> WireError:
    shown = f'"{value}"' if isinstance(value, str) else str(value)
    return WireError(f"Invalid value at '{at}' ({expected}), {shown[:200]}")


def _whole(bits: int) -> Callable[[object], bool]:
    lowest, highest = -(2 ** (bits - 1)), 2 ** (bits - 1) - 1

    def fits(value: object) -> bool:
        if isinstance(value, str):
            return re.fullmatch(r"-?\d{1,20}", value) is not None and lowest <= int(value) <= highest
        if isinstance(value, bool) or not isinstance(value, int | float):
            return False
        return lowest <= value <= highest and value == int(value)

    return fits


def _number(value: object) -> bool:
    if isinstance(value, str):
        return re.fullmatch(r"-?\d+(\.\d+)?([eE][+-]?\d+)?|-?Infinity|NaN", value) is not None
    return isinstance(value, int | float) and not isinstance(value, bool)


def _text(pattern: str) -> Callable[[object], bool]:
    compiled = re.compile(pattern)
    return lambda value: isinstance(value, str) and compiled.fullmatch(value) is not None


def _duration(value: object) -> bool:
    if isinstance(value, Mapping):
        return bool(value) and value.keys() <= {"seconds", "nanos"} and all(map(_whole(64), value.values()))
    return _text(r"-?\d+(\.\d{1,9})?s")(value)


_FITS: Mapping[str, Callable[[object], bool]] = {
    "TYPE_STRING": lambda value: isinstance(value, str),
    "TYPE_BOOL": lambda value: isinstance(value, bool),
    "TYPE_INT32": _whole(32),
    "TYPE_INT64": _whole(64),
    "TYPE_FLOAT": _number,
    "TYPE_DOUBLE": _number,
    "TYPE_BYTES": _text(r"[A-Za-z0-9+/_-]*={0,2}"),
    "type.googleapis.com/google.protobuf.Duration": _duration,
    "type.googleapis.com/google.protobuf.Timestamp": _text(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?Z"),
    "type.googleapis.com/google.protobuf.Value": lambda value: True,
    "type.googleapis.com/google.protobuf.Struct": lambda value: isinstance(value, Mapping),
    "type.googleapis.com/google.protobuf.ListValue": lambda value: isinstance(value, list),
}
