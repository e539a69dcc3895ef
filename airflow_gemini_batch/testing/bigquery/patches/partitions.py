"""The list of a table's partitions, which clients read as the table ``NAME$__PARTITIONS_SUMMARY__``."""

from __future__ import annotations

import re
from typing import Any

from bqemulator.domain.errors import NotFoundError
from bqemulator.storage.sql_identifiers import quoted_table_ref

PATH = re.compile(
    r"/bigquery/v2/projects/([^/]+)/datasets/([^/]+)/tables/([^/]+)\$__PARTITIONS_SUMMARY__(/data)?$"
)
_FORMATS = {"HOUR": "%Y%m%d%H", "DAY": "%Y%m%d", "MONTH": "%Y%m", "YEAR": "%Y"}
_SCHEMA = {"fields": [{"name": "partition_id", "type": "STRING", "mode": "NULLABLE"}]}


def summary(match: re.Match[str], context: Any) -> dict[str, Any]:
    """Answer for the table of partitions, or for its rows when the path ends in ``/data``.

    Of tables that are partitioned by the time of arrival only that of today is known, as no row tells when it came.
    """
    project, dataset, name, data = match.groups()
    table = context.catalog.get_table(project, dataset, name)
    if table is None:
        raise NotFoundError(f"Not found: Table {project}:{dataset}.{name}")
    if data is None:
        reference = {"projectId": project, "datasetId": dataset, "tableId": f"{name}$__PARTITIONS_SUMMARY__"}
        return {"kind": "bigquery#table", "tableReference": reference, "schema": _SCHEMA, "type": "TABLE"}
    ids = _ids(table, quoted_table_ref(project, dataset, name), context)
    rows = [{"f": [{"v": each}]} for each in ids]
    return {"kind": "bigquery#tableDataList", "totalRows": str(len(rows)), "rows": rows}


def _ids(table: Any, reference: str, context: Any) -> list[str]:
    times, numbers = table.time_partitioning, getattr(table, "range_partitioning", None)
    if numbers is not None:
        column, start, step = f'"{numbers.field}"', int(numbers.range.start), int(numbers.range.interval)
        identity = f"CAST(({column} - {start}) // {step} * {step} + {start} AS VARCHAR)"
    elif times is not None and times.field:
        column = f'"{times.field}"'
        identity = f"strftime({column}, '{_FORMATS[times.type]}')"
    elif times is not None:
        (rows,) = context.engine.execute(f"SELECT COUNT(*) FROM {reference}").fetchone()
        return [context.clock.now().strftime(_FORMATS[times.type])] if rows else []
    else:
        return []
    found = f"SELECT DISTINCT COALESCE({identity}, '__NULL__') AS id FROM {reference} ORDER BY id"
    return [partition for (partition,) in context.engine.execute(found).fetchall()]
