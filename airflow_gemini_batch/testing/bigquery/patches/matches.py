"""Refuse a MERGE or UPDATE that would change one row twice; DuckDB takes one of the two changes."""

from __future__ import annotations

from typing import Any

import sqlglot
from bqemulator.domain.errors import InvalidQueryError
from sqlglot import exp


def refuse_ambiguous(connection: Any, sql: str, parameters: list[Any] | None) -> None:
    """Raise bqemulator's ``InvalidQueryError`` if several rows of a statement's source match one row of its target.

    :param sql: a statement in DuckDB's dialect; those that are neither MERGE nor UPDATE … FROM pass.
    :param parameters: what stands for its ``?``.
    """
    if sql.lstrip()[:6].upper() not in ("MERGE ", "UPDATE"):
        return
    tree = sqlglot.parse_one(sql, read="duckdb")
    # Before copies are made of some of them.
    for place, node in enumerate(tree.find_all(exp.Placeholder, bfs=False)):
        node.set("this", f"at_{place}")
    matched = _matched_rows(tree)
    if matched is None:
        return
    used = []
    for node in matched.find_all(exp.Placeholder):
        used.append(int(node.name.removeprefix("at_")))
        node.replace(exp.Parameter(this=exp.Literal.number(len(used))))
    twice = f"{matched.sql(dialect='duckdb')} GROUP BY 1 HAVING COUNT(*) > 1 LIMIT 1"
    values = [(parameters or [])[place] for place in used]
    if connection.execute(twice, values or None).fetchone() is not None:
        raise InvalidQueryError("UPDATE/MERGE must match at most one source row for each target row")


def _matched_rows(tree: exp.Expr) -> exp.Select | None:
    """Give the query of the target's row for each pair of rows that changes it."""
    target = tree.this
    row = exp.column("rowid", table=target.alias_or_name, quoted=True)
    if isinstance(tree, exp.Merge):
        whens = [when for when in tree.args["whens"].expressions if when.args.get("matched")]
        if not whens:
            return None
        conditions = [when.args.get("condition") or exp.true() for when in whens]
        joined = exp.select(row).from_(target).join(tree.args["using"], on=tree.args["on"])
        return joined.where(exp.or_(*conditions))
    source = tree.args.get("from_")
    if not isinstance(tree, exp.Update) or source is None:
        return None
    where = tree.args.get("where")
    return exp.select(row).from_(target).join(source.this, join_type="cross").where(where and where.this)
