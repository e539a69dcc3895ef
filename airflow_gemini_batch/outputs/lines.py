"""Lines of output files as rows of DuckDB.

DuckDB reads the lines that are JSON objects with a key that came back as it was sent, which nearly all are. Of the
others Python says which request they answer. What is not JSON to DuckDB, Python writes again as JSON, or counts as
unreadable.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import compress, count, repeat
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any

import orjson

from airflow_gemini_batch.core.jsonl import tolerant_object
from airflow_gemini_batch.core.threads import in_two_threads
from airflow_gemini_batch.disk.private_folder import make_private
from airflow_gemini_batch.gcp.lines import iter_lines
from airflow_gemini_batch.gcp.pieces import Piece
from airflow_gemini_batch.outputs.line_sql import READ, LineQuery
from airflow_gemini_batch.outputs.matching import answer_identity
from airflow_gemini_batch.sql.engine import JSON_BYTES, arrow_rows, parquet_rows, room_for

if TYPE_CHECKING:
    import pyarrow as pa
    from duckdb import DuckDBPyConnection

_SHOWN = 100
_AT_ONCE = 16_384


@dataclass(slots=True)
class AnswerLines:
    """Output lines on their way into Parquet files; threads may add some at a time.

    :param database: of :func:`.database_of_lines`.
    :param folder: takes the files.
    :param query: for the family whose lines they are.
    :param keep: takes rows, one thread at a time; by default they go into Parquet files in the folder.
    :param by_content: take no key for the identity of a request, so that each row has a digest.
    :param files: those Parquet files; all have the same columns.
    :param read: rows that were read.
    :param unreadable: lines that can't be read as JSON objects.
    :param broken: the beginning of one of those, the same one in each run.
    :param rewriting: held while a statement reads lines by the general rules, which takes memory.
    :param names: numbers for the files of lines that are written again.
    """

    database: DuckDBPyConnection
    folder: Path
    query: LineQuery
    keep: Callable[[pa.Table], None] | None = None
    by_content: bool = False
    files: list[Path] = field(default_factory=list)
    read: int = 0
    unreadable: int = 0
    broken: bytes = b""
    rewriting: Lock = field(default_factory=Lock, init=False)
    names: Iterator[int] = field(default_factory=count, init=False)
    _keeping: Lock = field(default_factory=Lock, init=False)
    _has_columns: bool = field(default=False, init=False)

    def add(self, piece: Piece, query: LineQuery | None = None) -> int:
        """Read the lines of a piece, and return how many there are.

        :param query: where they are of another family; it has the same columns.
        """
        with self.database.cursor() as database:
            lines = _PieceLines(self, database, query or self.query, piece)
            lines.read()
        return lines.count

    def add_all(self, pieces: Iterator[Piece]) -> None:
        """Read the lines of pieces, two of them at a time."""

        def add(piece: Piece) -> None:
            with piece:
                self.add(piece)

        in_two_threads(add, pieces, "answers")

    def end(self) -> None:
        """Give columns to what was read if there were no lines."""
        if not self._has_columns:
            nothing = make_private(self.folder / "nothing-0.jsonl")
            self.keep_rows(
                self.database.sql(self.query.plain(self.query.form.plain_rows([nothing]))).to_arrow_table()
            )

    @property
    def rows(self) -> str:
        """The rows in Parquet files, as they stand behind FROM."""
        return parquet_rows(self.files)

    def keep_rows(self, rows: pa.Table) -> None:
        """Take rows that were read; without any, their columns."""
        with self._keeping:
            if len(rows) or not self._has_columns:
                (self.keep or self._write)(rows)
            self._has_columns = True
            self.read += len(rows)

    def _write(self, rows: pa.Table) -> None:
        from pyarrow.parquet import write_table

        # DuckDB's own writer takes several times as long.
        self.files.append(make_private(self.folder / f"answers-{len(self.files)}.parquet"))
        write_table(rows, self.files[-1], compression="lz4", use_dictionary=False)

    def count_unreadable(self, line: bytes) -> None:
        """Count a line that can't be read."""
        with self._keeping:
            self.unreadable += 1
            self.broken = min(self.broken or line[:_SHOWN], line[:_SHOWN])


@dataclass(slots=True)
class _PieceLines:
    """The lines of a piece on their way.

    :param database: of this thread alone.
    :param count: lines so far.
    """

    lines: AnswerLines
    database: DuckDBPyConnection
    query: LineQuery
    piece: Piece
    count: int = 0

    def read(self) -> None:
        """Read them."""
        left, numbers = None, count()
        if self.piece.is_usual and not self.lines.by_content:
            left = set(self._take(self.query.plain(self.query.form.plain_rows(self.piece.paths))))
        for part in self.piece.parts:
            if left is None:
                self._rewrite(part.path, part.source)
            elif left:
                self._rewrite(part.path, part.source, (number in left for number in numbers))
            if part.long_lines:
                self._rewrite(part.long_lines, part.source)

    def _take(self, statement: str) -> list[int]:
        """Read rows, keep those that have a label or a digest, and return the numbers of the others, from 0."""
        import pyarrow as pa
        import pyarrow.compute as pc

        others: list[int] = []
        begin = 0
        reader = arrow_rows(self.database, statement, _AT_ONCE)
        self.lines.keep_rows(reader.schema.empty_table())
        for some in reader:
            rows = pa.Table.from_batches([some])
            if rows["label"].null_count:
                is_told = pc.or_(rows["label"].is_valid(), rows["digest"].is_valid())
                rows = rows.filter(is_told)
                others += pc.add(pc.indices_nonzero(pc.invert(is_told)), begin).to_pylist()
            begin += len(some)
            self.count += len(rows)
            self.lines.keep_rows(rows)
        return others

    def _rewrite(self, lines: Path, source: int, wanted: Iterable[bool] = repeat(True)) -> None:
        """Read lines in Python.

        :param wanted: tells of each whether it is read.
        """
        with lines.open("rb") as stream:
            rows = map(self._rewritten, compress(iter_lines(stream), wanted))
            for some in _portions(filter(None, rows), JSON_BYTES):
                self._read_rewritten(
                    some, self.lines.folder / f"rewritten-{next(self.lines.names)}-{source}.jsonl"
                )

    def _read_rewritten(self, rows: Sequence[bytes], path: Path) -> None:
        form, content = self.query.form, b"".join(rows)
        make_private(path).write_bytes(content)
        if form.plain_rewritten_rows and len(content) <= 2 * JSON_BYTES and not form.is_odd(content):
            rows = [rows[number] for number in self._take(self.query.plain(form.plain_rewritten_rows(path)))]
            content = b"".join(rows)
            path.write_bytes(content)
        if rows:
            with self.lines.rewriting, room_for(self.database, len(content)):
                self._take(self.query.over(form.rewritten_rows(path)))
        path.unlink()

    def _rewritten(self, line: bytes) -> bytes | None:
        row = tolerant_object(line)
        if row is None:
            self.count += 1
            self.lines.count_unreadable(line)
            return None
        if self.lines.by_content:
            row["key"] = None
        # What is large is in the request or in media, of which no rule asks for the content.
        family = self.query.form.family
        _, digest, bare_key = answer_identity(row, family)
        kept = {name: row.get(name) for name in (*READ, family.answer_column)}
        identity = {"digest": digest, "bare_key": bare_key}
        return orjson.dumps({**_without_media(kept), "identity": identity}, option=orjson.OPT_APPEND_NEWLINE)


def _portions(rows: Iterable[bytes], size: int) -> Iterator[list[bytes]]:
    """Yield some rows at a time: as many as reach a size, in bytes."""
    some: list[bytes] = []
    left = size
    for row in rows:
        some.append(row)
        left -= len(row)
        if left <= 0:
            yield some
            some, left = [], size
    if some:
        yield some


def _without_media(value: Any) -> Any:
    if isinstance(value, dict):
        return {
            name: None if name == "data" and isinstance(inner, str) else _without_media(inner)
            for name, inner in value.items()
        }
    return list(map(_without_media, value)) if isinstance(value, list) else value
