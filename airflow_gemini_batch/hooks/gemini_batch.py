"""The hook: from an Airflow connection to credentials and clients."""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import BaseHook

from airflow_gemini_batch.core.defaults import DEFAULT_CONNECTION, DEFAULT_READ_TIMEOUT
from airflow_gemini_batch.core.places import checked_location, checked_project
from airflow_gemini_batch.exceptions import InvalidRequestError, as_invalid_request
from airflow_gemini_batch.gcp.endpoints import VERTEX_VARIABLE, check_endpoints, checked_url
from airflow_gemini_batch.hooks.connection_form import behaviour, widgets

if TYPE_CHECKING:
    from airflow.providers.google.common.hooks.base_google import GoogleBaseHook
    from google.auth.credentials import Credentials
    from google.cloud import bigquery, storage

    from airflow_gemini_batch.jobs.state import JobName
    from airflow_gemini_batch.outputs.store import DataStore
    from airflow_gemini_batch.vertex.async_client import AsyncBatchJobClient
    from airflow_gemini_batch.vertex.client import BatchJobClient
    from airflow_gemini_batch.vertex.resource import VertexJobName


class GeminiBatchHook(BaseHook):
    """Clients for batch jobs on Vertex AI and for the data around them.

    The connection gives credentials in every way of the Google provider: a key file, key file JSON, a secret, a
    credential configuration, impersonation, or the environment's default credentials. The hook also reads these
    extras of the connection: ``location``, ``vertex_base_url`` (a private endpoint or a local server; the variable
    ``GOOGLE_VERTEX_BASE_URL`` does the same), ``project``, ``quota_project_id`` and ``user_project``.

    :param gcp_conn_id: a connection of type Google Cloud or Gemini batch.
    :param project_id: project of the jobs; by default the connection's or the credentials' own.
    :param location: location of the jobs, such as ``us-central1``; by default the connection's.
    :param impersonation_chain: service account to impersonate, or a chain of them.
    :param quota_project_id: project whose quota all calls count against, instead of that of the credentials; by default
        the connection's.
    :param user_project: project that pays for calls about buckets whose readers pay; by default the connection's.
    """

    conn_name_attr = "gcp_conn_id"
    default_conn_name = DEFAULT_CONNECTION
    conn_type = "gemini_batch"
    hook_name = "Gemini batch (Vertex AI)"
    read_timeout: float = DEFAULT_READ_TIMEOUT
    """How long to wait for one answer of Vertex AI, in seconds."""

    @classmethod
    def get_connection_form_widgets(cls) -> dict[str, Any]:
        """Return the fields of the connection's form, which Airflow before 3.2 asks the hook for."""
        return widgets()

    @classmethod
    def get_ui_field_behaviour(cls) -> dict[str, Any]:
        """Return what the form does with the fields that every connection has."""
        return behaviour()

    def __init__(
        self,
        gcp_conn_id: str = DEFAULT_CONNECTION,
        *,
        project_id: str | None = None,
        location: str | None = None,
        impersonation_chain: str | Sequence[str] | None = None,
        quota_project_id: str | None = None,
        user_project: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.gcp_conn_id = gcp_conn_id
        self.impersonation_chain = impersonation_chain
        self._project_id = project_id
        self._location = location
        self._quota_project_id = quota_project_id or None
        self._user_project = user_project or None
        self._clients: dict[tuple[str, str], BatchJobClient] = {}

    @cached_property
    def google(self) -> GoogleBaseHook:
        """The Google provider's hook, which turns the connection into credentials."""
        from airflow.providers.google.common.hooks.base_google import GoogleBaseHook

        return GoogleBaseHook(
            gcp_conn_id=self.gcp_conn_id,
            impersonation_chain=self.impersonation_chain,
            quota_project_id=self._quota_project_id,
        )

    @property
    def credentials(self) -> Credentials:
        """The connection's credentials, for the addresses that this process leads them to.

        Raises :class:`~airflow_gemini_batch.exceptions.InvalidRequestError`, before it touches them, for a project or
        location that Google does not allow, and for an address that they must not be sent to.
        """
        self._check()
        return self._credentials

    @cached_property
    def _credentials(self) -> Credentials:
        if self._extra("is_anonymous"):
            # google-genai and google-auth refuse AnonymousCredentials ("cannot be refreshed"). A server without
            # authentication takes any token.
            from google.oauth2.credentials import Credentials

            quota_project = self._quota_project_id or self._extra("quota_project_id") or None
            return Credentials(token="anonymous", quota_project_id=quota_project)  # noqa: S106 - no secret
        return self.google.get_credentials()

    @property
    def project_id(self) -> str:
        """Project of the jobs; raises :class:`~airflow_gemini_batch.exceptions.InvalidRequestError` without one."""
        self._check()
        project = self._project_id or self.google.get_credentials_and_project_id()[1]
        if not project:
            raise InvalidRequestError(
                f"no project is set. Give project_id, or set it in the connection {self.gcp_conn_id!r}"
            )
        with as_invalid_request():
            return checked_project(project, f"project of the connection {self.gcp_conn_id!r}")

    @property
    def location(self) -> str:
        """Location of the jobs; raises :class:`~airflow_gemini_batch.exceptions.InvalidRequestError` without one."""
        self._check_places()
        location = self._location or self._extra("location")
        if not location:
            raise InvalidRequestError(
                "no location is set. Give location (us-central1, say), or put it into the extra of the connection "
                f"{self.gcp_conn_id!r} as 'location'"
            )
        return str(location)

    @property
    def has_location(self) -> bool:
        """Whether a location of the jobs is set."""
        self._check_places()
        return bool(self._location or self._extra("location"))

    def _check(self) -> None:
        """Refuse places and addresses before credentials are touched, which some connections fetch from a service."""
        self._check_places()
        check_endpoints(
            self.base_url,
            self._base_url_name,
            anonymous=bool(self._extra("is_anonymous")),
            connection=self.gcp_conn_id,
        )

    def _check_places(self) -> None:
        """Refuse what is not a project or location wherever it is given, also where another one is used instead."""
        of_connection = f"of the connection {self.gcp_conn_id!r}"
        with as_invalid_request():
            for project, name in (
                (self._project_id, "project_id"),
                (self._extra("project"), f"project {of_connection}"),
                (self._quota_project_id, "quota_project_id"),
                (self._extra("quota_project_id"), f"quota_project_id {of_connection}"),
                (self._user_project, "user_project"),
                (self._extra("user_project"), f"user_project {of_connection}"),
            ):
                if project:
                    checked_project(project, name)
            for location, name in (
                (self._location, "location"),
                (self._extra("location"), f"location {of_connection}"),
            ):
                if location:
                    checked_location(location, name)

    @staticmethod
    def job_name(text: str) -> VertexJobName:
        """Read a job name, as it is in events, manifests and parameters; raises :class:`ValueError`."""
        from airflow_gemini_batch.vertex.resource import VertexJobName

        return VertexJobName.parse(text)

    def get_conn(self, name: JobName | None = None) -> BatchJobClient:
        """Return the client for the project and location of a job, or for those of the hook."""
        from airflow_gemini_batch.vertex.client import BatchJobClient

        location, project = self._place_of(name)
        if (project, location) not in self._clients:
            self._clients[project, location] = BatchJobClient(**self._settings(project, location))
        return self._clients[project, location]

    def get_async_conn(self, name: JobName | None = None) -> AsyncBatchJobClient:
        """Return a client for the event loop, for the project and location of a job, or for those of the hook."""
        from airflow_gemini_batch.vertex.async_client import AsyncBatchJobClient

        location, project = self._place_of(name)
        return AsyncBatchJobClient(**self._settings(project, location))

    def _place_of(self, name: JobName | None) -> tuple[str, str]:
        if name is None:
            return self.location, self.project_id
        vertex_name = self.job_name(str(name))
        return vertex_name.location, vertex_name.project

    def _settings(self, project: str, location: str) -> dict[str, Any]:
        return {
            "credentials": self.credentials,
            "project": project,
            "location": location,
            "base_url": self.base_url,
            "read_timeout": self.read_timeout,
        }

    @cached_property
    def store(self) -> DataStore:
        """Requests and answers on Cloud Storage and in BigQuery."""
        from airflow_gemini_batch.outputs.store import DataStore

        return DataStore(lambda: self.storage_client, lambda: self.bigquery_client)

    @cached_property
    def storage_client(self) -> storage.Client:
        """A client of Cloud Storage with the connection's credentials."""
        from airflow_gemini_batch.gcp.requester_pays import storage_client

        return storage_client(
            self._user_project or self._extra("user_project") or None,
            project=self.project_id,
            credentials=self.credentials,
        )

    @cached_property
    def bigquery_client(self) -> bigquery.Client:
        """A client of BigQuery with the connection's credentials; its statements run in the hook's project."""
        # Imported only when a table is asked for: it brings pandas and pyarrow, more than half a second.
        from google.cloud import bigquery

        return bigquery.Client(project=self.project_id, credentials=self.credentials)

    @property
    def base_url(self) -> str | None:
        """Address of Vertex AI if it is not the location's own.

        Raises :class:`~airflow_gemini_batch.exceptions.InvalidRequestError` for a text that is not just a base address.
        """
        url = self._extra("vertex_base_url") or os.environ.get(VERTEX_VARIABLE)
        return checked_url(str(url), self._base_url_name) if url else None

    @property
    def _base_url_name(self) -> str:
        if self._extra("vertex_base_url"):
            return f"vertex_base_url of the connection {self.gcp_conn_id!r}"
        return VERTEX_VARIABLE

    def test_connection(self) -> tuple[bool, str]:
        """List one page of jobs, which needs credentials, project, location and the permission to list."""
        tried = "Tried to list the batch jobs"
        try:
            client = self.get_conn()
            tried += f" of the project {client.project} in {client.location}"
            next(client.list(), None)
        except Exception as error:
            return False, f"{tried}. {type(error).__name__}: {error}"
        return True, f"{tried}: it works"

    def _extra(self, field: str) -> Any:
        from airflow.providers.google.common.hooks.base_google import get_field

        return get_field(self.google.extras, field)
