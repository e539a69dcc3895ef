"""Checks of requests before a job is submitted: what Vertex AI would report an hour later.

A line that is not a JSON object, or that can't be imported together with the others, fails the whole job, so it is
always an error. A request that breaks a rule is rejected alone, so it is an error only when too many do. What this
release does not know is a warning.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from airflow_gemini_batch.core.defaults import LONGEST_LINE, SAMPLE_ROWS
from airflow_gemini_batch.core.jsonl import LineError, check_encoding, read_object, without_mark
from airflow_gemini_batch.core.media import address_fault
from airflow_gemini_batch.core.model_families import ModelFamily
from airflow_gemini_batch.preflight.findings import Finding, RowProblems, Severity, error
from airflow_gemini_batch.requests.forms import check_row
from airflow_gemini_batch.requests.validation.import_rules import ImportedLines

_LARGEST_FILE = 2**30
_SAMPLE_BYTES = 64 * 2**20
# Many more than a job takes; they take 200 MB.
_REMEMBERED_KEYS = 2_000_000


class RequestSample:
    """The first requests of one source or several, and the problems that they have.

    :param family: of the job's model.
    :param media_prefixes: what the addresses of files may begin with, see
        :func:`airflow_gemini_batch.core.media.checked_prefixes`. Other addresses are errors then.
    :param model: of the job; empty when it is not known.
    """

    def __init__(self, family: ModelFamily, media_prefixes: Sequence[str] = (), model: str = "") -> None:
        self.rows = 0
        self.rejected = 0
        self.bytes = 0
        self._family = family
        self._model = model
        self._unreadable = RowProblems()
        self._imported = ImportedLines()
        self._not_importable = RowProblems()
        self._doubts = RowProblems()
        self._rejections = RowProblems()
        self._too_long = RowProblems()
        self._keys: set[bytes] = set()
        self._repeated = RowProblems()
        self._media_prefixes = media_prefixes
        self._media = RowProblems()

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
            row_name = f"{file}, line {number}" if file else f"line {number}"
            try:
                self._add_line(line, row_name, is_first=number == 1)
            except LineError as exc:
                self._unreadable.add(exc.message, row_name, exc.hint)
                if exc.whole_file:
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
            row_name = f"row {number} of the sample"
            value = row.get(main)
            try:
                if not self._family.is_flat and isinstance(value, str):
                    value = read_object(value.encode("utf-8", "surrogatepass"))
            except LineError as exc:
                self._unreadable.add(exc.message, row_name, exc.hint)
            else:
                self._check({**row, main: value}, row_name)

    def findings(self, max_failed_fraction: float) -> list[Finding]:
        """Return the problems, the worst first.

        :param max_failed_fraction: share of the rows, 0 to 1, that may be rejected.
        """
        if not self.rows:
            return [error("there are no requests", "write some before you submit a job")]
        return [
            *self._unreadable.findings(Severity.ERROR),
            *self._not_importable.findings(Severity.ERROR),
            *self._rejection_findings(max_failed_fraction),
            *self._media.findings(Severity.ERROR if self._media_prefixes else Severity.WARNING),
            *self._doubts.findings(Severity.WARNING),
            *self._too_long.findings(Severity.WARNING),
            *self._repeated.findings(Severity.WARNING),
        ]

    def _rejection_findings(self, allowed: float) -> list[Finding]:
        if not self.rejected:
            return []
        share = self.rejected / self.rows
        severity = Severity.ERROR if share > allowed or share == 1 else Severity.WARNING
        message = f"{self.rejected:,} of {self.rows:,} checked requests would be rejected"
        if share > allowed:
            message += f", more than max_failed_fraction ({allowed:g}) allows"
        whole = Finding(severity, message, "fix them: Vertex AI answers only the others")
        return [whole, *self._rejections.findings(severity)]

    def _add_line(self, line: bytes, row_name: str, *, is_first: bool) -> None:
        if is_first:
            check_encoding(line)
            if line != (line := without_mark(line)):
                message = "the file begins with a byte order mark (BOM), which JSON does not allow"
                hint = "save it as UTF-8 without BOM (sed -i '1s/^\\xEF\\xBB\\xBF//' FILE)"
                self._unreadable.add(message, row_name, hint)
        if len(line) > LONGEST_LINE:
            message = f"the line is longer than {LONGEST_LINE // 2**20} MB, and was not checked"
            hint = "put large media on Cloud Storage, and refer to it with fileData"
            self._too_long.add(message, row_name, hint)
        else:
            row = read_object(line)
            for fault in self._imported.add(row, row_name):
                self._not_importable.add(fault.message, row_name, fault.hint)
            self._check(row, row_name)

    def _check(self, row: Mapping[str, Any], row_name: str) -> None:
        checked = check_row(row, self._family, self._model)
        self.rejected += bool(checked.errors)
        for problem in checked.errors:
            self._rejections.add(problem, row_name)
        for doubt in checked.doubts:
            self._doubts.add(doubt, row_name)
        for uri in _file_addresses(row):
            if fault := address_fault(uri, self._media_prefixes):
                self._media.add(
                    f"a file is {uri:.200}, {fault}",
                    row_name,
                    "leave it out, or copy the file to Cloud Storage",
                )
        if (key := row.get("key")) is not None:
            digest = hashlib.blake2b(str(key).encode("utf-8", "surrogatepass"), digest_size=16).digest()
            if digest in self._keys:
                hint = "give each row a unique key: answers are matched by it"
                self._repeated.add("an earlier row has the same key", row_name, hint)
            if len(self._keys) < _REMEMBERED_KEYS:
                self._keys.add(digest)


def _file_addresses(row: Mapping[str, Any]) -> Iterator[str]:
    """Yield the addresses of all files that a request refers to."""
    left: list[Any] = [row]
    while left:
        value = left.pop()
        if isinstance(value, Mapping):
            yield from (uri for name in ("fileUri", "file_uri") if isinstance(uri := value.get(name), str))
            left += value.values()
        elif isinstance(value, list):
            left += value


def size_findings(rows: int | None, largest_file: int, family: ModelFamily) -> list[Finding]:
    """Compare the size of a job with the limits of Vertex AI.

    :param rows: number of requests, ``None`` when they were not counted.
    :param largest_file: bytes of the largest file; 0 for tables.
    """
    findings = []
    if rows is not None and rows > family.max_rows:
        message = f"{rows:,} requests are more than the {family.max_rows:,} that one job takes"
        findings.append(error(message, "split them over several jobs"))
    if largest_file > _LARGEST_FILE:
        message = f"a file of {largest_file / 2**30:.1f} GB is larger than the 1 GB that a job reads"
        findings.append(error(message, "split it into several files"))
    return findings
