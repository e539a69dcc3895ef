"""Lines of output files, counted and matched with the lines of request files, by DuckDB."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from airflow_gemini_batch.core.jsonl import tolerant_object
from airflow_gemini_batch.core.model_families import FAMILIES, GENERATE_CONTENT
from airflow_gemini_batch.gcp.lines import iter_lines
from airflow_gemini_batch.gcp.pieces import Piece
from airflow_gemini_batch.outputs.classify import Outcome, RowResult, Tally
from airflow_gemini_batch.outputs.classify_sql import SAMPLE_LENGTH, failure_message, outcome_case
from airflow_gemini_batch.outputs.embeddings import NO_VECTOR
from airflow_gemini_batch.outputs.generated_lines import GENERATED
from airflow_gemini_batch.outputs.line_families import LineFamily
from airflow_gemini_batch.outputs.line_sql import SENT, LineQuery, read_json
from airflow_gemini_batch.outputs.lines import AnswerLines
from airflow_gemini_batch.outputs.matching import line_id
from airflow_gemini_batch.outputs.matching_sql import best_first, is_final
from airflow_gemini_batch.outputs.usage import UsageByModel, usage_by_model
from airflow_gemini_batch.outputs.usage_sql import added_up, generation_line_counts, vector_line_counts
from airflow_gemini_batch.outputs.vector_lines import vector_lines
from airflow_gemini_batch.outputs.vectors_sql import vector_case
from airflow_gemini_batch.sql.dialect import DUCKDB

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection


def _query(case: str, reason: str, counts: Mapping[str, str]) -> str:
    items = ", ".join(f"{expression} AS {name}" for name, expression in counts.items())
    reason = f"SUBSTR(COALESCE(NULLIF(status_text, ''), {reason}), 1, {SAMPLE_LENGTH})"
    return f"""SELECT
  source, label, digest, bare_key, outcome,
  IF(outcome = '{Outcome.OK}', NULL, {reason}) AS reason,
  {items}
FROM (SELECT *, {case} AS outcome FROM gemini_batch_read)"""


_COUNTING = {
    GENERATE_CONTENT: LineQuery(
        GENERATED, _query(outcome_case(DUCKDB), failure_message(DUCKDB), generation_line_counts())
    ),
    **{
        family: LineQuery(
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
    :param to_retry: at the number of each request (:class:`RequestLines`) 1 if it is worth another job; one byte each.
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
        kept = Path(tempfile.mkdtemp(dir=folder))
        self._lines = AnswerLines(database, kept, _COUNTING[GENERATE_CONTENT], by_content=by_content)

    def is_odd(self, lines: bytes) -> bool:
        """Return what :attr:`.LineForm.is_odd` does."""
        return _COUNTING[self._family.read(lines)].form.is_odd(lines)

    def add(self, piece: Piece) -> int:
        """Read the lines of a piece, and return how many there are; threads may call it at a time."""
        return self._lines.add(piece, _COUNTING[self._family.family])

    @property
    def unreadable(self) -> int:
        """The number of lines that can't be read as JSON objects."""
        return self._lines.unreadable

    def __len__(self) -> int:
        return self._lines.read

    @property
    def _rows(self) -> str:
        self._lines.end()
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


class RequestLines:
    """Lines of request files, each with an ``id`` of what it asks, in the table ``gemini_batch_asked``.

    All connections to the database see it.

    Its column ``number`` counts the lines from 0. Those that a piece keeps apart since they are long are counted from
    -1 downwards: as places in a list of all, no two are the same.

    :param by_key: take the key for the id where there is one, instead of the content.
    """

    def __init__(self, database: DuckDBPyConnection, *, by_key: bool) -> None:
        self._database = database
        self._by_key = by_key
        self._usual = self._long = 0
        database.execute("CREATE OR REPLACE TABLE gemini_batch_asked (number BIGINT, id VARCHAR)")

    def __len__(self) -> int:
        return self._usual + self._long

    def add(self, piece: Piece) -> int:
        """Read the lines of a piece, and return how many there are."""
        before = len(self)
        if not (self._by_key and self._read_keys(piece.paths)):
            for part in piece.parts:
                self._usual += self._read(part.path, self._usual, 1)
        for part in piece.parts:
            if part.long_lines:
                self._long += self._read(part.long_lines, -1 - self._long, -1)
        return len(self) - before

    @cached_property
    def has_repeats(self) -> bool:
        """Whether an id stands for more than one request; only valid when all lines are there."""
        ((distinct,),) = self._database.execute(
            "SELECT COUNT(DISTINCT hash(id)) FROM gemini_batch_asked"
        ).fetchall()
        return bool(distinct < len(self))

    def _read_keys(self, paths: Sequence[Path]) -> bool:
        """Read the keys of lines; returns false, and reads none, where one is not as it is sent."""
        self._database.execute(f"""INSERT INTO gemini_batch_asked
SELECT {self._usual} - 1 + row_number() OVER (), IF({SENT}, key, NULL)
FROM {read_json(paths, {"key": "VARCHAR"})}""")
        new = f"FROM gemini_batch_asked WHERE number >= {self._usual}"
        ((read, sent),) = self._database.execute(f"SELECT COUNT(*), COUNT(id) {new}").fetchall()
        if sent < read:
            self._database.execute(f"DELETE {new}")
            return False
        self._usual += read
        return True

    def _read(self, lines: Path, first: int, step: int) -> int:
        import pyarrow as pa

        with lines.open("rb") as file:
            ids = pa.array(self._ids(iter_lines(file)), pa.string())
        numbers = pa.array(range(first, first + step * len(ids), step), pa.int64())
        self._database.register("gemini_batch_ids", pa.table({"number": numbers, "id": ids}))
        self._database.execute("INSERT INTO gemini_batch_asked FROM gemini_batch_ids")
        self._database.unregister("gemini_batch_ids")
        return len(ids)

    def _ids(self, lines: Iterator[bytes]) -> Iterator[str]:
        for line in lines:
            id_ = line_id(tolerant_object(line), by_key=self._by_key)
            yield id_ if isinstance(id_, str) else id_.hex()


def matched(
    database: DuckDBPyConnection, answers: CountedLines, requests: RequestLines, *, by_key: bool
) -> Matched:
    """Match answers with requests.

    Each request has one outcome. Which of several rows counts, :func:`.best_first` says; of equal requests each takes a
    row of its own. Repeated rows and rows that answer no request are counted apart.
    """
    came, asked = answers.rows(by_key=by_key), "gemini_batch_asked"
    found = answers.found()
    repeated = requests.has_repeats or len(answers) > (found.by_key if by_key else found.by_content)
    if repeated:
        ids = " UNION ".join(
            f"SELECT id FROM {rows} GROUP BY id HAVING COUNT(*) > 1" for rows in (came, asked)
        )
        database.execute(f"CREATE TEMP TABLE gemini_batch_repeated AS {ids}")
        came, asked = _placed(came, best_first("outcome")), _placed(asked, "number")
    on = "came.id = asked.id" + (" AND came.place = asked.place" if repeated else "")
    database.execute(f"""CREATE TEMP TABLE gemini_batch_open AS
SELECT asked.number, came.outcome, came.reason
FROM {asked} AS asked LEFT JOIN {came} AS came ON {on}
WHERE came.outcome IS DISTINCT FROM '{Outcome.OK}'""")
    tally = Tally()
    ((not_ok,),) = database.execute("SELECT COUNT(*) FROM gemini_batch_open").fetchall()
    tally.counts[Outcome.OK] = len(requests) - not_ok
    _count(tally, database, "gemini_batch_open")
    if surplus := len(answers) - tally.rows:
        unknown = f"SELECT COUNT(*) FROM {came} ANTI JOIN gemini_batch_asked USING (id)"
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
    numbers = database.execute(
        f"SELECT number FROM gemini_batch_open WHERE outcome IS NULL OR NOT {is_final('outcome')}"
    )
    while some := numbers.fetchmany(10_000):
        for (number,) in some:
            to_retry[number] = 1
    return to_retry


def chosen_lines(pieces: Iterable[Piece], chosen: bytearray) -> Iterator[bytes]:
    """Yield some lines of request files.

    :param chosen: not 0 at the number (:class:`RequestLines`) of each line that is wanted.
    """
    usual, long = count(), count(-1, -1)
    for piece in pieces:
        with piece:
            for part in piece.parts:
                yield from _chosen(part.path, usual, chosen)
                if part.long_lines:
                    yield from _chosen(part.long_lines, long, chosen)
    if (read := next(usual) - 1 - next(long)) != len(chosen):
        raise RuntimeError(f"{read} request lines were read, and {len(chosen)} before")


def _chosen(path: Path, numbers: Iterator[int], chosen: bytearray) -> Iterator[bytes]:
    with path.open("rb") as file:
        for line, number in zip(iter_lines(file), numbers, strict=False):
            if chosen[number]:
                yield line


def _placed(rows: str, order: str) -> str:
    """Return rows with their ``place`` among those of the same id, counted from 1, as they stand behind FROM.

    All rows need not be sorted for it.
    """
    place = f"ROW_NUMBER() OVER (PARTITION BY id ORDER BY {order})"
    return f"""(
  SELECT *, 1 AS place FROM {rows} ANTI JOIN gemini_batch_repeated USING (id)
  UNION ALL
  SELECT *, {place} AS place FROM {rows} SEMI JOIN gemini_batch_repeated USING (id)
)"""


def _count(tally: Tally, database: DuckDBPyConnection, rows: str) -> None:
    """Add rows, and the reasons that most of them give, to a tally.

    :param rows: what stands behind FROM, with ``outcome``, which may be NULL, and ``reason``.
    """
    counts = f"SELECT outcome, COUNT(*) FROM {rows} WHERE outcome IS NOT NULL GROUP BY ALL"
    for outcome, rows_of_it in database.execute(counts).fetchall():
        tally.add(RowResult(Outcome(outcome)), rows_of_it)
    samples = f"""SELECT outcome, reason FROM {rows} WHERE reason IS NOT NULL
GROUP BY ALL ORDER BY COUNT(*) DESC, outcome, reason LIMIT {Tally.MAX_SAMPLES}"""
    for outcome, reason in database.execute(samples).fetchall():
        tally.show(RowResult(Outcome(outcome), reason))
