"""The estimated cost of a job, from the first of its requests in files or a table."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from airflow_gemini_batch.core.addresses import Address, BigQueryAddress, GcsAddress
from airflow_gemini_batch.core.defaults import LONGEST_LINE, SAMPLE_ROWS
from airflow_gemini_batch.core.model_families import ModelFamily
from airflow_gemini_batch.costs.estimate import Estimate
from airflow_gemini_batch.costs.prices import PriceTable
from airflow_gemini_batch.costs.request_size import SizeSample
from airflow_gemini_batch.exceptions import SourceNotReadyError

if TYPE_CHECKING:
    from airflow_gemini_batch.outputs.store import DataStore

_SAMPLED_FILES = 10


def estimate_sources(
    store: DataStore,
    sources: Sequence[Address],
    model: str,
    family: ModelFamily,
    prices: PriceTable,
) -> Estimate:
    """Estimate a job from its first 1000 requests; reading them costs nothing.

    :param sources: files, or one table.

    Raises :class:`~airflow_gemini_batch.exceptions.SourceNotReadyError` for a source that does not exist, and
    :class:`~airflow_gemini_batch.exceptions.InvalidRequestError` when none of the first rows is a request.
    """
    sample = SizeSample(family)
    if isinstance(sources[0], BigQueryAddress):
        # One job reads one table: jobs.submission.parse_sources refuses several.
        return sample.estimate(model, prices, _add_table(sample, store, sources[0], family))
    file_bytes = _add_files(sample, store, [each for each in sources if isinstance(each, GcsAddress)])
    return sample.estimate(model, prices, file_bytes=file_bytes)


def _add_table(sample: SizeSample, store: DataStore, source: BigQueryAddress, family: ModelFamily) -> int:
    """Measure the first rows of a table, and return the number of all rows."""
    table = store.tables.find(source)
    if table is None:
        raise SourceNotReadyError(f"source {source}: there is no such table")
    sample.add_table_rows(store.table_inspection.first_rows(table, family.read_columns, SAMPLE_ROWS))
    # The number of rows in the table's metadata leaves out the rows in the streaming buffer.
    rows = store.count_requests([source]) if table.streaming_buffer else int(table.num_rows)
    return max(rows, sample.lines)


def _add_files(sample: SizeSample, store: DataStore, sources: Sequence[GcsAddress]) -> int | None:
    """Measure the first lines of the files, and return the size of all; ``None`` when these are all lines."""
    blobs = [blob for blob in store.file_inspection.objects(sources) if blob.size]
    chosen = blobs[:_SAMPLED_FILES]
    is_whole = len(chosen) == len(blobs)
    for blob in chosen:
        lines = store.file_inspection.lines(blob, LONGEST_LINE)
        is_whole = sample.add_lines(lines, SAMPLE_ROWS // len(chosen)) and is_whole
    return None if is_whole else sum(blob.size for blob in blobs)
