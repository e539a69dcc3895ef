"""Vectors that land: what is said of their lengths, and their rows without them."""

from __future__ import annotations

import dataclasses
import hashlib
import os
import struct
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import orjson

from airflow_gemini_batch.core.log import Log
from airflow_gemini_batch.core.response_schema import AnswerColumn
from airflow_gemini_batch.exceptions import InvalidRequestError
from airflow_gemini_batch.gcp.lines import iter_lines
from airflow_gemini_batch.landing.files.database import VECTOR, identifier
from airflow_gemini_batch.landing.files.merge import FileRows, json_value, write
from airflow_gemini_batch.landing.plan import LandingPlan
from airflow_gemini_batch.outputs.classify import Outcome
from airflow_gemini_batch.outputs.embeddings import DIMENSIONS
from airflow_gemini_batch.requests.sources import FileKind

if TYPE_CHECKING:
    import pyarrow as pa
    from duckdb import DuckDBPyConnection
    from pyarrow.parquet import ParquetFile


def say_shortened(log: Log, plan: LandingPlan, count: int) -> None:
    """Log how many vectors were cut, if any were."""
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


def without_vectors(plan: LandingPlan) -> LandingPlan:
    """Return the plan for rows that have digests of their vectors: see ``vector_file``."""
    columns = (
        AnswerColumn(one.name, VECTOR, path=one.path) if one.path == "values" else one for one in plan.columns
    )
    return dataclasses.replace(plan, columns=tuple(columns)) if plan.embeds else plan


def of_one_length(database: DuckDBPyConnection, plan: LandingPlan, rows: str) -> str:
    """Return the query for spooled answers in which vectors are invalid that are not as long as most are."""
    if not plan.embeds or plan.dimensions is not None:
        return rows
    length = f"value_{[one.path for one in plan.columns].index('dimensions')}"
    lengths = database.execute(
        f"SELECT {length} FROM ({rows}) WHERE outcome = '{Outcome.OK}' GROUP BY 1 ORDER BY COUNT(*) DESC, 1 DESC"
    ).fetchall()
    if len(lengths) < 2:
        return rows
    ((usual,), *_) = lengths
    odd = f"outcome = '{Outcome.OK}' AND {length} != {usual}"
    values = [f"IF({odd}, NULL, value_{place}) AS value_{place}" for place in range(len(plan.columns))]
    message = f"CONCAT('the vector has ', {length}, ' dimensions, not the {usual} of most')"
    return f"""SELECT * REPLACE (
  IF({odd}, '{Outcome.INVALID}', outcome) AS outcome,
  IF({odd}, {message}, message) AS message,
  IF({odd}, FALSE, shortened) AS shortened,
  {", ".join(values)}
) FROM ({rows})"""


_PENDING = 4_000
_DIGEST_LENGTH = 32
_BUFFER = 1024 * 1024


def vectors_aside(
    plan: LandingPlan, database: DuckDBPyConnection, folder: Path, kind: FileKind
) -> AbstractContextManager[VectorFile | None]:
    """Return a file for the vectors of a landing; none where there are no vectors.

    :param kind: of the file that they land in. JSON Lines keep all digits; in Parquet 32 bits are as much as these
        models give.
    """
    if not plan.embeds:
        return nullcontext()
    return VectorFile(database, folder / "vectors", double=kind is FileKind.JSON_LINES)


class VectorFile:
    """A file of numbers, and the table ``vectors`` with the ``place`` (in bytes) of each ``digest``.

    :param double: whether numbers are kept as 64-bit floats, rather than 32-bit ones.
    """

    def __init__(self, database: DuckDBPyConnection, path: Path, *, double: bool) -> None:
        self._database = database
        self._path = path
        self.type_code = "d" if double else "f"
        self.item_size = struct.calcsize(self.type_code)
        self._size = 0
        self._pending: list[tuple[str, int]] = []
        database.execute("CREATE TEMP TABLE vectors (digest VARCHAR, place BIGINT)")

    def __enter__(self) -> Self:
        self._writer = self._path.open("wb", buffering=_BUFFER)
        self._reader = os.open(self._path, os.O_RDONLY)
        return self

    def __exit__(self, *_: object) -> None:
        self._writer.close()
        os.close(self._reader)

    def add(self, values: Sequence[float]) -> str:
        """Append a vector and return its digest.

        Raises :class:`struct.error` for anything but numbers, and :class:`OverflowError` for one that is too large.
        """
        # A third of the time that array.array takes.
        return self.add_packed(struct.pack(f"{len(values)}{self.type_code}", *values))

    def add_packed(self, packed: bytes) -> str:
        """Append a vector that is in the file's own form."""
        digest = hashlib.sha256(packed).hexdigest()[:_DIGEST_LENGTH]
        self._writer.write(packed)
        self._pending.append((digest, self._size))
        self._size += len(packed)
        if len(self._pending) >= _PENDING:
            self._note()
        return digest

    def flush(self) -> None:
        """Make all vectors known to the table and to :meth:`gather`."""
        self._writer.flush()
        self._note()

    def gather(self, places: Sequence[int | None], size: int) -> bytes:
        """Return vectors one after the other; zeros where there is none.

        :param size: of each, in bytes.
        """
        nothing = bytes(size)
        return b"".join(nothing if place is None else os.pread(self._reader, size, place) for place in places)

    def _note(self) -> None:
        import pyarrow as pa

        if not self._pending:
            return
        digests, places = zip(*self._pending, strict=True)
        self._database.register("noted", pa.table({"digest": digests, "place": places}))
        self._database.execute("INSERT INTO vectors SELECT digest, place FROM noted")
        self._database.unregister("noted")
        self._pending.clear()


_BATCH_ROWS = 4_000


@dataclass(slots=True)
class VectorColumn:
    """The column that vectors land in.

    :param dimensions: length of the vectors; ``None`` while there is none.
    """

    name: str
    dimensions: int | None
    vectors: VectorFile

    def put_aside(self, file: Path, copy: Path, kind: FileKind, where: str) -> Path:
        """Copy a file with digests in place of its vectors, and return what to read: the file itself without any.

        :param where: the file, for messages.

        Raises :class:`~airflow_gemini_batch.exceptions.InvalidRequestError` for vectors of another length.
        """
        if kind is FileKind.PARQUET:
            return copy if self._copy_parquet(file, copy, where) else file
        with file.open("rb") as lines, copy.open("wb") as copied:
            for line in iter_lines(lines):
                copied.write(self._without_vector(line, where) + b"\n")
        return copy

    def marked(self, rows: FileRows) -> FileRows:
        """Return rows of a copy, whose column is known to have digests."""
        return FileRows(
            rows.query, {**rows.columns, self.name: VECTOR} if self.name in rows.columns else rows.columns
        )

    def _without_vector(self, line: bytes, where: str) -> bytes:
        try:
            row = orjson.loads(line)
        except orjson.JSONDecodeError:
            return line  # its reader tells
        values = row.get(self.name) if isinstance(row, dict) else None
        if values is None:
            return line
        try:
            digest = self.vectors.add(values)
        except (TypeError, struct.error, OverflowError):
            raise InvalidRequestError(
                f"{where} can't take the vectors: the field {self.name!r} of a line is none, {values!r:.80}. Name "
                "another target or vector_column, or move the file away. Nothing was landed in it."
            ) from None
        self._check(len(values), where)
        return orjson.dumps({**row, self.name: digest})

    def _copy_parquet(self, file: Path, copy: Path, where: str) -> bool:
        import pyarrow as pa
        from pyarrow.parquet import ParquetFile, ParquetWriter

        try:
            source = ParquetFile(file, pre_buffer=False)
        except pa.ArrowInvalid:
            return False  # its reader tells
        with source:
            place = source.schema_arrow.get_field_index(self.name)
            if place < 0 or not _holds_vectors(source.schema_arrow.field(place).type):
                return False
            schema = source.schema_arrow.set(place, pa.field(self.name, pa.string()))
            with ParquetWriter(copy, schema, compression="lz4") as writer:
                for batch in source.iter_batches(_BATCH_ROWS):
                    digests = self._digests(batch.column(place), where)
                    writer.write_batch(batch.set_column(place, schema.field(place), digests))
        return True

    def _digests(self, column: pa.Array, where: str) -> pa.Array:
        import pyarrow as pa
        import pyarrow.compute as pc

        for length in pc.unique(pc.list_value_length(column).drop_null()).to_pylist():
            self._check(length, where)
        numbers = column.flatten().cast(self._item_type)
        start = numbers.offset * self.vectors.item_size
        packed = memoryview(numbers.buffers()[1])[start:] if len(numbers) else memoryview(b"")
        digests = []
        for valid in column.is_valid().to_pylist():
            digests.append(self.vectors.add_packed(bytes(packed[: self._size])) if valid else None)
            packed = packed[self._size :] if valid else packed
        return pa.array(digests, pa.string())

    def _check(self, length: int, where: str) -> None:
        if self.dimensions is None:
            self.dimensions = length
        if length != self.dimensions:
            raise other_length(where, self.dimensions, length)

    def write(
        self, database: DuckDBPyConnection, rows: FileRows, key: Sequence[str], path: Path, kind: FileKind
    ) -> None:
        """Write rows in the order of their keys, with the vectors that their digests stand for.

        A row without a vector has NULL in Parquet, and no such field in JSON Lines, since BigQuery loads no NULL.
        """
        from pyarrow.parquet import ParquetFile

        self.vectors.flush()
        lines = kind is FileKind.JSON_LINES
        selected = []
        for name, type_ in rows.columns.items():
            value = json_value(name, type_) if lines and type_ != "JSON" else identifier(name)
            selected.append(f"places.place AS {identifier(name)}" if name == self.name else value)
        query = f"""SELECT {", ".join(selected)} FROM ({rows.query}) AS rows
LEFT JOIN (SELECT digest, MIN(place) AS place FROM vectors GROUP BY digest) AS places
  ON rows.{identifier(self.name)} = places.digest"""
        placed = path.with_name(f"{path.name}.placed")
        write(database, FileRows(query, rows.columns), key, placed, FileKind.PARQUET)
        with ParquetFile(placed) as source:
            if lines:
                documents = [name for name, type_ in rows.columns.items() if type_ == "JSON"]
                self._write_lines(source, path, documents)
            else:
                self._write_parquet(source, path)

    def _write_parquet(self, source: ParquetFile, path: Path) -> None:
        import pyarrow as pa
        from pyarrow.parquet import ParquetWriter

        item = self._item_type
        place = source.schema_arrow.get_field_index(self.name)
        schema = source.schema_arrow.set(place, pa.field(self.name, pa.list_(item, self.dimensions)))
        paths = (source.schema.column(leaf).path for leaf in range(len(source.schema)))
        others = [path_ for path_ in paths if path_ != self.name]
        # Vectors are as good as random numbers: compressing them takes long and gains nothing.
        with ParquetWriter(
            path, schema, compression=dict.fromkeys(others, "zstd"), use_dictionary=others
        ) as writer:
            for batch in source.iter_batches(_BATCH_ROWS):
                places = batch.column(place)
                packed = pa.py_buffer(self.vectors.gather(places.to_pylist(), self._size))
                numbers = pa.Array.from_buffers(item, packed.size // self.vectors.item_size, [None, packed])
                mask = places.is_null() if places.null_count else None
                values = pa.FixedSizeListArray.from_arrays(numbers, self.dimensions, mask=mask)
                writer.write_batch(batch.set_column(place, schema.field(place), values))

    def _write_lines(self, source: ParquetFile, path: Path, documents: Sequence[str]) -> None:
        with path.open("wb") as file:
            for batch in source.iter_batches(_BATCH_ROWS):
                for row in batch.to_pylist():
                    if (place := row.pop(self.name)) is not None:
                        row[self.name] = self._values(place)
                    row.update((name, _document(row[name])) for name in documents)
                    file.write(orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE))

    def _values(self, place: int) -> list[float]:
        packed = self.vectors.gather([place], self._size)
        return list(struct.unpack(f"{self.dimensions}{self.vectors.type_code}", packed))

    @property
    def _size(self) -> int:
        return (self.dimensions or 0) * self.vectors.item_size

    @property
    def _item_type(self) -> pa.DataType:
        import pyarrow as pa

        return pa.float64() if self.vectors.type_code == "d" else pa.float32()


def vector_column(
    plan: LandingPlan, database: DuckDBPyConnection, staged: str, vectors: VectorFile
) -> VectorColumn:
    """Return the column that vectors land in.

    :param plan: for rows without vectors.
    :param staged: these rows, as they stand in a statement.
    """
    (name,) = (one.name for one in plan.columns if one.type == VECTOR)
    ((dimensions,),) = database.execute(f"SELECT MAX({identifier(DIMENSIONS)}) FROM {staged}").fetchall()
    return VectorColumn(name, dimensions, vectors)


def _holds_vectors(kind: pa.DataType) -> bool:
    import pyarrow as pa

    lists = (pa.types.is_fixed_size_list, pa.types.is_list, pa.types.is_large_list)
    return any(is_list(kind) for is_list in lists) and pa.types.is_floating(kind.value_type)


def _document(text: str | None) -> Any:
    return None if text is None else orjson.Fragment(text)
