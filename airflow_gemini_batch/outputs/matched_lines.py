"""Lines of output files, counted and matched with the lines of request files, by DuckDB."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from airflow_gemini_batch.core.jsonl import tolerant_object
from airflow_gemini_batch.core.model_families import FAMILIES, GENERATE_CONTENT
from airflow_gemini_batch.disk.private_folder import make_private
from airflow_gemini_batch.gcp.pieces import Part, Piece
from airflow_gemini_batch.outputs.classify import Outcome, RowResult, Tally
from airflow_gemini_batch.outputs.classify_sql import SAMPLE_LENGTH, failure_message, outcome_case
from airflow_gemini_batch.outputs.embeddings import NO_VECTOR
from airflow_gemini_batch.outputs.line_families import LineFamily
from airflow_gemini_batch.outputs.lines import (
    GENERATED,
    SENT,
    AnswerLines,
    LineForm,
    numbered_lines,
    read_json,
)
from airflow_gemini_batch.outputs.matching import line_id
from airflow_gemini_batch.outputs.matching_sql import best_first, is_final
from airflow_gemini_batch.outputs.usage import UsageByModel, usage_by_model
from airflow_gemini_batch.outputs.usage_sql import added_up, generation_line_counts, vector_line_counts
from airflow_gemini_batch.outputs.vector_lines import vector_lines
from airflow_gemini_batch.outputs.vectors_sql import vector_case
from airflow_gemini_batch.sql.dialect import DUCKDB
from airflow_gemini_batch.sql.engine import PARQUET_OPTIONS, copy_rows, parquet_rows

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection


class _Counting(NamedTuple):
    """How lines of a family are read, and the query that counts them."""

    form: LineForm
    query: str


def _query(case: str, reason: str, counts: Mapping[str, str]) -> str:
    items = ", ".join(f"{expression} AS {name}" for name, expression in counts.items())
    reason = f"SUBSTR(COALESCE(NULLIF(status_text, ''), {reason}), 1, {SAMPLE_LENGTH})"
    return f"""SELECT
  source, label, digest, bare_key, outcome,
  IF(outcome = '{Outcome.OK}', NULL, {reason}) AS reason,
  {items}
FROM (SELECT *, {case} AS outcome FROM gemini_batch_read)"""


_COUNTING = {
    GENERATE_CONTENT: _Counting(
        GENERATED, _query(outcome_case(DUCKDB), failure_message(DUCKDB), generation_line_counts())
    ),
    **{
        family: _Counting(
            vector_lines(family, most=1), _query(vector_case(DUCKDB), f"'{NO_VECTOR}'", vector_line_counts())
        )
        for family in FAMILIES.values()
        if family.embeds
    },
}

_BY_KEY, _BY_CONTENT = "COALESCE(label, bare_key, digest)", "digest"


class Matched(NamedTuple):
    """The requests of a job, matched with its rows.

    :param tally: the outcomes; they add up to the requests.
    :param to_retry: at the place of each request (:class:`RequestLines`) 1 if it is worth another job; one byte each.
        None if the rows can't be distinguished, since most of them, or all, answer no request.
    """

    tally: Tally
    to_retry: bytearray | None


class Found(NamedTuple):
    """What identifies the requests of the rows that came back.

    :param labels: rows whose key came back as it was sent.
    :param keys: rows with any key; 0 of a family that returns none.
    :param by_key: how many ids they have by key.
    :param by_content: and by content.
    """

    labels: int
    keys: int
    by_key: int
    by_content: int


class CountedLines:
    """Output lines, each with its outcome and its tokens.

    :param database: of :func:`.database_of_lines`.
    :param folder: takes the files that they are kept in.
    :param by_content: as of :class:`.AnswerLines`.
    """

    def __init__(self, database: DuckDBPyConnection, folder: Path, *, by_content: bool = False) -> None:
        self._database = database
        self._family = LineFamily()
        form, query = _COUNTING[GENERATE_CONTENT]
        kept = Path(tempfile.mkdtemp(dir=folder))
        self._lines = AnswerLines(database, kept, query, form, by_content=by_content)

    def is_odd(self, lines: bytes) -> bool:
        """Return whether some lines may hold what their declared types don't tell: see :func:`.pieces`."""
        return _COUNTING[self._family.read(lines)].form.is_odd(lines)

    def add(self, piece: Piece) -> int:
        """Read the lines of a piece, and return how many there are."""
        before = len(self) + self.unreadable
        self._lines.form, self._lines.query = _COUNTING[self._family.family]
        self._lines.add(piece)
        return len(self) + self.unreadable - before

    @property
    def unreadable(self) -> int:
        """The number of lines that are no JSON objects."""
        return self._lines.unreadable

    def __len__(self) -> int:
        return self._lines.read

    @property
    def _rows(self) -> str:
        if not self._lines.files:
            # Of no lines there are columns as well.
            nothing = make_private(self._lines.folder / "nothing-0.jsonl")
            self._lines.add(Piece((Part(0, nothing, None),), 0))
        return self._lines.rows

    def found(self) -> Found:
        """Return what came back."""
        # Of hashes, which take less memory: those of two ids may be the same, and nothing is lost by it.
        ids = ", ".join(f"COUNT(DISTINCT hash({id_}))" for id_ in (_BY_KEY, _BY_CONTENT))
        statement = f"SELECT COUNT(label), COUNT(COALESCE(label, bare_key)), {ids} FROM {self._rows}"
        found = Found._make(self._database.execute(statement).fetchall()[0])
        return found if self._family.family.returns_keys else found._replace(keys=0)

    def rows(self, *, by_key: bool) -> str:
        """Return the rows, with an ``id`` of what each answers, as they stand behind FROM."""
        return f"(SELECT {_BY_KEY if by_key else _BY_CONTENT} AS id, * FROM {self._rows})"

    def tally(self) -> Tally:
        """Return the outcomes of all rows, whatever they answer."""
        tally = Tally()
        _count(tally, self._database, self._rows)
        # A line that can't be read is a row that can't be used, not a reason to lose the others.
        message = f"the output line is not a JSON object: {self._lines.broken!r}"
        tally.add(RowResult(Outcome.RETRYABLE, message), self._lines.unreadable)
        return tally

    def usage(self) -> UsageByModel:
        """Return the tokens of all rows."""
        found = self._database.execute(added_up(self._rows))
        names = [column[0] for column in found.description]
        return usage_by_model(dict(zip(names, row, strict=True)) for row in found.fetchall())


class _Places:
    """Counts lines: those that a piece keeps apart since they are long from -1 downwards, the others from 0.

    As places in a list of all, both are told apart.
    """

    def __init__(self) -> None:
        self.usual = self.long = 0

    def __len__(self) -> int:
        return self.usual + self.long

    def next(self, number: int) -> int:
        """Return the place of the next line.

        :param number: as of :func:`.numbered_lines`.
        """
        if number < 0:
            self.long += 1
            return -self.long
        self.usual += 1
        return self.usual - 1


class RequestLines:
    """Lines of request files, each with its ``place`` and an ``id`` of what it asks.

    :param database: of :func:`.database_of_lines`.
    :param folder: takes the files that they are kept in.
    :param by_key: take the key for the id where there is one, instead of the content.
    """

    def __init__(self, database: DuckDBPyConnection, folder: Path, *, by_key: bool) -> None:
        self._database = database
        self._by_key = by_key
        self._folder = Path(tempfile.mkdtemp(dir=folder))
        self._files: list[Path] = []
        self._places = _Places()

    def __len__(self) -> int:
        return len(self._places)

    def is_odd(self, _lines: bytes) -> bool:
        """Return false: keys are read alike wherever they stand."""
        return False

    def add(self, piece: Piece) -> int:
        """Read the lines of a piece, and return how many there are."""
        before = len(self)
        all_read = self._by_key and self._read_keys(piece.paths)
        for part in piece.parts:
            if not all_read or part.long_lines:
                self._read(one for one in numbered_lines(part) if not all_read or one[0] < 0)
        return len(self) - before

    @property
    def rows(self) -> str:
        """The lines as they stand behind FROM."""
        return parquet_rows(self._files) if self._files else "(SELECT 0 AS place, '' AS id WHERE FALSE)"

    @cached_property
    def has_repeats(self) -> bool:
        """Whether an id stands for more than one request; only valid when all lines are there."""
        ((distinct,),) = self._database.execute(
            f"SELECT COUNT(DISTINCT hash(id)) FROM {self.rows}"
        ).fetchall()
        return bool(distinct < len(self))

    def _read_keys(self, paths: Sequence[Path]) -> bool:
        """Read the keys of lines; returns false, and reads none, where one is not as it is sent."""
        read = self._write(f"""SELECT {self._places.usual} - 1 + number AS place, IF({SENT}, key, NULL) AS id
FROM {read_json(paths, {"key": "VARCHAR"})}""")
        sent = f"SELECT COUNT(id) FROM {parquet_rows(self._files[-1:])}"
        if self._database.execute(sent).fetchall() != [(read,)]:
            self._files.pop()
            return False
        self._places.usual += read
        return True

    def _read(self, lines: Iterable[tuple[int, bytes]]) -> None:
        import pyarrow as pa

        schema = pa.schema([("place", pa.int64()), ("id", pa.string())])
        rows = [{"place": self._places.next(number), "id": self._id(line)} for number, line in lines]
        self._database.register("gemini_batch_ids", pa.Table.from_pylist(rows, schema))
        self._write("FROM gemini_batch_ids")
        self._database.unregister("gemini_batch_ids")

    def _id(self, line: bytes) -> str:
        id_ = line_id(tolerant_object(line), by_key=self._by_key)
        return id_ if isinstance(id_, str) else id_.hex()

    def _write(self, query: str) -> int:
        path = self._folder / f"requests-{len(self._files)}.parquet"
        self._files.append(path)
        return copy_rows(self._database, query, path, f"{PARQUET_OPTIONS}, COMPRESSION lz4")


def matched(
    database: DuckDBPyConnection, answers: CountedLines, requests: RequestLines, *, by_key: bool
) -> Matched:
    """Match answers with requests.

    Each request has one outcome. Which of several rows counts, :func:`.best_first` says; of equal requests each takes a
    row of its own. Repeated rows and rows that answer no request are counted apart.
    """
    came, asked = answers.rows(by_key=by_key), requests.rows
    found = answers.found()
    repeated = requests.has_repeats or len(answers) > (found.by_key if by_key else found.by_content)
    if repeated:
        ids = " UNION ".join(
            f"SELECT id FROM {rows} GROUP BY id HAVING COUNT(*) > 1" for rows in (came, asked)
        )
        database.execute(f"CREATE TEMP TABLE gemini_batch_repeated AS {ids}")
        came, asked = _ranked(came, best_first("outcome")), _ranked(asked, "place")
    on = "came.id = asked.id" + (" AND came.rank = asked.rank" if repeated else "")
    database.execute(f"""CREATE TEMP TABLE gemini_batch_open AS
SELECT asked.place, came.outcome, came.reason
FROM {asked} AS asked LEFT JOIN {came} AS came ON {on}
WHERE came.outcome IS DISTINCT FROM '{Outcome.OK}'""")
    tally = Tally()
    ((not_ok,),) = database.execute("SELECT COUNT(*) FROM gemini_batch_open").fetchall()
    tally.counts[Outcome.OK] = len(requests) - not_ok
    _count(tally, database, "gemini_batch_open")
    if surplus := len(answers) - tally.rows:
        unknown = f"SELECT COUNT(*) FROM {came} ANTI JOIN {requests.rows} USING (id)"
        ((tally.unknown,),) = database.execute(unknown).fetchall()
        tally.duplicates = surplus - tally.unknown
    tally.unknown += answers.unreadable
    distinguished = 0 < tally.rows >= tally.unknown
    if tally.unknown > tally.rows:
        tally = answers.tally()  # the echo is not understood: rows can be counted only
    tally.complete(len(requests))
    return Matched(tally, _to_retry(database, len(requests)) if distinguished else None)


def _to_retry(database: DuckDBPyConnection, requests: int) -> bytearray:
    to_retry = bytearray(requests)
    places = database.execute(
        f"SELECT place FROM gemini_batch_open WHERE outcome IS NULL OR NOT {is_final('outcome')}"
    )
    while some := places.fetchmany(10_000):
        for (place,) in some:
            to_retry[place] = 1
    return to_retry


def chosen_lines(pieces: Iterable[Piece], chosen: bytearray) -> Iterator[bytes]:
    """Yield some lines of request files.

    :param chosen: not 0 at the place (:class:`RequestLines`) of each line that is wanted.
    """
    places = _Places()
    for piece in pieces:
        for part in piece.parts:
            yield from (line for number, line in numbered_lines(part) if chosen[places.next(number)])
    if len(places) != len(chosen):
        raise RuntimeError(f"{len(places)} request lines were read, and {len(chosen)} before")


def _ranked(rows: str, order: str) -> str:
    """Return rows with their ``rank`` among those of the same id, from 1, as they stand behind FROM.

    Those of an id of their own need not be sorted for it.
    """
    rank = f"ROW_NUMBER() OVER (PARTITION BY id ORDER BY {order})"
    return f"""(
  SELECT *, 1 AS rank FROM {rows} ANTI JOIN gemini_batch_repeated USING (id)
  UNION ALL
  SELECT *, {rank} AS rank FROM {rows} SEMI JOIN gemini_batch_repeated USING (id)
)"""


def _count(tally: Tally, database: DuckDBPyConnection, rows: str) -> None:
    """Add rows, and the reasons that most of them give, to a tally.

    :param rows: what stands behind FROM, with ``outcome``, which may be NULL, and ``reason``.
    """
    counts = f"SELECT outcome, COUNT(*) FROM {rows} WHERE outcome IS NOT NULL GROUP BY ALL"
    for outcome, count in database.execute(counts).fetchall():
        tally.add(RowResult(Outcome(outcome)), count)
    samples = f"""SELECT outcome, reason FROM {rows} WHERE reason IS NOT NULL
GROUP BY ALL ORDER BY COUNT(*) DESC, outcome, reason LIMIT {Tally.MAX_SAMPLES}"""
    for outcome, reason in database.execute(samples).fetchall():
        tally.show(RowResult(Outcome(outcome), reason))
