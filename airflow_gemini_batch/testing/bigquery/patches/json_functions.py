"""Corrections of JSON functions whose answers depend on the value, not on the columns' types."""

from __future__ import annotations

from typing import Any

from sqlglot import exp

MACROS = (
    r"""bigquery_to_json_string(value) AS CASE
      WHEN typeof(value) = 'VARCHAR' THEN COALESCE(
        replace(replace(CAST(to_json(value) AS VARCHAR), chr(8232), '\u2028'), chr(8233), '\u2029'), 'null')
      WHEN typeof(value) IN ('JSON', 'DOUBLE[]') AND length(CAST(to_json(value) AS VARCHAR)) > 1000
        THEN CAST(to_json(value) AS VARCHAR)
      WHEN typeof(value) = 'JSON'
        THEN COALESCE(bigquery_json_parsed(CAST(to_json(value) AS VARCHAR), true), 'null')
      ELSE bigquery_json_text(value, typeof(value), false)
    END""",
    """bigquery_to_json(value) AS CASE
      WHEN typeof(value) = 'JSON' THEN COALESCE(CAST(to_json(value) AS VARCHAR), 'null')
      ELSE bigquery_json_text(value, typeof(value), true)
    END""",
    """bigquery_parse_json(value, rounding) AS IF(
      value IS NULL,
      NULL,
      COALESCE(
        bigquery_json_parsed(value, rounding),
        error('Invalid input to PARSE_JSON: ' || left(CAST(value AS VARCHAR), 100))
      )
    )""",
    "bigquery_safe_parse_json(value, rounding) AS bigquery_json_parsed(value, rounding)",
    """bigquery_readable_json(value) AS CASE
      WHEN typeof(value) = 'VARCHAR' AND NOT json_valid(CAST(value AS VARCHAR)) THEN NULL
      ELSE value
    END""",
    """bigquery_json_int64(value) AS IF(
      json_type(value) IN ('BIGINT', 'UBIGINT', 'DOUBLE') AND CAST(value AS DOUBLE) = trunc(CAST(value AS DOUBLE)),
      CAST(value AS BIGINT),
      IF(value IS NULL, NULL, error('The provided JSON input is not an integer'))
    )""",
    """bigquery_json_float64(value) AS IF(
      json_type(value) IN ('BIGINT', 'UBIGINT', 'DOUBLE'),
      CAST(value AS DOUBLE),
      IF(value IS NULL, NULL, error('The provided JSON input is not a number'))
    )""",
)
"""The macros, each without its ``CREATE TEMP MACRO``; they call the functions of ``json_text``."""

# DuckDB's names for the types of JSON values, in the lower case that bqemulator gives them.
_TEXTS = "^varchar$"
_NUMBERS = "^(?:u?bigint|hugeint|double)$"


def name_types(tree: exp.Expr, _project: str, _catalog: Any) -> None:
    """Answer ``string`` and ``number`` to ``JSON_TYPE``; it gave DuckDB's ``varchar``, ``double`` and the like."""
    for node in _innermost_first(tree, exp.JSONType):
        texts = exp.RegexpReplace(
            this=node.copy(), expression=_literal(_TEXTS), replacement=_literal("string")
        )
        node.replace(
            exp.RegexpReplace(this=texts, expression=_literal(_NUMBERS), replacement=_literal("number"))
        )


def parse_as_bigquery(tree: exp.Expr, _project: str, _catalog: Any) -> None:
    """Let ``PARSE_JSON`` take what BigQuery takes, and write it as BigQuery does.

    DuckDB takes NaN, trailing commas and ``1e400``, which became infinity, keeps the last of two values of a key, and
    has no limit of digits.
    """
    for node in _innermost_first(tree, exp.ParseJSON):
        mode = node.expression and node.expression.find(exp.Literal)
        # The literal JSON '…' rounds; it can't be told from PARSE_JSON('…') here.
        rounds = isinstance(node.this, exp.Literal) or (bool(mode) and mode.name.lower() == "round")
        rounding = exp.Boolean(this=rounds)
        safe = isinstance(node.parent, exp.SafeFunc)
        macro = "bigquery_safe_parse_json" if safe else "bigquery_parse_json"
        (node.parent if safe else node).replace(_json(_call(macro, node.this, rounding)))


def write_as_bigquery(tree: exp.Expr, _project: str, _catalog: Any) -> None:
    """Let ``TO_JSON_STRING`` and ``TO_JSON`` write numbers, bytes and times as BigQuery does, in lists and structs too.

    ``TO_JSON_STRING(NULL)`` is ``null``, which was NULL, and the line separators U+2028 and U+2029 are escaped. A long
    list of FLOAT64 and a long value of type JSON are written by DuckDB, with the fewest digits of each number and keys
    in their order: a vector takes twenty times as long otherwise.
    """
    for node in _innermost_first(tree, exp.JSONFormat):
        if node.args.get("options"):
            continue
        if node.args.get("to_json"):
            node.replace(_json(_call("bigquery_to_json", node.this)))
        else:
            node.replace(_call("bigquery_to_json_string", node.this))


def read_strictly(tree: exp.Expr, _project: str, _catalog: Any) -> None:
    """Let ``INT64(json)`` fail for 2.5 and ``FLOAT64(json)`` for a text; the first truncated, the second read it."""
    for node in _innermost_first(tree, exp.Int64):
        node.replace(_call("bigquery_json_int64", node.this))
    for node in _innermost_first(tree, exp.Float64):
        node.replace(_call("bigquery_json_float64", node.this))


def read_nothing_else(tree: exp.Expr, _project: str, _catalog: Any) -> None:
    """Answer NULL to functions of a text that is not JSON; they failed. It comes last: it hides what they read."""
    for node in list(tree.find_all(*_READERS)):
        if not isinstance(node.this, (*_READERS, exp.Cast)):
            node.set("this", _call("bigquery_readable_json", node.this))


def query_lists_only(tree: exp.Expr, _project: str, _catalog: Any) -> None:
    """Answer NULL to ``JSON_QUERY_ARRAY`` of anything but a list; it was an error."""
    for node in _innermost_first(tree, exp.JSONExtractArray):
        path = node.expression or _literal("$")
        found = exp.JSONExtract(this=node.this.copy(), expression=path.copy())
        node.replace(exp.TryCast(this=found, to=exp.DataType.build("ARRAY<JSON>", dialect="bigquery")))


_READERS = (exp.JSONExtract, exp.JSONExtractScalar, exp.JSONExtractArray, exp.JSONValueArray)


def _json(node: exp.Expr) -> exp.Cast:
    return exp.Cast(this=node, to=exp.DataType.build("JSON"))


def _call(macro: str, *arguments: exp.Expr) -> exp.Anonymous:
    return exp.Anonymous(this=macro, expressions=[argument.copy() for argument in arguments])


def _literal(text: str) -> exp.Literal:
    return exp.Literal.string(text)


def _innermost_first(tree: exp.Expr, kind: type[exp.Expr]) -> list[Any]:
    # A node is replaced by one that holds its copy, so what is inside has to be done before.
    return list(tree.find_all(kind))[::-1]


REWRITES = (name_types, parse_as_bigquery, write_as_bigquery, read_strictly, query_lists_only)
