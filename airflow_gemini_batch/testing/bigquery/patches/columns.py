"""Which columns a statement's names mean, and which of them are JSON, as far as the catalog and the statement tell."""

from __future__ import annotations

from enum import Enum
from typing import Any

from sqlglot import exp


class Kind(Enum):
    """What is known of a name or an expression."""

    JSON = "JSON"
    OTHER = "another type"
    UNKNOWN = "a type that the statement does not tell"
    ABSENT = "no column"


Columns = dict[str, Kind]
_SCOPES = (exp.Select, exp.Update, exp.Delete, exp.Merge)
_SAME_AS_FIRST = (exp.Paren, exp.SafeFunc, exp.JSONExtract, exp.Bracket, exp.AnyValue, exp.Alias, exp.Window)
_MAKE_JSON = (exp.ParseJSON, exp.JSONObject, exp.JSONArray)
_MAKE_OTHERS = (
    exp.Literal,
    exp.Boolean,
    exp.JSONExtractScalar,
    exp.Predicate,
    exp.Concat,
    exp.Array,
    exp.Struct,
)


class Names:
    """The names of one statement. Names and types that can't be followed are unknown, never absent.

    :param tree: the statement.
    :param project: project of tables that name none.
    :param catalog: bqemulator's catalog.
    """

    def __init__(self, tree: exp.Expr, project: str, catalog: Any) -> None:
        self._project = project
        self._catalog = catalog
        self._known: dict[int, Any] = {}
        self.may_hold_json = any(
            Kind.JSON in (self._table(table) or {}).values() for table in tree.find_all(exp.Table)
        ) or any(
            not isinstance(node, exp.JSONFormat) or node.args.get("to_json")
            for node in tree.find_all(*_MAKE_JSON, exp.JSONFormat)
        )

    def kind(self, node: Any) -> Kind:
        """Tell of which kind an expression is."""
        if isinstance(node, exp.Column):
            return self.column(node)
        if isinstance(node, exp.Cast):
            return Kind.JSON if node.to.is_type(exp.DataType.Type.JSON) else Kind.OTHER
        if isinstance(node, _MAKE_JSON):
            return Kind.JSON
        if isinstance(node, exp.JSONFormat):
            return Kind.JSON if node.args.get("to_json") else Kind.OTHER
        if isinstance(node, exp.Dot):
            return self.kind(node.this) if self.kind(node.this) is Kind.JSON else Kind.UNKNOWN
        if isinstance(node, _SAME_AS_FIRST):
            return self.kind(node.this)
        if isinstance(node, exp.Coalesce):
            return self._common([node.this, *node.expressions])
        if isinstance(node, exp.If):
            return self._common([node.args["true"], node.args.get("false")])
        if isinstance(node, exp.Case):
            return self._common(
                [*(branch.args["true"] for branch in node.args["ifs"]), node.args.get("default")]
            )
        if isinstance(node, exp.Subquery):
            columns = self.outputs(node.this)
            return next(iter(columns.values()), Kind.UNKNOWN) if columns else Kind.UNKNOWN
        return Kind.OTHER if isinstance(node, _MAKE_OTHERS) else Kind.UNKNOWN

    def _common(self, nodes: list[Any]) -> Kind:
        kinds = {self.kind(node) for node in nodes if node is not None}
        return Kind.JSON if Kind.JSON in kinds else Kind.OTHER if kinds == {Kind.OTHER} else Kind.UNKNOWN

    def column(self, column: exp.Column) -> Kind:
        """Tell of which kind a column is, from the innermost query that has it."""
        parts = [part.name.lower() for part in column.parts]
        scope = column.find_ancestor(*_SCOPES)
        while scope is not None:
            found = self._in_scope(parts, scope)
            if found is not Kind.ABSENT:
                return found
            scope = scope.find_ancestor(*_SCOPES)
        return Kind.ABSENT

    def _in_scope(self, parts: list[str], scope: exp.Expr) -> Kind:
        sources = self._sources(scope)
        if parts[0] in sources:
            columns = sources[parts[0]]
            if len(parts) == 1:  # the whole row, or the item of a list
                return Kind.OTHER if columns is None else columns.get(parts[0], Kind.OTHER)
            parts, sources = parts[1:], {parts[0]: columns}
        found = [columns[parts[0]] for columns in sources.values() if columns and parts[0] in columns]
        if found:
            return found[0] if len(parts) == 1 or found[0] is Kind.JSON else Kind.UNKNOWN
        open_ended = None in sources.values() or parts[0].startswith("_")  # a pseudo column
        return Kind.UNKNOWN if open_ended or len(parts) > 1 else Kind.ABSENT

    def outputs(self, query: Any) -> Columns | None:
        """Give the columns of a query's result; None when they can't be told."""
        if isinstance(query, exp.Subquery):
            return self.outputs(query.this)
        if isinstance(query, exp.SetOperation):
            return self.outputs(query.this)
        if not isinstance(query, exp.Select):
            return None
        if id(query) not in self._known:
            self._known[id(query)] = None  # of a query that reads itself
            self._known[id(query)] = self._projected(query)
        columns: Columns | None = self._known[id(query)]
        return columns

    def _projected(self, query: exp.Select) -> Columns | None:
        columns: Columns = {}
        for projection in query.expressions:
            if not projection.is_star:
                columns[projection.alias_or_name.lower()] = self.kind(projection)
                continue
            star = projection.this if isinstance(projection, exp.Column) else projection
            sources = self._sources(query)
            if isinstance(projection, exp.Column):
                sources = {projection.table: sources.get(projection.table.lower())}
            left_out = {column.name.lower() for column in star.args.get("except_") or ()}
            for source in sources.values():
                if source is None:
                    return None
                columns |= {name: kind for name, kind in source.items() if name not in left_out}
            for replaced in star.args.get("replace") or ():
                columns[replaced.alias.lower()] = self.kind(replaced.this)
        return columns

    def _sources(self, scope: exp.Expr) -> dict[str, Columns | None]:
        key = -id(scope)
        if key not in self._known:
            self._known[key] = {"": None}  # of a query inside that asks for what is around it
            nodes = [] if isinstance(scope, exp.Select) else [scope.this, scope.args.get("using")]
            nodes += [scope.args["from_"].this] if scope.args.get("from_") else []
            nodes += [join.this for join in scope.args.get("joins") or ()]
            self._known[key] = dict(self._source(node, n) for n, node in enumerate(nodes) if node)
            for node in filter(None, nodes):
                for n, join in enumerate(node.args.get("joins") or ()):
                    self._known[key] |= dict([self._source(join.this, -n - 1)])
        sources: dict[str, Columns | None] = self._known[key]
        return sources

    def _source(self, node: Any, number: int) -> tuple[str, Columns | None]:
        name = (node.alias_or_name or f"\0{number}").lower()
        if isinstance(node, exp.Table):
            return name, self._table(node)
        if isinstance(node, exp.Subquery):
            return name, self.outputs(node.this)
        if isinstance(node, exp.Unnest) and len(node.expressions) == 1:
            return self._unnested(node, name)
        return name, None

    def _unnested(self, node: exp.Unnest, name: str) -> tuple[str, Columns | None]:
        items = node.expressions[0]
        names = node.alias_column_names
        scalars = isinstance(items, exp.Array) and all(
            isinstance(each, exp.Literal) for each in items.expressions
        )
        if not names or not (
            scalars or isinstance(items, (exp.JSONExtractArray, exp.GenerateSeries, exp.Split))
        ):
            return (names[0] if names else name).lower(), None  # the fields of a STRUCT are columns too
        is_json = isinstance(items, exp.JSONExtractArray) and self.kind(items.this) is Kind.JSON
        columns = {names[0].lower(): Kind.JSON if is_json else Kind.OTHER}
        if offset := node.args.get("offset"):
            columns[offset.name.lower() if isinstance(offset, exp.Identifier) else "offset"] = Kind.OTHER
        return names[0].lower(), columns

    def _table(self, table: exp.Table) -> Columns | None:
        if not table.db:
            return self._named_query(table)
        found = self._catalog.get_table(table.catalog or self._project, table.db, table.name)
        if found is None:
            return None
        return {
            field.name.lower(): Kind.JSON if (field.type, field.mode) == ("JSON", "NULLABLE") else Kind.OTHER
            for field in found.schema_.fields
        }

    def _named_query(self, table: exp.Table) -> Columns | None:
        above = table.parent
        while above is not None:
            for named in above.ctes if isinstance(above, exp.Query) else ():
                if named.alias.lower() == table.name.lower():
                    return None if named.args["alias"].columns else self.outputs(named.this)
            above = above.parent
        return None
