"""One line of an output file → what lands of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import GenericAlias
from typing import Annotated, Any, Literal, NamedTuple

import msgspec
import orjson

from airflow_gemini_batch.core.columns import TOKEN_COLUMNS
from airflow_gemini_batch.core.jsonl import tolerant_object
from airflow_gemini_batch.core.keys import is_sent_key
from airflow_gemini_batch.core.response_schema import AnswerColumn
from airflow_gemini_batch.landing.plan import LandingPlan
from airflow_gemini_batch.landing.schema_check import Check, answer_text, check_of, parse_answer
from airflow_gemini_batch.outputs.classify import Outcome, answer_candidate, classify_row
from airflow_gemini_batch.outputs.decoder import read_answer
from airflow_gemini_batch.outputs.matching import answer_identity

_PLAIN: dict[str, Any] = {"STRING": str, "INTEGER": int, "NUMBER": float, "BOOLEAN": bool}
_INT64 = 2**63


def flat_decoder(schema: Mapping[str, Any]) -> Callable[[str], tuple[Any, ...]] | None:
    """Return what decodes an answer into the values of its fields; ``None`` if the schema has more than plain fields.

    Plain are text, numbers, true or false, and lists of these. The decoder raises :class:`msgspec.DecodeError` for
    an answer that does not fit, or is not JSON alone.

    :param schema: of :func:`airflow_gemini_batch.core.response_schema.response_schema_of`.
    """
    if schema.get("type") != "OBJECT" or schema.get("nullable"):
        return None
    required = schema.get("required") or ()
    fields: list[Any] = []
    names = {}
    for index, (name, inner) in enumerate(schema["properties"].items()):
        kind = _flat_type(inner)
        if kind is None:
            return None
        field = f"field_{index}"  # the name itself may be a word of Python's
        names[field] = name
        if name in required:
            fields.append((field, kind | None if inner.get("nullable") else kind))
        else:
            fields.append((field, kind | None, None))
    answer = msgspec.defstruct("Answer", fields, rename=names, kw_only=True, gc=False)
    decode, values = msgspec.json.Decoder(answer).decode, msgspec.structs.astuple
    return lambda text: values(decode(text))


def _flat_type(schema: Mapping[str, Any]) -> Any:
    """Return the type of a field, ``None`` if it is not plain."""
    kind = schema.get("type", "")
    if kind == "ARRAY":
        item = schema["items"]
        inner = None if item.get("type") == "ARRAY" or item.get("nullable") else _flat_type(item)
        if inner is None:
            return None
        return _bounded(
            GenericAlias(list, (inner,)),
            min_length=_whole(schema.get("minItems")),
            max_length=_whole(schema.get("maxItems")),
        )
    if kind == "STRING" and schema.get("enum"):
        return Literal[tuple(schema["enum"])]
    if kind == "INTEGER":
        lowest, highest = schema.get("minimum"), schema.get("maximum")
        return _bounded(
            int,
            ge=-_INT64 if lowest is None else max(lowest, -_INT64),
            le=_INT64 - 1 if highest is None else min(highest, _INT64 - 1),
        )
    if kind == "NUMBER":
        return _bounded(float, ge=schema.get("minimum"), le=schema.get("maximum"))
    return _PLAIN.get(kind)


def _bounded(kind: Any, **bounds: Any) -> Any:
    held: dict[str, Any] = {name: bound for name, bound in bounds.items() if bound is not None}
    return Annotated[kind, msgspec.Meta(**held)] if held else kind


def _whole(bound: Any) -> int | None:
    # As any int64 in JSON, it may be written as text.
    return None if bound is None else int(bound)


class Facts(NamedTuple):
    """What the service says beside the answer, by the columns that it lands in; the time is text."""

    batch_model: str | None
    batch_finish_reason: str | None
    batch_prompt_tokens: int | None
    batch_output_tokens: int | None
    batch_thoughts_tokens: int | None
    batch_cached_tokens: int | None
    batch_tool_tokens: int | None
    processed_time: str | None


class AnswerRow(NamedTuple):
    """What lands of one answer.

    :param label: as in :class:`.AnswerIdentity`, like the digest and the bare key.
    :param values: of the answer's columns; ``None`` in a row that is not ok.
    :param shortened: whether a vector came longer than asked and was cut; ``None`` for other answers.
    """

    label: str | None
    digest: str | None
    outcome: str
    code: int | None
    message: str | None
    values: Sequence[Any]
    facts: Facts
    shortened: bool | None = None
    bare_key: str | None = None

    @property
    def cells(self) -> tuple[Any, ...]:
        """All of it as one flat row."""
        return (*self[:5], *self.values, *self.facts, self.shortened, self.bare_key)


_LARGEST = _INT64 - 1


class AnswerReader:
    """Reads the lines of output files.

    Good answers of the usual shape take a short way, see :mod:`airflow_gemini_batch.outputs.decoder`, and every
    other line the long one, through :func:`airflow_gemini_batch.outputs.classify.classify_row`. Both give the same row.
    """

    def __init__(self, plan: LandingPlan) -> None:
        self._check: Check | None = check_of(plan.schema) if plan.schema else None
        self._decode_flat = flat_decoder(plan.schema) if plan.schema else None
        self._paths = [column.path for column in plan.columns]
        conversions = enumerate(map(_conversion, plan.columns))
        self._conversions = [(index, convert) for index, convert in conversions if convert]
        self._empty = (None,) * len(plan.columns)

    def read(self, line: bytes) -> AnswerRow | None:
        """Return the row of a line, ``None`` for a line that can't be read."""
        row = read_answer(line)
        if row is None or not is_sent_key(row.key):
            return self._read_odd(line)
        values, mismatch = self._values(row.text)
        response = row.response
        tokens = response.usageMetadata
        facts = Facts(
            response.modelVersion,
            "STOP",
            tokens.promptTokenCount,
            tokens.candidatesTokenCount,
            tokens.thoughtsTokenCount,
            tokens.cachedContentTokenCount,
            tokens.toolUsePromptTokenCount,
            row.processed_time,
        )
        label = str(row.key)
        return AnswerRow(label, None, "invalid" if mismatch else "ok", None, mismatch, values, facts)

    def _read_odd(self, line: bytes) -> AnswerRow | None:
        content = tolerant_object(line)
        if content is None:
            return None
        label, digest, bare_key = answer_identity(content)
        response = _object(content.get("response"))
        result = classify_row(content.get("status"), response, content.get("error"))
        values: Sequence[Any] = self._empty
        message = result.message or None
        outcome = result.outcome
        if outcome is Outcome.OK:
            values, message = self._values(answer_text(response))
            outcome = Outcome.INVALID if message else outcome
        facts = _facts(response, text_or_none(content.get("processed_time")))
        return AnswerRow(label, digest, outcome.value, result.code, message, values, facts, bare_key=bare_key)

    def _values(self, text: str) -> tuple[Sequence[Any], str | None]:
        """Return the values of the answer's columns, and what is wrong with it."""
        if self._check is None:
            return (text,), None
        if self._decode_flat:
            try:
                return self._decode_flat(text), None
            except msgspec.DecodeError:
                pass  # it may be fenced; if not, the message has to say why
        answer, mismatch = parse_answer(text, self._check)
        if mismatch or answer is None:
            return self._empty, mismatch
        values = [answer if path is None else answer.get(path) for path in self._paths]
        for index, convert in self._conversions:
            if values[index] is not None:
                values[index] = convert(values[index])
        return values, None


def _conversion(column: AnswerColumn) -> Callable[[Any], Any] | None:
    """Return what makes a column's value of a checked one, ``None`` when it is one."""
    if column.type == "JSON":
        return lambda value: orjson.dumps(value).decode()
    if column.type == "FLOAT64":
        # 1 fits a schema that asks for a number.
        return (lambda values: list(map(float, values))) if column.repeated else float
    return None


def _facts(response: Mapping[str, Any], processed_time: str | None) -> Facts:
    candidate = answer_candidate(response) or {}
    usage = _object(response.get("usageMetadata"))
    tokens = {column: _count(usage.get(field)) for column, field in TOKEN_COLUMNS.items()}
    return Facts(
        text_or_none(response.get("modelVersion")),
        text_or_none(candidate.get("finishReason")),
        processed_time=processed_time,
        **tokens,
    )


def _object(value: Any) -> Mapping[str, Any]:
    if isinstance(value, str):
        value = tolerant_object(value.encode())
    return value if isinstance(value, Mapping) else {}


def text_or_none(value: Any) -> str | None:
    """Return a text; ``None`` for any other value."""
    return value if isinstance(value, str) else None


def _count(value: Any) -> int | None:
    """Return a number of tokens; as any int64 in JSON, it may be written as text."""
    if isinstance(value, str) and value.isdecimal():
        value = int(value)
    return value if type(value) is int and 0 <= value <= _LARGEST else None
