"""What BigQuery refuses and DuckDB takes. The messages are those of BigQuery, without the place in the text."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

from bqemulator.domain.errors import InvalidQueryError, NotFoundError
from sqlglot import exp

from airflow_gemini_batch.testing.bigquery.patches.columns import Kind, Names
from airflow_gemini_batch.testing.bigquery.patches.request import current
from airflow_gemini_batch.testing.bigquery.patches.seams import replace

# https://cloud.google.com/bigquery/docs/reference/standard-sql/lexical#reserved_keywords, without DEFAULT, which
# stands for a value as well.
_RESERVED = re.compile(
    r"(?i)(?:ALL|AND|ANY|ARRAY|AS|ASC|ASSERT_ROWS_MODIFIED|AT|BETWEEN|BY|CASE|CAST|COLLATE|CONTAINS|CREATE|CROSS|"
    r"CUBE|CURRENT|DEFINE|DESC|DISTINCT|ELSE|END|ENUM|ESCAPE|EXCEPT|EXCLUDE|EXISTS|EXTRACT|FALSE|FETCH|"
    r"FOLLOWING|FOR|FROM|FULL|GROUP|GROUPING|GROUPS|HASH|HAVING|IF|IGNORE|IN|INNER|INTERSECT|INTERVAL|INTO|"
    r"IS|JOIN|LATERAL|LEFT|LIKE|LIMIT|LOOKUP|MERGE|NATURAL|NEW|NO|NOT|NULL|NULLS|OF|ON|OR|ORDER|OUTER|OVER|"
    r"PARTITION|PRECEDING|PROTO|QUALIFY|RANGE|RECURSIVE|RESPECT|RIGHT|ROLLUP|ROWS|SELECT|SET|SOME|STRUCT|"
    r"TABLESAMPLE|THEN|TO|TREAT|TRUE|UNBOUNDED|UNION|UNNEST|USING|WHEN|WHERE|WINDOW|WITH|WITHIN)"
)
_NAMING = (exp.Alias, exp.TableAlias, exp.CTE, exp.ColumnDef, exp.Schema)
_COMPARISONS: dict[type[exp.Expr], str] = {
    exp.EQ: "Equality",
    exp.NEQ: "Inequality",
    exp.LT: "Less than",
    exp.LTE: "Less than or equal",
    exp.GT: "Greater than",
    exp.GTE: "Greater than or equal",
    exp.NullSafeEQ: "Grouping",
    exp.NullSafeNEQ: "Grouping",
    exp.Nullif: "NULLIF",
    exp.In: "IN",
    exp.Between: "BETWEEN",
    exp.Min: "MIN",
    exp.Max: "MAX",
}
_OF_TEXT = (
    exp.Concat,
    exp.DPipe,
    exp.GroupConcat,
    exp.Length,
    exp.Lower,
    exp.RegexpExtract,
    exp.RegexpLike,
    exp.RegexpReplace,
    exp.Replace,
    exp.Split,
    exp.StartsWith,
    exp.Substring,
    exp.Trim,
    exp.Upper,
)


_PERMANENT_DDL = re.compile(
    r"\s*(?:CREATE\s+(?:OR\s+REPLACE\s+)?(?!TEMP)\w+|(?:ALTER|DROP)\s+\w+\s+(?:IF\s+EXISTS\s+)?[^\s.]+\.)",
    re.IGNORECASE,
)


def refuse_ddl_in_transactions() -> None:
    """Refuse to create, change or drop what is permanent inside of a transaction."""

    def make(original: Callable[..., Any]) -> Callable[..., Any]:
        async def run(interpreter: Any, sql: str) -> Any:
            if interpreter._active_txn is not None and _PERMANENT_DDL.match(sql):
                raise InvalidQueryError(
                    "DDL statements on permanent objects are not supported in a transaction"
                )
            return await original(interpreter, sql)

        return run

    replace("bqemulator.scripting.interpreter:ScriptInterpreter", "_exec_sql", make)


def refuse(tree: exp.Expr, project: str, catalog: Any) -> None:
    """Raise bqemulator's ``InvalidQueryError`` for a statement that BigQuery refuses."""
    names = Names(tree, project, catalog)
    for table in tree.find_all(exp.Table):
        if table.db:
            current().check_location(table.catalog or project, table.db)
        if table.db and not isinstance(table.parent, (exp.Create, exp.Schema)):
            _other_case(table.catalog or project, table.db, table.name, catalog)
    for node in tree.walk():
        for check in (_reserved_word, _alias_of_same_select, _nested_recursion):
            _raise(check(node, names))
        if names.may_hold_json:
            _raise(_use_of_json(node, names))


def _raise(message: str | None) -> None:
    if message is not None:
        raise InvalidQueryError(message)


def _other_case(project: str, dataset: str, name: str, catalog: Any) -> None:
    """Refuse a name that differs in case from that of a table or its dataset; both are case-sensitive."""
    if catalog.get_table(project, dataset, name) is not None:
        return
    for known in catalog.list_all_datasets():
        if (known.project_id, known.dataset_id.lower()) == (project, dataset.lower()):
            names = {table.table_id for table in catalog.list_tables(project, known.dataset_id)}
            if any(each.lower() == name.lower() for each in names):
                raise NotFoundError(f"Not found: Table {project}:{dataset}.{name}")


def _reserved_word(node: exp.Expr, _names: Names) -> str | None:
    """Refuse a reserved word that names a column; behind a dot it may."""
    if not isinstance(node, exp.Identifier) or node.args.get("quoted") or not _RESERVED.fullmatch(node.name):
        return None
    parent = node.parent
    first = isinstance(parent, exp.Column) and parent.parts[0] is node
    if first or (isinstance(parent, _NAMING) and not isinstance(parent, exp.PropertyEQ)):
        return f"Syntax error: Unexpected keyword {node.name.upper()}"
    return None


def _alias_of_same_select(node: exp.Expr, names: Names) -> str | None:
    """Refuse a column that only an alias of the same SELECT list gives, but where such aliases are known."""
    if not isinstance(node, exp.Column) or node.table or node.is_star:
        return None
    select = node.find_ancestor(exp.Select)
    inside: Any = node
    while select is not None:
        if any(
            each.alias.lower() == node.name.lower()
            for each in select.expressions
            if isinstance(each, exp.Alias)
        ):
            while inside.parent is not select:
                inside = inside.parent
            if inside.arg_key in ("expressions", "where", "joins") and names.column(node) is Kind.ABSENT:
                return f"Unrecognized name: {node.name}"
            return None
        inside, select = select, select.find_ancestor(exp.Select)
    return None


def _nested_recursion(node: exp.Expr, _names: Names) -> str | None:
    if not isinstance(node, exp.With) or not node.args.get("recursive"):
        return None
    statement: Any = node.parent
    while isinstance(statement.parent, (exp.Subquery, exp.Create, exp.Insert)) and not (
        isinstance(statement.parent, exp.Subquery) and statement.parent.alias
    ):
        statement = statement.parent
    if statement.parent is None:
        return None
    return (
        "WITH RECURSIVE is only allowed at the top level of the SELECT, CREATE TABLE AS SELECT, CREATE VIEW, INSERT, "
        "EXPORT DATA statements."
    )


def _use_of_json(node: exp.Expr, names: Names) -> str | None:
    """Refuse to compare, group, sort or cast values of type JSON."""

    def any_json(nodes: Any) -> bool:
        return any(names.kind(each) is Kind.JSON for each in nodes)

    if name := _COMPARISONS.get(type(node)):
        if isinstance(node.parent, (exp.Update, exp.DataType)) and node.arg_key == "expressions":
            return None  # an assignment
        compared = [node.this, node.expression] if isinstance(node, exp.Binary) else [node.this]
        return f"{name} is not defined for arguments of type JSON" if any_json(compared) else None
    if isinstance(node, _OF_TEXT):
        message = f"No matching signature for function {node.key.upper()} for argument type JSON"
        return message if any_json(node.iter_expressions()) else None
    if isinstance(node, exp.Case):
        compared = [node.this] if node.this else []
        return "Argument 1 to CASE must support equality; Type JSON does not" if any_json(compared) else None
    if isinstance(node, exp.Join):
        columns = [exp.column(name.copy()) for name in node.args.get("using") or ()]
        for column in columns:
            column.parent = node
        message = "Columns in USING must have types that support equality comparison, not JSON"
        return message if any_json(columns) else None
    if isinstance(node, exp.Group):
        grouped = (_projection(each, node.parent, names) for each in node.expressions)
        return "Grouping by expressions of type JSON is not allowed" if any_json(grouped) else None
    if isinstance(node, exp.Window):
        partitioned = "Partitioning by expressions of type JSON is not allowed"
        return partitioned if any_json(node.args.get("partition_by") or ()) else None
    if isinstance(node, exp.Ordered):
        query = node.parent.parent if isinstance(node.parent, exp.Order) else None
        sorted_by = _projection(node.this, query, names) if isinstance(query, exp.Query) else node.this
        return "ORDER BY does not support expressions of type JSON" if any_json([sorted_by]) else None
    if isinstance(node, exp.Distinct) and not isinstance(node.parent, exp.Query):
        message = "Aggregate functions with DISTINCT cannot be used with arguments of type JSON"
        return message if any_json(node.expressions) else None
    if isinstance(node, exp.Query):
        return _distinct_rows(node, names)
    if isinstance(node, exp.Cast) and node.to.is_type(*exp.DataType.TEXT_TYPES, *exp.DataType.NUMERIC_TYPES):
        return (
            f"Invalid cast from JSON to {node.to.sql(dialect='bigquery')}" if any_json([node.this]) else None
        )
    return None


def _projection(node: Any, select: Any, names: Names) -> Any:
    """Give what a number or an alias in GROUP BY and ORDER BY stands for."""
    projections = select.expressions if isinstance(select, exp.Select) else []
    if isinstance(node, exp.Literal) and not node.is_string and 0 < int(node.name) <= len(projections):
        return projections[int(node.name) - 1]
    if isinstance(node, exp.Column) and names.column(node) is Kind.ABSENT:
        return next((each for each in projections if each.alias_or_name.lower() == node.name.lower()), node)
    return node


def _distinct_rows(query: exp.Query, names: Names) -> str | None:
    columns: Iterator[tuple[str, Kind]] = iter((names.outputs(query) or {}).items())
    if isinstance(query, exp.Select) and query.args.get("distinct"):
        found = next((name for name, kind in columns if kind is Kind.JSON), None)
        return found and f"Column {found} of type JSON cannot be used in SELECT DISTINCT"
    if isinstance(query, exp.SetOperation) and query.args.get("distinct"):
        for number, (_, kind) in enumerate(columns, start=1):
            if kind is Kind.JSON:
                operation = f"{query.key.upper()} DISTINCT"
                return f"Column {number} in {operation} has type that does not support set operation comparisons: JSON"
    return None


CORRECTIONS: tuple[Callable[[], None], ...] = (refuse_ddl_in_transactions,)
