"""A look at the storages before anything is paid: one question after the other, no answer lost."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from airflow_gemini_batch.core.addresses import Address, BigQueryAddress, GcsAddress
from airflow_gemini_batch.core.model_families import ModelFamily
from airflow_gemini_batch.exceptions import InvalidRequestError, SourceNotReadyError
from airflow_gemini_batch.preflight.findings import Finding, error, warning
from airflow_gemini_batch.preflight.locations import bucket_findings, dataset_findings

if TYPE_CHECKING:
    from airflow_gemini_batch.hooks.gemini_batch import GeminiBatchHook


class PreflightChecker:
    """Asks one thing after the other, and keeps what was found in ``findings``.

    What can't be asked (no permission, the service is down) is unknown, not wrong: a warning.
    """

    def __init__(self, hook: GeminiBatchHook) -> None:
        self.findings: list[Finding] = []
        self.hook = hook
        self.store = hook.store

    def at_family(self, addresses: Sequence[Address], family: ModelFamily) -> None:
        """Find tables where the family takes files only."""
        if not family.takes_tables:
            for address in addresses:
                if isinstance(address, BigQueryAddress):
                    message = f"{family} requests are read from and written to Cloud Storage only"
                    self.findings.append(error(message, "use a gs:// address", str(address)))

    def at_locations(self, addresses: Sequence[Address]) -> None:
        """Compare the locations of buckets and datasets with the job's."""
        with self.asking("the location of the job"):
            job_location = self.hook.location
            for bucket in dict.fromkeys(one.bucket for one in addresses if isinstance(one, GcsAddress)):
                with self.asking(f"the location of bucket {bucket}"):
                    if location := self._bucket_location(bucket):
                        self.findings += bucket_findings(bucket, location, job_location)
            datasets = {
                f"{one.project}.{one.dataset}": one for one in addresses if isinstance(one, BigQueryAddress)
            }
            for name, address in datasets.items():
                with self.asking(f"the location of dataset {name}"):
                    if location := self.store.table_inspection.dataset_location(address):
                        self.findings += dataset_findings(name, location, job_location)

    def _bucket_location(self, bucket: str) -> str | None:
        from google.api_core.exceptions import Forbidden

        try:
            return self.store.file_inspection.bucket_location(bucket)
        except Forbidden as refusal:
            # Nothing else that a job needs takes this permission: a warning in every run would be noise.
            self.hook.log.info("The location of bucket %s is not checked: %s", bucket, refusal.message)
            return None

    @contextmanager
    def asking(self, what: str) -> Iterator[None]:
        """Keep what the block raises as a finding.

        :param what: what the block asks about, for the warning when there is no answer.
        """
        from google.api_core.exceptions import GoogleAPIError
        from google.auth.exceptions import GoogleAuthError

        try:
            yield
        except (InvalidRequestError, SourceNotReadyError) as fault:
            self.findings.append(error(str(fault), retryable=fault.retryable))
        except (GoogleAPIError, GoogleAuthError, OSError) as unknown:
            # What the HTTP library raises is an OSError, as is a local file that can't be read.
            self.findings.append(warning(f"{what} could not be checked: {unknown}"))
