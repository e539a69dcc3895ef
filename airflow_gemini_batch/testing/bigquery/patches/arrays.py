"""Subqueries over the elements of one array, which DuckDB makes a join in which each element carries the whole array.

A vector of 768 numbers took 9 MB. As list comprehensions, which DuckDB reads and BigQuery does not, they take what the
vector takes.
"""

from __future__ import annotations

from typing import Any

from sqlglot import exp

# What a subquery may consist of, lest a comprehension be something else.
_CLAUSES = {"expressions", "from_", "where", "order"}
_QUERIES = (exp.Query, exp.Window)


def comprehend_arrays(tree: exp.Expr, _project: str, _catalog: Any) -> None:
    """Write ``ARRAY(SELECT … FROM UNNEST(a) AS x …)``, ``EXISTS`` and ``(SELECT SUM(…) …)`` as comprehensions.

    Taken are a filter that does not read the offset or bounds it from above, the order of the array, and of aggregates
    ``SUM`` and ``COUNTIF``. Other subqueries stay as they are.
    """
    # A node is replaced by one that holds its copy, so what is inside has to be done before.
    for select in list(tree.find_all(exp.Select))[::-1]:
        outer = select.parent
        elements = _Elements.of(select)
        if elements is None or outer is None:
            continue
        written = None
        if isinstance(outer, exp.Array):
            written = elements.listed()
        elif isinstance(outer, exp.Exists) and (listed := elements.listed()):
            found = exp.GT(
                this=exp.Anonymous(this="LEN", expressions=[listed]), expression=exp.Literal.number(0)
            )
            written = exp.Coalesce(this=found, expressions=[exp.false()])
        elif isinstance(outer, exp.Subquery) and not outer.alias and isinstance(outer.parent, _SCALAR):
            written = elements.aggregated()
        if written is not None:
            outer.replace(written)


_SCALAR = (exp.Select, exp.Alias, exp.Func, exp.Binary, exp.Unary, exp.Paren, exp.If)


class _Elements:
    """What is read of the elements of an array."""

    def __init__(
        self, array: exp.Expr, name: exp.Identifier, projection: exp.Expr, condition: exp.Expr | None
    ) -> None:
        self._array = array
        self._name = name
        self._projection = projection
        self._condition = condition

    @classmethod
    def of(cls, select: exp.Select) -> _Elements | None:
        """Return what a subquery reads; ``None`` unless it is of the shape that a comprehension has."""
        source = select.args.get("from_")
        unnest = source.this if source else None
        if (
            {name for name, value in select.args.items() if value} - _CLAUSES
            or not isinstance(unnest, exp.Unnest)
            or len(unnest.expressions) != 1
            or len(select.expressions) != 1
            or len(columns := unnest.args["alias"].columns if unnest.args.get("alias") else []) != 1
        ):
            return None
        offset = unnest.args["offset"].name.lower() if unnest.args.get("offset") else None
        order = select.args.get("order")
        if order and not (len(order.expressions) == 1 and _is_column(order.expressions[0].this, offset)):
            return None
        array, where = unnest.expressions[0].copy(), select.args.get("where")
        condition = where.this if where else None
        if isinstance(condition, exp.LT) and _is_column(condition.this, offset):
            bounds = [exp.Literal.number(1), condition.expression.copy()]
            array = exp.Anonymous(this="ARRAY_SLICE", expressions=[array, *bounds])
            condition = None
        projection = select.expressions[0].unalias()
        for read in filter(None, (projection, condition)):
            if read.find(*_QUERIES) or any(
                column.table.lower() == columns[0].name.lower() or column.name.lower() == offset
                for column in read.find_all(exp.Column)
            ):
                return None
        return cls(array, columns[0], projection, condition)

    def listed(self) -> exp.Expr | None:
        """Return the array of the projection, empty where the array is NULL; ``None`` for one that aggregates."""
        if self._projection.find(exp.AggFunc):
            return None
        return exp.Coalesce(this=self._each(self._projection), expressions=[exp.Array(expressions=[])])

    def _each(self, value: exp.Expr, condition: exp.Expr | None = None) -> exp.Expr:
        """Return the array of a value of each element, or of those of which a condition holds."""
        conditions = [one.copy() for one in (self._condition, condition) if one is not None]
        comprehension = exp.Comprehension(
            this=value.copy(),
            expression=exp.column(self._name.copy()),
            iterator=self._array.copy(),
            condition=exp.and_(*conditions) if conditions else None,
        )
        return exp.Array(expressions=[comprehension])

    def aggregated(self) -> exp.Expr | None:
        """Return the projection with aggregates over the array; ``None`` for any others, or without any."""
        holder = exp.Paren(this=self._projection.copy())
        found = list(holder.find_all(exp.AggFunc))
        if not found or any(one.find(exp.Distinct) for one in found):
            return None
        for aggregate in found:
            if isinstance(aggregate, exp.Sum):
                aggregate.replace(exp.Anonymous(this="LIST_SUM", expressions=[self._each(aggregate.this)]))
            elif isinstance(aggregate, exp.CountIf):
                kept = self._each(exp.column(self._name.copy()), aggregate.this)
                length = exp.Anonymous(this="LEN", expressions=[kept])
                aggregate.replace(exp.Coalesce(this=length, expressions=[exp.Literal.number(0)]))
            else:
                return None
        return holder


def _is_column(value: exp.Expr, name: str | None) -> bool:
    return isinstance(value, exp.Column) and not value.table and value.name.lower() == name


REWRITES = (comprehend_arrays,)
