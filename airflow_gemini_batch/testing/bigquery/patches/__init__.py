"""What bqemulator 1.4 does differently from BigQuery, corrected one function at a time.

- ``engine``: start without a network, read results to their end, no files and no network
- ``statements``, ``casts``, ``json_types``, ``json_functions``, ``json_text``: GoogleSQL that is translated wrongly
- ``speed``: what made translation slow
- ``refusals``, ``columns``, ``matches``: GoogleSQL that BigQuery refuses
- ``tables``, ``ddl``: types, options, row counts and etags of tables
- ``jobs``: destinations, job ids and locations
- ``sessions``: temporary tables
- ``loads`` (with ``sources``, ``objects``, ``destinations``), ``streaming``: rows from files and from insertAll
- ``exports``: rows into files
- ``http``, ``partitions``: what only the request shows

Each correction is a function that says what was wrong. They replace functions of the imported library, for the whole
process, so this package is imported by the local server only.
"""

from __future__ import annotations

import threading

from airflow_gemini_batch.testing.bigquery.patches import logs, seams

_closing = threading.Lock()


def close_gaps() -> None:
    """Correct bqemulator in this process; every call after the first does nothing.

    Raises :class:`~airflow_gemini_batch.testing.bigquery.patches.seams.SeamMissingError` when the installed release is
    another one.
    """
    with _closing, seams.explained():
        seams.check_version()
        # Modules of bqemulator take their logger when they are imported, hence before the imports below.
        logs.say_only_warnings()

        from airflow_gemini_batch.testing.bigquery.patches import (
            ddl,
            engine,
            exports,
            jobs,
            loads,
            refusals,
            sessions,
            speed,
            statements,
            streaming,
            tables,
        )

        modules = (
            speed,
            engine,
            statements,
            refusals,
            tables,
            ddl,
            jobs,
            sessions,
            loads,
            exports,
            streaming,
        )
        for module in modules:
            for correct in module.CORRECTIONS:
                correct()
