"""Statements, and what the analyzer says of them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any, Self

from tests.googlesql.catalogs import Columns, catalog, options
from tests.googlesql.rules import faults
from tests.googlesql.service import RefusedError, fields, service

_AT_ONCE = 300
"""How many statements share a catalog: one takes longer to make than many statements to analyze."""


@dataclass(frozen=True, slots=True)
class Case:
    """A statement, or a script, and what it needs.

    :param tables: columns by the names that stand in the statement, in backticks.
    :param parameters: their types.
    """

    sql: str
    tables: Mapping[str, Columns] = field(default_factory=dict)
    parameters: Columns = field(default_factory=dict)
    name: str = ""


@dataclass(frozen=True, slots=True)
class Judgement:
    """What is said of a case.

    :param resolved: each of its statements, resolved: with columns by number.
    :param faults: why BigQuery would refuse it; empty when it would not.
    """

    case: Case
    resolved: tuple[bytes, ...]
    faults: tuple[str, ...]


def judged(cases: Iterable[Case], *, nested: bool = False) -> Iterator[Judgement]:
    """Yield what is said of each case.

    :param nested: read the names of tables as paths of three identifiers. BigQuery takes a path in one pair of
        backticks for one identifier, behind which no column hides; a statement should be right under both readings.
    """
    waiting = list(cases)
    for start in range(0, len(waiting), _AT_ONCE):
        part = [
            _Renamed.of(case, f"{number}:") for number, case in enumerate(waiting[start : start + _AT_ONCE])
        ]
        tables = {name: columns for one in part for name, columns in one.tables.items()}
        with _registered(tables, nested=nested) as registered:
            for one in part:
                yield _judged(one, registered, nested=nested)


def refusal(case: Case) -> str:
    """Return why BigQuery would refuse a case; empty when it would not."""
    (judgement,) = judged([case])
    return "\n".join(judgement.faults)


@dataclass(frozen=True, slots=True)
class _Renamed:
    """A case whose tables have names that no other case of the catalog has."""

    case: Case
    prefix: str
    tables: dict[str, Columns]

    @classmethod
    def of(cls, case: Case, prefix: str) -> Self:
        return cls(case, prefix, {f"{prefix}{name}": columns for name, columns in case.tables.items()})

    def sql(self, *, nested: bool) -> str:
        sql = self.case.sql
        for name in self.case.tables:
            renamed = f"{self.prefix}{name}"
            sql = sql.replace(f"`{name}`", f"`{renamed}`")
        return _WHOLE_NAME.sub(r"`\1`.`\2`.`\3`", sql) if nested else sql


def _judged(one: _Renamed, registered: int, *, nested: bool) -> Judgement:
    from zetasql.wasi._pb2.zetasql.local_service import local_service_pb2 as messages

    found, resolved, tables = list(faults(one.case)), [], dict(one.tables)
    request = messages.AnalyzeRequest(options=options(one.case.parameters), registered_catalog_id=registered)
    request.parse_resume_location.input = sql = one.sql(nested=nested)
    text, place = sql.encode(), 0
    with ExitStack() as own_catalogs:
        try:
            while text[place:].strip(b" \n\t\r;"):
                request.parse_resume_location.byte_position = place
                answer = fields(service().call("Analyze", request))
                resolved.append(answer[_STATEMENT][0])
                made = _MADE.match(text[place:].decode())
                place = answer[_PLACE][0]
                if made:
                    tables[made[1].replace("`", "")] = _columns_made(resolved[-1])
                    own_catalog = _registered(tables, nested=nested)
                    request.registered_catalog_id = own_catalogs.enter_context(own_catalog)
        except RefusedError as error:
            found.append(str(error).replace(one.prefix, ""))
    return Judgement(one.case, tuple(resolved), tuple(found))


@contextmanager
def _registered(tables: Mapping[str, Columns], *, nested: bool) -> Iterator[int]:
    """Make a catalog, and drop it afterwards."""
    from zetasql.wasi._pb2.zetasql.local_service import local_service_pb2 as messages

    request = messages.RegisterCatalogRequest(simple_catalog=catalog(tables, nested=nested))
    answer = messages.RegisterResponse.FromString(service().call("RegisterCatalog", request))
    yield answer.registered_id
    service().call("UnregisterCatalog", messages.UnregisterRequest(registered_id=answer.registered_id))


# Numbers of fields in AnalyzeResponse.
_STATEMENT, _PLACE = 1, 2
# In AnyResolvedStatementProto, from what is outside: create, table, as select, its parent, definitions of columns.
_DEFINITIONS = (39, 106, 40, 1, 3)
_NAME, _TYPE = 2, 3
# A table that a statement makes, which those after it may read.
_MADE = re.compile(r"[\s;]*CREATE\s+(?:OR\s+REPLACE\s+)?(?:TEMP\s+)?TABLE\s+(?!IF\b)(\w+|`\S+`)[^;]*?\bAS\s")
_WHOLE_NAME = re.compile(r"`([^`.\s]+)\.([^`.\s]+)\.([^`.\s]+)`")


def _columns_made(statement: bytes) -> dict[str, Any]:
    """Return the columns of the table that a resolved CREATE TABLE AS SELECT makes."""
    from zetasql.wasi._pb2.zetasql.public.type_pb2 import TypeProto

    *path, last = _DEFINITIONS
    for number in path:
        (statement,) = fields(statement)[number]
    definitions = map(fields, fields(statement)[last])
    return {one[_NAME][0].decode(): TypeProto.FromString(one[_TYPE][0]) for one in definitions}
