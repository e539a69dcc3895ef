"""The count of rows that can't become requests."""

from __future__ import annotations

from airflow_gemini_batch.core.building import SHOWN_KEYS, BadRow, BadRows

_SHOWN_CHARACTERS = 100


class BadRowCounts:
    """Rows by fault, with the keys of a few."""

    def __init__(self) -> None:
        self._counts: dict[BadRow, int] = {}
        self._keys: dict[BadRow, list[str]] = {}

    def add(self, fault: BadRow, *keys: str, count: int = 1) -> None:
        """Count rows with one fault.

        :param keys: keys or places of these rows, as many as are at hand.
        """
        self._counts[fault] = self._counts.get(fault, 0) + count
        shown = self._keys.setdefault(fault, [])
        for key in keys:
            # Long keys would hide the others, and a lone surrogate can't be printed.
            text = key[:_SHOWN_CHARACTERS].encode("utf-8", "backslashreplace").decode()
            if len(shown) < SHOWN_KEYS and text not in shown:
                shown.append(text)

    def found(self) -> dict[BadRow, BadRows]:
        """Return what was counted."""
        return {fault: BadRows(count, tuple(self._keys[fault])) for fault, count in self._counts.items()}
