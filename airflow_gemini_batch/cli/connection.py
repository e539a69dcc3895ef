"""Whom the commands about jobs ask, and in whose name."""

from __future__ import annotations

import os
import sys
from contextlib import redirect_stdout
from functools import cached_property
from typing import TYPE_CHECKING, Annotated, Any

import typer

from airflow_gemini_batch.core.places import checked_location, checked_project
from airflow_gemini_batch.exceptions import (
    CredentialsError,
    GeminiBatchError,
    InvalidRequestError,
    as_invalid_request,
)
from airflow_gemini_batch.gcp.endpoints import VERTEX_VARIABLE, check_endpoints, checked_url
from airflow_gemini_batch.jobs.client import Connection
from airflow_gemini_batch.jobs.state import JobName
from airflow_gemini_batch.vertex.resource import VertexJobName

if TYPE_CHECKING:
    from google.auth.credentials import Credentials

    from airflow_gemini_batch.outputs.store import DataStore
    from airflow_gemini_batch.vertex.client import BatchJobClient

_SCOPE = "https://www.googleapis.com/auth/cloud-platform"
_LOCATION_VARIABLE = "GOOGLE_CLOUD_LOCATION"
_LOCAL = ("http://127.0.0.1", "http://localhost", "http://[::1]")

ConnectionOption = Annotated[
    str | None,
    typer.Option(
        help="Airflow connection to use, with its project and location. By default, the credentials of this machine "
        "(gcloud auth application-default login), without Airflow.",
        rich_help_panel="Where",
    ),
]
ProjectOption = Annotated[
    str | None,
    typer.Option(
        help="Project of the jobs. By default, the connection's, or that of the credentials "
        "(GOOGLE_CLOUD_PROJECT).",
        rich_help_panel="Where",
    ),
]
LocationOption = Annotated[
    str | None,
    typer.Option(
        help=f"Location of the jobs, such as us-central1. By default, the connection's, or {_LOCATION_VARIABLE}.",
        rich_help_panel="Where",
    ),
]
EndpointOption = Annotated[
    str | None,
    typer.Option(
        help=f"Address of Vertex AI, if it is not Google's: a private endpoint, or the local server. {VERTEX_VARIABLE} "
        "does the same.",
        rich_help_panel="Where",
    ),
]


def connect(
    connection: str | None,
    project: str | None = None,
    location: str | None = None,
    endpoint: str | None = None,
) -> Connection:
    """Return what makes the clients: an Airflow connection's hook, or the credentials of this machine.

    Raises :class:`~airflow_gemini_batch.exceptions.GeminiBatchError` when there are no credentials.
    """
    if connection is None:
        return OwnCredentials(project, location, endpoint)
    if endpoint:
        raise InvalidRequestError(
            "--endpoint: the address of an Airflow connection is its extra vertex_base_url. Give --endpoint or "
            "--connection, not both"
        )
    return _hook(connection, project, location)


def _hook(connection: str, project: str | None, location: str | None) -> Connection:
    # As Airflow's own commands do: otherwise Airflow 3 does not look for connections in its database.
    os.environ.setdefault("_AIRFLOW_PROCESS_CONTEXT", "server")
    # Airflow 2 logs to stdout, where nothing but the result belongs.
    with redirect_stdout(sys.stderr):
        from airflow_gemini_batch.hooks.gemini_batch import GeminiBatchHook

        hook = GeminiBatchHook(connection, project_id=project, location=location)
        try:
            _ = hook.credentials
        except GeminiBatchError:
            raise
        except Exception as error:
            raise CredentialsError(
                f"cannot get credentials from the connection {connection!r} ({type(error).__name__}: {error})"
            ) from error
    return hook


class OwnCredentials:
    """A :class:`.Connection` with the credentials of this machine, without Airflow.

    A server on this machine gets a token of no worth instead.

    :param project: of the jobs; by default that of the credentials.
    :param location: of the jobs; by default that of the environment.
    :param endpoint: base address of Vertex AI, if it is not the location's own; by default that of the environment.
    """

    def __init__(self, project: str | None, location: str | None, endpoint: str | None) -> None:
        with as_invalid_request():
            self._project = checked_project(project, "--project") if project else None
            location = location or os.environ.get(_LOCATION_VARIABLE)
            self._location = checked_location(location, "--location") if location else None
        url = endpoint or os.environ.get(VERTEX_VARIABLE)
        self._url_name = "--endpoint" if endpoint else VERTEX_VARIABLE
        self._base_url = checked_url(url, self._url_name) if url else None
        self._clients: dict[tuple[str, str], BatchJobClient] = {}

    @staticmethod
    def job_name(text: str) -> VertexJobName:
        """Read a job name; raises :class:`ValueError`."""
        return VertexJobName.parse(text)

    def get_conn(self, name: JobName | None = None) -> BatchJobClient:
        """Return the client for the project and location of a job, or for those of the options."""
        from airflow_gemini_batch.vertex.client import BatchJobClient

        if name:
            parsed = self.job_name(str(name))
            place = parsed.project, parsed.location
        else:
            place = self.project, self.location
        if place not in self._clients:
            self._clients[place] = BatchJobClient(
                credentials=self._credentials[0], project=place[0], location=place[1], base_url=self._base_url
            )
        return self._clients[place]

    @cached_property
    def store(self) -> DataStore:
        """Requests and answers on Cloud Storage and in BigQuery."""
        from airflow_gemini_batch.gcp.requester_pays import storage_client
        from airflow_gemini_batch.outputs.store import DataStore

        self._check(anonymous=self._is_local)
        settings: dict[str, Any] = {"project": self.project, "credentials": self._credentials[0]}

        def bigquery_client() -> Any:
            from google.cloud import bigquery

            return bigquery.Client(**settings)

        return DataStore(lambda: storage_client(None, **settings), bigquery_client)

    @property
    def project(self) -> str:
        """Project of the jobs."""
        project = self._project or self._credentials[1]
        if not project:
            raise InvalidRequestError("no project is set. Give --project, or set GOOGLE_CLOUD_PROJECT")
        with as_invalid_request():
            return checked_project(project, "project of the credentials")

    @property
    def location(self) -> str:
        """Location of the jobs."""
        if not self._location:
            raise InvalidRequestError(f"no location is set. Give --location, or set {_LOCATION_VARIABLE}")
        return self._location

    @property
    def _is_local(self) -> bool:
        url = self._base_url or ""
        return any(url == host or url.startswith((f"{host}:", f"{host}/")) for host in _LOCAL)

    @cached_property
    def _credentials(self) -> tuple[Credentials, str | None]:
        """The credentials, and the project that they name."""
        if self._is_local:
            from google.oauth2.credentials import Credentials

            return Credentials(token="anonymous"), os.environ.get("GOOGLE_CLOUD_PROJECT")  # noqa: S106 - no secret
        import google.auth
        from google.auth.exceptions import GoogleAuthError

        self._check(anonymous=False)
        try:
            credentials, project = google.auth.default(scopes=[_SCOPE])
        except GoogleAuthError as error:
            raise CredentialsError(
                f"This machine has no credentials of Google Cloud ({error}). Run `gcloud auth application-default "
                "login`, or give an Airflow connection with --connection"
            ) from None
        return credentials, project

    def _check(self, *, anonymous: bool) -> None:
        check_endpoints(
            self._base_url, self._url_name, anonymous=anonymous, connection="application default credentials"
        )
