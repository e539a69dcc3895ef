"""Rows of a file that come back from a copy of it, byte for byte.

Which rows come back is decided by DuckDB from their keys, questions and times. The rows themselves are taken from the
two files as they are: lines of JSON Lines, values of Parquet in the types that the target has.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from airflow_gemini_batch.core.columns import QUESTION_COLUMN, ColumnTypes
from airflow_gemini_batch.core.jsonl import LineError, read_object
from airflow_gemini_batch.core.values import is_null, text_of
from airflow_gemini_batch.disk.private_folder import make_private, private_folder
from airflow_gemini_batch.disk.whole_file import ReplacedMeanwhileError
from airflow_gemini_batch.exceptions import GeminiBatchError, InvalidRequestError
from airflow_gemini_batch.landing.files.formats import PARQUET, format_of_file
from airflow_gemini_batch.landing.files.lander import TargetFile, target_file
from airflow_gemini_batch.landing.files.previous import FileCopies, file_copies
from airflow_gemini_batch.landing.previous import Copy
from airflow_gemini_batch.landing.restoring import Change, Wish, check_columns, no_key_twice
from airflow_gemini_batch.sql.engine import connect, text_literal

if TYPE_CHECKING:
    import pyarrow as pa
    from duckdb import DuckDBPyConnection
    from google.cloud.storage import Client
    from pyarrow.parquet import ParquetFile

_TIME = "batch_processed_time"
_BATCH_ROWS = 20_480
_OLD, _COPY = "old", "copy"


class PreviousFiles:
    """The copies of a file.

    :param client: of ``google-cloud-storage``; ``None`` for a local path.
    """

    def __init__(self, client: Client | None, target: str) -> None:
        self._client: Any = client
        self._target = target
        self._copies: FileCopies = file_copies(target, self._client)
        self._file: TargetFile = target_file(target, self._client)
        self._format = format_of_file(target)

    def copies(self) -> list[Copy]:
        """Return the copies that there are."""
        return self._copies.all()

    def restore(self, wish: Wish, copy: Copy) -> Change:
        """Bring rows back; see :func:`airflow_gemini_batch.landing.rollback.rollback`."""
        with private_folder("rollback") as folder, connect(folder) as database:
            generation = _fetched(self._target, self._file, folder / _OLD)
            _fetched(copy.address, target_file(copy.address, self._client), folder / _COPY)
            contents: type[_Content] = _ParquetContent if self._format is PARQUET else _LinesContent
            old = contents(folder / _OLD, self._target)
            copied = contents(folder / _COPY, copy.address)
            for content, table in ((old, _OLD), (copied, _COPY)):
                _fill(database, table, content, wish.key)
            check_columns(wish, self._target, old.types(copied), copy.address, copied.types(copied))
            rows = _Rows(wish, copy)
            back, new, twice = database.execute(rows.counts).fetchall()[0]
            no_key_twice(copy.address, wish.key, twice)
            there = {name.lower() for name in copied.types(copied)}
            emptied = () if wish.undo else [name for name in old.types(copied) if name.lower() not in there]
            change = wish.change(copy, back=back, new=new, emptied=emptied)
            if wish.dry_run or not change.changes:
                return change
            old.write(copied, _places(database, rows.places), make_private(folder / "new"))
            try:
                if change.saved:
                    self._copies.make(generation, folder / _OLD, change.saved)
                self._file.put(folder / "new", generation)
            except ReplacedMeanwhileError:
                raise GeminiBatchError(
                    f"{self._target} was replaced by another writer meanwhile, so nothing was changed. Run this again "
                    "when no other task lands there"
                ) from None
            return change


def _fetched(address: str, file: TargetFile, to: Path) -> str:
    generation = file.fetch(to)
    if not generation:
        raise InvalidRequestError(f"{address}: there is no such file")
    return generation


@dataclass(frozen=True, slots=True)
class _Rows:
    """The queries for the rows of the new file, over the tables of :func:`_fill`."""

    wish: Wish
    copy: Copy

    @property
    def _joined(self) -> str:
        question = text_literal(self.copy.question)
        answers = f"COALESCE(starts_with(question, {question}), FALSE)"
        made = text_literal(self.copy.made.isoformat())
        keys = [f"key_{number}" for number in range(len(self.wish.key))]
        taken = answers
        if self.wish.undo:
            taken = f"NOT {answers} AND COALESCE(time <= {made}::TIMESTAMPTZ, TRUE)"
        listed = ", ".join(keys)
        none = " OR ".join(f"{key} IS NULL" for key in keys)
        return f"""(
  SELECT {", ".join(f"COALESCE(old.{key}, copy.{key}) AS {key}" for key in keys)},
    old.place AS old_place, copy.place AS copy_place, copy.count AS copy_count,
    COALESCE(old.taken, FALSE) AS taken
  FROM (SELECT {listed}, place, {taken} AS taken FROM {_OLD}) AS old
  {"FULL" if self.wish.undo else "LEFT"} JOIN (
    SELECT {listed}, MIN(place) AS place, COUNT(*) AS count
    FROM {_COPY}
    WHERE NOT ({none}){f" AND {answers}" if self.wish.undo else ""}
    GROUP BY {listed}
  ) AS copy ON {" AND ".join(f"old.{key} = copy.{key}" for key in keys)}
)"""

    @property
    def counts(self) -> str:
        """The query for the numbers that :meth:`.Wish.change` takes, and that of rows whose keys are there twice."""
        back = "taken AND copy_place IS NOT NULL"
        new = "old_place IS NULL" if self.wish.undo else "taken AND copy_place IS NULL"
        return f"""SELECT COUNT(*) FILTER ({back}), COUNT(*) FILTER ({new}), COUNT(*) FILTER ({back} AND copy_count > 1)
FROM {self._joined}"""

    @property
    def places(self) -> str:
        """The query for the rows of the new file, by key: whether each is of the copy, and its place there."""
        is_copied = "old_place IS NULL OR (taken AND copy_place IS NOT NULL)"
        kept = "NOT (taken AND copy_place IS NULL)" if self.wish.removes else "TRUE"
        keys = ", ".join(f"key_{number}" for number in range(len(self.wish.key)))
        return f"""SELECT {is_copied} AS copied, IF({is_copied}, copy_place, old_place) AS place
FROM {self._joined}
WHERE {kept}
ORDER BY {keys}, old_place"""


Places = Iterator[Sequence[tuple[bool, int]]]
"""Rows of the new file, some at a time: whether each is of the copy, and its place there."""


def _places(database: DuckDBPyConnection, query: str) -> Places:
    found = database.execute(query)
    while rows := found.fetchmany(_BATCH_ROWS):
        yield rows


def _fill(database: DuckDBPyConnection, table: str, content: _Content, key: Sequence[str]) -> None:
    """Make a table of what decides about each row of a file.

    Its columns are ``place``, ``key_0``, ``key_1``, … as text, ``question`` and ``time``.
    """
    keys = [f"key_{number}" for number in range(len(key))]
    columns = ", ".join(f"{name} VARCHAR" for name in (*keys, "question"))
    database.execute(f"CREATE TABLE {table} (place BIGINT, {columns}, time TIMESTAMPTZ)")
    for rows in content.rows([*key, QUESTION_COLUMN, _TIME]):
        database.register("gemini_batch_rows", rows)
        values = ", ".join((*keys, "question"))
        database.execute(
            f"INSERT INTO {table} SELECT place, {values}, TRY_CAST(time AS TIMESTAMPTZ) FROM gemini_batch_rows"
        )


def _arrow(places: Sequence[int], columns: Sequence[Any]) -> pa.Table:
    import pyarrow as pa

    keys = [f"key_{number}" for number in range(len(columns) - 2)]
    return pa.table([pa.array(places, pa.int64()), *columns], names=["place", *keys, "question", "time"])


class _Content(Protocol):
    """The rows of a file.

    :param path: of the file on this worker's disk.
    :param where: what it is, for messages.
    """

    def __init__(self, path: Path, where: str) -> None: ...

    def rows(self, columns: Sequence[str]) -> Iterator[pa.Table]:
        """Yield the columns' values as text, NULL where there is no such column, as :func:`_arrow` names them."""

    def types(self, copied: Any) -> Mapping[str, str]:
        """Return the types of the columns by name, as far as rows of the copy can't be written in them."""

    def write(self, copied: Any, places: Places, path: Path) -> None:
        """Write the new file, the rows of this one and of the copy."""


class _LinesContent:
    """A file of JSON Lines; the place of a row is where its line begins."""

    def __init__(self, path: Path, where: str) -> None:
        self._path = path
        self._where = where
        self._names: dict[str, None] = {}

    def rows(self, columns: Sequence[str]) -> Iterator[pa.Table]:
        import pyarrow as pa

        places: list[int] = []
        values: list[list[str | None]] = [[] for _ in columns]
        with self._path.open("rb") as lines:
            place = 0
            for line in lines:
                if line.strip():
                    places.append(place)
                    for column, value in zip(values, self._values(line, columns), strict=True):
                        column.append(value)
                place += len(line)
                if len(places) == _BATCH_ROWS:
                    yield _arrow(places, [pa.array(column, pa.string()) for column in values])
                    places, values = [], [[] for _ in columns]
        yield _arrow(places, [pa.array(column, pa.string()) for column in values])

    def _values(self, line: bytes, columns: Iterable[str]) -> Iterator[str | None]:
        try:
            row = read_object(line)
        except LineError as error:
            raise InvalidRequestError(f"{self._where}: one of its lines is {error}: {error.hint}") from None
        self._names.update(dict.fromkeys(row))
        found = {name.lower(): value for name, value in row.items()}
        for name in columns:
            value = found.get(name.lower())
            yield None if is_null(value) else text_of(value)

    def types(self, copied: Any) -> Mapping[str, str]:
        return ColumnTypes(dict.fromkeys(self._names, ""))

    def write(self, copied: Any, places: Places, path: Path) -> None:
        with self._path.open("rb") as old, copied._path.open("rb") as copy, path.open("wb") as new:
            for rows in places:
                for is_copied, place in rows:
                    file = copy if is_copied else old
                    file.seek(place)
                    line = file.readline()
                    new.write(line if line.endswith(b"\n") else line + b"\n")


class _ParquetContent:
    """A Parquet file; the place of a row is its number."""

    def __init__(self, path: Path, where: str) -> None:
        import pyarrow as pa
        from pyarrow.parquet import ParquetFile

        try:
            self._file: ParquetFile = ParquetFile(path)
        except pa.ArrowInvalid as error:
            raise InvalidRequestError(f"{where} is not a Parquet file: {error}") from error
        self._names = {name.lower(): name for name in self._file.schema_arrow.names}

    def rows(self, columns: Sequence[str]) -> Iterator[pa.Table]:
        import pyarrow as pa

        read = [self._names[name.lower()] for name in columns if name.lower() in self._names]
        place = 0
        for batch in self._file.iter_batches(_BATCH_ROWS, columns=read):
            values = [
                _text(batch.column(self._names[name.lower()]))
                if name.lower() in self._names
                else pa.nulls(len(batch), pa.string())
                for name in columns
            ]
            yield _arrow(range(place, place + len(batch)), values)
            place += len(batch)

    def types(self, copied: _ParquetContent) -> Mapping[str, str]:
        theirs = {field.name.lower(): field.type for field in copied._file.schema_arrow}
        return ColumnTypes(
            {
                field.name: "" if _casts(theirs.get(field.name.lower()), field.type) else str(field.type)
                for field in self._file.schema_arrow
            }
        )

    def write(self, copied: _ParquetContent, places: Places, path: Path) -> None:
        import pyarrow as pa
        from pyarrow.parquet import ParquetWriter

        schema = self._file.schema_arrow
        vectors = {field.name for field in schema if pa.types.is_fixed_size_list(field.type)}
        others = [name for name in schema.names if name not in vectors]
        compression: Any = dict.fromkeys(others, "zstd") if vectors else "zstd"
        old, copy = _Picker(self._file, schema), _Picker(copied._file, schema)
        with ParquetWriter(path, schema, compression=compression, use_dictionary=others) as writer:
            for rows in places:
                picked = [
                    picker.rows([place for is_copied, place in rows if is_copied is of_copy])
                    for picker, of_copy in ((old, False), (copy, True))
                ]
                # The rows of the one file come behind those of the other; now each to its place.
                next_row = [0, len(picked[0])]
                order = []
                for is_copied, _ in rows:
                    order.append(next_row[is_copied])
                    next_row[is_copied] += 1
                writer.write_table(pa.concat_tables(picked).take(order), row_group_size=_BATCH_ROWS)


class _Picker:
    """Rows of a Parquet file by their numbers, in the types of a schema; a column that is not there is NULL."""

    def __init__(self, file: ParquetFile, schema: pa.Schema) -> None:
        self._file = file
        self._schema = schema
        self._starts = [0]
        for group in range(file.num_row_groups):
            self._starts.append(self._starts[-1] + file.metadata.row_group(group).num_rows)
        self._read: tuple[int, pa.Table] | None = None

    def rows(self, places: Sequence[int]) -> pa.Table:
        """Return some rows in the order of their places; those of the last row group stay in memory."""
        import pyarrow as pa

        tables = [self._schema.empty_table()]
        for group, some in groupby(places, lambda place: bisect_right(self._starts, place) - 1):
            if self._read is None or self._read[0] != group:
                self._read = group, self._typed(self._file.read_row_group(group))
            tables.append(self._read[1].take([place - self._starts[group] for place in some]))
        return pa.concat_tables(tables)

    def _typed(self, rows: pa.Table) -> pa.Table:
        import pyarrow as pa

        names = {name.lower(): name for name in rows.schema.names}
        columns = [
            rows.column(names[field.name.lower()]).cast(field.type)
            if field.name.lower() in names
            else pa.nulls(len(rows), field.type)
            for field in self._schema
        ]
        return pa.table(columns, schema=self._schema)


def _text(values: pa.Array) -> pa.Array:
    import pyarrow as pa

    if pa.types.is_timestamp(values.type):
        values = values.cast(pa.timestamp("us", values.type.tz), safe=False)
    return values.cast(pa.string())


def _casts(kind: pa.DataType | None, to: pa.DataType) -> bool:
    import pyarrow as pa

    if kind is None or kind == to:
        return True
    try:
        pa.nulls(0, kind).cast(to)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        return False
    return True
