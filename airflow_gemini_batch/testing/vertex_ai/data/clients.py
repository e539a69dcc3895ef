"""The real Cloud Storage and BigQuery clients, pointed at the local servers."""

from __future__ import annotations

from functools import cached_property
from typing import Any


class DataClients:
    """Clients without credentials for the two local servers, made on first use and kept.

    Their callers ask without the clients' retries, which would wait minutes for a server that is not there.

    :param storage_url: base address of the Cloud Storage server.
    :param bigquery_url: base address of the BigQuery server.
    """

    def __init__(self, *, storage_url: str, bigquery_url: str, project: str) -> None:
        self._storage_url = storage_url
        self._bigquery_url = bigquery_url
        self._project = project

    @cached_property
    def storage(self) -> Any:
        """A ``google.cloud.storage.Client``."""
        from google.auth.credentials import AnonymousCredentials
        from google.cloud import storage

        return storage.Client(
            project=self._project,
            credentials=AnonymousCredentials(),
            client_options={"api_endpoint": self._storage_url},
        )

    @cached_property
    def bigquery(self) -> Any:
        """A ``google.cloud.bigquery.Client``."""
        from google.auth.credentials import AnonymousCredentials
        from google.cloud import bigquery

        return bigquery.Client(
            project=self._project,
            credentials=AnonymousCredentials(),
            client_options={"api_endpoint": self._bigquery_url},
        )

    def close(self) -> None:
        """Close the connections of the clients that were made."""
        for name in ("storage", "bigquery"):
            if client := self.__dict__.get(name):
                client.close()
