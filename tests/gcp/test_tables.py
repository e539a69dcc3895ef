from __future__ import annotations

from typing import Any

import pytest
from google.cloud.bigquery import Table

from airflow_gemini_batch.core.addresses import BigQueryAddress
from airflow_gemini_batch.exceptions import InvalidRequestError
from airflow_gemini_batch.gcp.tables import FILTER_HINT, check_readable_whole
from airflow_gemini_batch.landing.bigquery.targets import check_columns
from airflow_gemini_batch.requests.done import done_query

ADDRESS = BigQueryAddress.parse("bq://my-shop.d.t")


def _table(**fields: Any) -> Table:
    columns = [{"name": name, "type": "STRING"} for name in ("isbn", "batch_fingerprint", "day")]
    reference = {"projectId": "my-shop", "datasetId": "d", "tableId": "t"}
    return Table.from_api_repr({"tableReference": reference, "schema": {"fields": columns}, **fields})


REFUSED = r"bq://my-shop\.d\.t: it has require_partition_filter, so BigQuery refuses to read all its rows\. "
TURN_OFF = r"Turn that off \(ALTER TABLE `my-shop\.d\.t` SET OPTIONS \(require_partition_filter = FALSE\)\)"


@pytest.mark.parametrize(
    ("read", "message"),
    [
        (
            lambda table: check_readable_whole(table, "source bq://my-shop.d.t", FILTER_HINT),
            f"source {REFUSED}Give a query",
        ),
        (lambda table: done_query(ADDRESS, table, ("isbn",)), f"target {REFUSED}{TURN_OFF}"),
        (lambda table: check_columns(ADDRESS, table, {"isbn": "STRING"}, ("isbn",)), REFUSED + TURN_OFF),
    ],
    ids=["source", "done rows", "target"],
)
@pytest.mark.parametrize("partitioned", [{"type": "DAY", "field": "day"}, {"type": "DAY"}])
def test_table_that_requires_a_filter_is_refused_before_anything_runs(
    read: Any, message: str, partitioned: dict[str, Any]
) -> None:
    read(_table(timePartitioning=partitioned))
    with pytest.raises(InvalidRequestError, match=message):
        read(_table(timePartitioning=partitioned, requirePartitionFilter=True))
