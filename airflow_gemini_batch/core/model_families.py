"""What the rows of a job look like, and how many one job may hold: the model decides."""

from __future__ import annotations

from enum import StrEnum

from airflow_gemini_batch.core.models import short_model_name

LARGEST_FILE = 1_000_000_000
"""Most bytes of one request file."""


class RequestFormat(StrEnum):
    """The form of a request row, by the family of models that reads it."""

    GENERATE_CONTENT = "generate_content"
    """``{"request": GenerateContentRequest}``; in a table the column ``request``."""

    TEXT_EMBEDDING = "text_embedding"
    """``{"content", "task_type", "title"}``; in a table the column ``content``."""

    GEMINI_EMBEDDING = "gemini_embedding"
    """``{"key", "request": EmbedContentRequest}``; files only."""

    @property
    def max_rows(self) -> int:
        """Most rows of one job."""
        return _MAX_ROWS[self]

    @property
    def takes_tables(self) -> bool:
        """Whether a job may read from and write to BigQuery."""
        return self is not RequestFormat.GEMINI_EMBEDDING

    @property
    def main_column(self) -> str:
        """Name of the column, or of the key of a line, that holds what the model reads."""
        return "content" if self is RequestFormat.TEXT_EMBEDDING else "request"

    @property
    def dimensions(self) -> int:
        """Length of the vectors unless shorter ones are asked for; 0 where there are none."""
        return _DIMENSIONS[self]


# https://cloud.google.com/vertex-ai/generative-ai/docs/multimodal/batch-prediction-gemini and
# https://cloud.google.com/vertex-ai/generative-ai/docs/embeddings/batch-prediction-genai-embeddings
_MAX_ROWS = {
    RequestFormat.GENERATE_CONTENT: 200_000,
    RequestFormat.TEXT_EMBEDDING: 30_000,
    RequestFormat.GEMINI_EMBEDDING: 1_000_000,
}
_DIMENSIONS = {
    RequestFormat.GENERATE_CONTENT: 0,
    RequestFormat.TEXT_EMBEDDING: 768,
    RequestFormat.GEMINI_EMBEDDING: 3072,
}

READ_COLUMNS = {
    RequestFormat.GENERATE_CONTENT: ("request",),
    RequestFormat.TEXT_EMBEDDING: ("content", "task_type", "title"),
    RequestFormat.GEMINI_EMBEDDING: (),
}
"""The columns that a model reads, where a table has them."""

_TEXT_EMBEDDING = ("text-embedding-", "text-multilingual-embedding-", "textembedding-gecko")


def format_of(model: str) -> RequestFormat | None:
    """Return the format that a model reads, ``None`` for an embedding model of an unknown family.

    :param model: plain name or resource name. A tuned model has a number for a name, and generates text.
    """
    name = short_model_name(model)
    if name.startswith(_TEXT_EMBEDDING):
        return RequestFormat.TEXT_EMBEDDING
    if name.startswith("gemini-embedding-"):
        return RequestFormat.GEMINI_EMBEDDING
    return None if "embedding" in name else RequestFormat.GENERATE_CONTENT
