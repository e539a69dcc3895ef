"""Rows for requests: those of files, or what a Python iterable gives."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from typing import TYPE_CHECKING, Any

from airflow_gemini_batch.exceptions import InvalidRequestError
from airflow_gemini_batch.requests.files.formats import FORMATS, SAMPLE_ROWS, Row
from airflow_gemini_batch.requests.files.sources import find_files
from airflow_gemini_batch.requests.sources import FileRows

if TYPE_CHECKING:
    from google.cloud.storage import Client


@dataclass(frozen=True, slots=True)
class Rows:
    """Rows that are read once, in constant memory.

    :param where: the source, for messages.
    :param columns: names of the columns, as far as the first rows have them; ``None`` when there are no rows.
    :param rows: the rows; a column that one lacks is NULL.
    """

    where: str
    columns: tuple[str, ...] | None
    rows: Iterator[Row]


def read_rows(source: FileRows, columns: Sequence[str], client: Client) -> Rows:
    """Return the rows of files.

    :param columns: those that are needed; others may be left out.
    :param client: of ``google-cloud-storage``; asked for ``gs://`` addresses only.

    Raises :class:`.SourceNotReadyError` for an address or pattern that names no file, and
    :class:`.InvalidRequestError`, also while the rows are read, for a file that can't be read: it names the file, the
    line and what to do.
    """
    files = find_files(source, client)
    format_ = FORMATS[source.kind]
    columns_of_files = map(format_.columns, files)
    known = next((names for names in columns_of_files if names is not None), None)
    needed = tuple(dict.fromkeys(columns))
    rows = chain.from_iterable(format_.rows(file, needed) for file in files)
    return Rows(", ".join(map(str, source.paths)), known, rows)


def python_rows(rows: Iterable[Mapping[str, Any]]) -> Rows:
    """Return the rows of an iterable, such as a list of dicts or a generator of them.

    Raises :class:`.InvalidRequestError`, also while the rows are read, for one that is not a dict.
    """
    if not isinstance(rows, Iterable):
        raise InvalidRequestError(
            f"the rows are {rows!r:.100}: give an iterable of dicts, with a value for each column"
        )
    checked = _checked(rows)
    first = list(islice(checked, SAMPLE_ROWS))
    columns = tuple(dict.fromkeys(name for row in first for name in row))
    return Rows("the iterable of rows", columns if first else None, chain(first, checked))


def _checked(rows: Iterable[Any]) -> Iterator[Row]:
    for number, row in enumerate(rows, 1):
        if type(row) is not dict and not isinstance(row, Mapping):
            raise InvalidRequestError(
                f"row {number} is {row!r:.100}, of type {type(row).__name__}: give a dict, with a value for each column"
            )
        yield row
