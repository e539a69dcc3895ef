"""Response schemas in SQL: why an answer does not fit, and the values of its columns."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from airflow_gemini_batch.core.response_schema import AnswerColumn
from airflow_gemini_batch.exceptions import InvalidRequestError
from airflow_gemini_batch.sql.dialect import BIGQUERY, Binder, Dialect

# ```json … ```, which models write although they are asked for JSON, with words around it and an end or not. What
# stands behind it has to begin like JSON, so that the end of another fence is not taken for a beginning.
FENCE_PATTERN = r"```(?:[A-Za-z0-9_+.-]*\s|(?:[jJ][sS][oO][nN]))?\s*"
FENCED_PATTERN = r'[\[{"0-9-]|true|false|null'
FENCE_END_PATTERN = r"\n[ \t]*```"
"""An end that is not within a string of JSON."""
NOT_JSON = "the answer is not valid JSON: "
EMPTY_ANSWER = "the answer is empty"
PREVIEW_LENGTH = 100
"""Characters of a value, or of an answer, that a message shows."""

_BYTE_ORDER_MARK = r"^\x{FEFF}"
_KINDS = {
    "STRING": "a string",
    "INTEGER": "an integer",
    "NUMBER": "a number",
    "BOOLEAN": "a boolean",
    "ARRAY": "a list",
    "OBJECT": "an object",
}


def parsed_answer(text: str, sql: Dialect = BIGQUERY) -> str:
    """Return the expression for the JSON value that a text holds, in a code fence or not; NULL when it holds none.

    The text may hold it as a whole, or in the first fence that holds something like it. The fence may end at a line of
    its own, at the last or the next fence in the text, or with the text.
    """
    begins = f"(?:{FENCED_PATTERN})"
    fenced = (f"{begins}.*?){FENCE_END_PATTERN}", f"{begins}.*)```", f"{begins}.*?)```", f"{begins}.*)")
    places = [f"REGEXP_REPLACE({text}, {sql.pattern(_BYTE_ORDER_MARK)}, '')"]
    places += [sql.extract(text, f"(?s){FENCE_PATTERN}({rest}") for rest in fenced]
    return f"COALESCE({', '.join(map(sql.parsed_json, places))})"


def mismatch_expression(
    schema: Mapping[str, Any], text: str, answer: str, parameters: Binder, sql: Dialect = BIGQUERY
) -> str:
    """Return the expression for the reason why an answer does not fit a schema; NULL when it fits.

    :param schema: as :func:`airflow_gemini_batch.core.response_schema.response_schema_of` gives it.
    :param text: an expression for the answer as the model wrote it.
    :param answer: an expression of type JSON, what :func:`parsed_answer` makes of the text.
    :param parameters: takes what the schema names and allows.

    Raises :class:`~airflow_gemini_batch.exceptions.InvalidRequestError` for a field that BigQuery can't read.
    """
    not_json = sql.concat(f"'{NOT_JSON}'", f"SUBSTR({text}, 1, {PREVIEW_LENGTH})")
    return f"""CASE
      WHEN {text} = '' THEN '{EMPTY_ANSWER}'
      WHEN {answer} IS NULL THEN {not_json}
      ELSE {_Check(sql, parameters).mismatch(schema, _Value(sql, answer))}
    END"""


def value_expression(column: AnswerColumn, answer: str, sql: Dialect = BIGQUERY) -> str:
    """Return the expression for a column's value in an answer that fits; NULL in one that is NULL."""
    value = _Value(sql, answer)
    if column.path is not None:
        value = value.field(column.path)
    if column.repeated:
        return sql.each(value.items, "item", _typed(sql, sql.json_value("item"), column.type))
    if column.type == "JSON":
        return f"IF({value.is_('null')}, NULL, {value.json})"
    return _typed(sql, value.scalar, column.type)


def _typed(sql: Dialect, text: str, type_: str) -> str:
    return text if type_ == "STRING" else sql.cast(text, type_)


@dataclass(frozen=True, slots=True)
class _Value:
    """A value within a JSON value.

    :param root: an expression.
    :param path: within the root.
    :param names: how messages name it: texts, and expressions for the indexes of lists between them.
    """

    sql: Dialect
    root: str
    path: str = "$"
    names: tuple[str, ...] = ("",)

    def field(self, name: str) -> _Value:
        try:
            path = self.sql.json_path(self.path, name)
        except ValueError as error:
            raise InvalidRequestError(
                f"response_schema: BigQuery can't read the field {name!r}. Rename it {error}"
            ) from None
        *before, last = self.names
        return _Value(self.sql, self.root, path, (*before, f"{last}.{name}"))

    def item(self, item: str, index: str) -> _Value:
        *before, last = self.names
        return _Value(self.sql, item, names=(*before, f"{last}[", index, "]"))

    @property
    def json(self) -> str:
        return self.sql.json_query(self.root, self.path)

    def is_(self, type_: str) -> str:
        return self.sql.json_is(self.root, self.path, type_)

    @property
    def scalar(self) -> str:
        return self.sql.json_value(self.root, self.path)

    @property
    def items(self) -> str:
        return self.sql.json_items(self.root, self.path)


@dataclass(frozen=True, slots=True)
class _Check:
    """Writes the expression for each kind of schema.

    :param depth: number of lists around, so that their items have names of their own.
    """

    sql: Dialect
    parameters: Binder
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
        return f"IF({value.is_('null')}, NULL, {mismatch})" if schema.get("nullable") else mismatch

    def _unless(self, fits: str, schema: Mapping[str, Any], value: _Value) -> str:
        """Return the expression that is NULL if a condition holds, and else the message."""
        first, *names = value.names
        first = first.removeprefix(".") if first.startswith(".") else f"the answer{first}"
        texts = [first, *names]
        texts[-1] += f": expected {expected(schema)}, got "
        message = [text if index % 2 else self.parameters.bind(text) for index, text in enumerate(texts)]
        # The text of what is not there may be 'null'.
        shown = f"SUBSTR({self.sql.json_text(value.json)}, 1, {PREVIEW_LENGTH})"
        got = f"IF({value.json} IS NULL, 'nothing', {shown})"
        return f"IF({fits}, NULL, {self.sql.concat(*message, got)})"

    def _scalar(self, schema: Mapping[str, Any], value: _Value) -> str:
        kind = {"INTEGER": "number"}.get(schema["type"], schema["type"].lower())
        fits = [value.is_(kind)]
        if allowed := schema.get("enum"):
            fits.append(f"{value.scalar} IN ({', '.join(map(self.parameters.bind, allowed))})")
        whole = schema["type"] == "INTEGER"
        number = self.sql.whole(value.scalar) if whole else self.sql.cast(value.scalar, "FLOAT64")
        if whole:
            fits.append(f"{number} IS NOT NULL")
        for sign, bound in ((">=", schema.get("minimum")), ("<=", schema.get("maximum"))):
            if bound is not None:
                fits.append(f"{number} {sign} {bound!r}")
        return " AND ".join(fits)

    def _array(self, schema: Mapping[str, Any], value: _Value) -> str:
        item, index = f"item_{self.depth}", f"index_{self.depth}"
        place = f"CAST({self.sql.offset(index)} AS STRING)"
        inner = _Check(self.sql, self.parameters, self.depth + 1).mismatch(
            schema["items"], value.item(item, place)
        )
        fits = value.is_("array")
        length = self.sql.length(value.items)
        if fewest := int(schema.get("minItems") or 0):
            fits += f" AND {length} >= {fewest}"
        if (most := schema.get("maxItems")) is not None:
            fits += f" AND {length} <= {int(most)}"
        return f"COALESCE({self._unless(fits, schema, value)}, {self.sql.first(value.items, item, index, inner)})"

    def _object(self, schema: Mapping[str, Any], value: _Value) -> str:
        required = schema.get("required") or ()
        mismatches = [self._unless(value.is_("object"), schema, value)]
        for name, inner in schema["properties"].items():
            field = value.field(name)
            mismatch = self.mismatch(inner, field)
            optional = f"IF({field.json} IS NULL OR {field.is_('null')}, NULL, {mismatch})"
            mismatches.append(mismatch if name in required else optional)
        return f"COALESCE({', '.join(mismatches)})"


def expected(schema: Mapping[str, Any]) -> str:
    """Return what a schema expects, as messages name it: ``an integer from 1 to 5``, ``one of "a", "b"``."""
    if "anyOf" in schema:
        text = " or ".join(map(expected, schema["anyOf"]))
    elif allowed := schema.get("enum"):
        text = f"one of {json.dumps(list(allowed), ensure_ascii=False)[1:-1]}"
    else:
        text = _KINDS[schema["type"]]
    unit = " items" if schema.get("type") == "ARRAY" else ""
    lowest, highest = (
        schema.get(names[bool(unit)]) for names in (("minimum", "minItems"), ("maximum", "maxItems"))
    )
    if lowest is not None and highest is not None:
        text += f" {'of' if unit else 'from'} {lowest} to {highest}{unit}"
    elif lowest is not None:
        text += f" of at least {lowest}{unit}"
    elif highest is not None:
        text += f" of at most {highest}{unit}"
    return text[:PREVIEW_LENGTH] + (" or null" if schema.get("nullable") else "")
