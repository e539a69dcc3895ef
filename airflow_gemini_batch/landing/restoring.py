"""What a rollback is asked to do, what it changes, and what it refuses; for tables and files alike."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

from airflow_gemini_batch.core.columns import QUESTION_COLUMN, previous_target_of
from airflow_gemini_batch.core.shown import listed
from airflow_gemini_batch.core.summary import Summary
from airflow_gemini_batch.exceptions import InvalidRequestError
from airflow_gemini_batch.landing.previous import Copy

NewRows = Literal["keep", "remove"]


@dataclass(frozen=True, slots=True)
class Wish:
    """What is to be brought back.

    :param key: columns that identify the rows.
    :param new_rows: ``keep`` or ``remove`` the rows that answer the question and are not in the copy.
    :param undo: bring back what a rollback has replaced or removed.
    :param dry_run: count the rows, and change nothing.
    """

    target: str
    key: tuple[str, ...]
    new_rows: NewRows = "keep"
    undo: bool = False
    dry_run: bool = False

    def __post_init__(self) -> None:
        """Raise :class:`~airflow_gemini_batch.exceptions.InvalidRequestError` for values that can't be."""
        if self.new_rows not in ("keep", "remove"):
            raise InvalidRequestError(f'new_rows: expected "keep" or "remove", got {self.new_rows!r}')
        if self.undo and self.new_rows == "remove":
            raise InvalidRequestError(
                'new_rows="remove" is for a rollback, and undo takes one back: give one of them'
            )
        if not self.key:
            raise InvalidRequestError("key: expected a column name, or several, got none")

    @property
    def removes(self) -> bool:
        """Whether rows that are not in the copy go."""
        return self.new_rows == "remove"

    def change(self, copy: Copy, *, back: int, new: int, emptied: Sequence[str]) -> Change:
        """Describe what changes.

        :param back: rows of the target that come back.
        :param new: rows that answer the question and are not in the copy; with ``undo`` those in the copy only.
        """
        change = Change(
            target=self.target,
            copy=copy.address,
            question=copy.question,
            made=copy.made.isoformat(),
            restored=back,
            added=new if self.undo else 0,
            removed=new if self.removes else 0,
            kept=0 if self.undo or self.removes else new,
            emptied=tuple(emptied),
            saved="",
            undo=self.undo,
            dry_run=self.dry_run,
        )
        if self.undo or not change.changes:
            return change
        saved = previous_target_of(self.target, copy.question, rollback=True)
        return replace(change, saved=saved)


@dataclass(frozen=True, slots=True)
class Change:
    """What a rollback has changed, or would change.

    :param copy: where the rows come from.
    :param question: the first digits of the question whose answers are taken back, or with ``undo`` brought back.
    :param made: when the copy was made.
    :param restored: rows of the target that are as the copy has them.
    :param added: rows that were in the copy only.
    :param removed: rows that answered the question and were not in the copy.
    :param kept: such rows that stay.
    :param emptied: columns that the copy does not have: NULL in the rows that came back.
    :param saved: the copy of the target before the rollback; empty where there is none.
    """

    target: str
    copy: str
    question: str
    made: str
    restored: int
    added: int
    removed: int
    kept: int
    emptied: tuple[str, ...]
    saved: str
    undo: bool
    dry_run: bool

    @property
    def changes(self) -> int:
        """The number of rows that change."""
        return self.restored + self.added + self.removed

    def to_json(self) -> dict[str, Any]:
        """Return the change as JSON types."""
        return {**asdict(self), "emptied": list(self.emptied)}

    @property
    def summary(self) -> Summary:
        """The change as people read it."""
        verb = "would come" if self.dry_run else "came"
        places = {"Target": self.target, "From": self.copy}
        if self.saved:
            places["Before the rollback"] = self.saved
        return Summary(
            headline=f"{self.restored:,} rows {verb} back as they were on {self.made[:16].replace('T', ' ')} UTC.",
            rows={
                name: count
                for name, count in (
                    ("restored", self.restored),
                    ("added", self.added),
                    ("removed", self.removed),
                    ("kept as they are", self.kept),
                )
                if count
            },
            places=places,
            next_step=self._next_step,
        )

    @property
    def _next_step(self) -> str:
        if self.dry_run or not self.changes:
            return "Nothing was changed."
        if self.undo:
            return f"The rows answer the question {self.question} again."
        step = (
            "The next run asks these rows the question of its DAG: put the former prompt and model back first, or they "
            "are paid for again."
        )
        if self.emptied:
            step = f"Columns that came later are NULL in these rows: {listed(self.emptied)}. {step}"
        return step


def check_columns(
    wish: Wish, target: str, columns: Mapping[str, str], copy: str, copied: Mapping[str, str]
) -> None:
    """Raise :class:`~airflow_gemini_batch.exceptions.InvalidRequestError` unless rows can come back.

    :param columns: types of the target's columns by name, whatever names these types.
    :param copied: of the copy's.
    """
    has = {name.lower(): kind for name, kind in columns.items()}
    errors = [
        f"{where} has no column {name!r}, which the key names. The columns are: {listed(types)}"
        for name in wish.key
        for where, types in ((target, columns), (copy, copied))
        if name.lower() not in {column.lower() for column in types}
    ]
    if QUESTION_COLUMN not in has:
        errors.append(
            f"{target} has no column {QUESTION_COLUMN!r}: it was landed without bookkeeping, so nothing tells which of "
            "its rows answer the question"
        )
    errors += [
        f"the column {name!r} of {copy} is not in {target} any more: add it, or rows would come back without it"
        for name in copied
        if name.lower() not in has
    ]
    errors += [
        f"the column {name!r} is {has[name.lower()]} in {target} and {kind} in {copy}: change its type back"
        for name, kind in copied.items()
        if has.get(name.lower(), kind) != kind
    ]
    if errors:
        raise InvalidRequestError("\n".join(errors) + "\nNothing was changed.")


def no_key_twice(copy: str, key: Sequence[str], count: int) -> None:
    """Raise :class:`~airflow_gemini_batch.exceptions.InvalidRequestError` where a key does not say which row it is."""
    if count:
        raise InvalidRequestError(
            f"{copy} has several rows of the same key for {count:,} rows, so {', '.join(key)} does not say which one "
            "comes back. Name all columns of the key. Nothing was changed"
        )
