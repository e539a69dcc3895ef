"""From the event loop to a client, without blocking the loop."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from asgiref.sync import sync_to_async

from airflow_gemini_batch.exceptions import CredentialsError
from airflow_gemini_batch.jobs.state import JobName

if TYPE_CHECKING:
    from airflow_gemini_batch.vertex.async_client import AsyncBatchJobClient


async def connect(
    name: JobName, gcp_conn_id: str, impersonation_chain: str | Sequence[str] | None
) -> AsyncBatchJobClient:
    """Return a client for the project and location of a job.

    Raises :class:`~airflow_gemini_batch.exceptions.CredentialsError` when the connection gives none.
    """
    try:
        return await sync_to_async(_connect)(name, gcp_conn_id, impersonation_chain)
    except Exception as error:
        raise CredentialsError(
            f"the connection {gcp_conn_id!r} gives no credentials ({type(error).__name__}: {error})"
        ) from error


def _connect(
    name: JobName, gcp_conn_id: str, impersonation_chain: str | Sequence[str] | None
) -> AsyncBatchJobClient:
    # Importing the Google libraries and reading the connection both take a while, so this runs in a thread.
    from airflow_gemini_batch.hooks.gemini_batch import GeminiBatchHook

    hook = GeminiBatchHook(gcp_conn_id, impersonation_chain=impersonation_chain)
    return hook.get_async_conn(name)
