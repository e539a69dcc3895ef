"""The reference evaluator of GoogleSQL in place of BigQuery, behind the methods of its client that are used here."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

from google.api_core.exceptions import BadRequest, NotFound
from google.cloud.bigquery import Dataset, Row, Table

from airflow_gemini_batch.testing.stack import LOCATION
from tests.googlesql.branches import parts_that_run
from tests.googlesql.catalogs import catalog, options, parameter_types, type_proto
from tests.googlesql.cells import python_value, schema_field, value_proto
from tests.googlesql.language import language
from tests.googlesql.merges import merged_query, target_of
from tests.googlesql.recording import type_of
from tests.googlesql.service import RefusedError, service

_CREATE = re.compile(
    r"\s*CREATE\s+(?P<replace>OR\s+REPLACE\s+)?(?P<temporary>TEMP\s+)?TABLE\s+(?P<keep>IF\s+NOT\s+EXISTS\s+)?"
    r"(?P<name>`[^`]+`|\w+)\s*(?P<rest>.*)",
    re.DOTALL,
)
_ALTER = re.compile(r"\s*ALTER TABLE (?P<name>`[^`]+`)\n(?P<rest>  ADD COLUMN .*)", re.DOTALL)
_COLUMN = re.compile(r"^\s*(?:ADD COLUMN IF NOT EXISTS )?`([^`]+)` (.+?),?$", re.MULTILINE)


@dataclass
class Relation:
    """Columns by name, with ``TypeProto``, and rows of ``ValueProto``."""

    columns: dict[str, Any]
    rows: list[list[Any]] = field(default_factory=list)
    made: datetime = field(default_factory=lambda: datetime.now(UTC))

    @property
    def schema(self) -> list[Any]:
        return [schema_field(name, kind) for name, kind in self.columns.items()]

    def result(self) -> list[Row]:
        places = {name: place for place, name in enumerate(self.columns)}
        kinds = list(self.columns.values())
        return [Row(tuple(map(python_value, row, kinds)), places) for row in self.rows]


class Evaluator:
    """A client of a BigQuery that is in memory. All datasets exist.

    :ivar statements: how many scripts and statements have run.
    """

    def __init__(self) -> None:
        self.statements = 0
        self._tables: dict[str, Relation] = {}

    def close(self) -> None:
        pass

    def create_dataset(self, dataset: Dataset, **_: Any) -> Dataset:
        return dataset

    def get_dataset(self, name: str, **_: Any) -> Dataset:
        dataset = Dataset(name)
        dataset.location = LOCATION
        return dataset

    def create_table(self, table: Table, **_: Any) -> Table:
        columns = {one.name: type_proto(type_of(one)) for one in table.schema}
        self._tables.setdefault(_dotted(table), Relation(columns))
        return self.get_table(table)

    def get_table(self, table: Table | str, **_: Any) -> Table:
        relation = self._relation(table)
        found = Table(_dotted(table), relation.schema).to_api_repr()
        made = str(int(relation.made.timestamp() * 1000))
        more = {"type": "TABLE", "numRows": len(relation.rows), "creationTime": made, "location": LOCATION}
        return Table.from_api_repr({**found, **more})

    def list_tables(self, dataset: str, **_: Any) -> list[Table]:
        return [Table(name) for name in self._tables if name.rpartition(".")[0].endswith(dataset)]

    def delete_table(self, table: Table | str, **_: Any) -> None:
        self._tables.pop(_dotted(table), None)

    def load_table_from_json(self, rows: Iterable[Mapping[str, Any]], table: str, **_: Any) -> Any:
        relation = self._relation(table)
        for row in rows:
            relation.rows.append(
                [value_proto(row.get(name), kind) for name, kind in relation.columns.items()]
            )
        return SimpleNamespace(result=lambda: None)

    def list_rows(self, table: Table | str, **_: Any) -> list[Row]:
        return self._relation(table).result()

    def query(self, sql: str, job_config: Any = None, **_: Any) -> Any:
        relation = self._run(sql, job_config)
        return SimpleNamespace(schema=relation.schema, result=lambda **_: relation.result())

    def query_and_wait(self, sql: str, job_config: Any = None, **_: Any) -> list[Row]:
        return self._run(sql, job_config).result()

    def _relation(self, table: Table | str) -> Relation:
        if (name := _dotted(table)) not in self._tables:
            raise NotFound(f"there is no table {name}")
        return self._tables[name]

    def _run(self, sql: str, job_config: Any) -> Relation:
        """Run a script, and return what its last query gives."""
        self.statements += 1
        config = job_config.to_api_repr() if job_config else {}
        values = {one.name: one for one in getattr(job_config, "query_parameters", ())}
        run = _Script(self._tables, parameter_types(config), values)
        try:
            for part in parts_that_run(sql, run.holds):
                for statement, tables in _statements(part):
                    run.statement(statement, tables)
        except RefusedError as error:
            raise BadRequest(str(error)) from error
        finally:
            for name in run.temporary:
                self._tables.pop(name, None)
        return run.found


class _Script:
    def __init__(
        self, tables: dict[str, Relation], types: Mapping[str, str], values: Mapping[str, Any]
    ) -> None:
        self._tables = tables
        self._types = types
        self._values = values
        self.temporary: list[str] = []
        self.found = Relation({})

    def statement(self, sql: str, tables: list[str]) -> None:
        if re.match(r"\s*(BEGIN|COMMIT) TRANSACTION", sql):
            return
        if made := _CREATE.fullmatch(sql):
            self._create(made, tables)
        elif altered := _ALTER.fullmatch(sql):
            relation = self._tables[altered["name"].strip("`")]
            added = {name: type_proto(kind) for name, kind in _COLUMN.findall(altered["rest"])}
            relation.columns |= added
            for row in relation.rows:
                row += [value_proto(None, kind) for kind in added.values()]
        elif target := target_of(sql):
            relation = self._tables[target.strip("`")]
            relation.rows = self._query(merged_query(sql, list(relation.columns)), tables).rows
        else:
            self.found = self._query(sql, tables)

    def holds(self, condition: str) -> bool:
        ((_, tables),) = _statements(condition)
        ((found,),) = self._query(condition, tables).result()
        return bool(found)

    def _create(self, made: re.Match[str], tables: list[str]) -> None:
        name = made["name"].strip("`")
        if made["temporary"]:
            self.temporary.append(name)
        if made["keep"] and name in self._tables:
            return
        definitions, *query = re.split(r"\bAS\s", made["rest"], maxsplit=1)
        columns = {column: type_proto(kind) for column, kind in _COLUMN.findall(definitions)}
        relation = self._query(query[0], [one for one in tables if one != name]) if query else Relation({})
        self._tables[name] = Relation(columns or relation.columns, relation.rows)

    def _query(self, sql: str, tables: list[str]) -> Relation:
        from zetasql.wasi._pb2.zetasql.local_service import local_service_pb2 as messages
        from zetasql.wasi._pb2.zetasql.public.options_pb2 import FEATURE_ENFORCE_CONDITIONAL_EVALUATION

        if absent := [name for name in tables if name not in self._tables]:
            raise NotFound(f"there is no table {', '.join(absent)}")
        read = {name: self._tables[name] for name in tables}
        request = messages.EvaluateQueryRequest(sql=sql, options=options(self._types))
        # With it this evaluator fails, with an internal error, at a condition that holds an aggregate of no rows.
        request.options.language_options.enabled_language_features.remove(
            FEATURE_ENFORCE_CONDITIONAL_EVALUATION
        )
        request.simple_catalog.CopyFrom(catalog({name: one.columns for name, one in read.items()}))
        for name, relation in read.items():
            content = request.table_content[name].table_data
            content.SetInParent()
            for row in relation.rows:
                content.row.add().cell.extend(row)
        for name, kind in self._types.items():
            given = self._values[name]
            value = given.values if hasattr(given, "values") else given.value
            request.params.add(name=name).value.CopyFrom(value_proto(value, type_proto(kind)))
        answer = messages.EvaluateQueryResponse.FromString(service().call("EvaluateQuery", request))
        columns = {one.name: one.type for one in answer.prepared.columns}
        rows = [list(row.cell) for row in answer.content.table_data.row]
        if len(columns) < len(answer.prepared.columns):
            raise NotImplementedError("columns without names of their own")
        return Relation(columns, rows)


def _dotted(table: Table | str) -> str:
    return table if isinstance(table, str) else f"{table.project}.{table.dataset_id}.{table.table_id}"


def _statements(sql: str) -> Iterator[tuple[str, list[str]]]:
    """Yield the statements of a script, each with the tables that it names."""
    from zetasql.wasi._pb2.zetasql.local_service import local_service_pb2 as messages

    text, place = sql.encode(), 0
    while text[place:].strip(b" \n\t\r;"):
        request = messages.ExtractTableNamesFromNextStatementRequest(options=language())
        request.parse_resume_location.input = sql
        request.parse_resume_location.byte_position = place
        answer = messages.ExtractTableNamesFromNextStatementResponse.FromString(
            service().call("ExtractTableNamesFromNextStatement", request)
        )
        end = answer.resume_byte_position
        names = (".".join(one.table_name_segment) for one in answer.table_name)
        yield text[place:end].decode().rstrip().removesuffix(";"), list(dict.fromkeys(names))
        place = end
