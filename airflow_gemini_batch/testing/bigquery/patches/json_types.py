"""Corrections of GoogleSQL that depend on which columns are JSON."""

from __future__ import annotations

import re
from typing import Any

from sqlglot import exp

from airflow_gemini_batch.testing.bigquery.patches.columns import Kind, Names


def follow_fields(tree: exp.Expr, project: str, catalog: Any) -> None:
    """Write ``column.field[0]`` of a JSON column as ``JSON_QUERY(column, '$.field[0]')``.

    JSON counts from 0 in both dialects and arrays from 1 in DuckDB; taken for arrays, subscripts of JSON were one too
    high and answered NULL.
    """
    names = Names(tree, project, catalog)
    if not names.may_hold_json:
        return
    found = []
    for node in tree.find_all(exp.Column, exp.Dot, exp.Bracket):
        if isinstance(node.parent, (exp.Dot, exp.Bracket)) and node.parent.this is node:
            continue  # a part of a longer path
        root, keys = _path(node)
        if not isinstance(root, exp.Column):
            continue
        parts = [part for part in root.parts if isinstance(part, exp.Identifier)]
        for end in range(1, len(parts) + 1):
            column = exp.column(parts[end - 1].copy(), *(part.copy() for part in reversed(parts[: end - 1])))
            column.parent = root.parent
            path = "".join(_step(key) for key in [*(part.name for part in parts[end:]), *keys])
            if path and names.kind(column) is Kind.JSON:
                query = exp.JSONExtract(this=column, expression=exp.Literal.string(f"${path}"))
                found.append((node, _as_json(query)))
                break
    for node, in_json in found:
        node.replace(in_json)


def keep_json(tree: exp.Expr, project: str, catalog: Any) -> None:
    """Give ``JSON_QUERY`` of a JSON value the type JSON; it was a STRING, and so was the column made of it."""
    names = Names(tree, project, catalog)
    if not names.may_hold_json:
        return
    found = [node for node in tree.find_all(exp.JSONExtract) if names.kind(node) is Kind.JSON]
    for node in found[::-1]:  # the innermost first: a node is replaced by one that holds its copy
        if not (isinstance(node.parent, exp.Cast) and node.parent.to.is_type(exp.DataType.Type.JSON)):
            node.replace(_as_json(node.copy()))


def _as_json(node: exp.Expr) -> exp.Cast:
    return exp.Cast(this=node, to=exp.DataType.build("JSON"))


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
