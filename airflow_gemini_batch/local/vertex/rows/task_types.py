"""What both families of embedding models ask of a text."""

from __future__ import annotations

from airflow_gemini_batch.local.vertex.errors import RowError

MOST_TOKENS = 2048
_CHARACTERS_PER_TOKEN = 4
_TASK_TYPES = (
    "RETRIEVAL_QUERY",
    "RETRIEVAL_DOCUMENT",
    "SEMANTIC_SIMILARITY",
    "CLASSIFICATION",
    "CLUSTERING",
    "QUESTION_ANSWERING",
    "FACT_VERIFICATION",
    "CODE_RETRIEVAL_QUERY",
)


def check_task(task_type: object, title: object) -> None:
    """Refuse a task type that does not exist, and a title for anything but a document.

    Raises :class:`~airflow_gemini_batch.local.vertex.errors.RowError`.
    """
    if task_type is not None and task_type not in _TASK_TYPES:
        raise RowError(
            "INVALID_ARGUMENT", f"Unsupported task type {task_type!r}. Use one of {', '.join(_TASK_TYPES)}."
        )
    if title and task_type != "RETRIEVAL_DOCUMENT":
        raise RowError("INVALID_ARGUMENT", "A title is only valid with the task type RETRIEVAL_DOCUMENT.")


def count_tokens(text: str) -> int:
    """Estimate tokens from characters, four to one."""
    return -(-len(text) // _CHARACTERS_PER_TOKEN)
