"""Response schemas in SQL: whether an answer fits, and the values of its columns.

The twin of :mod:`airflow_gemini_batch.landing.schema_check`: both have to say the same of the same answer.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from airflow_gemini_batch.core.response_schema import AnswerColumn
from airflow_gemini_batch.exceptions import InvalidRequestError
from airflow_gemini_batch.gcp.statements import Parameters
from airflow_gemini_batch.landing.schema_check import FENCE_PATTERN

_UNSPEAKABLE = re.compile(r"""["'`\\\x00-\x1f]""")
_PARTS = "$.candidates[0].content.parts"


def answer_text(response: str) -> str:
    """Return the expression for the text of the first candidate, without the model's thoughts; never NULL.

    :param response: an expression of type JSON.
    """
    return f"""IFNULL(
      COALESCE(
        (
          SELECT STRING_AGG(JSON_VALUE(piece, '$.text'), '' ORDER BY item_place)
          FROM UNNEST(JSON_QUERY_ARRAY({response}, '{_PARTS}')) AS piece WITH OFFSET AS item_place
          WHERE IFNULL(JSON_VALUE(piece, '$.thought'), 'false') != 'true'
        ),
        JSON_VALUE({response}, '{_PARTS}.text')
      ),
      ''
    )"""


def parsed_answer(text: str) -> str:
    """Return the expression for the JSON value that a text holds, in a code fence or not; NULL when it holds none."""
    fenced = f"REGEXP_EXTRACT({text}, r'(?s){FENCE_PATTERN}')"
    return f"COALESCE({_parse(text)}, {_parse(fenced)})"


def _parse(text: str) -> str:
    return f"SAFE.PARSE_JSON({text}, wide_number_mode => 'round')"


def fits_expression(schema: Mapping[str, Any], answer: str, parameters: Parameters) -> str:
    """Return the expression that says whether an answer fits a schema; TRUE or FALSE, never NULL.

    :param schema: as :func:`airflow_gemini_batch.core.response_schema.response_schema_of` gives it.
    :param answer: an expression of type JSON; NULL fits no schema.
    :param parameters: takes the values that the schema allows.

    Raises :class:`~airflow_gemini_batch.exceptions.InvalidRequestError` for a field that BigQuery can't read.
    """
    return _Check(parameters).fits(schema, _Place(answer))


def value_expression(column: AnswerColumn, answer: str) -> str:
    """Return the expression for a column's value in an answer that fits; NULL in one that is NULL."""
    place = _Place(answer)
    if column.path is not None:
        place = place.field(column.path)
    if column.repeated:
        item = _typed("JSON_VALUE(item)", column.type)
        return f"ARRAY(SELECT {item} FROM UNNEST({place.items}) AS item WITH OFFSET AS item_place ORDER BY item_place)"
    if column.type == "JSON":
        return f"IF({place.type} = 'null', NULL, {place.json})"
    return _typed(place.scalar, column.type)


def _typed(text: str, kind: str) -> str:
    return text if kind == "STRING" else f"SAFE_CAST({text} AS {kind})"


@dataclass(frozen=True, slots=True)
class _Place:
    """A place within a JSON value."""

    root: str
    path: str = "$"

    def field(self, name: str) -> _Place:
        if _UNSPEAKABLE.search(name):
            raise InvalidRequestError(
                f"response_schema: BigQuery can't read the field {name!r}: rename it, without quotes, backslashes "
                "and line ends"
            )
        return _Place(self.root, f'{self.path}."{name}"')

    @property
    def json(self) -> str:
        return self.root if self.path == "$" else f"JSON_QUERY({self.root}, {self._literal})"

    @property
    def type(self) -> str:
        return f"IFNULL(JSON_TYPE({self.json}), 'absent')"

    @property
    def scalar(self) -> str:
        return f"JSON_VALUE({self.root}, {self._literal})"

    @property
    def items(self) -> str:
        return f"JSON_QUERY_ARRAY({self.root}, {self._literal})"

    @property
    def _literal(self) -> str:
        return f"'{self.path}'"


@dataclass(frozen=True, slots=True)
class _Check:
    """Writes the condition for each kind of schema.

    :param depth: number of lists around, so that their items have names of their own.
    """

    parameters: Parameters
    depth: int = 0

    def fits(self, schema: Mapping[str, Any], place: _Place) -> str:
        if "anyOf" in schema:
            condition = " OR ".join(self.fits(option, place) for option in schema["anyOf"])
        else:
            condition = getattr(self, f"_{schema['type'].lower()}")(schema, place)
        if schema.get("nullable"):
            condition = f"{place.type} = 'null' OR ({condition})"
        return f"({condition})"

    def _string(self, schema: Mapping[str, Any], place: _Place) -> str:
        condition = f"{place.type} = 'string'"
        if allowed := schema.get("enum"):
            condition += f" AND {place.scalar} IN ({', '.join(map(self.parameters.bind, allowed))})"
        return condition

    def _integer(self, schema: Mapping[str, Any], place: _Place) -> str:
        value = f"SAFE_CAST({place.scalar} AS INT64)"
        return f"{place.type} = 'number' AND {value} IS NOT NULL{_bounds(schema, value)}"

    def _number(self, schema: Mapping[str, Any], place: _Place) -> str:
        return f"{place.type} = 'number'{_bounds(schema, f'SAFE_CAST({place.scalar} AS FLOAT64)')}"

    def _boolean(self, _: Mapping[str, Any], place: _Place) -> str:
        return f"{place.type} = 'boolean'"

    def _array(self, schema: Mapping[str, Any], place: _Place) -> str:
        item = f"item_{self.depth}"
        inner = _Check(self.parameters, self.depth + 1).fits(schema["items"], _Place(item))
        length = f"ARRAY_LENGTH({place.items})"
        condition = f"{place.type} = 'array'"
        if fewest := int(schema.get("minItems") or 0):
            condition += f" AND {length} >= {fewest}"
        if (most := schema.get("maxItems")) is not None:
            condition += f" AND {length} <= {int(most)}"
        return f"{condition} AND NOT EXISTS (SELECT 1 FROM UNNEST({place.items}) AS {item} WHERE NOT {inner})"

    def _object(self, schema: Mapping[str, Any], place: _Place) -> str:
        required = schema.get("required") or ()
        conditions = [f"{place.type} = 'object'"]
        for name, inner in schema["properties"].items():
            field = place.field(name)
            fits = self.fits(inner, field)
            conditions.append(fits if name in required else f"({field.type} IN ('absent', 'null') OR {fits})")
        return " AND ".join(conditions)


def _bounds(schema: Mapping[str, Any], value: str) -> str:
    bounds = ((">=", schema.get("minimum")), ("<=", schema.get("maximum")))
    return "".join(f" AND {value} {sign} {bound!r}" for sign, bound in bounds if bound is not None)
