"""Copies of a target as it was before the first answers to a question, from which a rollback brings rows back."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from airflow_gemini_batch.core.columns import SHORT_QUESTION, previous_target_of
from airflow_gemini_batch.exceptions import InvalidRequestError
from airflow_gemini_batch.jobs.manifest import Manifest

KEPT_ROLLED_BACK = timedelta(days=30)
"""How long the copy is kept that a rollback makes of a table."""

_QUESTION = re.compile(rf"[0-9a-f]{{{SHORT_QUESTION},}}")


@dataclass(frozen=True, slots=True)
class Copy:
    """A copy of a target.

    :param address: table, object or path.
    :param question: the first digits of the question before whose answers it was made, or were taken back.
    :param made: when.
    :param rollback: whether it was made before these answers were taken back.
    """

    address: str
    question: str
    made: datetime
    rollback: bool = False

    @classmethod
    def of(cls, target: str, address: str, made: datetime) -> Copy | None:
        """Return what an address tells of a copy; ``None`` for other tables and files."""
        for rollback in (False, True):
            beside = previous_target_of(target, "", rollback=rollback)
            ending = "" if target.startswith("bq://") else beside[beside.rindex(".") :]
            start = beside[: len(beside) - len(ending)]
            if not address.startswith(start) or not address.endswith(ending):
                continue
            question = address[len(start) : len(address) - len(ending)]
            if len(question) == SHORT_QUESTION and _QUESTION.fullmatch(question):
                return cls(address, question, made, rollback)
        return None


def questions_of(manifests: Iterable[Manifest]) -> list[str]:
    """Return the questions that jobs have answered, as far as they are known."""
    return list(dict.fromkeys(manifest.question for manifest in manifests if manifest.question))


def picked(copies: Sequence[Copy], target: str, question: str | None, *, rollback: bool) -> Copy:
    """Return the copy that rows are brought back from.

    :param question: its id, or the first 8 digits or more; ``None`` for that of the newest copy.
    :param rollback: whether a copy is wanted that was made before a rollback.

    Raises :class:`~airflow_gemini_batch.exceptions.InvalidRequestError` that lists the copies when it is not there.
    """
    if question is not None and not _QUESTION.fullmatch(question):
        raise InvalidRequestError(
            f"question: expected the id of a question, {SHORT_QUESTION} digits (0-9, a-f) or more, got "
            f"{question!r:.100}"
        )
    kind = [copy for copy in copies if copy.rollback is rollback]
    found = [copy for copy in kind if question is None or copy.question == question[:SHORT_QUESTION]]
    if found:
        return max(found, key=lambda copy: copy.made)
    what = "before a rollback" if rollback else "before the answers"
    wanted = f" {what} of the question {question}" if question else f" {what} of any question"
    there = "\n".join(
        f"{copy.address}: before {'a rollback of ' if copy.rollback else ''}the question {copy.question}, made "
        f"{copy.made:%Y-%m-%d %H:%M} UTC"
        for copy in sorted(copies, key=lambda copy: copy.made, reverse=True)
    )
    raise InvalidRequestError(
        f"{target} has no copy{wanted}, so nothing can be brought back. Nothing was changed.\n"
        + (
            f"There are these copies:\n{there}"
            if there
            else "There is no other copy either: a landing makes one when keep_previous is set, and it expires after "
            "that time"
        )
    )
