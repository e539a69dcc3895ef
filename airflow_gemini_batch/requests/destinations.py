"""Where requests are written when the user leaves it open: beside what they are for."""

from __future__ import annotations

from airflow_gemini_batch.core.addresses import BigQueryAddress, GcsAddress, parse_address
from airflow_gemini_batch.requests.sources import QueryRows, TableRows


def request_dataset(
    destination: str | None, enriched: str | None, source: TableRows | QueryRows
) -> BigQueryAddress:
    """Return the dataset for request tables: the one given, or that of the enriched table, or of the source.

    Raises :class:`ValueError` when none of them is a place in BigQuery.
    """
    if destination:
        address = parse_address(destination)
        if not isinstance(address, BigQueryAddress) or address.is_table:
            raise ValueError(
                f"destination {destination} has to be a dataset, bq://PROJECT.DATASET, since the rows are in BigQuery"
            )
        return address
    if enriched and isinstance(address := parse_address(enriched), BigQueryAddress):
        return address.with_table("")
    if isinstance(source, TableRows):
        return source.address.with_table("")
    raise ValueError("destination is missing: name a dataset for the request tables, bq://PROJECT.DATASET")


def request_folder(destination: str | None, enriched: str | None) -> GcsAddress:
    """Return the folder for request files: the one given, or ``requests`` beside the enriched file.

    Raises :class:`ValueError` when neither is on Cloud Storage.
    """
    if destination:
        address = parse_address(destination)
        if not isinstance(address, GcsAddress) or address.has_wildcard:
            raise ValueError(
                f"destination {destination} has to be a folder on Cloud Storage, gs://BUCKET/FOLDER: requests go to a "
                "dataset only where rows are in BigQuery and the model reads tables"
            )
        return address
    if enriched and enriched.startswith("gs://"):
        address = GcsAddress.parse(enriched)
        return GcsAddress(address.bucket, address.folder).child("requests")
    raise ValueError("destination is missing: name a folder for the request files, gs://BUCKET/FOLDER")
