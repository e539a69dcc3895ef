"""What became of each request, worked out by DuckDB on disk: memory does not grow with the number of rows."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from airflow_gemini_batch.core.building import FINGERPRINT_COLUMN, SHOWN_KEYS
from airflow_gemini_batch.core.landing import LandingPlan, staging_columns
from airflow_gemini_batch.core.manifest import Manifest
from airflow_gemini_batch.core.responses import Outcome, RowResult, Tally
from airflow_gemini_batch.exceptions import InvalidRequestError
from airflow_gemini_batch.storage.land.database import PARQUET, identifier, literal
from airflow_gemini_batch.storage.land.spool import ANSWERS, DIGESTS, REQUESTS
from airflow_gemini_batch.storage.land.vectors import of_one_length

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

STAGED = "staged.parquet"

_RERUN = ", ".join(f"'{outcome}'" for outcome in Outcome if outcome.rerun)
_TIME = "COALESCE(TRY_CAST(answers.processed_time AS TIMESTAMPTZ), answers.written)"


def sort_rows(
    database: DuckDBPyConnection, plan: LandingPlan, manifests: Sequence[Manifest], folder: Path
) -> Tally:
    """Find the one answer to each request, and write :data:`STAGED` from what was spooled to the folder.

    Its columns are those of :func:`airflow_gemini_batch.core.landing.staging_columns`, JSON as text. Of several
    answers to a request a good one counts, or else the one of the latest round.

    Returns the outcomes, which add up to the requests.

    Raises :class:`~airflow_gemini_batch.exceptions.InvalidRequestError` when requests share a key.
    """
    _load(database, plan, manifests, folder)
    _check_keys(database, plan)
    database.execute(f"""CREATE TEMP TABLE losers AS
SELECT place, manifest, label, digest FROM answers
SEMI JOIN (FROM answers SELECT manifest, label GROUP BY ALL HAVING COUNT(*) > 1) AS repeated USING (manifest, label)
QUALIFY ROW_NUMBER() OVER (
  PARTITION BY manifest, label
  ORDER BY outcome != '{Outcome.OK}', round DESC, outcome IN ({_RERUN}), {_TIME} DESC, place
) > 1""")
    # Left out where there is nothing to leave out, since it reads every row once more.
    without_losers = (
        "ANTI JOIN losers USING (place, label)" if database.execute("FROM losers LIMIT 1").fetchone() else ""
    )
    database.execute(f"CREATE TEMP VIEW best AS FROM answers {without_losers}")
    database.execute(
        f"COPY ({_staged_query(plan)}) TO {literal(folder / STAGED)} ({PARQUET}, COMPRESSION lz4)"
    )
    return _counted(database, folder)


def _load(
    database: DuckDBPyConnection, plan: LandingPlan, manifests: Sequence[Manifest], folder: Path
) -> None:
    """Make the tables and views ``jobs``, ``requests`` and ``answers``."""
    database.execute("CREATE TEMP TABLE jobs (manifest BIGINT, round BIGINT, job VARCHAR)")
    for place, manifest in enumerate(manifests):
        for number, one in enumerate(manifest.rounds):
            database.execute("INSERT INTO jobs VALUES (?, ?, ?)", [place, number, one.job_name])
    database.execute(f"CREATE TEMP VIEW requests AS FROM read_parquet({literal(folder / REQUESTS)})")
    rows = f"SELECT *, file_row_number AS place FROM read_parquet({literal(folder / ANSWERS)}, file_row_number = true)"
    digests = f"read_parquet({literal(folder / DIGESTS)})"
    if database.execute(f"FROM {digests} LIMIT 1").fetchone():
        # An answer that came back without a key belongs to all requests of the same content.
        rows = f"""SELECT rows.* REPLACE (COALESCE(rows.label, digests.label) AS label)
FROM ({rows}) AS rows LEFT JOIN {digests} AS digests
  ON rows.label IS NULL AND rows.manifest = digests.manifest AND rows.digest = digests.digest"""
    database.execute(f"CREATE TEMP VIEW answers AS {of_one_length(database, plan, rows)}")


def _check_keys(database: DuckDBPyConnection, plan: LandingPlan) -> None:
    keys = ", ".join(f"key_{place}" for place in range(len(plan.key)))
    shared = database.execute(
        f"SELECT {keys} FROM requests GROUP BY ALL HAVING COUNT(*) > 1 ORDER BY ALL LIMIT {SHOWN_KEYS}"
    ).fetchall()
    if shared:
        named = ", ".join("/".join(key)[:100] for key in shared)
        raise InvalidRequestError(
            f"several requests have the same key ({', '.join(plan.key)}: {named}), so which answer belongs to the row "
            "can't be told: give each request a key of its own, and land the manifests of two runs one after the other"
        )


def _staged_query(plan: LandingPlan) -> str:
    values = {
        **{name: f"requests.key_{place}" for place, name in enumerate(plan.key)},
        **{column.name: f"answers.value_{place}" for place, column in enumerate(plan.columns)},
        "batch_model": "answers.batch_model",
        "batch_finish_reason": "answers.batch_finish_reason",
        "batch_prompt_tokens": "answers.batch_prompt_tokens",
        "batch_output_tokens": "answers.batch_output_tokens",
        "batch_thoughts_tokens": "answers.batch_thoughts_tokens",
        "batch_cached_tokens": "answers.batch_cached_tokens",
        "batch_processed_time": f"COALESCE({_TIME}, requests.written)",
        "batch_job": "COALESCE(jobs.job, last.job)",
        FINGERPRINT_COLUMN: "requests.fingerprint",
        "batch_outcome": f"COALESCE(answers.outcome, '{Outcome.MISSING}')",
        "batch_code": "answers.code",
        "batch_message": (
            "CASE WHEN answers.place IS NULL THEN 'the output has no row for the request' ELSE answers.message END"
        ),
        "batch_round": "COALESCE(answers.round, last.round)",
        "batch_shortened": "answers.shortened",
    }
    selected = ",\n  ".join(f"{values[name]} AS {identifier(name)}" for name in staging_columns(plan))
    return f"""SELECT
  {selected}
FROM requests
JOIN (FROM jobs SELECT manifest, MAX(round) AS round, MAX_BY(job, round) AS job GROUP BY manifest) AS last
  ON last.manifest = requests.manifest
LEFT JOIN best AS answers ON answers.manifest = requests.manifest AND answers.label = requests.label
LEFT JOIN jobs ON jobs.manifest = answers.manifest AND jobs.round = answers.round"""


def _counted(database: DuckDBPyConnection, folder: Path) -> Tally:
    staged = f"read_parquet({literal(folder / STAGED)})"
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
        "SELECT COUNT(*) FROM losers SEMI JOIN requests USING (manifest, label) WHERE digest IS NULL"
    ).fetchall()
    ((tally.unknown,),) = database.execute(
        "SELECT COUNT(*) FROM answers ANTI JOIN requests USING (manifest, label)"
    ).fetchall()
    return tally
