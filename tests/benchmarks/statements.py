"""What statements read and write on the local BigQuery: each is looked at as it is run.

The local BigQuery does not say what BigQuery would bill. So what a statement reads is taken from its syntax tree, with
SQLGlot: each place that names a table is a scan, as often as the WITH clause that it stands in is named, and of the
columns that the result needs. The bytes are those of these columns at that moment, in the sizes that BigQuery counts
(https://cloud.google.com/bigquery/pricing#data). As there, a MERGE reads all columns of its target when it has
UPDATE or DELETE, none of it ``ON FALSE``, and of a table that is partitioned by a number those rows that an equality
picks.
"""

from __future__ import annotations

import itertools
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import sqlglot
from sqlglot import exp
from sqlglot.optimizer.pushdown_projections import pushdown_projections
from sqlglot.optimizer.qualify import qualify
from sqlglot.optimizer.scope import Scope, build_scope

Table = tuple[str, str, str]
"""Project, dataset and name; the first two are :data:`TEMPORARY` for a temporary table."""

TEMPORARY = "temp"
_PARTITIONED = re.compile(r"CREATE TEMP TABLE (\w+) PARTITION BY RANGE_BUCKET\((\w+),")
_ARRAY = re.compile(r"(.*)\[\]")


@dataclass(frozen=True)
class Scan:
    """A table that is read once.

    :param columns: those that are needed.
    :param where: condition on the partitions, in SQL; empty for all.
    """

    table: Table
    columns: frozenset[str]
    where: str = ""


@dataclass
class Ran:
    """A statement that has run.

    :param scans: how often each table was read.
    :param read_bytes: of all scans, by table; ``read_rows`` likewise.
    :param written: rows written, by table.
    """

    step: str
    kind: str
    scans: dict[str, int] = field(default_factory=dict)
    read_bytes: dict[str, int] = field(default_factory=dict)
    read_rows: dict[str, int] = field(default_factory=dict)
    written: dict[str, int] = field(default_factory=dict)


class Recorder:
    """Looks at each statement of the local BigQuery of this process, which has to be running, while it is entered.

    Dry runs, for which BigQuery bills nothing, are left out.

    :ivar step: what the statements of the moment belong to.
    :ivar jobs: the step of each query or script that was run.
    :param role: names a table in the figures; by default the table's own name.
    """

    def __init__(self, role: Callable[[Table], str] = lambda table: table[2]) -> None:
        self.step = ""
        self.ran: list[Ran] = []
        self.jobs: list[str] = []
        self._role = role
        self._partitions: dict[str, str] = {}
        self._count = 0
        self._is_dry = False
        self._replaced: list[tuple[Any, str, Any]] = []

    def total(self, figure: str) -> Counter[str]:
        """Return one of the figures of all statements, by table."""
        return sum((Counter(getattr(one, figure)) for one in self.ran), Counter())

    def __enter__(self) -> Recorder:
        from bqemulator.api.routes import jobs
        from bqemulator.jobs import executor
        from bqemulator.scripting.interpreter import ScriptInterpreter
        from bqemulator.storage.engine import DuckDBEngine

        for holder, name, make in (
            (jobs, "_build_dry_run_query_response", self._dry),
            (jobs, "execute_query_job", self._counted),
            (ScriptInterpreter, "_exec_sql", self._in_script),
            (ScriptInterpreter, "_eval_expr_scalar", self._condition),
            (executor, "_run_single_sql", self._alone),
            (DuckDBEngine, "fetch_arrow", self._fetched),
        ):
            original = getattr(holder, name)
            self._replaced.append((holder, name, original))
            setattr(holder, name, make(original))
        return self

    def __exit__(self, *_: object) -> None:
        while self._replaced:
            setattr(*self._replaced.pop())

    def _dry(self, original: Callable[..., Any]) -> Callable[..., Any]:
        async def run(**job: Any) -> Any:
            self._is_dry = True
            try:
                return await original(**job)
            finally:
                self._is_dry = False

        return run

    def _counted(self, original: Callable[..., Any]) -> Callable[..., Any]:
        async def run(*arguments: Any, **options: Any) -> Any:
            if not self._is_dry:
                self.jobs.append(self.step)
            return await original(*arguments, **options)

        return run

    def _in_script(self, original: Callable[..., Any]) -> Callable[..., Any]:
        async def run(interpreter: Any, sql: str) -> Any:
            begun = self._begin(sql, interpreter._project_id, interpreter._ctx)
            answer = await original(interpreter, sql)
            self._end(begun)
            return answer

        return run

    def _condition(self, original: Callable[..., Any]) -> Callable[..., Any]:
        async def run(interpreter: Any, expression: str) -> Any:
            self._begin(f"SELECT {expression}", interpreter._project_id, interpreter._ctx)
            return await original(interpreter, expression)

        return run

    def _alone(self, original: Callable[..., Any]) -> Callable[..., Any]:
        async def run(project: str, sql: str, parameters: Any, context: Any, **options: Any) -> Any:
            begun = self._begin(sql, project, context)
            answer = await original(project, sql, parameters, context, **options)
            self._end(begun)
            return answer

        return run

    def _fetched(self, original: Callable[..., Any]) -> Callable[..., Any]:
        def fetch(engine: Any, sql: str, parameters: Any = None) -> Any:
            found = original(engine, sql, parameters)
            if found.column_names == ["Count"]:  # of a CREATE or a MERGE
                self._count = sum(found.column(0).to_pylist())
            return found

        return fetch

    def _begin(self, sql: str, project: str, context: Any) -> tuple[Ran, Table | None]:
        self._count = 0
        if found := _PARTITIONED.match(sql.strip()):
            self._partitions[found[1]] = found[2]
        tree = sqlglot.parse_one(sql, read="bigquery")
        ran = Ran(self.step, _kind(tree))
        written = _written(tree, project)
        for scan in scans(tree, project, lambda table: _columns(context.engine, table), self._partitions):
            role = self._role(scan.table)
            rows, size = _measured(context.engine, scan)
            for figures, value in ((ran.scans, 1), (ran.read_rows, rows), (ran.read_bytes, size)):
                figures[role] = figures.get(role, 0) + value
        if ran.kind and not self._is_dry:
            self.ran.append(ran)
        return ran, written

    def _end(self, begun: tuple[Ran, Table | None]) -> None:
        ran, table = begun
        if table and self._count:
            ran.written[self._role(table)] = self._count


def scans(
    tree: exp.Expr,
    project: str,
    columns_of: Callable[[Table], Sequence[str]],
    partitions: Mapping[str, str],
) -> Iterator[Scan]:
    """Yield what a statement reads.

    :param columns_of: gives a table's columns; none where there is no such table.
    :param partitions: columns that temporary tables are partitioned by.
    """
    if isinstance(tree, exp.Merge):
        yield from _merge_target(tree, project, columns_of)
        tree = tree.args["using"]
    elif isinstance(tree, exp.Create) and tree.expression is not None:
        tree = tree.expression
    elif isinstance(tree, exp.Export):
        tree = tree.this
    query = tree.unnest().copy() if isinstance(tree, (exp.Query, exp.Subquery)) else None
    if query is None or not isinstance(query, exp.Query):
        return
    schema: dict[str, Any] = {}
    names = {cte.alias for cte in query.find_all(exp.CTE)}
    for table in query.find_all(exp.Table):
        if not table.db and table.name in names:
            continue
        found = _table(table, project)
        for part, name in (("catalog", found[0]), ("db", found[1])):
            table.set(part, exp.to_identifier(name, quoted=True))
        if columns := columns_of(found):
            datasets = schema.setdefault(found[0], {})
            datasets.setdefault(found[1], {})[found[2]] = dict.fromkeys(columns, "STRING")
    query = qualify(
        query, dialect="bigquery", schema=schema, validate_qualify_columns=False, quote_identifiers=False
    )
    root = build_scope(pushdown_projections(query, schema=schema, dialect="bigquery"))
    assert root is not None
    for scope, times in _times(root).items():
        for name, source in scope.sources.items():
            if isinstance(source, exp.Table) and name in scope.selected_sources:
                table_ = (source.catalog, source.db, source.name)
                used = frozenset(column.name for column in scope.source_columns(name))
                where = _picked(scope, name, partitions.get(source.name, ""))
                yield from itertools.repeat(Scan(table_, used, where), times)


def _merge_target(
    tree: exp.Merge, project: str, columns_of: Callable[[Table], Sequence[str]]
) -> Iterator[Scan]:
    table = _table(tree.this, project)
    whens = tree.args["whens"].expressions
    changes = any(when.args.get("matched") for when in whens)
    if changes:
        yield Scan(table, frozenset(columns_of(table)))
    elif not isinstance(tree.args["on"], exp.Boolean):
        alias = tree.this.alias_or_name
        used = (column.name for column in tree.args["on"].find_all(exp.Column) if column.table == alias)
        yield Scan(table, frozenset(used))


def _times(root: Scope) -> dict[Scope, int]:
    """Return how often each query within a query runs."""
    times: dict[Scope, int] = {root: 1}
    # Those that use a query come after it.
    for scope in reversed(list(root.traverse())):
        for name, source in scope.sources.items():
            if isinstance(source, Scope) and name in scope.selected_sources:
                times[source] = times.get(source, 0) + times.get(scope, 0)
        for inner in (*scope.subquery_scopes, *scope.union_scopes, *scope.derived_table_scopes):
            times.setdefault(inner, times.get(scope, 0))
    return times


def _picked(scope: Scope, name: str, partition: str) -> str:
    where = scope.expression.args.get("where")
    for condition in where.find_all(exp.EQ) if where and partition else ():
        column, value = condition.this, condition.expression
        if isinstance(column, exp.Column) and (column.table, column.name) == (name, partition):
            return f'"{partition}" = {value.name}'
    return ""


def _kind(tree: exp.Expr) -> str:
    kinds = {exp.Create: "CREATE", exp.Merge: "MERGE", exp.Alter: "ALTER", exp.Export: "EXPORT"}
    if isinstance(tree, exp.Query):
        return "SELECT"
    return next((name for kind, name in kinds.items() if isinstance(tree, kind)), "")


def _written(tree: exp.Expr, project: str) -> Table | None:
    if not isinstance(tree, (exp.Create, exp.Merge)):
        return None
    table = tree.this.this if isinstance(tree.this, exp.Schema) else tree.this
    return _table(table, project)


def _table(table: exp.Table, project: str) -> Table:
    if not table.db:
        return TEMPORARY, TEMPORARY, table.name
    return table.catalog or project, table.db, table.name


def _reference(table: Table) -> str:
    from bqemulator.storage.sql_identifiers import quoted_table_ref

    return f'temp.main."{table[2]}"' if table[0] == TEMPORARY else quoted_table_ref(*table)


def _types(engine: Any, table: Table) -> dict[str, str]:
    import duckdb

    try:
        described = engine.execute(f"DESCRIBE {_reference(table)}").fetchall()
    except duckdb.CatalogException:
        return {}
    return {name: kind for name, kind, *_ in described}


def _columns(engine: Any, table: Table) -> Sequence[str]:
    return list(_types(engine, table))


def _measured(engine: Any, scan: Scan) -> tuple[int, int]:
    """Return the rows of a scan, and the bytes of its columns."""
    wanted = {name.lower() for name in scan.columns}
    kinds = {name: kind for name, kind in _types(engine, scan.table).items() if name.lower() in wanted}
    sizes = "".join(f" + COALESCE(SUM({_size(_quoted(name), kind)}), 0)" for name, kind in kinds.items())
    where = f" WHERE {scan.where}" if scan.where else ""
    return engine.execute(f"SELECT COUNT(*), 0{sizes} FROM {_reference(scan.table)}{where}").fetchone()


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _size(value: str, kind: str) -> str:
    """Return the expression for the bytes of a value; NULL has none."""
    if inner := _ARRAY.fullmatch(kind):
        return f"LIST_SUM(LIST_TRANSFORM({value}, lambda item: {_size('item', inner[1])}))"
    if kind == "BOOLEAN":
        return f"IF({value} IS NULL, 0, 1)"
    if kind in ("VARCHAR", "JSON", "BLOB"):
        return f"2 + STRLEN({value}::VARCHAR)"
    return f"IF({value} IS NULL, 0, {16 if kind.startswith('DECIMAL') else 8})"
