"""Response schemas in SQL: why an answer does not fit, and the values of its columns.

The twin of :mod:`airflow_gemini_batch.landing.schema_check`: both give the same messages for the same answer.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from airflow_gemini_batch.core.response_schema import AnswerColumn
from airflow_gemini_batch.exceptions import InvalidRequestError
from airflow_gemini_batch.gcp.statements import Parameters
from airflow_gemini_batch.landing.schema_check import (
    EMPTY_ANSWER,
    FENCE_END_PATTERN,
    FENCE_PATTERN,
    FENCED_PATTERN,
    NOT_JSON,
    PREVIEW_LENGTH,
    expected,
)
from airflow_gemini_batch.outputs.classify_sql import parsed_json

_UNQUOTABLE = re.compile(r"""["'`\\\x00-\x1f]""")


def parsed_answer(text: str) -> str:
    """Return the expression for the JSON value that a text holds, in a code fence or not; NULL when it holds none.

    The twin of :func:`airflow_gemini_batch.landing.schema_check.parse_answer`.
    """
    begins = f"(?:{FENCED_PATTERN})"
    fenced = (f"{begins}.*?){FENCE_END_PATTERN}", f"{begins}.*)```", f"{begins}.*?)```", f"{begins}.*)")
    # By code point: the character itself can't be seen.
    places = [f"REGEXP_REPLACE({text}, r'^\\x{{FEFF}}', '')"]
    places += [f"REGEXP_EXTRACT({text}, r'(?s){FENCE_PATTERN}({rest}')" for rest in fenced]
    return f"COALESCE({', '.join(map(parsed_json, places))})"


def mismatch_expression(schema: Mapping[str, Any], text: str, answer: str, parameters: Parameters) -> str:
    """Return the expression for the reason why an answer does not fit a schema; NULL when it fits.

    :param schema: as :func:`airflow_gemini_batch.core.response_schema.response_schema_of` gives it.
    :param text: an expression for the answer as the model wrote it.
    :param answer: an expression of type JSON, what :func:`parsed_answer` makes of the text.
    :param parameters: takes what the schema names and allows.

    Raises :class:`~airflow_gemini_batch.exceptions.InvalidRequestError` for a field that BigQuery can't read.
    """
    return f"""CASE
      WHEN {text} = '' THEN '{EMPTY_ANSWER}'
      WHEN {answer} IS NULL THEN CONCAT('{NOT_JSON}', SUBSTR({text}, 1, {PREVIEW_LENGTH}))
      ELSE {_Check(parameters).mismatch(schema, _Value(answer))}
    END"""


def value_expression(column: AnswerColumn, answer: str) -> str:
    """Return the expression for a column's value in an answer that fits; NULL in one that is NULL."""
    value = _Value(answer)
    if column.path is not None:
        value = value.field(column.path)
    if column.repeated:
        item = _typed("JSON_VALUE(item)", column.type)
        return f"ARRAY(SELECT {item} FROM UNNEST({value.items}) AS item WITH OFFSET AS item_index ORDER BY item_index)"
    if column.type == "JSON":
        return f"IF({value.type} = 'null', NULL, {value.json})"
    return _typed(value.scalar, column.type)


def _typed(text: str, kind: str) -> str:
    return text if kind == "STRING" else f"SAFE_CAST({text} AS {kind})"


@dataclass(frozen=True, slots=True)
class _Value:
    """A value within a JSON value.

    :param root: an expression.
    :param path: within the root.
    :param names: how messages name it: texts, and expressions for the indexes of lists between them.
    """

    root: str
    path: str = "$"
    names: tuple[str, ...] = ("",)

    def field(self, name: str) -> _Value:
        if _UNQUOTABLE.search(name):
            raise InvalidRequestError(
                f"response_schema: BigQuery can't read the field {name!r}. Rename it without quotes, backslashes and "
                "line ends"
            )
        *before, last = self.names
        return _Value(self.root, f'{self.path}."{name}"', (*before, f"{last}.{name}"))

    def item(self, item: str, index: str) -> _Value:
        *before, last = self.names
        return _Value(item, names=(*before, f"{last}[", index, "]"))

    @property
    def json(self) -> str:
        return self.root if self.path == "$" else f"JSON_QUERY({self.root}, '{self.path}')"

    @property
    def type(self) -> str:
        return f"IFNULL(JSON_TYPE({self.json}), 'absent')"

    @property
    def scalar(self) -> str:
        return f"JSON_VALUE({self.root}, '{self.path}')"

    @property
    def items(self) -> str:
        return f"JSON_QUERY_ARRAY({self.root}, '{self.path}')"


@dataclass(frozen=True, slots=True)
class _Check:
    """Writes the expression for each kind of schema.

    :param depth: number of lists around, so that their items have names of their own.
    """

    parameters: Parameters
    depth: int = 0

    def mismatch(self, schema: Mapping[str, Any], value: _Value) -> str:
        if "anyOf" in schema:
            options = [self.mismatch(option, value) for option in schema["anyOf"]]
            mismatch = self._unless(" OR ".join(f"{option} IS NULL" for option in options), schema, value)
        elif schema["type"] == "ARRAY":
            mismatch = self._array(schema, value)
        elif schema["type"] == "OBJECT":
            mismatch = self._object(schema, value)
        else:
            mismatch = self._unless(self._scalar(schema, value), schema, value)
        return f"IF({value.type} = 'null', NULL, {mismatch})" if schema.get("nullable") else mismatch

    def _unless(self, fits: str, schema: Mapping[str, Any], value: _Value) -> str:
        """Return the expression that is NULL if a condition holds, and else the message."""
        first, *names = value.names
        first = first.removeprefix(".") if first.startswith(".") else f"the answer{first}"
        texts = [first, *names]
        texts[-1] += f": expected {expected(schema)}, got "
        message = [text if index % 2 else self.parameters.bind(text) for index, text in enumerate(texts)]
        # TO_JSON_STRING gives 'null' for what is not there.
        got = (
            f"IF({value.json} IS NULL, 'nothing', SUBSTR(TO_JSON_STRING({value.json}), 1, {PREVIEW_LENGTH}))"
        )
        return f"IF({fits}, NULL, CONCAT({', '.join([*message, got])}))"

    def _scalar(self, schema: Mapping[str, Any], value: _Value) -> str:
        kind = {"INTEGER": "number"}.get(schema["type"], schema["type"].lower())
        fits = [f"{value.type} = '{kind}'"]
        if allowed := schema.get("enum"):
            fits.append(f"{value.scalar} IN ({', '.join(map(self.parameters.bind, allowed))})")
        number = f"SAFE_CAST({value.scalar} AS {'INT64' if schema['type'] == 'INTEGER' else 'FLOAT64'})"
        if schema["type"] == "INTEGER":
            fits.append(f"{number} IS NOT NULL")
        for sign, bound in ((">=", schema.get("minimum")), ("<=", schema.get("maximum"))):
            if bound is not None:
                fits.append(f"{number} {sign} {bound!r}")
        return " AND ".join(fits)

    def _array(self, schema: Mapping[str, Any], value: _Value) -> str:
        item, index = f"item_{self.depth}", f"index_{self.depth}"
        inner = _Check(self.parameters, self.depth + 1).mismatch(
            schema["items"], value.item(item, f"CAST({index} AS STRING)")
        )
        fits = f"{value.type} = 'array'"
        length = f"ARRAY_LENGTH({value.items})"
        if fewest := int(schema.get("minItems") or 0):
            fits += f" AND {length} >= {fewest}"
        if (most := schema.get("maxItems")) is not None:
            fits += f" AND {length} <= {int(most)}"
        return f"""COALESCE({self._unless(fits, schema, value)}, (
      SELECT mismatch FROM (
        SELECT {index} AS item_index, {inner} AS mismatch FROM UNNEST({value.items}) AS {item} WITH OFFSET AS {index}
      ) WHERE mismatch IS NOT NULL ORDER BY item_index LIMIT 1
    ))"""

    def _object(self, schema: Mapping[str, Any], value: _Value) -> str:
        required = schema.get("required") or ()
        mismatches = [self._unless(f"{value.type} = 'object'", schema, value)]
        for name, inner in schema["properties"].items():
            field = value.field(name)
            mismatch = self.mismatch(inner, field)
            optional = f"IF({field.type} IN ('absent', 'null'), NULL, {mismatch})"
            mismatches.append(mismatch if name in required else optional)
        return f"COALESCE({', '.join(mismatches)})"
