"""The outcome and the answer of each request, found by DuckDB on disk: memory does not grow with the number of rows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from airflow_gemini_batch.core.columns import FINGERPRINT_COLUMN, STAGED_AS, TIMES_FAILED_COLUMN
from airflow_gemini_batch.core.log import Log
from airflow_gemini_batch.core.shown import listed
from airflow_gemini_batch.disk.private_folder import private_folder
from airflow_gemini_batch.exceptions import InvalidRequestError
from airflow_gemini_batch.gcp.objects import StorageObjects
from airflow_gemini_batch.jobs.manifest import Manifest
from airflow_gemini_batch.landing.files.answer_reader import Facts
from airflow_gemini_batch.landing.files.database import (
    PARQUET_OPTIONS,
    connect,
    copy_rows,
    identifier,
    literal,
)
from airflow_gemini_batch.landing.files.formats import TargetFormat
from airflow_gemini_batch.landing.files.merge import Columns, FileRows
from airflow_gemini_batch.landing.files.spool import ANSWERS, DIGESTS, REQUESTS, spool
from airflow_gemini_batch.landing.files.vectors import (
    VectorColumn,
    VectorFile,
    of_one_length,
    vector_column,
    without_vectors,
)
from airflow_gemini_batch.landing.plan import LandingPlan, failed_columns, staged_items, target_columns
from airflow_gemini_batch.outputs.classify import Outcome, RowResult, Tally
from airflow_gemini_batch.outputs.matching_sql import best_first
from airflow_gemini_batch.requests.spec import SHOWN_KEYS

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

TIME = "batch_processed_time"
_TIME = "COALESCE(TRY_CAST(answers.processed_time AS TIMESTAMPTZ), answers.written)"


@dataclass(frozen=True, slots=True)
class StagedRows:
    """One row for each request, in a Parquet file on disk.

    Its columns are those of :func:`airflow_gemini_batch.landing.plan.staging_columns`, JSON as text.

    :param plan: what to land, with digests of vectors in place of these.
    :param tally: the outcomes, which add up to the requests.
    :param vectors: the column of vectors; ``None`` if the answers are not vectors.
    """

    plan: LandingPlan
    database: DuckDBPyConnection
    folder: Path
    tally: Tally
    vectors: VectorColumn | None

    @property
    def table(self) -> str:
        """The rows as they stand in a statement."""
        return _staged(self.folder)

    def answers(self, format_: TargetFormat) -> FileRows:
        """Return the good rows with the columns of a target."""
        types = target_columns(self.plan)
        return self._rows(types, {}, f"batch_outcome = '{Outcome.OK}'", format_)

    def failures(self, format_: TargetFormat) -> FileRows:
        """Return the other rows with the columns of a file of failures, but ``times_failed``."""
        types = failed_columns(self.plan)
        del types[TIMES_FAILED_COLUMN]
        return self._rows(types, STAGED_AS, f"batch_outcome != '{Outcome.OK}'", format_)

    def _rows(
        self, types: Columns, staged_as: Mapping[str, str], condition: str, format_: TargetFormat
    ) -> FileRows:
        """Return rows with some columns.

        :param staged_as: names that columns have here, where these differ.
        """
        selected = [
            f"{format_.staged_value(staged_as.get(name, name), type_)} AS {identifier(name)}"
            for name, type_ in types.items()
        ]
        return FileRows(
            f"SELECT {', '.join(selected)} FROM {self.table} WHERE {condition}",
            {name: format_.landed_type(type_) for name, type_ in types.items()},
        )


@contextmanager
def staged_rows(
    plan: LandingPlan,
    manifests: Sequence[Manifest],
    storage: StorageObjects,
    log: Log,
    format_: TargetFormat,
) -> Iterator[StagedRows]:
    """Read the files of some manifests and give one row for each request; the files on disk are removed afterwards.

    What is counted in no outcome is logged.

    :param format_: of the file that answers land in.

    Raises :class:`~airflow_gemini_batch.exceptions.InvalidRequestError` when requests share a key, and what
    :func:`~airflow_gemini_batch.landing.files.spool.spool` raises.
    """
    with ExitStack() as stack:
        folder = stack.enter_context(private_folder("landing"))
        database = stack.enter_context(connect(folder))
        vectors = None
        if plan.embeds:
            vectors = stack.enter_context(VectorFile(database, folder / "vectors", format_.vector_type))
        plan = without_vectors(plan)
        unreadable = spool(plan, manifests, storage, folder, vectors)
        tally = _sort_rows(database, plan, manifests, folder)
        log.info("%s", tally)
        for count, what in (
            (unreadable.requests, "lines of the request files do not hold a request and are left out"),
            (
                unreadable.answers,
                "lines of the answers are not JSON objects; their requests count as missing",
            ),
            (tally.unknown, "answers belong to no request and are left out"),
        ):
            if count:
                log.warning("%d %s", count, what)
        column = vector_column(plan, database, _staged(folder), vectors) if vectors else None
        yield StagedRows(plan, database, folder, tally, column)


def _staged(folder: Path) -> str:
    return f"read_parquet({literal(folder / 'staged.parquet')})"


def _sort_rows(
    database: DuckDBPyConnection, plan: LandingPlan, manifests: Sequence[Manifest], folder: Path
) -> Tally:
    """Find the one answer to each request, as :func:`.best_first` says, and write the staged rows."""
    _load(database, plan, manifests, folder)
    _check_keys(database, plan)
    database.execute(f"""CREATE TEMP TABLE losers AS
SELECT file_row_number, manifest, label, by_content FROM answers
SEMI JOIN (FROM answers SELECT manifest, label GROUP BY ALL HAVING COUNT(*) > 1) AS repeated USING (manifest, label)
QUALIFY ROW_NUMBER() OVER (
  PARTITION BY manifest, label
  ORDER BY {best_first("outcome", round_="round", time=_TIME, ties="file_row_number")}
) > 1""")
    # Left out where there is nothing to leave out, since it reads every row once more.
    without_losers = (
        "ANTI JOIN losers USING (file_row_number, label)"
        if database.execute("FROM losers LIMIT 1").fetchone()
        else ""
    )
    database.execute(f"CREATE TEMP VIEW best AS FROM answers {without_losers}")
    copy_rows(database, staged_query(plan), folder / "staged.parquet", f"{PARQUET_OPTIONS}, COMPRESSION lz4")
    return _counted(database, folder)


def _load(
    database: DuckDBPyConnection, plan: LandingPlan, manifests: Sequence[Manifest], folder: Path
) -> None:
    """Make the tables and views ``jobs``, ``requests`` and ``answers``."""
    database.execute("CREATE TEMP TABLE jobs (manifest BIGINT, round BIGINT, job VARCHAR)")
    for index, manifest in enumerate(manifests):
        for number, round_ in enumerate(manifest.rounds):
            database.execute("INSERT INTO jobs VALUES (?, ?, ?)", [index, number, round_.job_name])
    database.execute(f"CREATE TEMP VIEW requests AS FROM read_parquet({literal(folder / REQUESTS)})")
    rows = f"""SELECT *, digest IS NOT NULL AS by_content
FROM read_parquet({literal(folder / ANSWERS)}, file_row_number = true)"""
    digests = f"read_parquet({literal(folder / DIGESTS)})"
    if database.execute(f"FROM {digests} LIMIT 1").fetchone():
        # Without a key, or with one that several requests may have had, the content decides: an answer belongs to all
        # requests of the same.
        rows = f"""WITH keyed AS (
  SELECT manifest, bare_key, ANY_VALUE(label) AS label FROM {digests} GROUP BY ALL HAVING COUNT(*) = 1
)
SELECT rows.* REPLACE (
  COALESCE(rows.label, keyed.label, digests.label) AS label,
  rows.by_content AND keyed.label IS NULL AS by_content
)
FROM ({rows}) AS rows
LEFT JOIN keyed ON rows.label IS NULL AND rows.manifest = keyed.manifest AND rows.bare_key = keyed.bare_key
LEFT JOIN {digests} AS digests
  ON rows.label IS NULL AND keyed.label IS NULL AND rows.manifest = digests.manifest AND rows.digest = digests.digest"""
    database.execute(f"CREATE TEMP VIEW answers AS {of_one_length(database, plan, rows)}")


def _check_keys(database: DuckDBPyConnection, plan: LandingPlan) -> None:
    keys = ", ".join(f"key_{index}" for index in range(len(plan.key)))
    shared = database.execute(
        f"SELECT {keys} FROM requests GROUP BY ALL HAVING COUNT(*) > 1 ORDER BY ALL LIMIT {SHOWN_KEYS}"
    ).fetchall()
    if shared:
        named = listed("/".join(key)[:100] for key in shared)
        raise InvalidRequestError(
            f"several requests have the same key ({', '.join(plan.key)}: {named}), so answers can't be matched. Give "
            "each request a key of its own, and land the manifests of two runs one after the other"
        )


def staged_query(plan: LandingPlan) -> str:
    """Return the query for the staged rows, from the views ``requests``, ``best`` and ``jobs``."""
    values = {
        **{name: f"requests.key_{index}" for index, name in enumerate(plan.key)},
        **{column.name: f"answers.value_{index}" for index, column in enumerate(plan.columns)},
        **{name: f"answers.{name}" for name in Facts._fields},
        "batch_processed_time": f"COALESCE({_TIME}, requests.written)",
        "batch_job": "COALESCE(jobs.job, last.job)",
        FINGERPRINT_COLUMN: "requests.fingerprint",
        "batch_outcome": f"COALESCE(answers.outcome, '{Outcome.MISSING}')",
        "batch_code": "answers.code",
        "batch_message": (
            "IF(answers.outcome IS NULL, 'the output has no row for the request', answers.message)"
        ),
        "batch_round": "COALESCE(answers.round, last.round)",
        "batch_shortened": "answers.shortened",
    }
    return f"""SELECT
  {staged_items(plan, values, identifier)}
FROM requests
JOIN (FROM jobs SELECT manifest, MAX(round) AS round, MAX_BY(job, round) AS job GROUP BY manifest) AS last
  ON last.manifest = requests.manifest
LEFT JOIN best AS answers ON answers.manifest = requests.manifest AND answers.label = requests.label
LEFT JOIN jobs ON jobs.manifest = answers.manifest AND jobs.round = answers.round"""


def _counted(database: DuckDBPyConnection, folder: Path) -> Tally:
    staged = _staged(folder)
    tally = Tally()
    for outcome, count in database.execute(
        f"SELECT batch_outcome, COUNT(*) FROM {staged} GROUP BY ALL"
    ).fetchall():
        tally.add(RowResult(Outcome(outcome)), count)
    for outcome, message in database.execute(
        f"SELECT DISTINCT batch_outcome, batch_message FROM {staged} WHERE batch_message IS NOT NULL "
        f"ORDER BY ALL LIMIT {Tally.MAX_SAMPLES}"
    ).fetchall():
        tally.show(RowResult(Outcome(outcome), message))
    # Answers that were matched by their content belong to several requests, none of them twice.
    ((tally.duplicates,),) = database.execute(
        "SELECT COUNT(*) FROM losers SEMI JOIN requests USING (manifest, label) WHERE NOT by_content"
    ).fetchall()
    ((tally.unknown,),) = database.execute(
        "SELECT COUNT(*) FROM answers ANTI JOIN requests USING (manifest, label)"
    ).fetchall()
    return tally
