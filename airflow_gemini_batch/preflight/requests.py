"""Requests held against the rules before a job is submitted: what Vertex AI would report an hour later.

Two kinds of faults are told apart. A line that is no JSON object fails the whole job, so it is always an error. A
request that breaks a rule is rejected alone, so it is an error only when there are too many of them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from airflow_gemini_batch.core.defaults import LONGEST_LINE, SAMPLE_ROWS
from airflow_gemini_batch.core.jsonl import LineError, check_encoding, read_object, without_mark
from airflow_gemini_batch.core.model_families import ModelFamily
from airflow_gemini_batch.preflight.findings import Finding, Severity, error, warning
from airflow_gemini_batch.requests.forms import row_faults

_LARGEST_FILE = 2**30
_SAMPLE_BYTES = 64 * 2**20
_SHOWN = 10


@dataclass(slots=True)
class _Group:
    """Rows with the same fault: the first place, and their number."""

    place: str
    hint: str
    rows: int = 0

    @property
    def places(self) -> str:
        return self.place if self.rows == 1 else f"{self.place} and {self.rows - 1:,} more"


class RequestSample:
    """The requests that were looked at, from one source or several, and what was found.

    :param family: of the job's model.
    """

    def __init__(self, family: ModelFamily) -> None:
        self.rows = 0
        self.rejected = 0
        self.bytes = 0
        self._family = family
        self._unreadable: dict[str, _Group] = {}
        self._rejections: dict[str, _Group] = {}
        self._too_long: dict[str, _Group] = {}
        self._keys: set[bytes] = set()
        self._repeated: dict[str, _Group] = {}

    def add_lines(self, lines: Iterable[bytes], *, limit: int | None = SAMPLE_ROWS, file: str = "") -> bool:
        """Check the lines of a request file, from its first one on.

        :param lines: raw, blank ones included; one of more than ``LONGEST_LINE`` bytes may be cut.
        :param limit: most rows to check, of 64 MB in all; ``None`` for all.
        :param file: stands before the number of the line.

        Returns whether the end was reached.
        """
        rows = size = 0
        for number, line in enumerate(lines, start=1):
            if not line.strip():
                continue
            if limit is not None and (rows >= limit or size >= _SAMPLE_BYTES):
                return False
            rows, size = rows + 1, size + len(line)
            place = f"{file}, line {number}" if file else f"line {number}"
            try:
                self._add_line(line, place, is_first=number == 1)
            except LineError as fault:
                _note(self._unreadable, fault.message, place, fault.hint)
                if fault.whole_file:
                    return False
            finally:
                self.rows += 1
                self.bytes += len(line)
        return True

    def add_table_rows(self, rows: Iterable[Mapping[str, Any]]) -> None:
        """Check rows of a request table; a request may be text or decoded already."""
        main = self._family.main_column
        for number, row in enumerate(rows, start=1):
            self.rows += 1
            place = f"row {number} of the sample"
            value = row.get(main)
            try:
                if not self._family.is_flat and isinstance(value, str):
                    value = read_object(value.encode("utf-8", "surrogatepass"))
            except LineError as fault:
                _note(self._unreadable, fault.message, place, fault.hint)
            else:
                self._check({**row, main: value}, place)

    def findings(self, max_failed_fraction: float) -> list[Finding]:
        """Return what was found, the worst first.

        :param max_failed_fraction: share of the rows, 0 to 1, that may be rejected.
        """
        if not self.rows:
            return [error("there are no requests", "fill it before the job is submitted")]
        return [
            *(
                error(message, group.hint, group.places)
                for message, group in _shown(self._unreadable).items()
            ),
            *self._rejection_findings(max_failed_fraction),
            *(warning(message, group.hint, group.places) for message, group in self._too_long.items()),
            *(warning(message, group.hint, group.places) for message, group in self._repeated.items()),
        ]

    def _rejection_findings(self, allowed: float) -> list[Finding]:
        if not self.rejected:
            return []
        share = self.rejected / self.rows
        too_many = share > allowed or self.rejected == self.rows
        severity = Severity.ERROR if too_many else Severity.WARNING
        than = f", more than max_failed_fraction ({allowed:g}) allows" if share > allowed else ""
        whole = Finding(
            severity,
            f"{self.rejected:,} of {self.rows:,} checked requests would be rejected{than}",
            "mend them; Vertex AI answers the others only",
        )
        each = [
            Finding(severity, message, group.hint, group.places)
            for message, group in _shown(self._rejections).items()
        ]
        if (more := len(self._rejections) - _SHOWN) > 0:
            each.append(Finding(severity, f"{more} further kinds of faults"))
        return [whole, *each]

    def _add_line(self, line: bytes, place: str, *, is_first: bool) -> None:
        if is_first:
            check_encoding(line)
            if line != (line := without_mark(line)):
                _note(
                    self._unreadable,
                    "the file begins with a byte order mark (BOM), which is no JSON",
                    place,
                    "save it as UTF-8 without BOM (sed -i '1s/^\\xEF\\xBB\\xBF//' FILE)",
                )
        if len(line) > LONGEST_LINE:
            message = f"the line is longer than {LONGEST_LINE // 2**20} MB, and was not checked"
            _note(self._too_long, message, place, "put large media on Cloud Storage, and name it as fileData")
        else:
            self._check(read_object(line), place)

    def _check(self, row: Mapping[str, Any], place: str) -> None:
        faults = row_faults(row, self._family)
        self.rejected += bool(faults)
        for fault in faults:
            _note(self._rejections, fault, place)
        if (key := row.get("key")) is not None:
            digest = hashlib.blake2b(str(key).encode("utf-8", "surrogatepass"), digest_size=16).digest()
            if digest in self._keys:
                _note(
                    self._repeated,
                    "the key was given to an earlier row already",
                    place,
                    "give each row its own: answers are matched by it",
                )
            self._keys.add(digest)


def size_findings(rows: int | None, largest_file: int, family: ModelFamily) -> list[Finding]:
    """Hold the size of a job against the limits.

    :param rows: number of requests, ``None`` when they were not counted.
    :param largest_file: bytes of the largest file; 0 for tables.
    """
    found = []
    if rows is not None and rows > family.max_rows:
        found.append(
            error(
                f"{rows:,} requests are more than the {family.max_rows:,} that one job takes",
                "split them over several jobs",
            )
        )
    if largest_file > _LARGEST_FILE:
        found.append(
            error(
                f"a file of {largest_file / 2**30:.1f} GB is larger than the 1 GB that a job reads",
                "split it into several files",
            )
        )
    return found


def _note(groups: dict[str, _Group], message: str, place: str, hint: str = "") -> None:
    groups.setdefault(message, _Group(place, hint)).rows += 1


def _shown(groups: Mapping[str, _Group]) -> dict[str, _Group]:
    return dict(list(groups.items())[:_SHOWN])
