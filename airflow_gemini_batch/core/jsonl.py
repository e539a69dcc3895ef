"""One line of a JSON Lines file: the object that it holds, or what is wrong with it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from math import isfinite
from typing import Any, cast

import orjson

from airflow_gemini_batch.core.defaults import LONGEST_ROW

_JQ = "write one object a line (jq -c . FILE > requests.jsonl)"
_UTF8_MARK = b"\xef\xbb\xbf"
_UTF16_MARKS = (b"\xff\xfe", b"\xfe\xff")
_GZIP_MARK = b"\x1f\x8b"
# What each name of a field ends in, and a text now and then.
_NAME_END = re.compile(rb'"\s*:')
_FLAT = {str, int, float, bool, type(None)}
# Beyond this, the fast parser reads whole numbers as floating-point ones.
_INEXACT = 2.0**63
_SURROGATE_BYTES = re.compile(rb"\xed[\xa0-\xbf][\x80-\xbf]")
_SURROGATE_ESCAPE = re.compile(r"\\u[dD][89a-fA-F]")


class LineError(ValueError):
    """A line that is not a JSON object.

    :param hint: what to do about it.
    :param whole_file: whether the whole file is wrong, not just this line.
    """

    def __init__(self, message: str, hint: str, *, whole_file: bool = False) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.whole_file = whole_file


# No text in UTF-8 ends like this, so it is not JSON either.
_CUT = b"\xff\xff"
_SHOWN = 100
_TOO_GREAT = "number is infinity"
_MOST_CONTAINERS = 1_000_000


def is_too_large(line: bytes, longest: int = LONGEST_ROW) -> bool:
    """Whether a line would take too much memory: by its length, or since an empty list takes thirty times its text."""
    size = len(line)
    return size > _MOST_CONTAINERS and (
        size > longest or line.count(b"[") + line.count(b"{") > _MOST_CONTAINERS
    )


def cut_line(line: bytes) -> bytes:
    """Return what stands for a line that is too large: its beginning, which nobody can read as JSON."""
    return line[:_SHOWN] + _CUT


def too_large() -> LineError:
    """Return the error for a line that :func:`is_too_large`."""
    return LineError(
        f"the line is longer than {LONGEST_ROW // 2**20} MB, or holds more than {_MOST_CONTAINERS:,} lists and objects",
        "put large media on Cloud Storage and refer to it, or divide the text",
    )


def without_mark(line: bytes) -> bytes:
    """Return the first line of a file without its byte order mark."""
    return line.removeprefix(_UTF8_MARK)


def check_encoding(first_line: bytes) -> None:
    """Raise :class:`LineError` if the first bytes of a file are not UTF-8 text."""
    if first_line.startswith(_GZIP_MARK):
        raise LineError(
            "the file is compressed with gzip, which Vertex AI does not read",
            "unpack it (gunzip)",
            whole_file=True,
        )
    if first_line.startswith(_UTF16_MARKS) or b"\0" in first_line[:4]:
        raise LineError("the file is UTF-16 text", "save it as UTF-8", whole_file=True)


def read_object(line: bytes) -> dict[str, Any]:
    """Return the object that a line holds, with white space around it or not; raises :class:`LineError`."""
    if is_too_large(line):
        raise too_large()
    try:
        value = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        raise _diagnosis(line.strip(), error) from None
    if isinstance(value, dict):
        names = len(value)
        if not _FLAT.issuperset(map(type, value.values())):
            names = sum(len(one) for one in _values_in(value) if type(one) is dict)
        if len(_NAME_END.findall(line)) != names:
            _check_names(line)
        return value
    if isinstance(value, list):
        raise LineError("a JSON array", "write one object a line (jq -c '.[]' FILE > requests.jsonl)")
    raise LineError(f"JSON, but not an object: {orjson.dumps(value).decode():.40}", _JQ)


def with_exact_integers(value: dict[str, Any], line: bytes) -> dict[str, Any]:
    """Return the object of a line with all digits of its integers; :func:`read_object` makes floats of large ones."""
    types = set(map(type, value.values()))
    # Most rows are flat and without any float, which is told in a fraction of the time.
    if float not in types and types <= _FLAT:
        return value
    if not any(type(one) is float and abs(one) >= _INEXACT for one in _values_in(value)):
        return value
    return cast("dict[str, Any]", json.loads(line))


def _values_in(value: dict[str, Any]) -> Iterator[Any]:
    """Yield a value and all values in it, however deep."""
    left: list[Any] = [value]
    while left:
        yield (one := left.pop())
        if type(one) is dict:
            left += one.values()
        elif type(one) is list:
            left += one


def _check_names(line: bytes) -> None:
    """Raise :class:`LineError` for an object in which two fields have one name: nobody can say which one counts."""

    def check(pairs: list[tuple[str, Any]]) -> None:
        seen: set[str] = set()
        for name, _ in pairs:
            if name in seen:
                raise LineError(
                    f"the field {name!r:.100} is there twice in one object", "leave one of them out"
                )
            seen.add(name)

    try:
        json.loads(line, object_pairs_hook=check, parse_int=float)
    except RecursionError:
        raise LineError("nested too deeply to be read", "flatten it") from None


def _diagnosis(line: bytes, error: orjson.JSONDecodeError) -> LineError:
    if line.endswith(_CUT):
        return too_large()
    if error.msg.startswith(_TOO_GREAT):
        return LineError(f"column {error.colno}: a number of more than 308 digits", "write it as a string")
    try:
        text = line.decode()
    except UnicodeDecodeError as broken:
        if _SURROGATE_BYTES.match(line, broken.start):
            return _lone_surrogate(broken.start + 1)
        return LineError(f"not UTF-8 at byte {broken.start + 1}", "save the file as UTF-8")
    if text.startswith("["):
        return LineError(
            "the file is one JSON array",
            "write one object a line (jq -c '.[]' FILE > requests.jsonl)",
            whole_file=True,
        )
    try:
        _, end = _DECODER.raw_decode(text)
    except _NotANumberError:
        return LineError(
            f"column {error.colno}: NaN or Infinity, which JSON does not know", "write null or leave it out"
        )
    except RecursionError:
        return LineError("nested too deeply to be read", "flatten the request")
    except json.JSONDecodeError as strict_error:
        return _unreadable(text, strict_error)
    rest = text[end:].lstrip()
    if rest.startswith("{"):
        return LineError(f"column {end + 1}: another object begins on the same line", _JQ)
    if rest:
        return LineError(f"column {end + 1}: {rest[:20]!r} after the object", _JQ)
    if _SURROGATE_ESCAPE.search(text):
        return _lone_surrogate(error.colno)
    return LineError(f"column {error.colno}: not JSON: {error.msg}", "write standard JSON")


def _unreadable(text: str, error: json.JSONDecodeError) -> LineError:
    if text.startswith("{") and (error.pos >= len(text) or error.msg.startswith("Unterminated string")):
        if text == "{":
            return LineError("the file is pretty-printed: an object over several lines", _JQ, whole_file=True)
        return LineError("the line ends inside an object: pretty-printed, or cut off", _JQ, whole_file=True)
    return LineError(f"column {error.colno}: not JSON: {error.msg}", "write standard JSON")


def _lone_surrogate(column: int) -> LineError:
    return LineError(
        f"column {column}: half of a surrogate pair, which is not a character",
        "replace it when writing the file: text.encode('utf-8', 'replace').decode()",
    )


class _NotANumberError(Exception):
    """NaN, Infinity or -Infinity."""


def _refuse_constant(name: str) -> None:
    raise _NotANumberError(name)


_DECODER = json.JSONDecoder(parse_constant=_refuse_constant)


# A string without its end goes on to that of the line, which is read once then.
_STRING_OR_LAST_COMMA = re.compile(r'("[^"\\]*(?:\\.[^"\\]*)*"?)|,(?=\s*[]}])')
_LONE_SURROGATE_CHARACTER = re.compile("[\ud800-\udfff]")
_REPLACEMENT = "\ufffd"


def _finite(text: str) -> float | None:
    number = float(text)
    return number if isfinite(number) else None


def tolerant_object(line: bytes) -> dict[str, Any] | None:
    """Return the object that a line holds; None if it is cut off, not UTF-8 or not an object.

    Half a surrogate pair becomes U+FFFD, ``NaN``, ``Infinity`` and ``1e400`` become ``null``, and a byte order mark and
    commas at the end of lists and objects are ignored.
    """
    try:
        value = orjson.loads(line)
    except orjson.JSONDecodeError:
        try:
            text = line.decode("utf-8-sig", "surrogatepass")
            text = _STRING_OR_LAST_COMMA.sub(lambda found: found[1] or "", text)
            value = json.loads(text, parse_constant=lambda _: None, parse_float=_finite)
            value = orjson.loads(
                _LONE_SURROGATE_CHARACTER.sub(_REPLACEMENT, json.dumps(value, ensure_ascii=False))
            )
        except (ValueError, RecursionError):
            return None
    return value if isinstance(value, dict) else None
