"""The statements of every builder, as dry runs: BigQuery judges what the analyzer has judged, on tables that exist."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from airflow_gemini_batch.requests.bigquery.expressions import quoted
from tests.live.place import Place
from tests.live.questions import NotAnsweredError

_AT_ONCE = 8
# Where the cases have their tables.
_SHOP = "demo-project.shop."


def cases() -> list[Any]:
    """Return the statements that are analyzed elsewhere in the tests, each once.

    They have ``sql``, ``tables`` (types of columns by the names that stand in the statement), ``parameters`` (types by
    name) and ``name``. Raises :class:`NotAnsweredError` where they can't be made.
    """
    try:
        from tests.googlesql.builders import cases_of
        from tests.googlesql.names import internal_names
        from tests.googlesql.shapes import combined, hostile_shapes
    except ModuleNotFoundError as error:
        raise NotAnsweredError(f"the statements can't be made here: {error}") from None
    names = sorted({name for some in internal_names().values() for name in some})
    hostile = (case for shape in hostile_shapes(tuple(names)).values() for case in cases_of(shape))
    found = (*combined(full=False), *hostile)
    return list({(case.sql, str(case.tables)): case for case in found}.values())


def dry_runs(place: Place, statements: Iterable[Any]) -> list[tuple[str, str]]:
    """Make the tables of the statements, dry-run these, and return the names and errors of those that are refused.

    Tables of other columns have other names. Tables without rows cost nothing, nor do dry runs.
    """
    statements = list(statements)
    numbers: dict[str, int] = {}
    prefixes = {
        id(case): f"{place.table(f'c{numbers.setdefault(str(case.tables), len(numbers))}').dotted}_"
        for case in statements
    }
    wanted = {
        name.replace(_SHOP, prefixes[id(case)]): columns
        for case in statements
        for name, columns in case.tables.items()
    }
    with ThreadPoolExecutor(_AT_ONCE) as workers:
        made = list(workers.map(lambda item: _made(place, *item), wanted.items()))
        said = list(workers.map(lambda case: _dry_run(place, case, prefixes[id(case)]), statements))
    return [one for one in (*made, *said) if one[1]]


def _made(place: Place, name: str, columns: Mapping[str, str]) -> tuple[str, str]:
    listed = ", ".join(f"{quoted(column)} {kind}" for column, kind in columns.items())
    try:
        place.bigquery.query(f"CREATE TABLE `{name}` ({listed})").result()
    except Exception as error:
        return f"table {name}", str(error)[:300]
    return f"table {name}", ""


def _dry_run(place: Place, case: Any, prefix: str) -> tuple[str, str]:
    from google.cloud.bigquery import QueryJobConfig

    parameters = [_parameter(name, kind) for name, kind in case.parameters.items()]
    config = QueryJobConfig(dry_run=True, use_query_cache=False, query_parameters=parameters)
    try:
        place.bigquery.query(case.sql.replace(_SHOP, prefix), job_config=config)
    except Exception as error:
        return case.name, str(error)[:300]
    return case.name, ""


def _parameter(name: str, kind: str) -> Any:
    from google.cloud.bigquery import ArrayQueryParameter, ScalarQueryParameter

    if inner := re.fullmatch(r"ARRAY<(.+)>", kind):
        return ArrayQueryParameter(name, inner[1], [])
    return ScalarQueryParameter(name, kind, None)
