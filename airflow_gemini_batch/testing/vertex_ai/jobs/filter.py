"""The filter of a list call: comparisons joined with AND, OR, NOT and parentheses (google.aip.dev/160).

As in every Google API, OR binds tighter than AND: ``a AND b OR c`` is ``a AND (b OR c)``.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from airflow_gemini_batch.testing.vertex_ai.errors import CallError
from airflow_gemini_batch.testing.vertex_ai.jobs.filter_fields import comparison
from airflow_gemini_batch.testing.vertex_ai.jobs.job import Job

Predicate = Callable[[Job], bool]

_TOKENS = re.compile(
    r"""\s*(?:
        (?P<quoted>"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')
      | (?P<operator>!=|<=|>=|[=<>:])
      | (?P<bracket>[()])
      | (?P<word>[^\s"'!<>=:()]+)
    )""",
    re.VERBOSE,
)
_DEEPEST = 50


def parse_filter(text: str) -> Predicate:
    """Turn a filter into a test of one job; an empty one lets every job through.

    Raises :class:`~airflow_gemini_batch.testing.vertex_ai.errors.CallError`, ``INVALID_ARGUMENT``.
    """
    if not text.strip():
        return lambda job: True
    return _Parser(text).parse()


@dataclass(frozen=True, slots=True)
class _Token:
    kind: str
    text: str


class _Parser:
    def __init__(self, text: str) -> None:
        self._text = text
        self._tokens = self._split(text)
        self._at = 0
        self._depth = 0

    def parse(self) -> Predicate:
        predicate = self._all_of()
        if self._peek() is not None:
            raise self._fault(f"unexpected '{self._tokens[self._at].text}'")
        return predicate

    def _all_of(self) -> Predicate:
        parts = [self._any_of()]
        while self._take_word("AND"):
            parts.append(self._any_of())
        return parts[0] if len(parts) == 1 else lambda job: all(part(job) for part in parts)

    def _any_of(self) -> Predicate:
        parts = [self._term()]
        while self._take_word("OR"):
            parts.append(self._term())
        return parts[0] if len(parts) == 1 else lambda job: any(part(job) for part in parts)

    def _term(self) -> Predicate:
        if self._take_word("NOT"):
            inner = self._term()
            return lambda job: not inner(job)
        token = self._next()
        if token.kind == "bracket" and token.text == "(":
            self._depth += 1
            if self._depth > _DEEPEST:
                raise self._fault("too many parentheses")
            inner = self._all_of()
            closing = self._next()
            if closing.text != ")" or closing.kind != "bracket":
                raise self._fault("a parenthesis is not closed")
            self._depth -= 1
            return inner
        return self._comparison(token)

    def _comparison(self, field: _Token) -> Predicate:
        if field.kind != "word":
            raise self._fault(f"a field is expected before '{field.text}'")
        name = field.text
        if name.endswith("."):
            # labels."key" : the key of a label may be quoted.
            name += self._value(self._next())
        operator = self._next()
        if operator.kind != "operator":
            raise self._fault(f"an operator is expected after '{name}'")
        value = self._value(self._next())
        # A value like 2024-01-01T00:00:00Z holds colons even when nobody has quoted it.
        while (token := self._peek()) is not None and token == _Token("operator", ":"):
            self._at += 1
            value += ":" + self._value(self._next())
        try:
            return comparison(name, operator.text, value)
        except ValueError as error:
            raise self._fault(str(error)) from error

    def _value(self, token: _Token) -> str:
        if token.kind == "quoted":
            return re.sub(r"\\(.)", r"\1", token.text[1:-1])
        if token.kind != "word":
            raise self._fault(f"a value is expected before '{token.text}'")
        return token.text

    def _take_word(self, word: str) -> bool:
        if self._peek() == _Token("word", word):
            self._at += 1
            return True
        return False

    def _peek(self) -> _Token | None:
        return self._tokens[self._at] if self._at < len(self._tokens) else None

    def _next(self) -> _Token:
        token = self._peek()
        if token is None:
            raise self._fault("it ends too early")
        self._at += 1
        return token

    def _split(self, text: str) -> list[_Token]:
        tokens, position, text = [], 0, text.rstrip()
        while position < len(text):
            match = _TOKENS.match(text, position)
            if match is None or match.lastgroup is None:
                raise self._fault(f"can't read '{text[position:].strip()}'")
            tokens.append(_Token(match.lastgroup, match[match.lastgroup]))
            position = match.end()
        return tokens

    def _fault(self, reason: str) -> CallError:
        return CallError("INVALID_ARGUMENT", f"Invalid filter: {reason} in `{self._text}`.")
