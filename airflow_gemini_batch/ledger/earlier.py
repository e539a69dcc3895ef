"""What a build asks a ledger about the earlier runs of its target."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from functools import cached_property

from airflow_gemini_batch.core.log import Log
from airflow_gemini_batch.exceptions import LedgerError
from airflow_gemini_batch.ledger.record import RunRecord
from airflow_gemini_batch.ledger.store import Ledger
from airflow_gemini_batch.requests.questions import Question

MOST_QUESTIONS = 8
"""Questions whose answers a build can compare with what it asks."""


class EarlierRuns:
    """The runs of a ledger, which is read once, when something is first asked.

    :param target: of the build. The ledger may be that of several targets.
    """

    def __init__(self, ledger: Ledger, target: str) -> None:
        self.ledger = ledger
        self._target = target

    @cached_property
    def _records(self) -> list[RunRecord]:
        return self.ledger.records()

    def has_passed(self, question: str) -> bool:
        """Return whether the canary of a question has passed; raises :class:`.LedgerError` when that is not known."""
        return any(
            (record.question, record.target) == (question, self._target)
            and bool((record.verdict or {}).get("passed"))
            for record in self._records
        )

    def questions(self) -> dict[str, Question]:
        """Return by id the questions that rows may answer: the :data:`MOST_QUESTIONS` that were asked last.

        For each of them a build computes a fingerprint of each row. A definition that this release can't read is left
        out, so what its rows answer is not known.

        Raises :class:`.LedgerError` when the ledger can't be read.
        """
        found: dict[str, Question] = {}
        for record in self._records:
            if record.target == self._target and record.definition is not None:
                found.pop(record.question, None)
                with suppress(ValueError):
                    found[record.question] = Question.from_json(record.definition)
        return dict(list(found.items())[-MOST_QUESTIONS:])

    def landed_jobs(self, log: Log) -> Iterator[str]:
        """Yield the names of all jobs whose answers have landed. A ledger that can't be read is a warning."""
        try:
            records = self._records
        except LedgerError as error:
            log.warning(
                "Rows may count as asked at this moment although their answers have landed: %s", error
            )
            return
        for record in records:
            for one in record.spent.values():
                yield from one.jobs
