"""Which of the rows with a changed question are asked in one run: the first ones of an order, or a sample."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from airflow_gemini_batch.requests.spec import BuildPlan
from airflow_gemini_batch.sql.engine import connect

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    from numpy.typing import NDArray

    Flags = NDArray[np.bool_]


class ChangedRows:
    """Keeps on disk what the rows are put in order by.

    :param path: of a file that is not there yet.
    """

    def __init__(self, plan: BuildPlan, path: Path) -> None:
        self._plan = plan
        self._path = path
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        import pyarrow as pa
        import pyarrow.parquet as pq

        texts = ("digest", "value", "stratum")
        self._schema = pa.schema([*((name, pa.string()) for name in texts), ("golden", pa.bool_())])
        self._writer = self._stack.enter_context(pq.ParquetWriter(self._path, self._schema))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def add(self, keys: Sequence[str], values: pa.Array, strata: pa.Array) -> None:
        """Add rows, in the order in which the index gets them.

        :param keys: as texts.
        :param values: of the column that orders them, as texts; all NULL for a sample.
        :param strata: likewise of the column by which a sample is divided.
        """
        import hashlib

        import pyarrow as pa

        golden = self._plan.sample.keys if self._plan.sample else ()
        # As the statement for BigQuery has it, so that both take the same sample.
        digests = [hashlib.md5(key.encode(), usedforsecurity=False).hexdigest() for key in keys]
        columns = [digests, values, strata, [key in golden for key in keys]]
        self._writer.write_table(pa.table(columns, schema=self._schema))

    def first(self, candidates: Flags, most: int) -> Flags:
        """Return which rows are asked: the first ones of the candidates, and golden rows.

        :param candidates: of all rows that were added.
        """
        import numpy as np
        import pyarrow as pa
        import pyarrow.parquet as pq

        self._stack.close()
        rows = pq.read_table(self._path)
        chosen = rows["golden"].to_numpy().astype(np.bool_) if most else np.zeros(len(rows), np.bool_)
        numbers = np.flatnonzero(candidates)
        table = rows.take(pa.array(numbers)).append_column("number", pa.array(numbers))
        with connect(self._path.parent) as database:
            database.register("changed", table)
            found = database.execute(f"SELECT number FROM changed ORDER BY {self._order} LIMIT {most}")
            chosen[found.fetchnumpy()["number"].astype(np.int64)] = True
        return chosen

    @property
    def _order(self) -> str:
        order = self._plan.order
        if order.strata:
            nth = "ROW_NUMBER() OVER (PARTITION BY stratum ORDER BY digest)"
            return f"({nth} - 1) / COUNT(*) OVER (PARTITION BY stratum), digest"
        if not order.column:
            return "digest"
        direction = f"{'DESC' if order.descending else 'ASC'} NULLS LAST"
        return f"TRY_CAST(value AS DOUBLE) {direction}, value {direction}, digest"
