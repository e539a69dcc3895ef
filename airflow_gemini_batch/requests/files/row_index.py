"""Which rows repeat a key, and which are done already: sorted on disk, in memory that does not grow with the rows.

Of each key, and of each pair of key and fingerprint, 128 bits are kept. Records are divided among files by their key,
so that equal ones meet in one file, and one file after the other is sorted.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from airflow_gemini_batch.disk.private_folder import make_private

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Integers = NDArray[np.int64]
    _Counts = Integers | Sequence[int] | int

NEW, REPEATED, DONE, FAILED = range(4)
"""What a row is: one to ask, one whose key an earlier row has, or one that was asked the same before: with an answer
(done), or in vain (failed)."""

_PARTS = 64
_BLOCK_ROWS = 8_192
_COLUMNS = 7
# In the column of the row's number.
_DONE_BEFORE, _FAILED_BEFORE = -1, -2
_KEY, _MARK, _NUMBER, _CHARACTERS, _MEDIA = slice(0, 2), slice(2, 4), 4, 5, 6


@dataclass(frozen=True, slots=True)
class SortedRows:
    """What each row is.

    :param states: a byte for each row, in the order in which they were added.
    :param characters: of the rows to ask, together.
    :param media: files of the rows to ask, together.
    """

    states: bytearray
    characters: int
    media: int


class RowIndex:
    """Collects the rows, then sorts them.

    :param folder: empty, for files of about 60 bytes a row.
    :param block_rows: rows that are held in memory until they are written there.
    """

    def __init__(self, folder: Path, block_rows: int = _BLOCK_ROWS) -> None:
        self._block_rows = block_rows
        self._paths = [folder / str(part) for part in range(_PARTS)]
        self._blocks: list[Integers] = []
        self._waiting = 0
        self._count = 0

    def add(
        self, keys: Sequence[str], fingerprints: Sequence[str], characters: _Counts, media: _Counts
    ) -> None:
        """Add rows, by column; see :func:`records_of`."""
        self.add_records(records_of(keys, fingerprints, characters, media))

    def add_records(self, records: Integers) -> None:
        """Add rows, as :func:`records_of` gives them."""
        first = self._count
        self._count += len(records)
        self._add(records, range(first, self._count))

    def add_done(self, pairs: Iterable[tuple[str, str]]) -> None:
        """Add the keys and fingerprints of rows that have an answer."""
        self._add_before(pairs, _DONE_BEFORE)

    def add_failed(self, pairs: Iterable[tuple[str, str]]) -> None:
        """Add the keys and fingerprints of rows that have failed for good; done ones are done all the same."""
        self._add_before(pairs, _FAILED_BEFORE)

    def _add_before(self, pairs: Iterable[tuple[str, str]], number: int) -> None:
        rest = iter(pairs)
        while batch := list(islice(rest, self._block_rows)):
            self._add(records_of(*zip(*batch, strict=True)), number)

    def sort(self) -> SortedRows:
        """Return what each row is; of those with the same key, the first to be added is new, done or failed."""
        import numpy as np

        self._flush()
        states = np.zeros(self._count, np.uint8)
        characters = media = 0
        for path in filter(Path.exists, self._paths):
            records = np.fromfile(path, np.int64).reshape(-1, _COLUMNS)
            numbers = records[:, _NUMBER]
            rows = records[numbers >= 0]
            done, failed = (records[numbers == sign, _MARK] for sign in (_DONE_BEFORE, _FAILED_BEFORE))
            part_states = np.zeros(len(rows), np.uint8)
            if before := len(done) + len(failed):
                equal = _first_equal(np.concatenate([done, failed, rows[:, _MARK]]))[before:]
                part_states[equal < before] = FAILED
                part_states[equal < len(done)] = DONE
            part_states[_first_equal(rows[:, _KEY]) != np.arange(len(rows))] = REPEATED
            states[rows[:, _NUMBER]] = part_states
            characters += int(rows[part_states == NEW, _CHARACTERS].sum())
            media += int(rows[part_states == NEW, _MEDIA].sum())
        return SortedRows(bytearray(states.tobytes()), characters, media)

    def _add(self, records: Integers, numbers: range | int) -> None:
        records[:, _NUMBER] = numbers
        self._blocks.append(records)
        self._waiting += len(records)
        if self._waiting >= self._block_rows:
            self._flush()

    def _flush(self) -> None:
        """Divide the records among the files by their first column, in the order in which they were added."""
        import numpy as np

        if not self._blocks:
            return
        records = np.concatenate(self._blocks)
        # Small numbers: they are sorted several times as fast.
        parts = (records[:, 0] & (_PARTS - 1)).astype(np.uint8)
        order = np.argsort(parts, kind="stable")
        ends = np.cumsum(np.bincount(parts, minlength=_PARTS))
        for path, chosen in zip(self._paths, np.split(order, ends[:-1]), strict=True):
            if len(chosen):
                with make_private(path).open("ab") as file:
                    records[chosen].tofile(file)
        self._blocks, self._waiting = [], 0


def records_of(
    keys: Sequence[str], fingerprints: Sequence[str], characters: _Counts = 0, media: _Counts = 0
) -> Integers:
    """Return what an index keeps of rows, but for their numbers.

    :param fingerprints: none when no rows are done.
    :param characters: in the texts of each request.
    :param media: files that each refers to.
    """
    import numpy as np

    records = np.zeros((len(keys), _COLUMNS), np.int64)
    records[:, _KEY] = _hashes(keys)
    if fingerprints:
        records[:, _MARK] = _hashes(list(map(str.__add__, fingerprints, keys)))
    records[:, _CHARACTERS] = characters
    records[:, _MEDIA] = media
    return records


def _hashes(texts: Sequence[str]) -> Integers:
    """Return two numbers for each text, which for two texts are the same only if the texts are."""
    import numpy as np

    # Python's own hash is a SipHash of 64 bits, good within one process and many times as fast as a digest.
    hashes = np.empty((len(texts), 2), np.int64)
    hashes[:, 0] = np.fromiter(map(hash, texts), np.int64, len(texts))
    hashes[:, 1] = np.fromiter(map(hash, map("\0".__add__, texts)), np.int64, len(texts))
    return hashes


def _first_equal(pairs: Integers) -> NDArray[np.intp]:
    """Return for each pair of numbers the index of the first one that equals it."""
    import numpy as np

    order = np.lexsort((pairs[:, 1], pairs[:, 0]))
    in_order = pairs[order]
    begins = np.ones(len(pairs), np.bool_)
    begins[1:] = (in_order[1:] != in_order[:-1]).any(axis=1)
    first = np.empty(len(pairs), np.intp)
    first[order] = order[begins][np.cumsum(begins) - 1]
    return first
