"""The example DAGs that ``gemini-batch demo`` runs, and the tables that they write."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Example(StrEnum):
    """Names of the examples."""

    DESCRIPTIONS = "descriptions"
    EMBEDDINGS = "embeddings"

    @property
    def results(self) -> ExampleResults:
        """What the example's DAG writes."""
        return _RESULTS[self]


@dataclass(frozen=True, slots=True)
class ExampleResults:
    """What a DAG over the table ``books`` writes into its dataset.

    :param table: answers by ``book_id``; failures are in ``<table>__failed``.
    :param columns: the answers' columns to show.
    :param done: the word for a book that has its answer.
    :param stand_in: the note that the answers come from no model.
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
        stand_in="The descriptions are placeholders from the local server. No model was called.",
    ),
    Example.EMBEDDINGS: ExampleResults(
        dag_id="nightly_book_embeddings",
        table="book_vectors",
        columns=("dimensions", "token_count"),
        done="embedded",
        stand_in=(
            "The vectors are placeholders from the local server, made of hashed n-grams: near titles share "
            "letters, not meaning. No model was called."
        ),
    ),
}
