"""The tables that answers land in: made when absent, widened when new columns come, never changed otherwise."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from airflow_gemini_batch.core.addresses import BigQueryAddress
from airflow_gemini_batch.core.columns import ColumnTypes
from airflow_gemini_batch.gcp.tables import check_readable_whole, without_filter
from airflow_gemini_batch.jobs.manifest import Manifest
from airflow_gemini_batch.landing.plan import check_target_columns
from airflow_gemini_batch.requests.bigquery.expressions import quoted, single_type

if TYPE_CHECKING:
    from google.cloud.bigquery import SchemaField, Table


def check_columns(
    address: BigQueryAddress, table: Table | None, columns: Mapping[str, str], key: Iterable[str]
) -> None:
    """Raise :class:`~airflow_gemini_batch.exceptions.InvalidRequestError` unless the columns can be landed there.

    :param table: the table as it is, ``None`` when there is none.
    :param columns: what it has to have.
    :param key: those of the columns that have to be there already.
    """
    if table is None:
        return
    check_readable_whole(table, str(address), without_filter(address))
    hint = "change the table, with ALTER TABLE or by dropping it"
    check_target_columns(str(address), column_types(table.schema), columns, key, hint=hint)


def prepare_statement(
    address: BigQueryAddress, table: Table | None, columns: Mapping[str, str]
) -> str | None:
    """Return the statement that makes the table or adds the columns that it lacks; ``None`` when it has all."""
    if table is None:
        listed = ",\n  ".join(f"{quoted(name)} {kind}" for name, kind in columns.items())
        return f"CREATE TABLE IF NOT EXISTS {address.sql} (\n  {listed}\n)"
    present = column_types(table.schema)
    added = [
        f"ADD COLUMN IF NOT EXISTS {quoted(name)} {kind}"
        for name, kind in columns.items()
        if name not in present
    ]
    return f"ALTER TABLE {address.sql}\n  " + ",\n  ".join(added) if added else None


def pruning_column(key: Iterable[str], table: Table | None) -> str | None:
    """Return the column of the key by which BigQuery leaves parts of a table unread; ``None`` where there is none.

    It is what the table is partitioned by, or else clustered by first.
    """
    if table is None:
        return None
    partitioning = table.time_partitioning or table.range_partitioning
    fields = [partitioning.field if partitioning else None, *(table.clustering_fields or ())[:1]]
    names = {name.lower(): name for name in key}
    return next((names[field.lower()] for field in fields if field and field.lower() in names), None)


def column_types(schema: Iterable[SchemaField]) -> ColumnTypes:
    """Return GoogleSQL's type of each column."""
    return ColumnTypes(
        {
            field.name: f"ARRAY<{single_type(field)}>" if field.mode == "REPEATED" else single_type(field)
            for field in schema
        }
    )


def staging_address(target: BigQueryAddress, manifests: Sequence[Manifest]) -> BigQueryAddress:
    """Return a table beside the target that belongs to the answers of these jobs."""
    outputs = [one.output or one.job_name for manifest in manifests for one in manifest.rounds]
    return staging_address_of(target, [*(manifest.identity for manifest in manifests), *outputs])


def staging_address_of(target: BigQueryAddress, content: Iterable[str]) -> BigQueryAddress:
    """Return a table beside the target that belongs to what these texts name."""
    digest = hashlib.blake2b("\n".join(content).encode(), digest_size=8).hexdigest()
    return target.with_table(f"{target.table}__landing_{digest}")
