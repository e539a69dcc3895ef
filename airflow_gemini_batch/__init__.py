"""Gemini and embedding batch jobs on Vertex AI, for Airflow.

The public names are imported when they are first used: ``import airflow_gemini_batch`` alone is fast.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from airflow_gemini_batch.canary.settings import Canary
    from airflow_gemini_batch.hooks.gemini_batch import GeminiBatchHook
    from airflow_gemini_batch.jobs.client import JobQuery
    from airflow_gemini_batch.ledger.budgets import Budget
    from airflow_gemini_batch.notifications.summary import SummaryNotifier
    from airflow_gemini_batch.operators.canary import JudgeCanaryOperator
    from airflow_gemini_batch.operators.canary_rows import LandCanaryOperator
    from airflow_gemini_batch.operators.embeddings import (
        BuildEmbeddingRequestsOperator,
        LandEmbeddingsOperator,
        SubmitTextEmbeddingBatchOperator,
    )
    from airflow_gemini_batch.operators.gemini import (
        BuildGeminiRequestsOperator,
        LandGeminiResultsOperator,
        SubmitGeminiBatchOperator,
    )
    from airflow_gemini_batch.operators.preflight import (
        PreflightGeminiBatchOperator,
        PreflightTextEmbeddingBatchOperator,
    )
    from airflow_gemini_batch.operators.rollback import RollbackOperator
    from airflow_gemini_batch.outside import GroupResult, run_here
    from airflow_gemini_batch.responses import iter_responses
    from airflow_gemini_batch.sensors.job import GeminiBatchJobSensor
    from airflow_gemini_batch.sensors.output import GeminiBatchOutputFilesSensor, GeminiBatchOutputTableSensor
    from airflow_gemini_batch.task_groups.embedding import TextEmbeddingTaskGroup
    from airflow_gemini_batch.task_groups.enrichment import GeminiEnrichmentTaskGroup
    from airflow_gemini_batch.triggers.gemini_batch import GeminiBatchJobTrigger
    from airflow_gemini_batch.triggers.jobs_ended import GeminiBatchJobsEndedTrigger

__version__ = "0.1.0"

__all__ = [
    "Budget",
    "BuildEmbeddingRequestsOperator",
    "BuildGeminiRequestsOperator",
    "Canary",
    "GeminiBatchHook",
    "GeminiBatchJobSensor",
    "GeminiBatchJobTrigger",
    "GeminiBatchJobsEndedTrigger",
    "GeminiBatchOutputFilesSensor",
    "GeminiBatchOutputTableSensor",
    "GeminiEnrichmentTaskGroup",
    "GroupResult",
    "JobQuery",
    "JudgeCanaryOperator",
    "LandCanaryOperator",
    "LandEmbeddingsOperator",
    "LandGeminiResultsOperator",
    "PreflightGeminiBatchOperator",
    "PreflightTextEmbeddingBatchOperator",
    "RollbackOperator",
    "SubmitGeminiBatchOperator",
    "SubmitTextEmbeddingBatchOperator",
    "SummaryNotifier",
    "TextEmbeddingTaskGroup",
    "iter_responses",
    "run_here",
]

_HOMES = {
    "Budget": "ledger.budgets",
    "BuildEmbeddingRequestsOperator": "operators.embeddings",
    "BuildGeminiRequestsOperator": "operators.gemini",
    "Canary": "canary.settings",
    "GeminiBatchHook": "hooks.gemini_batch",
    "GeminiBatchJobSensor": "sensors.job",
    "GeminiBatchJobTrigger": "triggers.gemini_batch",
    "GeminiBatchJobsEndedTrigger": "triggers.jobs_ended",
    "GeminiBatchOutputFilesSensor": "sensors.output",
    "GeminiBatchOutputTableSensor": "sensors.output",
    "GeminiEnrichmentTaskGroup": "task_groups.enrichment",
    "GroupResult": "outside",
    "JudgeCanaryOperator": "operators.canary",
    "JobQuery": "jobs.client",
    "LandCanaryOperator": "operators.canary_rows",
    "LandEmbeddingsOperator": "operators.embeddings",
    "LandGeminiResultsOperator": "operators.gemini",
    "PreflightGeminiBatchOperator": "operators.preflight",
    "PreflightTextEmbeddingBatchOperator": "operators.preflight",
    "RollbackOperator": "operators.rollback",
    "SubmitGeminiBatchOperator": "operators.gemini",
    "SubmitTextEmbeddingBatchOperator": "operators.embeddings",
    "SummaryNotifier": "notifications.summary",
    "TextEmbeddingTaskGroup": "task_groups.embedding",
    "iter_responses": "responses",
    "run_here": "outside",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
