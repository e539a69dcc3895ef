"""Families of models: what the rows of a job look like, and how many one job may hold."""

from __future__ import annotations

from dataclasses import dataclass

from airflow_gemini_batch.core.models import short_model_name

LARGEST_FILE = 1_000_000_000
"""Most bytes of one request file."""


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class ModelFamily:
    """What a family of models reads and gives back, and its limits.

    What else depends on the family is looked up in one table a folder: ``requests.forms``, ``costs.request_size``,
    ``outputs.vectors_sql``, ``landing.files.spool`` and ``landing.bigquery.lander``.

    :param name: how trigger arguments, reports and ``request_format=`` name the family.
    :param model_names: how the names of its models begin.
    :param max_rows: most rows of one job.
    :param read_columns: what the model reads of a row: columns of a table, or keys of a line. Each row has the first.
    :param takes_tables: whether a job may read from and write to BigQuery.
    :param answer_column: the column of a table, or the key of a line, that the answer comes back in.
    :param returns_keys: whether a row's key comes back with its answer.
    :param dimensions: length of the vectors unless shorter ones are asked for; 0 for a family that generates.
    :param dimensions_per_job: whether the job, and not each request, says how long the vectors are.
    """

    name: str
    model_names: tuple[str, ...]
    max_rows: int
    read_columns: tuple[str, ...] = ("request",)
    takes_tables: bool = True
    answer_column: str = "response"
    returns_keys: bool = True
    dimensions: int = 0
    dimensions_per_job: bool = False

    def __str__(self) -> str:
        return self.name

    @property
    def embeds(self) -> bool:
        """Whether the answers are vectors."""
        return self.dimensions > 0

    @property
    def main_column(self) -> str:
        """The column or key that each row has."""
        return self.read_columns[0]

    @property
    def asked(self) -> str:
        """The key of an answer's line that the request stands in."""
        return "request" if self.returns_keys else "instance"

    @property
    def is_flat(self) -> bool:
        """Whether a row is the request itself, rather than an object with the request inside."""
        return self.main_column != "request"


# https://cloud.google.com/vertex-ai/generative-ai/docs/multimodal/batch-prediction-gemini and
# https://cloud.google.com/vertex-ai/generative-ai/docs/embeddings/batch-prediction-genai-embeddings
GENERATE_CONTENT = ModelFamily(name="generate_content", model_names=(), max_rows=200_000)
"""``{"request": GenerateContentRequest}``; in a table the column ``request``."""

TEXT_EMBEDDING = ModelFamily(
    name="text_embedding",
    model_names=("text-embedding-", "text-multilingual-embedding-", "textembedding-gecko"),
    max_rows=30_000,
    read_columns=("content", "task_type", "title"),
    answer_column="predictions",
    returns_keys=False,
    dimensions=768,
    dimensions_per_job=True,
)
"""``{"content", "task_type", "title"}``; in a table the column ``content``."""

GEMINI_EMBEDDING = ModelFamily(
    name="gemini_embedding",
    model_names=("gemini-embedding-",),
    max_rows=1_000_000,
    takes_tables=False,
    dimensions=3072,
)
"""``{"key", "request": EmbedContentRequest}``; files only."""

FAMILIES = {family.name: family for family in (GENERATE_CONTENT, TEXT_EMBEDDING, GEMINI_EMBEDDING)}


def family_of(model: str) -> ModelFamily | None:
    """Return the family of a model; None for an embedding model of an unknown family.

    :param model: plain name or resource name. A tuned model has a number for a name, and generates text.
    """
    name = short_model_name(model)
    for family in FAMILIES.values():
        if name.startswith(family.model_names):
            return family
    return None if "embedding" in name else GENERATE_CONTENT


MOST_TOKENS = 2_048
"""Tokens of a text that embedding models read; nearly all of them."""

# https://cloud.google.com/vertex-ai/generative-ai/docs/embeddings/get-text-embeddings
_MOST_TOKENS = {"gemini-embedding-2": 8_192}


def most_tokens(model: str) -> int:
    """Return how many tokens of a text an embedding model reads; the rest is cut off.

    :param model: plain name or resource name.
    """
    name = short_model_name(model)
    return next((most for start, most in _MOST_TOKENS.items() if name.startswith(start)), MOST_TOKENS)
