"""What a table of requests must have and may not have."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from airflow_gemini_batch.core.model_families import RequestFormat

_MAIN_TYPES = {"request": ("JSON", "STRING"), "content": ("STRING",)}
# Columns that a job adds to what it read.
_RESERVED = {"request": ("response", "status"), "content": ("predictions", "status")}
_REFUSED_TYPES = ("ARRAY", "STRUCT", "RECORD", "RANGE", "DATETIME", "GEOGRAPHY")


def column_faults(columns: Iterable[tuple[str, str]], request_format: RequestFormat) -> Iterator[str]:
    """Say what keeps a job from reading a table.

    :param columns: names and BigQuery types; ``ARRAY`` for a repeated column, whatever it repeats.
    """
    present = dict(columns)
    main = request_format.main_column
    allowed = " or ".join(_MAIN_TYPES[main])
    if main not in present:
        yield f"there is no column {main!r} ({allowed})"
    elif present[main] not in _MAIN_TYPES[main]:
        yield f"column {main!r} is {present[main]}, not {allowed}"
    for name, kind in present.items():
        # Columns beside a text are dropped, whatever they hold.
        if main == "request" and name != main and kind in _REFUSED_TYPES:
            yield f"column {name!r} has the unsupported type {kind}"
        if name.lower() in _RESERVED[main]:
            yield f"column {name!r} has a reserved name"
