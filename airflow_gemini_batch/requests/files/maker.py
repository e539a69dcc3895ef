"""Some rows → lines of requests, by column: what is made of rows does not depend on those before them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from airflow_gemini_batch.core.fingerprints import fingerprints_of
from airflow_gemini_batch.core.keys import key_text
from airflow_gemini_batch.core.values import is_null
from airflow_gemini_batch.requests.columns import escaped, joined, key_texts, rows_of, texts_of
from airflow_gemini_batch.requests.files.row_index import records_of
from airflow_gemini_batch.requests.forms import FORMS
from airflow_gemini_batch.requests.questions import Question
from airflow_gemini_batch.requests.spec import BuildPlan
from airflow_gemini_batch.requests.templates import BadRow

if TYPE_CHECKING:
    import pyarrow as pa

    from airflow_gemini_batch.requests.columns import Batch
    from airflow_gemini_batch.requests.files.row_index import Integers

_MADE_BYTES = 8 * 2**20


class MadeLines(NamedTuple):
    """What was made of some rows.

    :param rows: good and bad ones.
    :param lines: of the good ones, each with its line end.
    :param records: of the good ones, for the index.
    :param order: of the good ones, keys, values and strata for :meth:`.ChangedRows.add`; ``None`` if not needed.
    :param bad: of the bad ones, why, and the key, or where the row stands among all.
    """

    rows: int
    lines: pa.Array
    records: Integers
    order: tuple[Sequence[str], pa.Array, pa.Array] | None
    bad: Sequence[tuple[BadRow, str | int]]


class LineMaker:
    """Makes the lines of a plan.

    :param compare: whether fingerprints are needed.
    :param others: questions of the index under which they are needed besides; ``None`` for one that no row answers.
    """

    def __init__(self, plan: BuildPlan, *, compare: bool, others: Sequence[Question | None] = ()) -> None:
        self._plan = plan
        self._compare = compare
        self._others = others
        self._needed = [(number, question) for number, question in enumerate(others) if question]
        fixed = sum(len(part) for part in plan.template.parts if isinstance(part, str))
        self._most_rows = _MADE_BYTES // (fixed + 1) + 1

    def make(self, batch: Batch) -> Iterator[MadeLines]:
        """Yield the lines, mostly of all rows at once; of a long template those of a few."""
        columns = self._plan.read_columns
        not_texts: dict[int, str | None] = {}
        try:
            texts = texts_of(batch, columns)
        except UnicodeEncodeError:
            rows = list(rows_of(batch))
            not_texts = self._not_texts(rows, columns)
            texts = texts_of([{} if number in not_texts else row for number, row in enumerate(rows)], columns)
        for start in range(0, len(batch), self._most_rows):
            yield self._made(texts.slice(start, self._most_rows), not_texts, start)

    def _made(self, rows: pa.RecordBatch, not_texts: Mapping[int, str | None], start: int) -> MadeLines:
        import pyarrow as pa
        import pyarrow.compute as pc

        keys = key_texts(rows, self._plan.key)
        filled = self._plan.template.fill_batch(rows)
        line = FORMS[self._plan.family].line
        columns = {
            "key": keys,
            "line": joined(line.parts(escaped(keys), filled.parts), len(rows)),
            "characters": filled.characters,
            "media": filled.media,
        }
        if self._compare:
            columns["request"] = joined(filled.parts, len(rows)).cast(pa.binary())
            for number, question in self._needed:
                parts = question.template.fill_batch(rows).parts
                columns[f"request_{number}"] = joined(parts, len(rows)).fill_null("").cast(pa.binary())
        nothing = pa.nulls(len(rows), pa.string())
        if self._plan.limit:
            order = self._plan.order
            columns["value"] = rows[order.column] if order.column else nothing
            columns["stratum"] = rows[order.strata] if order.strata else nothing
        good = pa.record_batch(columns)
        bad: list[tuple[BadRow, str | int]] = []
        if good["line"].null_count:
            for row in pc.indices_nonzero(good["line"].is_null()).to_pylist():
                if (key := keys[row].as_py()) is not None:
                    bad.append((BadRow.EMPTY_PROMPT if filled.blank[row].as_py() else BadRow.BAD_MEDIA, key))
                elif (key := not_texts.get(start + row)) is not None:
                    bad.append((BadRow.NOT_TEXT, key))
                else:
                    bad.append((BadRow.NULL_KEY, row))
            good = good.filter(good["line"].is_valid())
        fingerprints: list[list[str]] = []
        if self._compare:
            fingerprints = [fingerprints_of(self._plan.model_key, good["request"].to_pylist())]
            fingerprints += [[] for _ in self._others]
            for number, question in self._needed:
                requests = good[f"request_{number}"].to_pylist()
                fingerprints[number + 1] = fingerprints_of(question.model, requests)
        keys = good["key"].to_pylist()
        records = records_of(keys, fingerprints, good["characters"], good["media"])
        ordered = (keys, good["value"], good["stratum"]) if self._plan.limit else None
        return MadeLines(len(rows), good["line"], records, ordered, bad)

    def _not_texts(self, rows: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> dict[int, str | None]:
        """Return where rows with a lone surrogate stand, and the key of each."""
        found = {}
        for number, row in enumerate(rows):
            try:
                texts_of([row], columns)
            except UnicodeEncodeError:
                key = [row.get(column) for column in self._plan.key]
                found[number] = None if any(map(is_null, key)) else key_text(key)
        return found
