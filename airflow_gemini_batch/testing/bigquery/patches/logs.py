"""Keep bqemulator's log lines out of the way of the program that runs it."""

from __future__ import annotations

import logging
from typing import Any

from airflow_gemini_batch.testing.bigquery.patches.seams import replace


def say_only_warnings() -> None:
    """Log through ``logging``, from WARNING on.

    bqemulator logs every request through structlog's process-wide configuration: to stdout when nobody configured
    it, into the task log when Airflow did.
    """
    replace("bqemulator.observability.logging_", "get_logger", lambda _original: _logger)
    # SQLGlot warns about every OPTIONS(...) that DuckDB does not know; they are read from the statement itself.
    logging.getLogger("sqlglot").setLevel(logging.ERROR)


def _logger(name: str) -> Any:
    import structlog

    return structlog.wrap_logger(
        logging.getLogger(name),
        # No traceback: an error that nobody expected is answered with its text.
        processors=[structlog.processors.KeyValueRenderer(key_order=["event"])],
        wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING),
        context_class=dict,
    )
