"""Corrections of GoogleSQL that bqemulator translates wrongly.

Most are made on the syntax tree of the statement as it came in, before bqemulator's own passes:
:data:`_REWRITES` lists them.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any

import duckdb
import sqlglot
from sqlglot import exp

from airflow_gemini_batch.testing.bigquery.patches import arrays, casts, json_functions, json_types
from airflow_gemini_batch.testing.bigquery.patches.ddl import copying_rows
from airflow_gemini_batch.testing.bigquery.patches.refusals import refuse
from airflow_gemini_batch.testing.bigquery.patches.seams import replace
from airflow_gemini_batch.testing.bigquery.patches.speed import tree_to_read

# A literal or a name in DuckDB's SQL as SQLGlot writes it: quotes inside are doubled, and there are no comments.
_QUOTED = r"""'(?:[^']|'')*'|"(?:[^"]|"")*\""""

# Characters with Unicode's White_Space property.
_WHITESPACE = "".join(map(chr, (*range(9, 14), 32, 133, 160, 0x1680, *range(0x2000, 0x200B)))) + (
    "\u2028\u2029\u202f\u205f\u3000"
)

_NAMES_COLUMNS = (exp.Alias, exp.Column, exp.ColumnDef, exp.Schema)


def translate_without_annotation() -> None:
    """Leave out the translator's type annotation, which lower-cases names, and give NUMERIC its digits.

    The annotation folds every identifier, so ``STRUCT(… AS generationConfig)`` became ``generationconfig`` in the
    request; all that it serves is that AVG and division of NUMERIC columns stay NUMERIC. And NUMERIC became
    DuckDB's DECIMAL of three decimals, too few for the price of a token, where BigQuery has nine.
    """

    def make(original: Callable[..., str]) -> Callable[..., str]:
        def apply_rules(translator: Any, sql: str, *, schema: object = None) -> str:
            return original(translator, _with_numeric_digits(sql), schema=None)

        return apply_rules

    replace("bqemulator.sql.translator:SQLTranslator", "_apply_rules", make)
    # The columns of all tables, gathered for the annotation, take a parse of the statement.
    replace(
        "bqemulator.sql.inner_query", "build_catalog_schema", lambda _: lambda *_arguments, **_options: {}
    )


def _with_numeric_digits(sql: str) -> str:
    # On the text, since SQLGlot reads DuckDB's DECIMAL back with the three decimals written out.
    bare = re.compile(rf"{_QUOTED}|\bDECIMAL\b(?! *\()")
    return bare.sub(lambda match: "DECIMAL(38, 9)" if match[0] == "DECIMAL" else match[0], sql)


def bind_parameters() -> None:
    """Replace ``@name`` by its value only where it is a parameter, and in the statements of a script too.

    It was replaced inside string literals, so a prompt that says "@keys" broke the statement, and in a script it was
    said to have no value. Clones are copies of the rows from here on.
    """
    quoted = re.compile(_QUOTED)
    of_the_job: ContextVar[list[dict[str, Any]] | None] = ContextVar("of_the_job", default=None)

    def keep(original: Callable[..., Any]) -> Callable[..., Any]:
        def run(*, bq_sql: str, query_params: list[dict[str, Any]] | None, **rest: Any) -> Any:
            of_the_job.set(query_params)
            return original(bq_sql=copying_rows(bq_sql), query_params=query_params, **rest)

        return run

    def make(original: Callable[..., tuple[str, list[Any]]]) -> Callable[..., tuple[str, list[Any]]]:
        def bind(sql: str, parameters: list[dict[str, Any]] | None = None) -> tuple[str, list[Any]]:
            literals: list[str] = []

            def take(match: re.Match[str]) -> str:
                literals.append(match[0])
                return f"\0{len(literals) - 1}\0"

            bound, values = original(quoted.sub(take, sql), parameters or of_the_job.get())
            return re.sub("\0(\\d+)\0", lambda match: literals[int(match[1])], bound), values

        return bind

    replace("bqemulator.jobs.executor", "_run_query_body", keep)
    for module in ("bqemulator.jobs.executor", "bqemulator.scripting.interpreter"):
        replace(module, "bind_parameters", make)


def rewrite_statements() -> None:
    """Run :data:`_REWRITES` over every statement, after INFORMATION_SCHEMA and ahead of all other passes."""

    def make(original: Callable[[str, str, Any], str]) -> Callable[[str, str, Any], str]:
        def expand(sql: str, project: str, catalog: Any) -> str:
            return _rewritten(original(sql, project, catalog), project, catalog)

        return expand

    replace("bqemulator.sql.inner_query", "expand_information_schema", make)


def _rewritten(sql: str, project: str, catalog: Any) -> str:
    try:
        before = tree_to_read(sql)
    except sqlglot.errors.SqlglotError:
        return sql  # the translator reports it
    tree = before.copy()
    dashed = _quote_projects(tree)
    if not isinstance(tree, (exp.Query, exp.DML, exp.Merge)) and not (
        isinstance(tree, exp.Create) and tree.kind in ("TABLE", "VIEW")
    ):
        # SQLGlot does not write every other statement back as it read it.
        return tree.sql(dialect="bigquery") if dashed else sql
    refuse(tree, project, catalog)
    for rewrite in _REWRITES:
        rewrite(tree, project, catalog)
    return sql if not dashed and tree == before else tree.sql(dialect="bigquery")


def _quote_projects(tree: exp.Expr) -> bool:
    """Quote the project of ``my-project.books.t``, which was a syntax error, and tell whether there was one."""
    parts = [part for table in tree.find_all(exp.Table) for part in table.parts]
    dashed = [part for part in parts if "-" in part.name and not part.args.get("quoted")]
    for part in dashed:
        part.set("quoted", True)
    return bool(dashed)


def name_columns(tree: exp.Expr, _project: str, _catalog: Any) -> None:
    """Name unnamed result columns ``f0_``, ``f1_`` …; they carried DuckDB's text of the expression.

    A ``WITH OFFSET o`` column is given its name here too: it is shifted to begin at 0 later on, and lost it there.
    """
    if not isinstance(tree, exp.Select):
        return
    offsets = {
        unnest.args["offset"].name for unnest in tree.find_all(exp.Unnest) if unnest.args.get("offset")
    }
    unnamed = 0
    for projection in tree.expressions:
        if isinstance(projection, exp.Column) and projection.name in offsets:
            projection.replace(exp.alias_(projection.copy(), projection.name))
        elif not (projection.alias or projection.is_star or isinstance(projection, (exp.Column, exp.Dot))):
            projection.replace(exp.alias_(projection.copy(), f"f{unnamed}_"))
            unnamed += 1


def quote_reserved_names(tree: exp.Expr, _project: str, _catalog: Any) -> None:
    """Quote columns whose names DuckDB reserves and BigQuery does not, such as ``at``; they were a syntax error."""
    for name in tree.find_all(exp.Identifier):
        if isinstance(name.parent, _NAMES_COLUMNS) and name.name.lower() in _reserved():
            name.set("quoted", True)


@functools.cache
def _reserved() -> frozenset[str]:
    words = (
        "SELECT keyword_name FROM duckdb_keywords() WHERE keyword_category IN ('reserved', 'type_function')"
    )
    with duckdb.connect() as connection:
        return frozenset(word for (word,) in connection.execute(words).fetchall())


def trim_all_whitespace(tree: exp.Expr, _project: str, _catalog: Any) -> None:
    """Let ``TRIM`` of one argument take line ends and tabs too; DuckDB's takes spaces only."""
    for node in tree.find_all(exp.Trim):
        if node.args.get("expression") is None:
            node.set("expression", exp.Literal.string(_WHITESPACE))


def slice_limited_arrays(tree: exp.Expr, _project: str, _catalog: Any) -> None:
    """Write ``ARRAY_AGG(x IGNORE NULLS … LIMIT n)`` as a slice of the whole array; together they did not parse.

    With DISTINCT, nulls are left out by a filter: SQLGlot asked whether ``DISTINCT x`` is null.
    """
    for node in _innermost_first(tree, exp.IgnoreNulls):
        aggregate = node.this
        if isinstance(aggregate, exp.ArrayAgg) and isinstance(aggregate.this, exp.Limit):
            limit = aggregate.this
            unlimited: exp.Expr = exp.ArrayAgg(this=limit.this.copy())
            if distinct := limit.find(exp.Distinct):
                present = exp.Is(this=distinct.expressions[0].copy(), expression=exp.Null()).not_()
                unlimited = exp.Filter(this=unlimited, expression=exp.Where(this=present))
            else:
                unlimited = exp.IgnoreNulls(this=unlimited)
            bounds = [exp.Literal.number(1), limit.expression.copy()]
            node.replace(exp.Anonymous(this="ARRAY_SLICE", expressions=[unlimited, *bounds]))


def _innermost_first(tree: exp.Expr, kind: type[exp.Expr]) -> list[Any]:
    # A node is replaced by one that holds its copy, so what is inside has to be done before.
    return list(tree.find_all(kind))[::-1]


def list_tables(tree: exp.Expr, project: str, catalog: Any) -> None:
    """Put a dataset's tables in the place of ``dataset.__TABLES__``, which was missing."""
    for table in list(tree.find_all(exp.Table)):
        if table.name == "__TABLES__":
            dataset = (table.catalog or project, table.db)
            rows = [_table_row(found) for found in catalog.list_tables(*dataset)]
            listing = " UNION ALL ".join(rows) or f"{_row(_NO_TABLE)} LIMIT 0"
            subquery = sqlglot.parse_one(f"({listing})", read="bigquery")
            subquery.set("alias", exp.TableAlias(this=exp.to_identifier(table.alias or "__TABLES__")))
            table.replace(subquery)


_NO_TABLE = {
    "project_id": "''",
    "dataset_id": "''",
    "table_id": "''",
    "creation_time": "0",
    "last_modified_time": "0",
    "row_count": "0",
    "size_bytes": "0",
    "type": "0",
}


def _table_row(table: Any) -> str:
    values = (
        f"'{table.project_id}'",
        f"'{table.dataset_id}'",
        f"'{table.table_id}'",
        str(int(table.creation_time.timestamp() * 1000)),
        str(int(table.last_modified_time.timestamp() * 1000)),
        str(table.num_rows),
        str(table.num_bytes),
        "2" if table.table_type == "VIEW" else "1",
    )
    return _row(dict(zip(_NO_TABLE, values, strict=True)))


def _row(values: dict[str, str]) -> str:
    return f"SELECT {', '.join(f'{value} AS {column}' for column, value in values.items())}"


_REWRITES: tuple[Callable[[exp.Expr, str, Any], None], ...] = (
    name_columns,
    quote_reserved_names,
    trim_all_whitespace,
    slice_limited_arrays,
    # Ahead of those that put macros in the place of what tells a type.
    json_types.follow_fields,
    json_types.keep_json,
    *casts.REWRITES,
    *json_functions.REWRITES,
    json_functions.read_nothing_else,
    list_tables,
    *arrays.REWRITES,
)

CORRECTIONS = (
    translate_without_annotation,
    bind_parameters,
    rewrite_statements,
)
