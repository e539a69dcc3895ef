"""Files of pages that commands write."""

from __future__ import annotations

from pathlib import Path

from airflow_gemini_batch.exceptions import InvalidRequestError

CHARTS_MISSING = "The charts are not installed. Run: pip install 'airflow-gemini-batch[report]'"


def write_page(output: Path, page: str) -> None:
    """Write a page to a file; raises :class:`.InvalidRequestError` when that can't be done."""
    try:
        output.write_text(page, encoding="utf-8")
    except OSError as error:
        raise InvalidRequestError(f"Could not write {output}: {error.strerror or error}") from None
