"""The batch jobs of one project and location, for code that blocks."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from airflow_gemini_batch.core.addresses import Address, GcsAddress
from airflow_gemini_batch.core.defaults import DEFAULT_READ_TIMEOUT
from airflow_gemini_batch.exceptions import CredentialsError, VertexApiError
from airflow_gemini_batch.jobs.client import ALL_JOBS, JobQuery
from airflow_gemini_batch.jobs.state import BatchJob, JobName, JobState
from airflow_gemini_batch.vertex import rest
from airflow_gemini_batch.vertex.resource import VertexJobName

if TYPE_CHECKING:
    from google.auth.credentials import Credentials
    from google.genai import types

    from airflow_gemini_batch.jobs.submission import JobRequest


class BatchJobClient:
    """Create, get, list, cancel and delete batch jobs.

    Every method raises :class:`~airflow_gemini_batch.exceptions.VertexApiError` on an error status or an unreadable
    body.

    :param credentials: with the scope ``https://www.googleapis.com/auth/cloud-platform``.
    :param base_url: address of the service; by default that of ``location``.
    :param read_timeout: how long to wait for one answer, in seconds.
    """

    def __init__(
        self,
        *,
        credentials: Credentials,
        project: str,
        location: str,
        base_url: str | None = None,
        read_timeout: float = DEFAULT_READ_TIMEOUT,
    ) -> None:
        from google.auth.transport.requests import AuthorizedSession

        self.project = project
        self.location = location
        self.parent = rest.parent_of(project, location)
        self._base_url = rest.base_url_of(location, base_url)
        self._read_timeout = read_timeout
        self._credentials = credentials
        self._session = AuthorizedSession(credentials)

    def create(self, request: JobRequest) -> BatchJob:
        """Create a job through google-genai: one call, never repeated by a library.

        After an error that is not ``had_no_effect`` the job may exist all the same.
        """
        from google import genai
        from google.auth.exceptions import GoogleAuthError, RefreshError
        from google.genai import errors, types

        action = f"creating the job {request.display_name!r}"
        # google-genai makes addresses of these two as well, and checks neither.
        rest.parent_of(self.project, self.location)
        client = genai.Client(
            vertexai=True,
            project=self.project,
            location=self.location,
            credentials=self._credentials,
            http_options=types.HttpOptions(
                base_url=self._base_url,
                api_version=rest.API_VERSION,
                timeout=int(self._read_timeout * 1000),
                # The library's own retries would send a second POST: a second job, paid as well.
                retry_options=types.HttpRetryOptions(attempts=1),
                # Nor may a redirect: it would carry the request, and on the same host the token, to another address.
                client_args={"follow_redirects": False},
            ),
        )
        try:
            job = client.batches.create(
                model=request.model, src=_source(types, request), config=_config(types, request)
            )
            name = VertexJobName.parse(job.name or "")
            rest.check_place(name, self.parent)
            return BatchJob(
                name=name,
                state=JobState(job.state.value if job.state else JobState.UNSPECIFIED),
                display_name=request.display_name,
                model=request.model,
                labels=request.labels,
                requests=tuple(map(str, request.requests)),
                destination=str(request.destination),
                create_time=job.create_time,
                model_parameters=request.model_parameters,
                kms_key_name=request.kms_key_name,
                service_account=request.service_account,
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
            # Transport errors of whichever HTTP library is at work, and answers that can't be read: unknown, unless
            # there was no token or no connection to send the call with.
            sent = not (isinstance(error, GoogleAuthError) or _is_unconnected(error))
            raise VertexApiError(
                f"{action}: no readable answer ({type(error).__name__}: {error})", sent=sent
            ) from error
        finally:
            client.close()

    def get(self, name: JobName) -> BatchJob:
        """Return one job, in the project and location that its own name says."""
        action = f"reading {name}"
        return rest.read_job(
            action, self._call("GET", rest.job_url(self._base_url, name), action), name.parent
        )

    def list(self, query: JobQuery = ALL_JOBS) -> Iterator[BatchJob]:
        """Yield jobs, newest first, page by page."""
        url = rest.jobs_url(self._base_url, self.parent)
        action = f"listing the jobs of {self.project} in {self.location}"
        token = ""
        while True:
            body = self._call("GET", url, action, params=rest.list_parameters(query, token))
            listed, token = rest.read_page(action, body, self.parent)
            yield from [one.read() for one in listed]
            if not token:
                return

    def cancel(self, name: JobName) -> None:
        """Ask for a job to be cancelled; its state follows later, and it may still end in another way."""
        self._call("POST", f"{rest.job_url(self._base_url, name)}:cancel", f"cancelling {name}", json={})

    def delete(self, name: JobName) -> None:
        """Delete a job that has ended."""
        self._call("DELETE", rest.job_url(self._base_url, name), f"deleting {name}")

    def close(self) -> None:
        """Close the connections."""
        self._session.close()

    def _call(self, method: str, url: str, action: str, **arguments: Any) -> bytes:
        from google.auth.exceptions import GoogleAuthError, RefreshError
        from requests.exceptions import RequestException

        try:
            response = self._session.request(
                method,
                url,
                timeout=(rest.CONNECT_TIMEOUT, self._read_timeout),
                allow_redirects=False,
                **arguments,
            )
        except RefreshError as error:
            raise CredentialsError(f"{action}: Google refuses the credentials ({error})") from error
        except (RequestException, GoogleAuthError) as error:
            raise VertexApiError(f"{action}: no answer from Vertex AI ({error})") from error
        rest.check_status(action, response.status_code, response.content)
        return bytes(response.content)


# Of httpx and of its fork httpx2, which google-genai takes where it is installed.
_UNCONNECTED = frozenset({"ConnectError", "ConnectTimeout", "PoolTimeout", "ProxyError"})


def _is_unconnected(error: Exception) -> bool:
    """Whether there was no connection, so that nothing was sent."""
    return any(
        kind.__module__.startswith("httpx") and kind.__name__ in _UNCONNECTED for kind in type(error).__mro__
    )


def _source(types: Any, request: JobRequest) -> types.BatchJobSource:
    uris = [str(address) for address in request.requests]
    if isinstance(request.requests[0], GcsAddress):
        return types.BatchJobSource(format="jsonl", gcs_uri=uris)
    return types.BatchJobSource(format="bigquery", bigquery_uri=uris[0])


def _config(types: Any, request: JobRequest) -> types.CreateBatchJobConfig:
    # The config type has no field for these; create() also changes the object that it is given, so a new
    # one is made for each call.
    body: dict[str, Any] = {"labels": dict(request.labels)}
    if request.model_parameters:
        body["modelParameters"] = dict(request.model_parameters)
    if request.kms_key_name:
        body["encryptionSpec"] = {"kmsKeyName": request.kms_key_name}
    if request.service_account:
        body["serviceAccount"] = request.service_account
    return types.CreateBatchJobConfig(
        display_name=request.display_name,
        dest=_destination(types, request.destination),
        http_options=types.HttpOptions(extra_body=body),
    )


def _destination(types: Any, address: Address) -> types.BatchJobDestination:
    if isinstance(address, GcsAddress):
        return types.BatchJobDestination(format="jsonl", gcs_uri=str(address))
    return types.BatchJobDestination(format="bigquery", bigquery_uri=str(address))
