"""The project that the suite asks: its clients, the names of what it makes there, and the way to remove that."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import suppress
from functools import cached_property
from typing import Any

from airflow_gemini_batch.core.addresses import BigQueryAddress, GcsAddress
from airflow_gemini_batch.hooks.gemini_batch import GeminiBatchHook
from airflow_gemini_batch.vertex import rest
from airflow_gemini_batch.vertex.client import BatchJobClient
from tests.live.settings import Settings


class Place:
    """One run of the suite in one project.

    :param run: names everything that the run makes: lower-case letters and digits.
    """

    def __init__(self, settings: Settings, run: str) -> None:
        self.settings = settings
        self.run = run
        self.hook = GeminiBatchHook(project_id=settings.project, location=settings.location)
        self.folder = GcsAddress(settings.bucket, f"gemini-batch-live/{run}")
        self._hooks = {settings.location: self.hook}
        self._tables: list[BigQueryAddress] = []

    @property
    def storage(self) -> Any:
        """A client of Cloud Storage."""
        return self.hook.storage_client

    @property
    def bigquery(self) -> Any:
        """A client of BigQuery."""
        return self.hook.bigquery_client

    def vertex(self, location: str = "") -> BatchJobClient:
        """Return the client of the jobs in a location, by default in that of the settings."""
        location = location or self.settings.location
        if location not in self._hooks:
            self._hooks[location] = GeminiBatchHook(project_id=self.settings.project, location=location)
        return self._hooks[location].get_conn()

    @cached_property
    def _session(self) -> Any:
        from google.auth.transport.requests import AuthorizedSession

        return AuthorizedSession(self.hook.credentials)

    def call(self, method: str, **arguments: Any) -> Any:
        """Call the collection of jobs as no client would, and return the HTTP answer."""
        base_url = rest.base_url_of(self.settings.location, self.hook.base_url)
        url = rest.jobs_url(base_url, rest.parent_of(self.settings.project, self.settings.location))
        return self._session.request(method, url, timeout=60, allow_redirects=False, **arguments)

    def table(self, name: str) -> BigQueryAddress:
        """Return the address of a table of this run."""
        return BigQueryAddress(self.settings.project, self.settings.dataset, f"live_{self.run}_{name}")

    def is_to_be_dropped(self, *tables: BigQueryAddress) -> None:
        """Remember tables of this run that the package has named."""
        self._tables += tables

    def check(self) -> None:
        """Raise :class:`SystemExit` unless bucket and dataset exist where the jobs are to run."""
        from google.api_core.exceptions import Forbidden

        places = {
            "dataset": self.bigquery.get_dataset(f"{self.settings.project}.{self.settings.dataset}").location
        }
        with suppress(Forbidden):  # the roles that jobs need do not read buckets
            places["bucket"] = self.storage.get_bucket(self.settings.bucket).location
        for what, location in places.items():
            if location.lower() != self.settings.location.lower():
                raise SystemExit(
                    f"The {what} is in {location}, and the jobs run in {self.settings.location}. Name one there."
                )

    def upload(self, path: str, lines: Iterator[str]) -> GcsAddress:
        """Write a file of this run."""
        address = self.folder.child(path)
        self.storage.bucket(address.bucket).blob(address.path).upload_from_string("\n".join(lines) + "\n")
        return address

    def mask(self, text: str) -> str:
        """Return a text without what names the project: for a report that is published."""
        for name, mask in (
            (self.settings.bucket, "BUCKET"),
            (self.settings.dataset, "DATASET"),
            (self.settings.project, "PROJECT"),
        ):
            text = re.sub(rf"(?<![a-z0-9]){re.escape(name)}(?![a-z0-9])", mask, text)
        text = re.sub(r"projects/\d+", "projects/NUMBER", text)
        text = re.sub(r"(batchPredictionJobs/)\d+", r"\1ID", text)
        return re.sub(r"[\w.+-]+@[\w-]+\.[\w.-]+", "ACCOUNT", text)

    def clean(self) -> list[str]:
        """Remove the files and tables of this run, and return what could not be removed and why."""
        left = []
        for remove, name in self._removals():
            try:
                remove()
            except Exception as error:
                left.append(f"{name}: {error}")
        return left

    def _removals(self) -> Iterator[Any]:
        for blob in list(self.storage.list_blobs(self.folder.bucket, prefix=f"{self.folder.path}/")):
            yield blob.delete, f"gs://{blob.bucket.name}/{blob.name}"
        mine = f"live_{self.run}_"
        tables = {table.dotted for table in self._tables}
        dataset = f"{self.settings.project}.{self.settings.dataset}"
        for table in self.bigquery.list_tables(dataset):
            if table.table_id.startswith(mine):
                tables.add(f"{dataset}.{table.table_id}")
        for name in sorted(tables):
            yield lambda name=name: self.bigquery.delete_table(name, not_found_ok=True), f"bq://{name}"
