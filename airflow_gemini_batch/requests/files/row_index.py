"""Which rows repeat a key, are done already or have changed: sorted on disk, in memory that does not grow with them.

Of each key, and of each pair of key and fingerprint, 128 bits are kept. Records are divided among files by their key,
so that equal ones meet in one file, and one file after the other is sorted.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from airflow_gemini_batch.disk.private_folder import make_private
from airflow_gemini_batch.requests.done import Mark, Place
from airflow_gemini_batch.requests.row_kinds import RowCount, RowKind

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Integers = NDArray[np.int64]
    _Counts = Integers | Sequence[int] | int

KINDS = tuple(RowKind)
DONE, FAILED, REPEATED = range(len(KINDS), len(KINDS) + 3)
"""What a row is beside one of the kinds that may be asked, whose numbers are their places in :data:`KINDS`: one that
was asked the same before, with an answer (done) or in vain (failed), or one whose key an earlier row has."""

_PARTS = 64
_BLOCK_ROWS = 8_192
# In the column of the row's number.
_BEFORE = {Place.TARGET: -1, Place.ASKED: -2, Place.CANARY: -3, Place.FAILED: -4, Place.TRIED: -5}
_KEY, _MARK, _NUMBER, _CHARACTERS, _MEDIA, _QUESTION = slice(0, 2), slice(2, 4), 4, 5, 6, 7
_COLUMNS = 8
_UNKNOWN = -1


@dataclass(frozen=True, slots=True)
class SortedRows:
    """What each row is.

    :param states: a byte for each row, in the order in which they were added.
    :param answered: likewise whether a canary has the answer.
    :param counts: the rows of each kind.
    :param answers: ids of the other questions that rows with a changed question answer.
    """

    states: NDArray[np.uint8]
    answered: NDArray[np.bool_]
    counts: Mapping[RowKind, RowCount]
    answers: Sequence[str]


class RowIndex:
    """Collects the rows, then sorts them.

    :param folder: empty, for files of about 64 bytes a row, and 16 more for each other question.
    :param questions: ids of what rows of the target may answer: the question that is asked now, then others of which
        each row brings the fingerprint.
    :param block_rows: rows that are held in memory until they are written there.
    """

    def __init__(self, folder: Path, questions: Sequence[str] = ("",), block_rows: int = _BLOCK_ROWS) -> None:
        self._block_rows = block_rows
        self._questions = {name: number for number, name in enumerate(questions)}
        self._columns = _COLUMNS + 2 * (len(questions) - 1)
        self._paths = [folder / str(part) for part in range(_PARTS)]
        self._blocks: list[Integers] = []
        self._waiting = 0
        self._count = 0

    def add_records(self, records: Integers) -> None:
        """Add rows, as :func:`records_of` gives them."""
        first = self._count
        self._count += len(records)
        self._add(records, range(first, self._count))

    def add_marks(self, marks: Iterable[Mark]) -> None:
        """Add the requests that are known."""
        rest = iter(marks)
        while batch := list(islice(rest, self._block_rows)):
            keys, fingerprints, places, questions = zip(*batch, strict=True)
            records = records_of(keys, [fingerprints], columns=self._columns)
            records[:, _QUESTION] = [self._questions.get(name, _UNKNOWN) for name in questions]
            self._add(records, [_BEFORE[place] for place in places])

    def sort(self) -> SortedRows:
        """Return what each row is; of those with the same key, the first to be added counts."""
        import numpy as np

        self._flush()
        states, answered = np.zeros(self._count, np.uint8), np.zeros(self._count, np.bool_)
        counts = dict.fromkeys(KINDS, RowCount())
        answers: set[int] = set()
        for path in filter(Path.exists, self._paths):
            records = np.fromfile(path, np.int64).reshape(-1, self._columns)
            rows = records[records[:, _NUMBER] >= 0]
            before = records[records[:, _NUMBER] < 0]
            part, questions = self._states(rows, before)
            states[rows[:, _NUMBER]] = part
            canary = before[before[:, _NUMBER] == _BEFORE[Place.CANARY]]
            answered[rows[:, _NUMBER]] = _found(canary[:, _MARK], rows[:, _MARK]) >= 0
            answers.update(np.unique(questions[part == KINDS.index(RowKind.CHANGED_QUESTION)]).tolist())
            for number, kind in enumerate(KINDS):
                counts[kind] += _count(rows[part == number])
        names = list(self._questions)
        return SortedRows(
            states,
            answered,
            {kind: count for kind, count in counts.items() if count.rows},
            [names[number] for number in sorted(answers)],
        )

    def counts(self, asked: NDArray[np.bool_], states: NDArray[np.uint8]) -> dict[RowKind, RowCount]:
        """Return the rows of each kind among those that are asked."""
        import numpy as np

        counts = dict.fromkeys(KINDS, RowCount())
        for path in filter(Path.exists, self._paths):
            records = np.fromfile(path, np.int64).reshape(-1, self._columns)
            rows = records[records[:, _NUMBER] >= 0]
            rows = rows[asked[rows[:, _NUMBER]]]
            part = states[rows[:, _NUMBER]]
            for number, kind in enumerate(KINDS):
                counts[kind] += _count(rows[part == number])
        return {kind: count for kind, count in counts.items() if count.rows}

    def _states(self, rows: Integers, before: Integers) -> tuple[NDArray[np.uint8], Integers]:
        """Return what each row is, and the number of the question that it answers in the target."""
        import numpy as np

        numbers = before[:, _NUMBER]
        landed = before[numbers == _BEFORE[Place.TARGET]]
        tried = before[np.isin(numbers, (_BEFORE[Place.FAILED], _BEFORE[Place.TRIED]))]
        states = np.full(len(rows), KINDS.index(RowKind.NEW), np.uint8)
        states[_found(tried[:, _KEY], rows[:, _KEY]) >= 0] = KINDS.index(RowKind.FAILED_BEFORE)
        place = _found(landed[:, _KEY], rows[:, _KEY])
        has = place >= 0
        answered = np.full(len(rows), _UNKNOWN, np.int64)
        answered[has] = landed[place[has], _QUESTION]
        states[has] = KINDS.index(RowKind.CHANGED)
        states[has & (answered >= 0)] = KINDS.index(RowKind.CHANGED_DATA)
        for number in range(1, len(self._questions)):
            first = _COLUMNS + 2 * (number - 1)
            of_question = has & (answered == number)
            same = (rows[of_question, first : first + 2] == landed[place[of_question]][:, _MARK]).all(axis=1)
            states[np.flatnonzero(of_question)[same]] = KINDS.index(RowKind.CHANGED_QUESTION)
        for state, places in ((FAILED, (Place.FAILED,)), (DONE, (Place.TARGET, Place.ASKED))):
            marks = before[np.isin(numbers, [_BEFORE[place] for place in places])][:, _MARK]
            states[_found(marks, rows[:, _MARK]) >= 0] = state
        states[_first_equal(rows[:, _KEY]) != np.arange(len(rows))] = REPEATED
        return states, answered

    def _add(self, records: Integers, numbers: range | Sequence[int]) -> None:
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
    keys: Sequence[str],
    fingerprints: Sequence[Sequence[str]],
    characters: _Counts = 0,
    media: _Counts = 0,
    *,
    columns: int | None = None,
) -> Integers:
    """Return what an index keeps of rows, but for their numbers.

    :param fingerprints: of all rows under the question that is asked now, then under each other one, none under one
        that no row answers; none at all when nothing is compared.
    :param characters: in the texts of each request.
    :param media: files that each refers to.
    :param columns: of the index; by default as many as the fingerprints take.
    """
    import numpy as np

    others = list(fingerprints[1:])
    records = np.zeros((len(keys), columns or _COLUMNS + 2 * len(others)), np.int64)
    records[:, _KEY] = _hashes(keys)
    for first, marks in zip((_MARK.start, *range(_COLUMNS, records.shape[1], 2)), fingerprints, strict=False):
        if marks:
            records[:, first : first + 2] = _hashes(list(map(str.__add__, marks, keys)))
    records[:, _CHARACTERS] = characters
    records[:, _MEDIA] = media
    return records


def _count(rows: Integers) -> RowCount:
    return RowCount(len(rows), int(rows[:, _CHARACTERS].sum()), int(rows[:, _MEDIA].sum()))


def _hashes(texts: Sequence[str]) -> Integers:
    """Return two numbers for each text, which for two texts are the same only if the texts are."""
    import numpy as np

    # Python's own hash is a SipHash of 64 bits, good within one process and many times as fast as a digest.
    hashes = np.empty((len(texts), 2), np.int64)
    hashes[:, 0] = np.fromiter(map(hash, texts), np.int64, len(texts))
    hashes[:, 1] = np.fromiter(map(hash, map("\0".__add__, texts)), np.int64, len(texts))
    return hashes


def _found(pairs: Integers, wanted: Integers) -> NDArray[np.intp]:
    """Return for each wanted pair of numbers where it stands among others; -1 for one that does not."""
    import numpy as np

    if not len(pairs):
        return np.full(len(wanted), -1)
    places = _first_equal(np.concatenate([pairs, wanted]))[len(pairs) :]
    return np.where(places < len(pairs), places, -1)


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
