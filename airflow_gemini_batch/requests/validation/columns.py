"""What a table of requests must have and may not have."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from airflow_gemini_batch.core.model_families import ModelFamily

_REFUSED_TYPES = ("ARRAY", "STRUCT", "RECORD", "RANGE", "DATETIME", "GEOGRAPHY")


def column_faults(columns: Iterable[tuple[str, str]], family: ModelFamily) -> Iterator[str]:
    """Say what keeps a job from reading a table.

    :param columns: names and BigQuery types; ``ARRAY`` for a repeated column, whatever it repeats.
    """
    present = dict(columns)
    main = family.main_column
    types = ("STRING",) if family.is_flat else ("JSON", "STRING")
    allowed = " or ".join(types)
    if main not in present:
        yield f"there is no column {main!r} ({allowed})"
    elif present[main] not in types:
        yield f"column {main!r} is {present[main]}, not {allowed}"
    for name, kind in present.items():
        # Columns beside a text are dropped, whatever they hold.
        if not family.is_flat and name != main and kind in _REFUSED_TYPES:
            yield f"column {name!r} has the unsupported type {kind}"
        if name.lower() in (family.answer_column, "status"):
            yield f"column {name!r} has a reserved name"
