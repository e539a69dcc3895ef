"""Questions about BigQuery: the package's own statements, and what they stand on."""

from __future__ import annotations

import logging
import time
from typing import Any

from airflow_gemini_batch.gcp.queries import Queries
from airflow_gemini_batch.gcp.statements import Statement
from airflow_gemini_batch.landing.bigquery.lander import RIVALRY
from tests.live import corpus
from tests.live.questions import Answer, NotAnsweredError, question
from tests.live.seen import Seen

SQL = "Statements in BigQuery"

_OWN_SQL = (
    "this package's SQL is analyzed by Google's GoogleSQL analyzer, which knows no limits and no storage"
)

_EMULATED = "the local BigQuery knows neither its limits nor its rules for this"


def _said(seen: Seen, statement: str, **options: Any) -> str:
    """Run a statement and return the error; empty when there was none."""
    from google.cloud.bigquery import QueryJobConfig

    try:
        job = seen.place.bigquery.query(statement, job_config=QueryJobConfig(**options))
        if not options.get("dry_run"):
            job.result()
    except Exception as error:
        return f"{type(error).__name__}: {str(error)[:300]}"
    return ""


def _taken(said: str) -> Answer:
    return Answer("refused" if said else "taken", said or "no error")


@question(
    "dry-runs",
    SQL,
    "Does BigQuery take each statement of a small pipeline (build, count, land, merge)?",
    source=_OWN_SQL,
    believed="all taken",
    readings={"all taken": "", "some refused": "this is a fault of the package: report it"},
)
def dry_runs(seen: Seen) -> Answer:
    night = seen.night
    refused = [(statement, said) for statement, said in night.dry_runs if said]
    evidence = f"{len(night.dry_runs)} statements"
    if refused:
        evidence += "; " + "; ".join(f"`{' '.join(text.split())[:100]}…`: {said}" for text, said in refused)
    if not night.dry_runs:
        raise NotAnsweredError(night.error or "no statement was seen")
    return Answer("some refused" if refused else "all taken", evidence)


@question(
    "statements",
    SQL,
    "Does BigQuery take the statements of every builder, for the types of keys and texts, schemas and names that the "
    "analyzer has seen?",
    source=_OWN_SQL,
    believed="all taken",
    readings={
        "all taken": "",
        "some refused": "this is a fault of the package, or the analyzer's: report it",
    },
    only_google="a dry run on the local BigQuery says nothing that the analyzer does not",
)
def statements(seen: Seen) -> Answer:
    cases = corpus.cases()
    refused = corpus.dry_runs(seen.place, cases)
    shown = "; ".join(f"{name[:80]}: {said}" for name, said in refused[:10])
    return Answer(
        "some refused" if refused else "all taken",
        f"{len(cases)} statements, {len(refused)} refused; {shown}",
    )


@question(
    "pipeline",
    SQL,
    "Do three rows pass through build, submit and land, and is landing twice the same?",
    source="the local servers",
    believed="yes",
    readings={"yes": "", "no": "this is a fault of the package or of the project's set-up"},
)
def pipeline(seen: Seen) -> Answer:
    night = seen.night
    if night.report is None:
        return Answer("no", night.error)
    counts = {name: count for name, count in night.report["counts"].items() if count}
    return Answer("yes", ", ".join(f"{count} {name}" for name, count in counts.items()))


@question(
    "export-parameters",
    SQL,
    "Does EXPORT DATA take query parameters?",
    source="the documentation says where parameters may stand, and EXPORT DATA is not excepted",
    believed="taken",
    readings={
        "taken": "requests for gemini-embedding are exported from BigQuery",
        "refused": "the build task of gemini-embedding over a table fails: report it",
    },
)
def export_parameters(seen: Seen) -> Answer:
    from google.cloud.bigquery import ScalarQueryParameter

    uri = f"{seen.place.folder.child('export')}/*.json"
    parameter = ScalarQueryParameter("p0", "STRING", "a text")
    statement = (
        f"EXPORT DATA OPTIONS (uri = '{uri}', format = 'JSON', overwrite = TRUE) AS SELECT @p0 AS text"
    )
    return _taken(_said(seen, statement, query_parameters=[parameter]))


def _session(seen: Seen) -> str:
    from google.cloud.bigquery import QueryJobConfig

    try:
        job = seen.place.bigquery.query("SELECT 1", job_config=QueryJobConfig(create_session=True))
        job.result()
        session = job.session_info
    except Exception as error:
        raise NotAnsweredError(f"no session: {error}") from None
    if session is None or not session.session_id:
        raise NotAnsweredError("BigQuery opened no session")
    return str(session.session_id)


@question(
    "transaction-conflict",
    SQL,
    "What does a transaction say that changes a table which another transaction has changed?",
    source="the documentation's wording; the package waits and tries again when it sees it",
    believed="known wording",
    readings={
        "known wording": "landing waits and runs again",
        "another wording": "the task fails, and its next try lands",
        "no conflict": "the later one counts; an older run never replaces newer answers",
    },
    only_google=_EMULATED,
)
def transaction_conflict(seen: Seen) -> Answer:
    from google.cloud.bigquery import ConnectionProperty

    table = seen.place.table("conflict").sql
    if said := _said(seen, f"CREATE TABLE {table} AS SELECT 1 AS n"):
        raise NotAnsweredError(said)
    session = [ConnectionProperty("session_id", _session(seen))]
    try:
        opened = _said(
            seen,
            f"BEGIN TRANSACTION; UPDATE {table} SET n = 2 WHERE TRUE;",
            connection_properties=session,
        )
        if opened:
            raise NotAnsweredError(opened)
        merge = f"MERGE {table} USING (SELECT 3 AS n) AS s ON TRUE WHEN MATCHED THEN UPDATE SET n = s.n;"
        said = _said(seen, f"BEGIN TRANSACTION; {merge} COMMIT TRANSACTION;")
        if not said:
            said = _said(seen, "COMMIT TRANSACTION", connection_properties=session)
    finally:
        _said(seen, "CALL BQ.ABORT_SESSION()", connection_properties=session)
    if not said:
        return Answer("no conflict", "no error")
    known = any(sign in said for sign in RIVALRY)
    return Answer("known wording" if known else "another wording", said)


@question(
    "ddl-in-transaction",
    SQL,
    "Is CREATE TABLE allowed inside a transaction?",
    source="the documentation: only for temporary tables",
    believed="refused",
    readings={"taken": "", "refused": "the package makes and alters tables before its transaction begins"},
)
def ddl_in_transaction(seen: Seen) -> Answer:
    table = seen.place.table("in_transaction").sql
    return _taken(_said(seen, f"BEGIN TRANSACTION; CREATE TABLE {table} (n INT64); COMMIT TRANSACTION;"))


@question(
    "nested-recursive",
    SQL,
    "Is WITH RECURSIVE allowed inside another WITH?",
    source="Google's analyzer refuses it",
    believed="refused",
    readings={
        "taken": "",
        "refused": "a source query that begins with it is told so before anything is built",
    },
    only_google=_EMULATED,
)
def nested_recursive(seen: Seen) -> Answer:
    inner = "WITH RECURSIVE r AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM r WHERE n < 3) SELECT n FROM r"
    return _taken(_said(seen, f"WITH source AS ({inner}) SELECT n FROM source", dry_run=True))


@question(
    "table-named-like-its-column",
    SQL,
    "In a table that is named like one of its columns, is the bare name the column, when the whole path of the table "
    "stands in one pair of backticks?",
    source="Google's analyzer",
    believed="the column",
    readings={
        "the column": "such tables may be sources",
        "the row": "a build over such a table fails: report it",
    },
)
def table_named_like_its_column(seen: Seen) -> Answer:
    table = seen.place.table("title")
    if said := _said(seen, f"CREATE TABLE {table.sql} AS SELECT 'a title' AS `{table.table}`"):
        raise NotAnsweredError(said)
    ((value,),) = seen.place.bigquery.query_and_wait(f"SELECT `{table.table}` FROM {table.sql}")
    return Answer("the column" if value == "a title" else "the row", f"the value is {value!r}")


@question(
    "tables-of-a-query",
    SQL,
    "Does the limit of 1,000 tables of a query count one table that is named 1,001 times?",
    source="the documentation names the limit, not how it counts",
    readings={
        "refused": "landing reads tables in portions below the limit",
        "taken": "the same: it reads different tables",
    },
    only_google=_EMULATED,
)
def tables_of_a_query(seen: Seen) -> Answer:
    table = seen.place.table("counted")
    if said := _said(seen, f"CREATE TABLE {table.sql} AS SELECT 1 AS n"):
        raise NotAnsweredError(said)
    statement = " UNION ALL ".join([f"SELECT n FROM {table.sql}"] * 1001)
    return _taken(_said(seen, statement, dry_run=True))


@question(
    "length-of-a-query",
    SQL,
    "Is a statement of more than 1 MB refused?",
    source="the documentation",
    believed="refused",
    readings={"refused": "landing reads tables in portions below the limit", "taken": "the same"},
    only_google=_EMULATED,
)
def length_of_a_query(seen: Seen) -> Answer:
    return _taken(_said(seen, f"SELECT '{'x' * (1024 * 1024)}' AS text", dry_run=True))


@question(
    "etag",
    SQL,
    "Does a table's etag stay the same while nothing changes its rows?",
    source="not documented",
    believed="stays",
    readings={
        "stays": "a retry finds the job of an earlier try, which is named by it",
        "changes": "a retry takes the table for a new one and pays for another job: report it",
    },
)
def etag(seen: Seen) -> Answer:
    client, table = seen.place.bigquery, seen.place.table("etag")
    if said := _said(seen, f"CREATE TABLE {table.sql} AS SELECT 1 AS n"):
        raise NotAnsweredError(said)
    first = client.get_table(table.dotted).etag
    list(client.query_and_wait(f"SELECT n FROM {table.sql}"))
    time.sleep(seen.place.settings.settle)
    second = client.get_table(table.dotted).etag
    evidence = f"after a query and {seen.place.settings.settle:.0f} s"
    return Answer("stays" if first == second else "changes", evidence)


@question(
    "branch-in-transaction",
    SQL,
    "Does a script take IF inside a transaction, over a temporary table that the transaction has made?",
    source="the documentation names IF among the statements of scripts, and excepts no transaction",
    believed="taken",
    readings={
        "taken": "landing reads the whole target only where an answer changes",
        "refused": "every landing in BigQuery fails: report it",
    },
)
def branch_in_transaction(seen: Seen) -> Answer:
    script = """BEGIN TRANSACTION;
CREATE TEMP TABLE known AS SELECT TRUE AS changes;
IF (SELECT LOGICAL_OR(known.changes) FROM known) THEN
SELECT 1;
ELSE
SELECT 2;
END IF;
COMMIT TRANSACTION;"""
    return _taken(_said(seen, script))


@question(
    "session-tables",
    SQL,
    "Does a session keep a temporary table for its next statement?",
    source="the documentation",
    believed="kept",
    readings={
        "kept": "an export reads its source once",
        "lost": "the build task of gemini-embedding over a table fails: report it",
    },
)
def session_tables(seen: Seen) -> Answer:
    queries = Queries(seen.place.bigquery, logging.getLogger(__name__))
    try:
        with queries.session():
            for sql in ("CREATE TEMP TABLE kept AS SELECT 1 AS n", "SELECT n FROM kept"):
                queries.run(Statement(sql), seen.place.settings.location)
    except Exception as error:
        return Answer("lost", f"{type(error).__name__}: {str(error)[:300]}")
    return Answer("kept", "no error")
