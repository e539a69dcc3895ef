"""Cloud Storage, BigQuery and Vertex AI on 127.0.0.1, together.

For trying and for tests, never for production: the servers answer everybody who knows their addresses, which hold
a random token, and the answers come from no model.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Self

from airflow_gemini_batch.testing.bigquery.server import LocalBigQuery
from airflow_gemini_batch.testing.gcs.server import LocalCloudStorage
from airflow_gemini_batch.testing.vertex_ai import LocalVertex

PROJECT = "demo-project"
LOCATION = "us-central1"


class LocalStack:
    """The three servers, started and stopped as one.

    :param folder: where the servers keep their data; everything that they write lies below it.
    :param keep: whether a later stack on the folder finds tables and jobs again, as it does objects in any case. Jobs
        that are under way go on then.
    :param vertex: further arguments of :class:`~airflow_gemini_batch.testing.vertex_ai.LocalVertex`, such as
        ``fail_rate`` or ``run_seconds``.
    """

    def __init__(self, folder: Path, *, keep: bool = False, **vertex: Any) -> None:
        self.folder = folder
        self._vertex_arguments = {"jobs_file": folder / "vertex" / "jobs.sqlite" if keep else None, **vertex}
        self.storage = LocalCloudStorage(folder / "storage", default_location=LOCATION)
        self.bigquery = LocalBigQuery(
            folder / "bigquery",
            project=PROJECT,
            default_location=LOCATION,
            storage_url=lambda: self.storage.url,
            keep=keep,
        )
        self._vertex: LocalVertex | None = None

    @property
    def vertex(self) -> LocalVertex:
        """The Vertex AI server; it exists once the stack has started, since it needs the others' addresses."""
        if self._vertex is None:
            raise RuntimeError("The local servers are not running. Call start() first.")
        return self._vertex

    def start(self) -> Self:
        """Start all servers; when one fails to, those already running are stopped."""
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        try:
            self.storage.start()
            self.bigquery.start()
            self._vertex = LocalVertex(
                storage_url=self.storage.url,
                bigquery_url=self.bigquery.url,
                project=PROJECT,
                **self._vertex_arguments,
            ).start()
        except BaseException:
            self.stop()
            raise
        return self

    def stop(self) -> None:
        """Stop all servers."""
        if self._vertex is not None:
            self._vertex.stop()
        self.bigquery.stop()
        self.storage.stop()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *exc_info: object) -> None:
        self.stop()

    def environment(self) -> dict[str, str]:
        """Return the variables that lead clients to the servers: those for processes that you start.

        google-cloud-storage, google-cloud-bigquery, gcsfs, google-genai with credentials of your own, and Airflow's
        hooks for both services follow them. The page ``docs/local-stack.md`` lists what does not.
        """
        connection = {
            "conn_type": "google_cloud_platform",
            "extra": {"is_anonymous": True, "project": PROJECT, "location": LOCATION},
        }
        return {
            "AIRFLOW_CONN_GOOGLE_CLOUD_DEFAULT": json.dumps(connection),
            "STORAGE_EMULATOR_HOST": self.storage.url,
            "BIGQUERY_EMULATOR_HOST": self.bigquery.url,
            "GOOGLE_VERTEX_BASE_URL": self.vertex.url,
            # So that a client of the Gemini API reaches no Google host either.
            "GOOGLE_GEMINI_BASE_URL": self.vertex.url,
            "GOOGLE_CLOUD_PROJECT": PROJECT,
            "GOOGLE_CLOUD_LOCATION": LOCATION,
            # Without these, google-auth asks for a metadata server, and gcsfs for a TLS one.
            "NO_GCE_CHECK": "true",
            "GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT": "false",
        }
