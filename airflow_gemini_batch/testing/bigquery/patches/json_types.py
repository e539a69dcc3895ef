"""Corrections of GoogleSQL that depend on which columns are JSON.

That is told from the tables that the statement reads: a name is JSON's when every column of that name is.
"""

from __future__ import annotations

import re
from typing import Any

from sqlglot import exp


def follow_fields(tree: exp.Expr, project: str, catalog: Any) -> None:
    """Write ``column.field[0]`` of a JSON column as ``JSON_QUERY(column, '$.field[0]')``.

    JSON counts from 0 in both dialects and arrays from 1 in DuckDB; taken for arrays, subscripts of JSON were one too
    high and answered NULL.
    """
    columns = _json_columns(tree, project, catalog)
    sources = {source.alias_or_name for source in tree.find_all(exp.Table, exp.Subquery, exp.CTE)}
    for node in list(tree.find_all(exp.Column, exp.Dot, exp.Bracket)):
        if isinstance(node.parent, (exp.Dot, exp.Bracket)) and node.parent.this is node:
            continue  # a part of a longer path
        root, keys = _path(node)
        if not isinstance(root, exp.Column):
            continue
        parts = [part for part in root.parts if isinstance(part, exp.Identifier)]
        first = 1 if len(parts) > 1 and parts[0].name in sources else 0
        found = next((at for at in range(first, len(parts)) if parts[at].name.lower() in columns), None)
        if found is None:
            continue
        path = "".join(_step(key) for key in [*(part.name for part in parts[found + 1 :]), *keys])
        if path:
            column = exp.column(parts[found].copy(), *(part.copy() for part in reversed(parts[:found])))
            query = exp.JSONExtract(this=column, expression=exp.Literal.string(f"${path}"))
            node.replace(exp.Cast(this=query, to=exp.DataType.build("JSON")))


def keep_json(tree: exp.Expr, project: str, catalog: Any) -> None:
    """Give ``JSON_QUERY`` of a JSON value the type JSON; it was a STRING, and so was the column made of it."""
    columns = _json_columns(tree, project, catalog)

    def is_json(node: Any) -> bool:
        if isinstance(node, exp.Column):
            return node.name.lower() in columns
        if isinstance(node, (exp.SafeFunc, exp.Paren, exp.JSONExtract)):
            return is_json(node.this)
        if isinstance(node, exp.Cast):
            return bool(node.to.is_type(exp.DataType.Type.JSON))
        return isinstance(node, exp.ParseJSON) or bool(node.args.get("to_json"))

    for node in list(tree.find_all(exp.JSONExtract))[
        ::-1
    ]:  # the innermost first, as the outer ones depend on it
        if is_json(node) and not isinstance(node.parent, exp.Cast):
            node.replace(exp.Cast(this=node.copy(), to=exp.DataType.build("JSON")))


def _json_columns(tree: exp.Expr, project: str, catalog: Any) -> set[str]:
    json_columns: set[str] = set()
    other_columns: set[str] = set()
    for table in tree.find_all(exp.Table):
        found = catalog.get_table(table.catalog or project, table.db, table.name)
        for field in found.schema_.fields if found is not None else ():
            (json_columns if field.type == "JSON" else other_columns).add(field.name.lower())
    return json_columns - other_columns


def _path(node: exp.Expr) -> tuple[exp.Expr, list[str | int]]:
    """Split ``root.field[0]`` into its root and the keys from there."""
    keys: list[str | int] = []
    while True:
        if isinstance(node, exp.Dot) and isinstance(node.expression, exp.Identifier):
            keys.insert(0, node.expression.name)
        elif isinstance(node, exp.Bracket) and isinstance(node.expressions[0], exp.Literal):
            key = node.expressions[0]
            keys.insert(0, key.name if key.is_string else int(key.name))
        else:
            return node, keys
        node = node.this


def _step(key: str | int) -> str:
    if isinstance(key, int):
        return f"[{key}]"
    return f".{key}" if re.fullmatch(r"\w+", key) else f'."{key}"'
