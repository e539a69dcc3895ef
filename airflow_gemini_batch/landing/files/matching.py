"""The outcome and the answer of each request, some at a time: memory does not grow with the number of rows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import reduce
from typing import TYPE_CHECKING, NamedTuple

from airflow_gemini_batch.core.columns import (
    FINGERPRINT_COLUMN,
    QUESTION_COLUMN,
    TOKEN_COLUMNS,
)
from airflow_gemini_batch.core.log import Log
from airflow_gemini_batch.core.shown import listed
from airflow_gemini_batch.core.threads import made_ahead
from airflow_gemini_batch.disk.private_folder import private_folder
from airflow_gemini_batch.exceptions import InvalidRequestError
from airflow_gemini_batch.gcp.objects import StorageObjects
from airflow_gemini_batch.jobs.manifest import Manifest
from airflow_gemini_batch.landing.files.answers_sql import key_names
from airflow_gemini_batch.landing.files.formats import TargetFormat
from airflow_gemini_batch.landing.files.key_ranges import KeyRange
from airflow_gemini_batch.landing.files.merge import FileRows
from airflow_gemini_batch.landing.files.portions import STAGED, TIME, Portions
from airflow_gemini_batch.landing.files.spool import Spool
from airflow_gemini_batch.landing.files.vectors import without_null
from airflow_gemini_batch.landing.plan import LandingPlan, staged_items, target_columns
from airflow_gemini_batch.outputs.classify import Outcome, RowResult, Tally
from airflow_gemini_batch.outputs.line_sql import database_of_lines
from airflow_gemini_batch.outputs.matching_sql import best_first
from airflow_gemini_batch.requests.spec import SHOWN_KEYS
from airflow_gemini_batch.sql.engine import identifier

if TYPE_CHECKING:
    import pyarrow as pa

_BY_CONTENT = "gemini_batch_by_content"
_TIME = "COALESCE(answers.answered, answers.written)"


class _Staged(NamedTuple):
    """The rows of a range, each of them with one answer, in the order of their keys.

    :param repeated: surplus answers by key.
    """

    keys: KeyRange
    rows: pa.Table
    repeated: int


@dataclass(slots=True)
class StagedRows(Portions):
    """One row for each request, a portion at a time.

    :param tally: the outcomes, which add up to the requests once all portions were read.
    :param shortened: vectors that came longer than asked and were cut, like that.
    """

    _spool: Spool
    _log: Log
    tally: Tally = field(default_factory=Tally)
    shortened: int = 0
    _rows: pa.Table = field(init=False)
    _is_told: bool = False

    @property
    def dimensions(self) -> int | None:
        """The length of the vectors; ``None`` if none lands."""
        return self._spool.dimensions

    def portions(self, present: Sequence[FileRows] = ()) -> Iterator[KeyRange]:
        """Make :data:`STAGED` of a portion after the other and yield its keys.

        The rows are in the order of their keys. Their columns are those of
        :func:`airflow_gemini_batch.landing.plan.staging_columns`, JSON as text, and others. What is counted in no
        outcome is logged at the end.

        :param present: rows of targets; each of their keys is of one of the portions as well.

        Raises :class:`~airflow_gemini_batch.exceptions.InvalidRequestError` when requests share a key.
        """
        self.tally, self.shortened = Tally(), 0
        samples: set[tuple[str, str]] = set()
        matched = 0
        length = self.dimensions if self.plan.embeds else None
        requested = f"SELECT {', '.join(key_names(self.plan))} FROM all_requests"
        ranges = self._ranges(self._spool.database, requested, present, self._spool.row_bytes)
        for staged in made_ahead(map(self._staged, ranges), "portions"):
            self._rows = staged.rows
            if self.plan.embeds:
                self._take_vectors(length or 0)
            self.database.register(STAGED, self._rows)
            matched += self._count(samples) + staged.repeated
            self.tally.duplicates += staged.repeated
            yield staged.keys
            # Not held while the next ones are taken.
            del staged
            self._rows = self._rows.schema.empty_table()
            self.database.unregister(STAGED)
        for outcome, message in sorted(samples)[: Tally.MAX_SAMPLES]:
            self.tally.show(RowResult(Outcome(outcome), message))
        self.tally.unknown = self._spool.unknown + self._spool.by_key - matched
        if not self._is_told:
            self._tell()
        self._is_told = True

    def good_rows(self, format_: TargetFormat) -> pa.Table:
        """Return the rows of :meth:`answers`, without a query."""
        import pyarrow.compute as pc

        good = self._rows.select(list(target_columns(self.plan)))
        mask = pc.equal(self._rows["batch_outcome"], str(Outcome.OK))
        if pc.all(mask).as_py():
            return good
        if not self.plan.embeds:
            return good.filter(mask)
        # Only good rows have vectors, so that none has to be copied.
        index = good.schema.get_field_index(self._vector_name)
        vectors = without_null(good.column(index).combine_chunks())
        return good.remove_column(index).filter(mask).add_column(index, self._vector_name, vectors)

    def _staged(self, keys: KeyRange) -> _Staged:
        """Return the rows of a range."""
        database, condition = self._spool.database, keys.condition(key_names(self.plan))
        self._spool.load(keys)
        rows = database.sql(staged_query(self.plan, condition)).to_arrow_table()
        if not _has_repeats(rows, self.plan.key):
            return _Staged(keys, rows, 0)
        self._check_keys(condition)
        key = ", ".join(map(identifier, self.plan.key))
        # Of equal ones the same row has to win in every run.
        ties = ", ".join(map(identifier, rows.column_names))
        order = best_first("batch_outcome", round_="batch_round", time=TIME, ties=ties)
        best = database.sql(
            f"FROM rows QUALIFY ROW_NUMBER() OVER (PARTITION BY {key} ORDER BY {order}) = 1 ORDER BY {key}"
        ).to_arrow_table()
        return _Staged(keys, best, _answered_by_key(rows) - _answered_by_key(best))

    def _take_vectors(self, length: int) -> None:
        """Put vectors where their places stand."""
        index = self._rows.schema.get_field_index(self._vector_name)
        vectors = self._spool.vectors.read(self._rows.column(index), length)
        self._rows = self._rows.set_column(index, self._vector_name, vectors)

    @property
    def _vector_name(self) -> str:
        (name,) = (column.name for column in self.plan.columns if column.path == "values")
        return name

    def _check_keys(self, condition: str) -> None:
        names = ", ".join(key_names(self.plan))
        shared = self._spool.database.execute(
            f"SELECT {names} FROM requests WHERE {condition} GROUP BY ALL HAVING COUNT(*) > 1 ORDER BY ALL "
            f"LIMIT {SHOWN_KEYS}"
        ).fetchall()
        if shared:
            named = listed("/".join(key)[:100] for key in shared)
            raise InvalidRequestError(
                f"several requests have the same key ({', '.join(self.plan.key)}: {named}), so answers can't be "
                "matched. Give each request a key of its own, and land the manifests of two runs one after the other"
            )

    def _count(self, samples: set[tuple[str, str]]) -> int:
        """Count the outcomes, keep some messages, and return how many requests have an answer by their key."""
        import pyarrow.compute as pc

        rows = self._rows
        for found in pc.value_counts(rows["batch_outcome"]).to_pylist():
            self.tally.add(RowResult(Outcome(found["values"])), found["counts"])
        failed = rows.filter(pc.is_valid(rows["batch_message"])).select(["batch_outcome", "batch_message"])
        samples.update(tuple(row.values()) for row in failed.to_pylist())
        for surplus in sorted(samples)[Tally.MAX_SAMPLES :]:
            samples.remove(surplus)
        if self.plan.embeds:
            self.shortened += pc.sum(rows["batch_shortened"]).as_py() or 0
        return _answered_by_key(rows)

    def _tell(self) -> None:
        self._log.info("%s", self.tally)
        for count, what in (
            (
                self._spool.unreadable_requests,
                "lines of the request files do not hold a request and are left out",
            ),
            (
                self._spool.unreadable_answers,
                "lines of the answers are not JSON objects; their requests count as missing",
            ),
            (self.tally.unknown, "answers belong to no request and are left out"),
        ):
            if count:
                self._log.warning("%d %s", count, what)


def _answered_by_key(rows: pa.Table) -> int:
    """Return how many requests have an answer by their key."""
    import pyarrow.compute as pc

    return pc.sum(pc.invert(rows[_BY_CONTENT])).as_py() or 0


def _has_repeats(rows: pa.Table, key: Sequence[str]) -> bool:
    """Return whether two rows, which are sorted by their key, have the same."""
    import pyarrow.compute as pc

    equal = [pc.equal(rows[name][1:], rows[name][:-1]) for name in key]
    return bool(pc.any(reduce(pc.and_, equal)).as_py())


@contextmanager
def staged_rows(
    plan: LandingPlan,
    manifests: Sequence[Manifest],
    storage: StorageObjects,
    log: Log,
    format_: TargetFormat,
) -> Iterator[StagedRows]:
    """Read the files of some manifests, for one row for each request; files on disk are removed afterwards.

    :param format_: of the file that answers land in.

    Raises what :meth:`.Spool.fill` raises.
    """
    with private_folder("landing") as folder, database_of_lines(folder) as database, _plain_memory():
        # Portions are made by a thread of their own.
        spool = Spool(plan, manifests, storage, database.cursor(), folder, format_.vector_type)
        spool.fill()
        yield StagedRows(plan, database, folder, spool, log)


@contextmanager
def _plain_memory() -> Iterator[None]:
    """Let Arrow take its memory from the system, to which it goes back: its own pools keep some 50 MB more."""
    import pyarrow as pa

    pool = pa.default_memory_pool()
    pa.set_memory_pool(pa.system_memory_pool())
    try:
        yield
    finally:
        pa.set_memory_pool(pool)


def staged_query(plan: LandingPlan, condition: str = "TRUE") -> str:
    """Return the query for the staged rows, each with every answer to it, in the order of their keys.

    :param condition: on the columns of the key.
    """
    keys = key_names(plan)
    good = f"answers.outcome = '{Outcome.OK}'"
    tokens = [name for name in plan.known_bookkeeping if name in TOKEN_COLUMNS]
    values = {
        **{name: f"requests.{key}" for name, key in zip(plan.key, keys, strict=True)},
        **{
            column.name: f"IF({good}, answers.value_{index}, NULL)"
            for index, column in enumerate(plan.columns)
        },
        "batch_model": "answers.model" if plan.embeds else "answers.batch_model",
        **{name: f"answers.{name}" for name in ("batch_finish_reason", *tokens)},
        TIME: f"COALESCE({_TIME}, requests.written)",
        "batch_job": "COALESCE(answers.job, last_jobs.job)",
        FINGERPRINT_COLUMN: "requests.fingerprint",
        QUESTION_COLUMN: "last_jobs.question",
        "batch_outcome": f"COALESCE(answers.outcome, '{Outcome.MISSING}')",
        "batch_code": "answers.code",
        "batch_message": (
            "IF(answers.outcome IS NULL, 'the output has no row for the request', answers.message)"
        ),
        "batch_round": "COALESCE(answers.round, last_jobs.round)",
        "batch_shortened": f"{good} AND answers.shortened",
    }
    return f"""SELECT
  {staged_items(plan, values, identifier)},
  answers.by_content AS {_BY_CONTENT}
FROM (FROM requests WHERE {condition}) AS requests
JOIN last_jobs USING (manifest)
LEFT JOIN (FROM answers WHERE key_0 IS NOT NULL AND {condition}) AS answers
  ON answers.manifest = requests.manifest AND answers.label = requests.label
ORDER BY {", ".join(f"requests.{key}" for key in keys)}"""
