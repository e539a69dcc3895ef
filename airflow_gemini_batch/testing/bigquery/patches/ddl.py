"""Corrections of what happens around DDL, and of what the catalog learns from it."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import sqlglot
from bqemulator.catalog import ddl_sync
from bqemulator.catalog.models import Clustering, TimePartitioning
from bqemulator.jobs.executor import _dml_target_tables
from bqemulator.sql.translator import SQLTranslator
from bqemulator.storage.sql_identifiers import quoted_table_ref
from sqlglot import exp

from airflow_gemini_batch.testing.bigquery.patches.request import current
from airflow_gemini_batch.testing.bigquery.patches.seams import replace
from airflow_gemini_batch.testing.bigquery.patches.speed import tree_to_read
from airflow_gemini_batch.testing.bigquery.patches.tables import touch

_NARROW_INTEGERS = frozenset(("TINYINT", "SMALLINT", "INTEGER", "HUGEINT"))
# The function forms of PARTITION BY that name a column and a unit of time.
_DATE_PARTS = (exp.Date, exp.DateTrunc, exp.DatetimeTrunc, exp.TimestampTrunc)


def follow_statements() -> None:
    """Bring the catalog up to date after each CREATE TABLE, ALTER TABLE and, in scripts, DML.

    ``CREATE TABLE IF NOT EXISTS`` made a new entry for a table that was there; labels, expiry, clustering and
    function-form partitioning were dropped; a column that ALTER added was missing; integers of 32 bits overflowed;
    DML inside a script left row count and etag as they were.
    """

    def make(original: Callable[[str, str, Any], None]) -> Callable[[str, str, Any], None]:
        def sync(sql: str, project: str, context: Any) -> None:
            try:
                tree = tree_to_read(sql)
            except sqlglot.errors.SqlglotError:
                return
            if isinstance(tree, exp.Create) and tree.kind == "TABLE":
                if not (tree.args.get("exists") and _known(tree, project, context)):
                    _widen_integers(tree, project, context)
                    original(sql, project, context)
                    _take_options(tree, tree.args.get("properties"), project, context)
            elif isinstance(tree, exp.Alter):
                _follow_alter(tree, project, context)
            elif isinstance(tree, exp.DML):
                _follow_dml(tree, project, context)

        return sync

    for module in ("bqemulator.jobs.executor", "bqemulator.scripting.interpreter"):
        replace(module, "sync_created_table", make)


def alter_step_by_step() -> None:
    """Run the actions of one ``ALTER TABLE`` one by one, and none for ``SET OPTIONS``.

    DuckDB takes a single action, so ``ADD COLUMN a, ADD COLUMN b`` failed, and it knows no options, so those with a
    list of labels failed too. The options are taken by :func:`follow_statements`.
    """

    def make(original: Callable[..., Any]) -> Callable[..., Any]:
        async def run(project: str, sql: str, parameters: Any, context: Any, *, caller: Any) -> Any:
            statements = _single_actions(sql)
            for statement in statements[:-1]:
                await original(project, statement, parameters, context, caller=caller)
            return await original(project, statements[-1], parameters, context, caller=caller)

        return run

    def make_in_scripts(original: Callable[..., Any]) -> Callable[..., Any]:
        async def run(interpreter: Any, sql: str) -> Any:
            statements = _single_actions(sql)
            for statement in statements[:-1]:
                await original(interpreter, statement)
            return await original(interpreter, statements[-1])

        return run

    replace("bqemulator.jobs.executor", "_run_single_sql", make)
    replace("bqemulator.scripting.interpreter:ScriptInterpreter", "_run_query", make_in_scripts)


def place_sql_datasets() -> None:
    """Put a dataset that ``CREATE SCHEMA`` made where the statement or the server says; all were in US."""

    def make(original: Callable[[str, str, Any], None]) -> Callable[[str, str, Any], None]:
        def sync(sql: str, project: str, context: Any) -> None:
            known = {(each.project_id, each.dataset_id) for each in context.catalog.list_all_datasets()}
            original(sql, project, context)
            for dataset in context.catalog.list_all_datasets():
                if (dataset.project_id, dataset.dataset_id) not in known:
                    tree = tree_to_read(sql)
                    asked = tree.find(exp.LocationProperty)
                    location = asked.name if asked else current().default_location
                    context.catalog.update_dataset(dataset.model_copy(update={"location": location}))

        return sync

    for module in ("bqemulator.jobs.executor", "bqemulator.scripting.interpreter"):
        replace(module, "sync_created_schema", make)


def _key(tree: exp.Expr, project: str) -> tuple[str, str, str] | None:
    table = tree.this.this if isinstance(tree.this, exp.Schema) else tree.this
    if not isinstance(table, exp.Table) or not table.db:
        return None
    return table.catalog or project, table.db, table.name


def _known(tree: exp.Expr, project: str, context: Any) -> bool:
    key = _key(tree, project)
    return key is not None and context.catalog.get_table(*key) is not None


def _widen_integers(tree: exp.Create, project: str, context: Any) -> None:
    key = _key(tree, project)
    if key is None or tree.expression is None:
        return
    reference = quoted_table_ref(*key)
    for name, kind, *_ in context.engine.execute(f"SELECT * FROM {reference} LIMIT 0").description:
        if str(kind) in _NARROW_INTEGERS:
            quoted = name.replace('"', '""')
            context.engine.execute(f'ALTER TABLE {reference} ALTER COLUMN "{quoted}" TYPE BIGINT')


def _follow_alter(tree: exp.Alter, project: str, context: Any) -> None:
    key = _key(tree, project)
    if key is None or context.catalog.get_table(*key) is None:
        return
    if renamed := tree.find(exp.AlterRename):
        table = context.catalog.get_table(*key)
        context.catalog.delete_table(*key)
        context.catalog.create_table(table.model_copy(update={"table_id": renamed.this.name}))
        return
    for properties in tree.find_all(exp.Properties):
        _take_options(tree, properties, project, context)
    schema = ddl_sync._introspect_schema(*key, context)
    touch(context.engine, context.catalog, context.clock.now(), key, schema_=schema)


def _follow_dml(tree: exp.DML, project: str, context: Any) -> None:
    for key in _dml_target_tables(tree, project):
        context.snapshots.record_change(*key)


def _single_actions(sql: str) -> list[str]:
    try:
        tree = tree_to_read(sql)
    except sqlglot.errors.SqlglotError:
        return [sql]
    if not isinstance(tree, exp.Alter):
        return [sql]
    statements = []
    for action in tree.args["actions"]:
        if isinstance(action, exp.AlterSet):
            # In its place, the error that is due when there is no such table.
            statements.append(f"SELECT 1 FROM {tree.this.sql(dialect='bigquery')} LIMIT 0")
        else:
            single = tree.copy()
            single.set("actions", [action.copy()])
            statements.append(single.sql(dialect="bigquery"))
    return statements


_CLONE = re.compile(r"(CREATE OR REPLACE TABLE `[^`]+`)\s+CLONE (`[^`]+`)\s+(OPTIONS \(.*\))", re.DOTALL)


def copying_rows(sql: str) -> str:
    """Return the statement that copies the rows for one that makes a clone, in the form in which this package has it.

    bqemulator makes clones without ``OR REPLACE`` and ``OPTIONS`` only, and only of names without backticks.
    """
    return _CLONE.sub(r"\1 \3 AS SELECT * FROM \2", sql) if _CLONE.fullmatch(sql) else sql


def _take_options(tree: exp.Expr, properties: Any, project: str, context: Any) -> None:
    key = _key(tree, project)
    if key is None or properties is None:
        return
    table = context.catalog.get_table(*key)
    changes: dict[str, Any] = {}
    for node in properties.expressions:
        if isinstance(node, exp.ClusterProperty):
            changes["clustering"] = Clustering(fields=tuple(column.name for column in node.expressions))
        elif isinstance(node, exp.PartitionedByProperty) and isinstance(node.this, _DATE_PARTS):
            unit, column = node.this.args.get("unit"), node.this.find(exp.Column)
            parts = {"type": unit.name.upper() if unit else "DAY", "field": column.name if column else None}
            known = table.time_partitioning or TimePartitioning()
            changes["time_partitioning"] = known.model_copy(update=parts)
        elif isinstance(node, exp.Property) and node.name == "labels":
            pairs = [pair.expressions for pair in node.args["value"].expressions]
            changes["labels"] = {label.name: value.name for label, value in pairs}
        elif isinstance(node, exp.Property) and node.name == "expiration_timestamp":
            changes["expiration_time"] = _evaluated(node.args["value"], context)
        elif isinstance(node, exp.Property) and node.name in ("description", "friendly_name"):
            changes[node.name] = node.args["value"].name or None
    context.catalog.update_table(table.model_copy(update=changes))


def _evaluated(expression: exp.Expr, context: Any) -> Any:
    translated = SQLTranslator().translate(f"SELECT {expression.sql(dialect='bigquery')}")
    return context.engine.execute(translated.unwrap()).fetchone()[0]


CORRECTIONS = (follow_statements, alter_step_by_step, place_sql_datasets)
