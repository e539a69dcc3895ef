"""Create a job through google-genai."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_gemini_batch.core.addresses import Address, GcsAddress
from airflow_gemini_batch.exceptions import CredentialsError, VertexApiError
from airflow_gemini_batch.jobs.state import BatchJob, JobName, JobState
from airflow_gemini_batch.vertex import rest as wire

if TYPE_CHECKING:
    from google.auth.credentials import Credentials
    from google.genai import types

    from airflow_gemini_batch.jobs.submission import JobRequest


def create_job(
    request: JobRequest, *, credentials: Credentials, project: str, location: str, base_url: str
) -> BatchJob:
    """Send one create call and return the new job.

    Raises :class:`~airflow_gemini_batch.exceptions.VertexApiError`; when it is ``transient``, the job may
    exist all the same.
    """
    from google import genai
    from google.auth.exceptions import RefreshError
    from google.genai import errors, types

    action = f"creating the job {request.display_name!r}"
    client = genai.Client(
        vertexai=True,
        project=project,
        location=location,
        credentials=credentials,
        http_options=types.HttpOptions(
            base_url=base_url,
            api_version=wire.API_VERSION,
            timeout=int(wire.READ_TIMEOUT * 1000),
            # The library's own retries would send a second POST: a second job, paid as well.
            retry_options=types.HttpRetryOptions(attempts=1),
        ),
    )
    try:
        job = client.batches.create(
            model=request.model, src=_source(types, request), config=_config(types, request)
        )
        return BatchJob(
            name=JobName.parse(job.name or ""),
            state=JobState(job.state.value if job.state else JobState.UNSPECIFIED),
            display_name=request.display_name,
            model=request.model,
            labels=request.labels,
            create_time=job.create_time,
        )
    except errors.APIError as error:
        raise VertexApiError(
            f"{action}: Vertex AI answered {error.code} {error.status or ''}: {error.message}",
            code=error.code,
            reason=error.status or "",
        ) from error
    except RefreshError as error:
        raise CredentialsError(f"{action}: Google refuses the credentials ({error})") from error
    except Exception as error:
        # Transport errors of whichever HTTP library is at work, and answers that can't be read: unknown.
        raise VertexApiError(f"{action}: no readable answer ({type(error).__name__}: {error})") from error
    finally:
        client.close()


def _source(types: Any, request: JobRequest) -> types.BatchJobSource:
    uris = [str(address) for address in request.sources]
    if isinstance(request.sources[0], GcsAddress):
        return types.BatchJobSource(format="jsonl", gcs_uri=uris)
    return types.BatchJobSource(format="bigquery", bigquery_uri=uris[0])


def _config(types: Any, request: JobRequest) -> types.CreateBatchJobConfig:
    # The config type has no field for these two; create() also changes the object that it is given, so a new
    # one is made for each call.
    body: dict[str, Any] = {"labels": dict(request.labels)}
    if request.model_parameters:
        body["modelParameters"] = dict(request.model_parameters)
    return types.CreateBatchJobConfig(
        display_name=request.display_name,
        dest=_destination(types, request.destination),
        http_options=types.HttpOptions(extra_body=body),
    )


def _destination(types: Any, address: Address) -> types.BatchJobDestination:
    if isinstance(address, GcsAddress):
        return types.BatchJobDestination(format="jsonl", gcs_uri=str(address))
    return types.BatchJobDestination(format="bigquery", bigquery_uri=str(address))
