"""The column that vectors land in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from airflow_gemini_batch.core.log import Log
from airflow_gemini_batch.exceptions import InvalidRequestError
from airflow_gemini_batch.landing.plan import LandingPlan

if TYPE_CHECKING:
    import pyarrow as pa


def warn_of_shortened(log: Log, plan: LandingPlan, count: int) -> None:
    """Warn if vectors were cut."""
    if count:
        log.warning(
            "%d vectors had more than the %s dimensions asked for: they were cut and normalised again",
            count,
            plan.dimensions,
        )


def other_length(target: str, staged: int, landed: int) -> InvalidRequestError:
    """Return the error for vectors that a target can't take beside those that it has."""
    return InvalidRequestError(
        f"the vectors have {staged} dimensions, and those in {target} have {landed}, so they can't be compared: name "
        f"another target, or set output_dimensionality to {landed} in all tasks of the pipeline. Nothing was landed."
    )


@dataclass(frozen=True, slots=True)
class VectorColumn:
    """The column of a file that vectors land in.

    :param where: the file, for messages.
    :param dimensions: the length of those that land.
    """

    name: str
    where: str
    dimensions: int

    def check(self, rows: pa.Table) -> None:
        """Raise :class:`~airflow_gemini_batch.exceptions.InvalidRequestError` for vectors of another length."""
        import pyarrow.compute as pc

        for length in pc.unique(pc.list_value_length(rows[self.name])).drop_null().to_pylist():
            if length != self.dimensions:
                raise other_length(self.where, self.dimensions, length)

    def of_fixed_size(self, rows: pa.Table) -> pa.Table:
        """Return rows with vectors as lists of fixed size of 32-bit floats; raises what :meth:`check` raises."""
        import pyarrow as pa

        self.check(rows)
        type_ = pa.list_(pa.float32(), self.dimensions)
        index = rows.schema.get_field_index(self.name)
        return rows.set_column(index, pa.field(self.name, type_), rows[self.name].cast(type_))
