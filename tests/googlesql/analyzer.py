"""Statements, and what the analyzer says of them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

from tests.googlesql.branches import with_all_branches
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
        part = list(enumerate(waiting[start : start + _AT_ONCE]))
        tables = {f"{n}:{name}": columns for n, case in part for name, columns in case.tables.items()}
        with _registered(tables, nested=nested) as registered:
            for number, case in part:
                yield _judged(case, f"{number}:", registered, nested=nested)


def _judged(case: Case, prefix: str, registered: int, *, nested: bool) -> Judgement:
    """Return what is said of a case. The prefix tells its tables from those of other cases in the catalog."""
    from zetasql.wasi._pb2.zetasql.local_service import local_service_pb2 as messages

    sql, tables = with_all_branches(case.sql), {}
    for name, columns in case.tables.items():
        tables[f"{prefix}{name}"] = columns
        sql = sql.replace(f"`{name}`", f"`{prefix}{name}`")
    if nested:
        sql = _WHOLE_NAME.sub(r"`\1`.`\2`.`\3`", sql)
    found, resolved = list(faults(case)), []
    request = messages.AnalyzeRequest(options=options(case.parameters), registered_catalog_id=registered)
    request.parse_resume_location.input = sql
    text, place = sql.encode(), 0
    end = len(text.rstrip(b" \n\t\r;"))
    with ExitStack() as own_catalogs:
        try:
            while place < end:
                request.parse_resume_location.byte_position = place
                answer = fields(service().call("Analyze", request))
                resolved.append(answer[_STATEMENT][0])
                made = _MADE.match(text[place:].decode())
                place = answer[_PLACE][0]
                if made and place < end:
                    tables[made[1].replace("`", "")] = _columns_made(resolved[-1])
                    own_catalog = _registered(tables, nested=nested)
                    request.registered_catalog_id = own_catalogs.enter_context(own_catalog)
        except RefusedError as error:
            found.append(str(error).replace(prefix, ""))
    return Judgement(case, tuple(resolved), tuple(found))


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
