"""Checks that the preflights of a job and of a pipeline share: locations, formats, and what can't be checked."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from airflow_gemini_batch.core.addresses import Address, BigQueryAddress, GcsAddress
from airflow_gemini_batch.core.model_families import ModelFamily
from airflow_gemini_batch.core.places import checked_kms_key, checked_service_account, location_of_kms_key
from airflow_gemini_batch.exceptions import InvalidRequestError, SourceNotReadyError, as_invalid_request
from airflow_gemini_batch.preflight.findings import Finding, error, warning

if TYPE_CHECKING:
    from airflow_gemini_batch.hooks.gemini_batch import GeminiBatchHook

_GLOBAL = "global"  # where jobs of base models run in any region that has room
_MULTI_REGIONS = frozenset({"us", "eu", "asia"})


class PreflightChecker:
    """Runs one check after the other and keeps the results in ``findings``.

    What can't be checked (no permission, the service is down) is unknown, not wrong: a warning.
    """

    def __init__(self, hook: GeminiBatchHook) -> None:
        self.findings: list[Finding] = []
        self.hook = hook
        self.store = hook.store

    def check_account_and_key(self, service_account: str | None, kms_key_name: str | None) -> None:
        """Report what cannot be a service account or an encryption key, and a key that is elsewhere than the job."""
        with self.checking("service_account"), as_invalid_request():
            if service_account:
                checked_service_account(service_account)
        with self.checking("kms_key_name"), as_invalid_request():
            if not kms_key_name:
                return
            key_location = location_of_kms_key(checked_kms_key(kms_key_name))
            if key_location != self.hook.location:
                message = f"it is in {key_location}, but the job runs in {self.hook.location}"
                hint = "use a key in the job's location, or run the job elsewhere (location=)"
                self.findings.append(error(message, hint, f"kms_key_name {kms_key_name}"))

    def check_family(self, addresses: Sequence[Address], family: ModelFamily) -> None:
        """Report tables where the models of the family read files only."""
        if not family.takes_tables:
            for address in addresses:
                if isinstance(address, BigQueryAddress):
                    message = f"{family} requests are read from and written to Cloud Storage only"
                    self.findings.append(error(message, "use a gs:// address", str(address)))

    def check_locations(self, addresses: Sequence[Address]) -> None:
        """Compare the locations of buckets and datasets with the job's."""
        with self.checking("the location of the job"):
            job_location = self.hook.location
            for bucket in dict.fromkeys(each.bucket for each in addresses if isinstance(each, GcsAddress)):
                with self.checking(f"the location of bucket {bucket}"):
                    if location := self._bucket_location(bucket):
                        self.findings += bucket_findings(bucket, location, job_location)
            datasets = {
                f"{each.project}.{each.dataset}": each
                for each in addresses
                if isinstance(each, BigQueryAddress)
            }
            for name, address in datasets.items():
                with self.checking(f"the location of dataset {name}"):
                    if location := self.store.tables.dataset_location(address):
                        self.findings += dataset_findings(name, location, job_location)

    def _bucket_location(self, bucket: str) -> str | None:
        from google.api_core.exceptions import Forbidden

        try:
            return self.store.files.bucket_location(bucket)
        except Forbidden as exc:
            # A job needs this permission for nothing else: a warning in every run would be noise.
            self.hook.log.info("The location of bucket %s was not checked: %s", bucket, exc.message)
            return None

    @contextmanager
    def checking(self, what: str) -> Iterator[None]:
        """Turn what the block raises into a finding.

        :param what: what the block checks, for the warning when it can't.
        """
        from google.api_core.exceptions import GoogleAPIError
        from google.auth.exceptions import GoogleAuthError

        try:
            yield
        except (InvalidRequestError, SourceNotReadyError) as exc:
            self.findings.append(error(str(exc), retryable=exc.retryable))
        except (GoogleAPIError, GoogleAuthError, OSError) as exc:
            # The errors of the HTTP library are OSErrors, as is that of an unreadable local file.
            self.findings.append(warning(f"{what} could not be checked: {exc}"))


def bucket_findings(bucket: str, location: str, job_location: str) -> list[Finding]:
    """Compare the location of a bucket with the job's.

    :param location: as Cloud Storage spells it, such as ``US-CENTRAL1`` or ``US``.
    """
    region = location.lower()
    if job_location.lower() in (_GLOBAL, region):
        return []
    where = f"bucket {bucket}"
    hint = f"use a bucket in {job_location}, or run the job elsewhere (location=)"
    if "-" not in region and region not in _MULTI_REGIONS:
        # Whether Vertex AI takes a bucket in two regions is not documented.
        return [
            warning(f"it is in the dual-region {region}, but the job runs in {job_location}", hint, where)
        ]
    return [error(f"it is in {region}, but the job runs in {job_location}", hint, where)]


def dataset_findings(dataset: str, location: str, job_location: str) -> list[Finding]:
    """Compare the location of a dataset with the job's.

    :param dataset: ``project.dataset``.
    :param location: as BigQuery spells it, such as ``us-central1`` or ``US``.
    """
    region, where = location.lower(), f"dataset {dataset}"
    if job_location.lower() == _GLOBAL:
        message = f"it is in {region}, but the job runs in {_GLOBAL}, where Vertex AI may not find it"
        return [warning(message, f"run the job in {region} (location=)", where)]
    if region == job_location.lower():
        return []
    if region in _MULTI_REGIONS:
        message = f"it is in the multi-region {region.upper()}, which batch jobs do not read or write"
        return [error(message, "use a dataset in one region, and run the job there", where)]
    hint = f"run the job in {region} (location=), or copy the data"
    return [error(f"it is in {region}, but the job runs in {job_location}", hint, where)]
