"""Names and BigQuery types of the columns that this package adds to tables."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping


class ColumnTypes(Mapping[str, str]):
    """Types of a table's columns by name, upper or lower case, as BigQuery finds columns.

    :param types: by the names as the table spells them.
    """

    def __init__(self, types: Mapping[str, str]) -> None:
        self._types = dict(types)
        self._lower = {name.lower(): kind for name, kind in types.items()}

    def __getitem__(self, name: str) -> str:
        return self._types[name] if name in self._types else self._lower[name.lower()]

    def __iter__(self) -> Iterator[str]:
        return iter(self._types)

    def __len__(self) -> int:
        return len(self._types)

    def __repr__(self) -> str:
        return f"ColumnTypes({self._types})"


def free_name(name: str, columns: Iterable[str]) -> str:
    """Return a name that none of the columns has, in whatever case: this one, or one that begins like it."""
    taken = {column.lower() for column in columns}
    while name in taken:
        name += "_"
    return name


FINGERPRINT_COLUMN = "batch_fingerprint"
"""Column of request tables and of enriched tables that holds the digest."""

JOB_COLUMN = "batch_job"

QUESTION_COLUMN = "batch_question"
"""Column of enriched tables: the digest of what all rows of a build were asked."""

SHARD_COLUMN = "batch_shard"
"""Column of the temporary table from which the requests of several jobs are cut."""

TOKEN_COLUMNS = {
    "batch_prompt_tokens": "promptTokenCount",
    "batch_output_tokens": "candidatesTokenCount",
    "batch_thoughts_tokens": "thoughtsTokenCount",
    "batch_cached_tokens": "cachedContentTokenCount",
    "batch_tool_tokens": "toolUsePromptTokenCount",
}
"""Columns with numbers of tokens, and the fields of ``usageMetadata`` that they come from."""

BOOKKEEPING = {
    "batch_model": "STRING",
    "batch_finish_reason": "STRING",
    **dict.fromkeys(TOKEN_COLUMNS, "INT64"),
    "batch_processed_time": "TIMESTAMP",
    JOB_COLUMN: "STRING",
    FINGERPRINT_COLUMN: "STRING",
    QUESTION_COLUMN: "STRING",
}
"""Columns beside the answer, with their types in BigQuery. ``batch_job`` is the job's resource name, ``batch_question``
what :class:`airflow_gemini_batch.requests.questions.Question` has as its id; NULL where the job's manifest names none.

What has no value in one of the three statements that stage answers (``landing.bigquery.staging_sql``,
``landing.bigquery.embedding_sql``, ``landing.files.matching``) fails when the statement is written.
"""

NOT_OF_VECTORS = frozenset({"batch_finish_reason", *TOKEN_COLUMNS.keys() - {"batch_prompt_tokens"}})
"""Those of :data:`BOOKKEEPING` that vectors do not have."""

TIMES_FAILED_COLUMN = "times_failed"

FAILED_COLUMNS = {
    "outcome": "STRING",
    "code": "INT64",
    "message": "STRING",
    "job": "STRING",
    "round": "INT64",
    "failed_time": "TIMESTAMP",
    FINGERPRINT_COLUMN: "STRING",
    QUESTION_COLUMN: "STRING",
    TIMES_FAILED_COLUMN: "INT64",
}
"""Columns of ``<target>__failed`` after the key. ``round`` counts from 0.

``times_failed`` is the number of runs in which this very request has failed for good. Tables of earlier releases have
neither it nor ``batch_question``.
"""

FAILED_SUFFIX = "__failed"


def failed_target_of(target: str) -> str:
    """Return where the failures of a target go: ``bq://p.d.books__failed``, ``gs://b/books__failed.parquet``."""
    return target_beside(target, FAILED_SUFFIX)


SHORT_QUESTION = 8
"""How many of the first digits of a question are in the name of a copy; enough to tell the questions of one target."""


def previous_target_of(target: str, question: str, *, rollback: bool = False) -> str:
    """Return where a copy of a target goes: ``bq://p.d.books__before_1a2b3c4d``, ``gs://b/books__before_1a2b3c4d.jsonl``.

    :param question: the id of the question before whose first answers it is made; for a name of any, an empty text.
    :param rollback: whether it is made before these answers are taken back instead.
    """
    return target_beside(target, f"__before_{'rollback_' if rollback else ''}{question[:SHORT_QUESTION]}")


def target_beside(target: str, suffix: str) -> str:
    """Return the table or file beside a target whose name has a suffix more."""
    if target.startswith("bq://"):
        return target + suffix
    stem, dot, ending = target.rpartition(".")
    return f"{stem}{suffix}{dot}{ending}"


STAGED_OUTCOME = {
    "batch_outcome": "STRING",
    "batch_code": "INT64",
    "batch_message": "STRING",
    "batch_round": "INT64",
}
"""Columns of a staging table after those of :data:`BOOKKEEPING`, with their types in BigQuery."""

STAGED_VECTOR = {"batch_shortened": "BOOL"}
"""Columns of a staging table of vectors after these: whether the vector came longer than asked and was cut."""

STAGED_AS = {
    "outcome": "batch_outcome",
    "code": "batch_code",
    "message": "batch_message",
    "job": JOB_COLUMN,
    "round": "batch_round",
    "failed_time": "batch_processed_time",
}
"""Columns of the table of failures that have another name in the staging table."""
