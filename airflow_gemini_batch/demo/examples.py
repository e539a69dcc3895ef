"""The example DAGs that ``gemini-batch demo`` runs, and what they leave behind."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Example(StrEnum):
    """Names of the examples."""

    DESCRIPTIONS = "descriptions"
    EMBEDDINGS = "embeddings"

    @property
    def results(self) -> ExampleResults:
        """What the example's DAG leaves behind."""
        return _RESULTS[self]


@dataclass(frozen=True, slots=True)
class ExampleResults:
    """What a DAG over the table ``books`` leaves behind in its dataset.

    :param table: answers by ``book_id``; failures are in ``<table>__failed``.
    :param columns: the answers' columns to show.
    :param done: what is said of a book that has its answer.
    :param stand_in: what to say of answers that no model gave.
    """

    dag_id: str
    table: str
    columns: tuple[str, ...]
    done: str
    stand_in: str


_RESULTS = {
    Example.DESCRIPTIONS: ExampleResults(
        dag_id="nightly_book_descriptions",
        table="book_descriptions",
        columns=("description", "genres", "for_children"),
        done="described",
        stand_in="The descriptions are stand-ins made on this machine: no model was asked.",
    ),
    Example.EMBEDDINGS: ExampleResults(
        dag_id="nightly_book_embeddings",
        table="book_vectors",
        columns=("dimensions", "token_count"),
        done="embedded",
        stand_in=(
            "The vectors are stand-ins made on this machine of hashed n-grams: near is what shares letters, not what "
            "shares meaning. No model was asked."
        ),
    ),
}
