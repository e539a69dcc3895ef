"""Corrections of how bqemulator drives DuckDB."""

from __future__ import annotations

from typing import Any

from bqemulator.domain.errors import UnsupportedFeatureError
from bqemulator.storage.engine import _annotate_with_duckdb_types

from airflow_gemini_batch.testing.bigquery.patches import casts, json_functions, json_text
from airflow_gemini_batch.testing.bigquery.patches.matches import refuse_ambiguous
from airflow_gemini_batch.testing.bigquery.patches.seams import replace

_ENGINE = "bqemulator.storage.engine:DuckDBEngine"
MEMORY_LIMIT = "2GB"  # a statement that needs more fails, or spills, and the process lives


def start_without_network() -> None:
    """Skip the download of DuckDB's spatial extension, and lock DuckDB into the server's folder.

    The extension is fetched at every start and a start without a network fails; all that is lost is GEOGRAPHY. The
    hook that loaded it runs on the fresh connection, so the settings go there, and the macros.
    From then on no statement reaches a file (but for uploads), a network or an extension, or changes a setting.
    """

    def confine(engine: Any) -> None:
        folder = engine._settings.data_dir
        for setting, value in {
            "autoinstall_known_extensions": "false",
            "autoload_known_extensions": "false",
            "enable_progress_bar": "false",
            "temp_directory": str(folder / "spill"),
            "secret_directory": str(folder / "secrets"),
            "extension_directory": str(folder / "extensions"),
            "memory_limit": MEMORY_LIMIT,
        }.items():
            quoted = value.replace("'", "''")
            engine._connection.execute(f"SET {setting} = '{quoted}'")
        uploads = str(engine._settings.upload_staging_dir).replace("'", "''")
        engine._connection.execute(f"SET allowed_directories = ['{uploads}']")
        # Neither can be taken back.
        engine._connection.execute("SET enable_external_access = false")
        engine._connection.execute("SET lock_configuration = true")
        json_text.register(engine._connection)
        for macro in (*casts.MACROS, *json_functions.MACROS):
            engine._connection.execute(f"CREATE TEMP MACRO {macro}")

    replace(_ENGINE, "_load_spatial", lambda _original: confine)


def run_no_other_engine() -> None:
    """Refuse bqemulator's second engine, which is not locked and fetches the spatial extension."""

    def refuse() -> Any:
        raise UnsupportedFeatureError("The local BigQuery server has no GEOGRAPHY.")

    replace("bqemulator.types.geography", "_ensure_conv_conn", lambda _original: refuse)


def finish_results() -> None:
    """Read a pending result to its end before the connection is used again.

    DuckDB 2 refuses to register a table while a result is unfinished, and ``fetchone()`` leaves it unfinished:
    insertAll failed after any query. Every use of the connection goes through this property.
    """

    def make(original: Any) -> Any:
        def connection(engine: Any) -> Any:
            current = original.fget(engine)
            if hasattr(current, "complete"):  # DuckDB 1 has no unfinished results
                current.complete()
            return current

        return property(connection)

    replace(_ENGINE, "connection", make)


def fetch_arrow_once() -> None:
    """Fetch Arrow tables through ``connection.sql``, as DuckDB 2 asks.

    Through ``execute`` each result is copied and a ``UserWarning`` is raised in the server's thread, an error where
    warnings are errors. DuckDB 1 answers None to anything but a query there and keeps the original. Every statement
    comes by here, so the ambiguous ones are refused here.
    """

    def make(original: Any) -> Any:
        def fetch_arrow(engine: Any, sql: str, parameters: list[Any] | None = None) -> Any:
            connection = engine.connection
            refuse_ambiguous(connection, sql, parameters)
            if not hasattr(connection, "complete"):
                return original(engine, sql, parameters)
            relation = connection.sql(sql, params=parameters or None)
            return _annotate_with_duckdb_types(relation.to_arrow_table(), relation.description)

        return fetch_arrow

    replace(_ENGINE, "fetch_arrow", make)


CORRECTIONS = (start_without_network, run_no_other_engine, finish_results, fetch_arrow_once)
