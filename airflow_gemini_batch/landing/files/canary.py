"""The answers of a canary in a file, as rows that land in another one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from airflow_gemini_batch.core.shown import listed
from airflow_gemini_batch.disk.private_folder import private_folder
from airflow_gemini_batch.exceptions import InvalidRequestError
from airflow_gemini_batch.landing.canary_rows_sql import canary_rows, check_canary_columns
from airflow_gemini_batch.landing.files.answers_sql import key_names
from airflow_gemini_batch.landing.files.formats import format_of_file
from airflow_gemini_batch.landing.files.key_ranges import KeyRange
from airflow_gemini_batch.landing.files.lander import target_file
from airflow_gemini_batch.landing.files.merge import FileRows
from airflow_gemini_batch.landing.files.portions import STAGED, Portions
from airflow_gemini_batch.landing.plan import LandingPlan, target_columns
from airflow_gemini_batch.outputs.embeddings import DIMENSIONS
from airflow_gemini_batch.requests.spec import SHOWN_KEYS
from airflow_gemini_batch.sql.dialect import DUCKDB, Literals
from airflow_gemini_batch.sql.engine import connect, copy_rows, identifier, parquet_rows

if TYPE_CHECKING:
    from google.cloud.storage import Client

_OPTIONS = "FORMAT parquet, ROW_GROUP_SIZE 2048, COMPRESSION uncompressed"


@dataclass(slots=True)
class CanaryPortions(Portions):
    """The answers of a canary.

    :param file: holds them, as Parquet.
    :param count: how many there are.
    """

    file: Path
    count: int

    @property
    def dimensions(self) -> int | None:
        """The length of the vectors; ``None`` if none lands."""
        ((length,),) = self.database.execute(f"SELECT MAX({DIMENSIONS}) FROM {self._rows}").fetchall()
        return None if length is None else int(length)

    def portions(self, present: Sequence[FileRows] = ()) -> Iterator[KeyRange]:
        """Make :data:`.STAGED` of a portion after the other and yield its keys."""
        keys = [identifier(name) for name in self.plan.key]
        named = ", ".join(f"{key} AS {name}" for key, name in zip(keys, key_names(self.plan), strict=True))
        row_bytes = self.file.stat().st_size // max(self.count, 1) + 1
        for range_ in self._ranges(self.database, f"SELECT {named} FROM {self._rows}", present, row_bytes):
            query = f"SELECT * FROM {self._rows} WHERE {range_.condition(keys)}"
            self.database.execute(f"CREATE OR REPLACE TEMP VIEW {STAGED} AS {query}")
            yield range_

    def check_keys(self, where: str) -> None:
        """Raise :class:`.InvalidRequestError` for keys that are NULL or there twice."""
        keys = [identifier(name) for name in self.plan.key]
        absent = " OR ".join(f"{key} IS NULL" for key in keys)
        found = self.database.execute(
            f"SELECT {', '.join(keys)} FROM {self._rows} GROUP BY ALL HAVING COUNT(*) > 1 OR {absent} "
            f"ORDER BY ALL LIMIT {SHOWN_KEYS}"
        ).fetchall()
        if found:
            named = listed("/".join(str(value)[:100] for value in key) for key in found)
            raise InvalidRequestError(
                f"canary {where}: the key {', '.join(self.plan.key)} does not identify its rows ({named}). Name all "
                "columns of the key. Nothing was landed"
            )

    @property
    def _rows(self) -> str:
        return parquet_rows([self.file])


@contextmanager
def canary_portions(
    plan: LandingPlan, question: str, canary: str, client: Client
) -> Iterator[CanaryPortions | None]:
    """Read the answers of a canary to a question; ``None`` if there is no such file.

    Raises :class:`.InvalidRequestError` for a file whose rows can't be landed.
    """
    format_, file = format_of_file(canary), target_file(canary, client)
    columns = {name: format_.landed_type(kind) for name, kind in target_columns(plan).items()}
    with private_folder("landing") as folder:
        if not file.fetch(folder / "canary"):
            yield None
            return
        with connect(folder) as database:
            found = format_.read(database, folder / "canary", canary, columns, folder)
            check_canary_columns(canary, found.columns, plan, columns)
            staged = folder / "staged.parquet"
            query = canary_rows(plan, found.columns, f"({found.query})", question, DUCKDB, Literals())
            count = copy_rows(database, query, staged, _OPTIONS)
            rows = CanaryPortions(plan, database, folder, staged, count)
            rows.check_keys(canary)
            yield rows
