"""Rows on disk in the order of their keys, of which those of a range are read together."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow_gemini_batch.disk.private_folder import make_private
from airflow_gemini_batch.landing.files.key_ranges import KeyRange

if TYPE_CHECKING:
    import pyarrow as pa
    from pyarrow.dataset import Dataset

# As many rows are sorted at a time, or rows of so many bytes.
_RUN_ROWS = 16_384
_RUN_BYTES = 8 * 1024 * 1024
# Small: a range has few rows of each run.
_BATCH_ROWS = 512


class KeyedRows:
    """Rows that are written first, some at a time, and then read by their keys, in constant memory.

    They are in runs, each of them sorted, in a file of Arrow's own format: to write Parquet, and to read a part of it
    again, takes a third of the time of a landing.

    :param path: of the file.
    :param keys: the columns of the key. A row without a key is in no range.
    :param schema: by default that of the first rows.
    """

    def __init__(self, path: Path, keys: Sequence[str], schema: pa.Schema | None = None) -> None:
        self._keys = keys
        self.schema: Any = schema
        self._path = make_private(path)
        self._file: Any = None
        self._waiting: list[pa.Table] = []
        self._runs: list[tuple[int, list[str], list[str]]] = []
        self._batches = self._count = self.size = 0
        self._written = (0, 0)

    def __len__(self) -> int:
        return self._count

    def add(self, rows: pa.Table) -> None:
        """Add rows; all have the same columns."""
        if self.schema is None:
            self.schema = rows.schema
        self._waiting.append(rows if rows.schema == self.schema else rows.cast(self.schema))
        self._count += len(rows)
        self.size += rows.nbytes
        rows_before, size_before = self._written
        if self._count - rows_before >= _RUN_ROWS or self.size - size_before >= _RUN_BYTES:
            self._write_run()

    def _write_run(self) -> None:
        import pyarrow as pa
        import pyarrow.compute as pc
        from pyarrow import ipc

        if self._file is None:
            self._file = ipc.new_file(str(self._path), self.schema)
        waiting, self._waiting = pa.concat_tables(self._waiting), []
        self._written = (self._count, self.size)
        for rows in waiting.combine_chunks().to_batches():
            keys = rows.select(self._keys)
            rows = rows.take(pc.sort_indices(keys, [(name, "ascending") for name in self._keys]))
            first = rows[self._keys[0]]
            begins = range(0, len(rows) - first.null_count, _BATCH_ROWS)
            ends = [min(begin + _BATCH_ROWS, len(rows) - first.null_count) - 1 for begin in begins]
            firsts, lasts = (
                first.take(pa.array(places, pa.int64())).to_pylist() for places in (begins, ends)
            )
            self._runs.append((self._batches, firsts, lasts))
            for begin in range(0, len(rows), _BATCH_ROWS):
                self._file.write_batch(rows.slice(begin, _BATCH_ROWS))
                self._batches += 1

    def close(self) -> None:
        """Write what is left; no rows are added after that."""
        import pyarrow as pa
        from pyarrow import ipc

        self.add(self.schema.empty_table())
        self._write_run()
        self._file.close()
        self._reader = ipc.open_file(pa.OSFile(str(self._path)))

    def portions(self, size: int) -> Iterator[pa.Table]:
        """Yield all rows, as many at a time as take so many bytes, or one that takes more; in no order."""
        import pyarrow as pa

        some: list[pa.RecordBatch] = []
        left = size
        for number in range(self._reader.num_record_batches):
            waiting = [self._reader.get_batch(number)]
            while waiting:
                rows = waiting.pop()
                if len(rows) > 1 and rows.nbytes > size:
                    middle = len(rows) // 2
                    waiting += (rows.slice(middle), rows.slice(0, middle))
                    continue
                if some and rows.nbytes > left:
                    yield pa.Table.from_batches(some)
                    some, left = [], size
                some.append(rows)
                left -= rows.nbytes
        if some:
            yield pa.Table.from_batches(some)

    def read(self, keys: KeyRange) -> pa.Table:
        """Return the rows of a range, and some of those beside it; in no order."""
        import pyarrow as pa

        batches: list[pa.RecordBatch] = []
        for number, firsts, lasts in self._runs:
            begin = bisect_left(lasts, keys.first[0]) if keys.first else 0
            end = bisect_right(firsts, keys.end[0]) if keys.end else len(firsts)
            batches += map(self._reader.get_batch, range(number + begin, number + end))
        return pa.Table.from_batches(batches, self.schema).combine_chunks()

    @property
    def rows(self) -> Dataset:
        """All rows, in no order."""
        from pyarrow.dataset import dataset

        return dataset(str(self._path), format="ipc")
