"""Old and new answers compared, field by field. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from statistics import fmean, median
from typing import Any, Self

from airflow_gemini_batch.canary.figures import NOTHING, Share, quantile
from airflow_gemini_batch.canary.report import (
    CanaryReport,
    Category,
    Difference,
    FieldReport,
    Numbers,
    RollOutCost,
    Vectors,
)
from airflow_gemini_batch.canary.rows import CanaryRows, RowsByKey
from airflow_gemini_batch.canary.values import comparable
from airflow_gemini_batch.core.response_schema import AnswerColumn
from airflow_gemini_batch.core.values import json_text, text_of

ALIKE = 0.99
"""Cosine from which on two vectors agree."""

MOST_CATEGORIES = 20
"""Different values at most of texts that are counted one by one."""

MOST_SHOWN = 10
"""Categories that are shown, of those that are counted."""

LONGEST_CATEGORY = 60
LONGEST_VALUE = 120
LONGEST_KEY = 60
MOST_DIFFERENCES = 5
_OF_ONE_FIELD = 2

Pair = tuple[str, Mapping[str, Any], Mapping[str, Any]]
"""A key, the old answer and the new one."""

Agrees = Callable[[Any, Any], bool]


def compare(
    rows: CanaryRows,
    columns: Sequence[AnswerColumn],
    *,
    question: str,
    vector: str | None = None,
    cost: RollOutCost | None = None,
    tokens: Mapping[str, float] | None = None,
) -> CanaryReport:
    """Compare the answers of a canary with the old ones, and with the right ones.

    Agreement is that of the rows that are not golden, since golden ones are chosen, and stand for no others. Where all
    are golden, it is theirs.

    :param columns: of the answers.
    :param question: id of the new question.
    :param vector: the column that holds vectors, if one does.
    :param cost: of the roll-out.
    :param tokens: mean number that a row has taken, by kind.
    """
    golden = rows.golden or {}
    every: list[Pair] = [
        (key, rows.old[key], new) for key, new in sorted(rows.new.items()) if key in rows.old
    ]
    pairs = [pair for pair in every if pair[0] not in golden]
    compared_golden = bool(every and not pairs)
    pairs = pairs or every
    compared = [_Compared.of(column, pairs, is_vector=column.name == vector) for column in columns]
    same = [all(row) for row in zip(*(one.agrees for one in compared), strict=True)]
    agrees = {column.name: partial(_agree, column, is_vector=column.name == vector) for column in columns}
    accuracies = (_accuracy([column], golden, rows.new, rows.failed, agrees) for column in columns)
    return CanaryReport(
        question=question,
        answered=len(rows.new),
        failed=dict(Counter(rows.failed.values()).most_common()),
        agreement=Share(sum(same), len(same)),
        compared_golden=compared_golden,
        fields=[
            replace(_field(one), golden=accuracy) for one, accuracy in zip(compared, accuracies, strict=True)
        ],
        cost=cost or RollOutCost(None, unknown="it was not counted"),
        golden_rows=None if rows.golden is None else len(golden),
        golden=_accuracy(columns, golden, rows.new, rows.failed, agrees) or NOTHING,
        golden_before=_accuracy(columns, golden, rows.old, {}, agrees) or NOTHING,
        tokens=tokens or {},
        differences=list(_differences(pairs, compared)),
    )


def _agree(column: AnswerColumn, old: Any, new: Any, *, is_vector: bool) -> bool:
    if is_vector:
        return (cosine(old, new) or 0.0) >= ALIKE
    return bool(comparable(old, column) == comparable(new, column))


@dataclass(frozen=True, slots=True)
class _Compared:
    """The old and new values of a column, in comparable form, and which of them agree.

    :param cosines: of vectors; ``None`` for other columns.
    """

    column: AnswerColumn
    values: Sequence[tuple[Any, Any]]
    agrees: Sequence[bool]
    cosines: Sequence[float | None] | None = None

    @classmethod
    def of(cls, column: AnswerColumn, pairs: Sequence[Pair], *, is_vector: bool) -> Self:
        values = [(old.get(column.name), new.get(column.name)) for _key, old, new in pairs]
        if is_vector:
            cosines = [cosine(old, new) for old, new in values]
            return cls(column, values, [(one or 0.0) >= ALIKE for one in cosines], cosines)
        values = [(comparable(old, column), comparable(new, column)) for old, new in values]
        return cls(column, values, [old == new for old, new in values])


def _accuracy(
    columns: Sequence[AnswerColumn],
    golden: RowsByKey,
    answers: RowsByKey,
    failed: Mapping[str, str],
    agrees: Mapping[str, Agrees],
) -> Share | None:
    """Return how many golden rows are right in those of the columns that they have; ``None`` if they have none.

    A row that has failed is wrong; one that was not asked is not counted.
    """
    present = {name for row in golden.values() for name in row}
    names = [column.name for column in columns if column.name in present]
    if not names:
        return None
    asked = [key for key in golden if key in answers or key in failed]
    right = sum(
        key in answers and all(agrees[name](golden[key].get(name), answers[key].get(name)) for name in names)
        for key in asked
    )
    return Share(right, len(asked))


def _field(compared: _Compared) -> FieldReport:
    column, values, total = compared.column, compared.values, len(compared.values)
    kind = f"ARRAY<{column.type}>" if column.repeated else column.type
    empty_old, empty_new = (Share(sum(map(_is_empty, side)), total) for side in _sides(values))
    report = FieldReport(column.name, kind, Share(sum(compared.agrees), total), empty_old, empty_new)
    if compared.cosines is not None:
        return replace(report, vectors=_vectors(compared.cosines))
    if column.type in ("STRING", "BOOL"):
        categories, shift = _categories(values)
        report = replace(report, categories=categories, shift=shift)
    if column.type == "STRING" and not column.repeated and not report.categories:
        return replace(report, lengths=_lengths(values))
    if column.type in ("INT64", "FLOAT64") and not column.repeated:
        return replace(report, numbers=_numbers(values))
    return report


def _is_empty(value: Any) -> bool:
    return value is None or (not isinstance(value, (str, int, float)) and len(value) == 0)


def _sides(pairs: Sequence[tuple[Any, Any]]) -> tuple[list[Any], list[Any]]:
    return [old for old, _new in pairs], [new for _old, new in pairs]


def _categories(values: Sequence[tuple[Any, Any]]) -> tuple[list[Category], float | None]:
    """Return how often each value is there, and how far the counts have shifted; nothing for texts of their own.

    Each item of a list counts.
    """
    counts = []
    for side in _sides(values):
        items = [one for value in side for one in (value if isinstance(value, tuple) else [value])]
        counts.append(Counter(_shortened(text_of(one), LONGEST_CATEGORY) for one in items if one is not None))
    old, new = counts
    distinct, total = len(old | new), max(old.total(), new.total())
    # A text that most rows have to themselves is not a category.
    if not distinct or distinct > MOST_CATEGORIES or distinct * 2 > total + 2:
        return [], None
    shift = None
    if old and new:
        shift = sum(abs(old[name] / old.total() - new[name] / new.total()) for name in old | new) / 2
    names = sorted(old | new, key=lambda name: (-max(old[name], new[name]), name))
    return [Category(name, old[name], new[name]) for name in names[:MOST_SHOWN]], shift


def _numbers(values: Sequence[tuple[Any, Any]]) -> Numbers | None:
    gaps = [abs(old - new) for old, new in values if _is_number(old) and _is_number(new)]
    if not gaps:
        return None
    return Numbers(float(fmean(gaps)), float(median(gaps)), float(quantile(gaps, 0.95)), float(max(gaps)))


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and abs(value) != float("inf")


def _lengths(values: Sequence[tuple[Any, Any]]) -> tuple[float, float] | None:
    old, new = ([len(one) for one in side if one is not None] for side in _sides(values))
    return (fmean(old), fmean(new)) if old and new else None


def _vectors(cosines: Sequence[float | None]) -> Vectors:
    known = [one for one in cosines if one is not None]
    if not known:
        return Vectors(None, None, len(cosines))
    return Vectors(fmean(known), quantile(known, 0.05), len(cosines) - len(known))


def cosine(one: Any, other: Any) -> float | None:
    """Return the cosine of two vectors; ``None`` where one is missing or zero, or they have different lengths."""
    import numpy as np

    if one is None or other is None or isinstance(one, str) or isinstance(other, str):
        return None
    first, second = (np.asarray(vector, np.float64) for vector in (one, other))
    size = float(np.linalg.norm(first) * np.linalg.norm(second)) if first.shape == second.shape else 0.0
    return float(first @ second) / size if size else None


def _differences(pairs: Sequence[Pair], compared: Sequence[_Compared]) -> Iterator[Difference]:
    """Yield some rows that differ, a few of each field."""
    left = MOST_DIFFERENCES
    for one in compared:
        name = one.column.name
        places = (place for place, agrees in enumerate(one.agrees) if not agrees)
        for place in islice(places, min(left, _OF_ONE_FIELD)):
            left -= 1
            key, old, new = pairs[place]
            texts = _value_text(old.get(name)), _value_text(new.get(name))
            if one.cosines is not None:
                alike = one.cosines[place]
                texts = "", "no cosine" if alike is None else f"cosine {alike:.4f}"
            yield Difference(_shortened(key, LONGEST_KEY), name, *texts)


def _value_text(value: Any) -> str:
    text = json_text(list(value)) if isinstance(value, (list, tuple)) else text_of(value, "NULL")
    return _shortened(text, LONGEST_VALUE)


def _shortened(text: str, longest: int) -> str:
    return text if len(text) <= longest else f"{text[: longest - 1]}…"
