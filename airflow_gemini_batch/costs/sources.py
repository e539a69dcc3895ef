"""What a job will cost, from its requests where they lie."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from airflow_gemini_batch.core.addresses import Address, BigQueryAddress, GcsAddress
from airflow_gemini_batch.core.defaults import LONGEST_LINE, SAMPLE_ROWS
from airflow_gemini_batch.core.model_families import ModelFamily
from airflow_gemini_batch.costs.estimate import Estimate
from airflow_gemini_batch.costs.prices import PriceTable
from airflow_gemini_batch.costs.request_size import SizeSample, inferred
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
    """Estimate a job from the first 1000 of its requests; nothing is billed for them.

    :param sources: files, or one table.

    Raises :class:`~airflow_gemini_batch.exceptions.SourceNotReadyError` for a source that does not exist, and
    :class:`~airflow_gemini_batch.exceptions.InvalidRequestError` when none of the first rows is a request.
    """
    sample = SizeSample(family)
    if isinstance(sources[0], BigQueryAddress):
        # One job reads one table: jobs.submission.parse_requests sees to it.
        return sample.estimate(model, prices, _take_rows(sample, store, sources[0], family))
    size = _take_lines(sample, store, [one for one in sources if isinstance(one, GcsAddress)])
    if size is None:
        return sample.estimate(model, prices)
    return inferred(sample.estimate(model, prices, sample.rows_in(size)))


def _take_rows(sample: SizeSample, store: DataStore, source: BigQueryAddress, family: ModelFamily) -> int:
    """Measure the first rows of a table, and return how many there are in all."""
    table = store.tables.find(source)
    if table is None:
        raise SourceNotReadyError(f"source {source}: there is no such table")
    sample.add_table_rows(store.table_inspection.first_rows(table, family.read_columns, SAMPLE_ROWS))
    # What was streamed into it lately is not in the number of rows yet.
    rows = store.count_requests([source]) if table.streaming_buffer else int(table.num_rows)
    return max(rows, sample.lines)


def _take_lines(sample: SizeSample, store: DataStore, sources: Sequence[GcsAddress]) -> int | None:
    """Measure the first lines of the files, and return the size of all; ``None`` when these are all lines."""
    blobs = [blob for blob in store.file_inspection.objects(sources) if blob.size]
    chosen = blobs[:_SAMPLED_FILES]
    is_whole = len(chosen) == len(blobs)
    for blob in chosen:
        lines = store.file_inspection.lines(blob, LONGEST_LINE)
        is_whole = sample.add_lines(lines, SAMPLE_ROWS // len(chosen)) and is_whole
    return None if is_whole else sum(blob.size for blob in blobs)
