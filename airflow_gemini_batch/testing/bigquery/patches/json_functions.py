"""Corrections of JSON functions whose answers depend on the value, not on the columns' types."""

from __future__ import annotations

from typing import Any

import sqlglot
from sqlglot import exp

# What DuckDB's parser lets pass and BigQuery's does not, once the strings are out of the way.
_STRINGS = r'"(?:\\.|[^"\\])*"'
_NOT_JSON = r"(?i)nan|inf|,\s*[\]}]"

# DuckDB's names for the types of JSON values, in the lower case that bqemulator gives them.
_TEXTS = "^varchar$"
_NUMBERS = "^(?:u?bigint|hugeint|double)$"

_WHOLE_NUMBER = r"^\s*[-+]?(?:0[xX][0-9a-fA-F]+|[0-9]+)\s*$"


def name_types(tree: exp.Expr, _project: str, _catalog: Any) -> None:
    """Answer ``string`` and ``number`` to ``JSON_TYPE``; it gave DuckDB's ``varchar``, ``double`` and the like."""
    for node in _innermost_first(tree, exp.JSONType):
        texts = exp.RegexpReplace(
            this=node.copy(), expression=_literal(_TEXTS), replacement=_literal("string")
        )
        node.replace(
            exp.RegexpReplace(this=texts, expression=_literal(_NUMBERS), replacement=_literal("number"))
        )


def refuse_almost_json(tree: exp.Expr, _project: str, _catalog: Any) -> None:
    """Let ``PARSE_JSON`` fail for NaN, infinity and trailing commas, which DuckDB takes."""
    for node in _innermost_first(tree, exp.ParseJSON):
        text = node.this.sql(dialect="bigquery")
        checked = (
            f"IF(REGEXP_CONTAINS(REGEXP_REPLACE({text}, r'{_STRINGS}', '0'), r'{_NOT_JSON}'), '{{', {text})"
        )
        node.set("this", sqlglot.parse_one(checked, read="bigquery"))


def query_lists_only(tree: exp.Expr, _project: str, _catalog: Any) -> None:
    """Answer NULL to ``JSON_QUERY_ARRAY`` of anything but a list; it was an error."""
    for node in _innermost_first(tree, exp.JSONExtractArray):
        path = node.expression or _literal("$")
        found = exp.JSONExtract(this=node.this.copy(), expression=path.copy())
        node.replace(exp.TryCast(this=found, to=exp.DataType.build("ARRAY<JSON>", dialect="bigquery")))


def cast_whole_numbers_only(tree: exp.Expr, _project: str, _catalog: Any) -> None:
    """Answer NULL to ``SAFE_CAST('3.0' AS INT64)``, for texts that ``JSON_VALUE`` gives; it was 3."""
    for node in _innermost_first(tree, exp.TryCast):
        if node.to.is_type(exp.DataType.Type.BIGINT) and isinstance(node.this, exp.JSONExtractScalar):
            whole = exp.RegexpExtract(this=node.this.copy(), expression=_literal(_WHOLE_NUMBER))
            node.set("this", whole)


def _literal(text: str) -> exp.Literal:
    return exp.Literal.string(text)


def _innermost_first(tree: exp.Expr, kind: type[exp.Expr]) -> list[Any]:
    # A node is replaced by one that holds its copy, so what is inside has to be done before.
    return list(tree.find_all(kind))[::-1]


REWRITES = (name_types, refuse_almost_json, query_lists_only, cast_whole_numbers_only)
