"""Tables beside a target that rows pass through."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import TYPE_CHECKING

from airflow_gemini_batch.core.addresses import BigQueryAddress

if TYPE_CHECKING:
    from google.cloud.bigquery import Client, SchemaField

_CALL_TIMEOUT = 60.0


def staging_address(target: BigQueryAddress, *content: str) -> BigQueryAddress:
    """Return a table beside the target to stage rows in.

    :param content: what tells these rows from others on their way to the same target.
    """
    digest = hashlib.blake2b("\n".join(content).encode(), digest_size=8).hexdigest()
    return target.with_table(f"{target.table}__landing_{digest}")


def make_anew(client: Client, address: BigQueryAddress, schema: Sequence[SchemaField]) -> None:
    """Make an empty table that expires after a day, which a load job can't ask for."""
    from datetime import UTC, datetime, timedelta

    from google.cloud.bigquery import Table

    table = Table(address.dotted, schema=schema)
    table.expires = datetime.now(UTC) + timedelta(days=1)
    client.delete_table(table, not_found_ok=True, timeout=_CALL_TIMEOUT)
    client.create_table(table, timeout=_CALL_TIMEOUT)
