"""What a build makes (BuildPlan), which rows it leaves out (BadRows), and what it reports (BuildReport)."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import reduce
from typing import Any, Literal, Self

from airflow_gemini_batch.core.columns import (
    BOOKKEEPING,
    FAILED_COLUMNS,
    FINGERPRINT_COLUMN,
    SHARD_COLUMN,
    STAGED_OUTCOME,
    STAGED_VECTOR,
    failed_target_of,
)
from airflow_gemini_batch.core.fingerprints import model_key
from airflow_gemini_batch.core.model_families import LARGEST_FILE, ModelFamily
from airflow_gemini_batch.core.shown import listed, shown
from airflow_gemini_batch.exceptions import InvalidRequestError
from airflow_gemini_batch.requests.questions import Question
from airflow_gemini_batch.requests.row_kinds import (
    CHANGED_QUESTION_KINDS,
    KindCounts,
    RowCount,
    RowKind,
    RowOrder,
    Sample,
    changed_rows,
)
from airflow_gemini_batch.requests.templates import BadRow, RequestTemplate

# Vertex AI adds or reads these itself.
RESERVED_COLUMNS = frozenset(
    {
        "request",
        "response",
        "status",
        "processed_time",
        "content",
        "predictions",
        FINGERPRINT_COLUMN,
        SHARD_COLUMN,
    }
)
# These stand beside the key where answers land; to find out there is too late, since the answers are paid for by then.
_LANDED_COLUMNS = frozenset({*BOOKKEEPING, *FAILED_COLUMNS, *STAGED_OUTCOME, *STAGED_VECTOR})
MOST_JOBS = 1000
"""Most jobs of one build; Airflow maps a task 1,024 times at most by default (``[core] max_map_length``)."""
SHOWN_KEYS = 5
"""How many offending keys a message names."""
_SHOWN_CHARACTERS = 100


@dataclass(frozen=True, slots=True)
class BadRows:
    """Rows that are bad for one reason.

    :param keys: some of their keys, at most :data:`SHOWN_KEYS`, or the numbers of rows without one.
    """

    count: int = 0
    keys: tuple[str, ...] = ()

    def plus(self, count: int, keys: Iterable[str]) -> BadRows:
        """Return these rows and more.

        :param keys: keys or numbers of the new rows, as many as are at hand.
        """
        # Long keys would hide the others.
        texts = (shown(key[:_SHOWN_CHARACTERS]) for key in keys)
        named = tuple(dict.fromkeys((*self.keys, *texts)))
        return BadRows(self.count + count, named[:SHOWN_KEYS])


QuestionChange = Literal["all", "new_rows", "canary", "fail"]


@dataclass(frozen=True, slots=True)
class BuildPlan:
    """What to build.

    :param model: plain or resource name; part of the fingerprints.
    :param key: columns that identify a row.
    :param model_parameters: of the job, as far as they change the answers; part of the fingerprints.
    :param drop_bad_rows: leave rows out that can't become requests, and count them; otherwise they are an error.
    :param target: the enriched table, or file, that the answers land in.
    :param incremental: whether rows that are in the target with the same fingerprint are left out.
    :param failed_target: where the failures land; ``None`` for ``<target>__failed``.
    :param ask_failed_again: in how many more runs a request is asked that has failed for good; ``None`` for all.
    :param shard_rows: most requests a job takes.
    :param shard_bytes: most bytes of one file.
    :param on_question_change: what to do with rows that have an answer to another question.
    :param earlier: questions that rows of the target may answer, by their ids; those that are missing are not known.
    :param limit: says how many of the rows with a changed question are asked in this run; ``None`` for all.
    :param order: which of them first.
    :param sample: ask these rows only.
    :param writes: whether requests are written; otherwise the build says what it would ask, and no more.
    """

    model: str
    family: ModelFamily
    key: tuple[str, ...]
    template: RequestTemplate
    model_parameters: Mapping[str, str] = field(default_factory=dict)
    drop_bad_rows: bool = False
    target: str | None = None
    incremental: bool = True
    failed_target: str | None = None
    ask_failed_again: int | None = 0
    shard_rows: int = 200_000
    shard_bytes: int = LARGEST_FILE
    on_question_change: QuestionChange = "all"
    earlier: Mapping[str, Question] = field(default_factory=dict)
    limit: Callable[[KindCounts], int | None] | None = None
    order: RowOrder = field(default_factory=RowOrder)
    sample: Sample | None = None
    writes: bool = True

    @property
    def canary_targets(self) -> list[str]:
        """Where the answers of a canary are."""
        return [self.sample.target] if self.sample and self.sample.target else []

    @property
    def other_questions(self) -> dict[str, Question]:
        """Those of ``earlier`` that are not what this build asks, and whose columns may be there."""
        current = self.question.id
        return {name: question for name, question in self.earlier.items() if name != current}

    @property
    def read_columns(self) -> tuple[str, ...]:
        """The columns that are read of the rows, as far as they are there."""
        others = [name for question in self.other_questions.values() for name in question.template.columns]
        return tuple(dict.fromkeys((*self.key, *self.template.columns, *self.order.columns, *others)))

    @property
    def asked_kinds(self) -> tuple[RowKind, ...]:
        """The kinds of rows that are asked, as far as :attr:`limit` allows."""
        if self.sample:
            return CHANGED_QUESTION_KINDS
        kept = CHANGED_QUESTION_KINDS if self.on_question_change == "new_rows" else ()
        return tuple(kind for kind in RowKind if kind not in kept)

    def changes(self, answers: Iterable[str]) -> dict[str, list[str]]:
        """Return the names of what has changed since earlier questions, by their ids.

        :param answers: ids of the other questions that rows answer.
        """
        return {name: self.question.changes_from(self.earlier[name]) for name in sorted({*answers})}

    def most_changed(self, kinds: KindCounts, answers: Iterable[str]) -> int | None:
        """Return how many rows with a changed question are asked; ``None`` for all.

        :param answers: ids of the other questions that rows answer.

        Raises :class:`~airflow_gemini_batch.exceptions.InvalidRequestError` where a changed question is not wanted.
        """
        changed = {kind: kinds[kind].rows for kind in CHANGED_QUESTION_KINDS if kind in kinds}
        if self.on_question_change == "fail" and any(changed.values()):
            names = ", ".join(names_of_changes(self.changes(answers)))
            raise InvalidRequestError(
                f"{sum(changed.values()):,} rows of {self.target} answer another question than this one (changed: "
                f"{names or 'not known, as data or as prompt, model, schema or configuration'}), and "
                "on_question_change='fail' does not ask them again. Take the change back, or choose 'all', "
                "'new_rows' or 'canary'. Nothing was written."
            )
        return self.limit(kinds) if self.limit else None

    def check_vectors(self, report: BuildReport) -> None:
        """Raise :class:`~airflow_gemini_batch.exceptions.InvalidRequestError` for vectors that can't be compared.

        Vectors of two models in one column are not comparable, so either all rows get new ones, or none.
        """
        kept = any(
            report.every[kind].rows > report.kinds.get(kind, RowCount()).rows
            for kind in CHANGED_QUESTION_KINDS
            if kind in report.every
        )
        others = any("model" in changes for changes in report.changes.values())
        if not self.family.embeds or self.sample or not kept or not report.requests:
            return
        if others or RowKind.CHANGED in report.every:
            what = "are of another model" if others else "may be of another model"
            raise InvalidRequestError(
                f"the vectors that rows of {self.target} would keep {what}, and vectors of two models in one column "
                "can't be compared. Ask all rows in one run (on_question_change='all', without max_rows_per_run and "
                "max_cost_usd_per_run), or name another target for the new model. Nothing was submitted."
            )

    @property
    def done_target(self) -> str | None:
        """Where the rows are that need no new request; ``None`` if each row becomes one."""
        return self.target if self.incremental else None

    @property
    def failures(self) -> str | None:
        """Where failures land; ``None`` without a target."""
        return (self.failed_target or failed_target_of(self.target)) if self.target else None

    @property
    def kept_failures(self) -> str | None:
        """Where rows are listed whose requests have failed; ``None`` if that does not matter."""
        return self.failures if self.incremental else None

    @property
    def model_key(self) -> str:
        """What stands for the model in fingerprints."""
        return model_key(self.model, self.model_parameters)

    @property
    def question(self) -> Question:
        """What each row is asked."""
        return Question(self.model_key, self.template)

    def check_columns(self, present: Collection[str], *, where: str) -> None:
        """Raise :class:`~airflow_gemini_batch.exceptions.InvalidRequestError` unless the rows have what is read.

        :param present: names of the rows' columns; a mapping finds them in its own way.
        :param where: the source, for the message.
        """
        there = present if isinstance(present, Mapping) else frozenset(present)
        errors = [
            f"{use} names the column {column!r}, which {where} does not have"
            for use, columns in (
                ("key", self.key),
                ("the prompt or media", self.template.columns),
                ("the order or the canary's stratify_by", self.order.columns),
            )
            for column in columns
            if column not in there
        ]
        reserved = RESERVED_COLUMNS.union(_LANDED_COLUMNS, self.family.read_columns)
        errors += [
            f"the key column {column!r} has a name that Vertex AI or this package uses itself: rename it, in a query "
            f"with SELECT `{column}` AS another_name"
            for column in self.key
            if column.lower() in reserved
        ]
        if errors:
            raise InvalidRequestError("\n".join([*errors, f"The columns are: {listed(present) or 'none'}"]))

    def check_jobs(self, requests: int, jobs: int) -> None:
        """Raise :class:`~airflow_gemini_batch.exceptions.InvalidRequestError` for more jobs than :data:`MOST_JOBS`."""
        if jobs > MOST_JOBS:
            raise InvalidRequestError(
                f"shard_rows={self.shard_rows} would divide {requests:,} requests among {jobs:,} jobs, and a build "
                f"makes {MOST_JOBS:,} at most. Set shard_rows to {2 * requests // MOST_JOBS:,} or more, or leave it "
                "out. Nothing was written."
            )

    def check_rows(self, bad: Mapping[BadRow, BadRows]) -> None:
        """Raise :class:`~airflow_gemini_batch.exceptions.InvalidRequestError` for bad rows, unless they are dropped."""
        if self.drop_bad_rows or not any(rows.count for rows in bad.values()):
            return
        lines = [
            f"{rows.count} row{'s' if rows.count > 1 else ''}: {reason}"
            + (f" ({', '.join(rows.keys)})" if rows.keys else "")
            for reason, rows in bad.items()
            if rows.count
        ]
        raise InvalidRequestError(
            "Not every row can become a request:\n"
            + "\n".join(lines)
            + "\nFix them, leave them out in a query, or set on_bad_rows='drop' to leave them out and count them. "
            "Nothing was submitted."
        )


@dataclass(frozen=True, slots=True)
class BuildReport:
    """Row counts of a build, and where its requests are.

    :param sources: where the requests of each job are: a file, a table, or several files; empty when no
        row is new.
    :param rows: rows read.
    :param requests: requests written.
    :param done: rows left out because they are done already.
    :param failed_before: rows left out because the same request has failed for good before.
    :param bad: rows left out because they can't become requests.
    :param prompt_characters: of all requests: their rendered texts, without what all of them share.
    :param media: number of files in all requests.
    :param kinds: the rows that this build asks by why they are asked.
    :param kept: rows that could be asked and are not in this run, since the user has chosen so.
    :param every: all rows that could be asked, by kind.
    :param changes: names of what has changed since each earlier question that rows answer, by its id.
    """

    sources: Sequence[str | Sequence[str]]
    rows: int
    requests: int
    done: int = 0
    failed_before: int = 0
    bad: Mapping[BadRow, BadRows] = field(default_factory=dict)
    prompt_characters: int = 0
    media: int = 0
    kinds: KindCounts = field(default_factory=dict)
    kept: RowCount = field(default_factory=RowCount)
    every: KindCounts = field(default_factory=dict)
    changes: Mapping[str, Sequence[str]] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        plan: BuildPlan,
        kinds: KindCounts,
        every: KindCounts,
        *,
        done: int,
        failed_before: int,
        bad: Mapping[BadRow, BadRows],
        answers: Iterable[str],
    ) -> Self:
        """Return the report of rows that are counted, without sources.

        :param kinds: the rows that are asked.
        :param every: all rows that could be asked.
        :param answers: ids of the other questions that rows answer.
        """
        asked, all_rows = (reduce(RowCount.__add__, one.values(), RowCount()) for one in (kinds, every))
        kept = RowCount(
            all_rows.rows - asked.rows, all_rows.characters - asked.characters, all_rows.media - asked.media
        )
        return cls(
            sources=(),
            rows=all_rows.rows + done + failed_before + sum(rows.count for rows in bad.values()),
            requests=asked.rows,
            done=done,
            failed_before=failed_before,
            bad=bad,
            prompt_characters=asked.characters,
            media=asked.media,
            kinds={kind: count for kind, count in kinds.items() if count.rows},
            kept=kept,
            every=every,
            changes=plan.changes(answers),
        )

    @property
    def asked(self) -> RowCount:
        """The rows that are asked."""
        return RowCount(self.requests, self.prompt_characters, self.media)

    @property
    def changed(self) -> int:
        """All rows with a changed question, asked or not."""
        return changed_rows(self.every)

    @property
    def dropped(self) -> int:
        """Number of rows left out because they can't become requests."""
        return sum(rows.count for rows in self.bad.values())

    def to_json(self) -> dict[str, Any]:
        """Return the report as JSON types."""
        return {
            "sources": list(self.sources),
            "rows": self.rows,
            "requests": self.requests,
            "done": self.done,
            "failed_before": self.failed_before,
            "dropped": {reason.name.lower(): rows.count for reason, rows in self.bad.items() if rows.count},
            "kinds": {kind.name.lower(): count.rows for kind, count in self.kinds.items()},
            "kept": self.kept.rows,
            "changes": {name: list(changes) for name, changes in self.changes.items()},
        }

    def __str__(self) -> str:
        parts = [f"{self.rows} rows: {self.requests} to ask"]
        if self.kinds.keys() - {RowKind.NEW}:
            parts[0] += f" ({', '.join(f'{count.rows} {kind}' for kind, count in self.kinds.items())})"
        if self.kept.rows:
            parts.append(f"{self.kept.rows} not asked in this run, most with an answer to another question")
        if self.done:
            parts.append(f"{self.done} done already")
        if self.failed_before:
            parts.append(f"{self.failed_before} left out (the same request failed for good before)")
        parts += [f"{rows.count} left out ({reason})" for reason, rows in self.bad.items() if rows.count]
        return ", ".join(parts)


def names_of_changes(changes: Mapping[str, Sequence[str]]) -> list[str]:
    """Return what has changed since any of some questions.

    :param changes: the names by the id of each question.
    """
    return list(dict.fromkeys(name for names in changes.values() for name in names))


def failed_again(given: int | str) -> int | None:
    """Return in how many more runs a request is asked that has failed for good: a number, ``None`` for "always".

    Raises :class:`ValueError` for anything else.
    """
    if given == "always":
        return None
    try:
        if isinstance(given, (int, str)) and not isinstance(given, bool) and (times := int(given)) >= 0:
            return times
    except ValueError:
        pass
    raise ValueError(f"ask_failed_again has to be 0, a number of runs or 'always', got {given!r:.100}")
