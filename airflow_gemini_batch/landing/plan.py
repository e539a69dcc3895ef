"""What a landing needs to know, the columns that it writes, and its report."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from airflow_gemini_batch.core.columns import (
    BOOKKEEPING,
    FAILED_COLUMNS,
    FINGERPRINT_COLUMN,
    NOT_OF_VECTORS,
    STAGED_OUTCOME,
    STAGED_VECTOR,
    TIMES_FAILED_COLUMN,
)
from airflow_gemini_batch.core.model_families import GENERATE_CONTENT, ModelFamily
from airflow_gemini_batch.core.outcomes import failed_for_good_sql
from airflow_gemini_batch.core.response_schema import AnswerColumn
from airflow_gemini_batch.exceptions import InvalidRequestError
from airflow_gemini_batch.outputs.classify import Outcome


@dataclass(frozen=True, slots=True)
class LandingPlan:
    """What to land.

    :param key: columns that identify the rows.
    :param columns: columns of the answers, of :func:`airflow_gemini_batch.core.response_schema.answer_columns`.
    :param schema: what answers have to fit, of :func:`.response_schema_of`; ``None``
        for plain text.
    :param bookkeeping: whether the columns of :data:`BOOKKEEPING` are landed as well.
    :param family: of the model. Of the embedding families ``columns`` are those of
        :func:`airflow_gemini_batch.outputs.embeddings.embedding_columns`, and there is no schema.
    :param dimensions: length of the vectors that was asked for; ``None`` takes the length that most of them have.
    :param model_parameters: of the jobs, as far as they are part of the fingerprints: see
        :class:`airflow_gemini_batch.requests.spec.BuildPlan`.
    :param keep_previous: how long a copy of the target is kept, which is made before the first answers to a question
        land; ``None`` makes none. See :mod:`airflow_gemini_batch.landing.rollback`.
    """

    key: tuple[str, ...]
    columns: tuple[AnswerColumn, ...]
    schema: Mapping[str, Any] | None = None
    bookkeeping: bool = True
    family: ModelFamily = GENERATE_CONTENT
    dimensions: int | None = None
    model_parameters: Mapping[str, str] = field(default_factory=dict)
    keep_previous: timedelta | None = None

    def __post_init__(self) -> None:
        """Raise :class:`~airflow_gemini_batch.exceptions.InvalidRequestError` for what can't be landed.

        Two columns would have one name, or the columns are left out that ``keep_previous`` needs.
        """
        if self.keep_previous is not None:
            _check_keep_previous(self.keep_previous, bookkeeping=self.bookkeeping)
        answers = [column.name for column in self.columns]
        for table, names in (
            ("the target", [*self.key, *answers, *BOOKKEEPING]),
            ("the table of failures", [*self.key, *FAILED_COLUMNS]),
            ("the staging table", [*self.key, *answers, *STAGED_OUTCOME, *STAGED_VECTOR]),
        ):
            taken: set[str] = set()
            for name in names:
                if name.lower() in taken:
                    raise InvalidRequestError(
                        f"{table} would have two columns {name!r}: rename the key's column or the answer's field, or "
                        "give another text_column or vector_column"
                    )
                taken.add(name.lower())

    @property
    def embeds(self) -> bool:
        """Whether the answers are vectors."""
        return self.family.embeds

    @property
    def known_bookkeeping(self) -> Mapping[str, str]:
        """Those of :data:`BOOKKEEPING` that such answers have, landed or not."""
        if not self.embeds:
            return BOOKKEEPING
        return {name: kind for name, kind in BOOKKEEPING.items() if name not in NOT_OF_VECTORS}

    @property
    def bookkeeping_columns(self) -> Mapping[str, str]:
        """The columns beside the answer and their types."""
        return self.known_bookkeeping if self.bookkeeping else {}


def _check_keep_previous(kept: object, *, bookkeeping: bool) -> None:
    if not isinstance(kept, timedelta) or kept <= timedelta(0):
        raise InvalidRequestError(
            f"keep_previous: expected how long the answers before are kept, such as timedelta(days=30), got {kept!r}"
        )
    if not bookkeeping:
        raise InvalidRequestError(
            "keep_previous needs the column batch_question, to know which rows a rollback brings back. Land with "
            "bookkeeping=True, or leave keep_previous out"
        )


def target_columns(plan: LandingPlan, key_types: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return the columns that the target has to have, and their types.

    :param key_types: BigQuery's types of the key columns; ``STRING`` where none is given, as in files.
    """
    answers = {column.name: column_type(column) for column in plan.columns}
    return {**_key_columns(plan, key_types), **answers, **plan.bookkeeping_columns}


def failed_columns(plan: LandingPlan, key_types: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return the columns that the table of failures has to have, as :func:`target_columns` does."""
    return {**_key_columns(plan, key_types), **FAILED_COLUMNS}


def staging_columns(plan: LandingPlan, key_types: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return the columns of the table that answers pass through on their way to the target, and their types.

    One row for each request: its key, the answer's columns (NULL unless the outcome is ``ok``), all bookkeeping that
    there is, whether it is landed or not, and :data:`STAGED_OUTCOME`. ``batch_processed_time`` decides
    which of two answers is newer, so every row has it; of a row without an answer, ``batch_job`` and ``batch_round``
    are the last ones that it was sent with.

    :param key_types: as for :func:`target_columns`.
    """
    return {
        **_key_columns(plan, key_types),
        **{column.name: column_type(column) for column in plan.columns},
        **plan.known_bookkeeping,
        **STAGED_OUTCOME,
        **(STAGED_VECTOR if plan.embeds else {}),
    }


def _key_columns(plan: LandingPlan, key_types: Mapping[str, str] | None) -> dict[str, str]:
    return {name: (key_types or {}).get(name, "STRING") for name in plan.key}


def staged_items(plan: LandingPlan, values: Mapping[str, str], quote: Callable[[str], str]) -> str:
    """Return the items of a SELECT, in the order of the staging table's columns.

    :param values: expressions by column; those of no column are left out.
    :param quote: writes a column's name.

    Raises :class:`NotImplementedError` that names the columns without a value.
    """
    columns = staging_columns(plan)
    if missing := [name for name in columns if name not in values]:
        raise NotImplementedError(
            f"no value for {', '.join(missing)} of core/columns.py: add it to this statement"
        )
    return ",\n  ".join(f"{values[name]} AS {quote(name)}" for name in columns)


def column_type(column: AnswerColumn) -> str:
    """Return the type in BigQuery of a column of answers."""
    return f"ARRAY<{column.type}>" if column.repeated else column.type


def check_target_columns(
    where: str, present: Mapping[str, str], landing: Mapping[str, str], key: Iterable[str], *, hint: str
) -> None:
    """Raise :class:`~airflow_gemini_batch.exceptions.InvalidRequestError` unless a target can take columns.

    :param where: the target, for the message.
    :param present: types of the columns that it has.
    :param landing: types of the columns that land in it; it need not have them, except for the key's.
    :param hint: what to do besides naming another target.
    """
    types = {name.lower(): kind for name, kind in present.items()}
    errors = [
        f"the column {name!r} is {types[name.lower()]} there, and what lands in it is {kind}"
        for name, kind in landing.items()
        if types.get(name.lower(), kind) != kind
    ]
    errors += [f"the key column {name!r} is missing there" for name in key if name.lower() not in types]
    if errors:
        raise InvalidRequestError(
            f"{where} can't take the answers:\n"
            + "\n".join(errors)
            + f"\nName another target, or {hint}. Nothing was landed."
        )


def newer_wins(new: str, old: str) -> str:
    """Return the condition that a row takes the place of another one, for BigQuery and DuckDB.

    The newer row wins. Of two with the same time the new one wins, and so it does where either has no time.

    :param new: expression for the time of the new row.
    :param old: of the row that is there.
    """
    return f"COALESCE({new} >= {old}, TRUE)"


def times_failed(new: Callable[[str], str], old: Callable[[str], str]) -> str:
    """Return how many runs a request has failed for good in by now, for BigQuery and DuckDB.

    Another request of the same row counts from the start. Landing the answers of a job again counts nothing.

    :param new: gives the expression for a column of :data:`FAILED_COLUMNS` of the row that lands.
    :param old: of the row with the same key in the table of failures.
    """
    is_same = f"{old(FINGERPRINT_COLUMN)} = {new(FINGERPRINT_COLUMN)}"
    before = f"COALESCE({old(TIMES_FAILED_COLUMN)}, {first_failure(old)})"
    return f"""CASE
    WHEN {is_same} AND {old("job")} = {new("job")} THEN GREATEST({before}, {first_failure(new)})
    WHEN {is_same} THEN {before} + {first_failure(new)}
    ELSE {first_failure(new)}
  END"""


def first_failure(row: Callable[[str], str]) -> str:
    """Return what a row without one before it counts: 1 when it has failed for good, else 0."""
    return f"CASE WHEN {failed_for_good_sql(row('outcome'), row('code'))} THEN 1 ELSE 0 END"


@dataclass(frozen=True, slots=True)
class LandingReport:
    """Where answers landed, and how many rows had which outcome.

    :param counts: rows by outcome; they add up to the requests.
    :param samples: messages of some failed rows.
    """

    target: str
    failed_target: str
    counts: Mapping[Outcome, int]
    samples: Sequence[str] = ()

    @property
    def landed(self) -> int:
        """Rows in the target."""
        return self.counts.get(Outcome.OK, 0)

    @property
    def failed(self) -> int:
        """Rows in the table of failures."""
        return sum(self.counts.values()) - self.landed

    def to_json(self) -> dict[str, Any]:
        """Return the report as JSON types."""
        return {
            "target": self.target,
            "failed_target": self.failed_target,
            "landed": self.landed,
            "failed": self.failed,
            "counts": {outcome.value: count for outcome, count in self.counts.items()},
        }

    def __str__(self) -> str:
        failed = (
            f", {self.failed} rows without a usable answer in {self.failed_target}" if self.failed else ""
        )
        return f"{self.landed} rows landed in {self.target}{failed}"
