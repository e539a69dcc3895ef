"""Whether data and job lie close enough together for Vertex AI."""

from __future__ import annotations

from airflow_gemini_batch.preflight.findings import Finding, error, warning

ANYWHERE = "global"
"""The location of jobs that run where there is room."""

_MULTI_REGIONS = frozenset({"us", "eu", "asia"})


def bucket_findings(bucket: str, location: str, job_location: str) -> list[Finding]:
    """Compare the location of a bucket with the job's.

    :param location: as Cloud Storage tells it, such as ``US-CENTRAL1`` or ``US``.
    """
    found = location.lower()
    if job_location.lower() in (ANYWHERE, found):
        return []
    place = f"bucket {bucket}"
    hint = f"use a bucket in {job_location}, or run the job elsewhere (location=)"
    if "-" not in found and found not in _MULTI_REGIONS:
        # Of a bucket in two regions nothing certain is known.
        return [warning(f"it is in the dual-region {found}, the job in {job_location}", hint, place)]
    return [error(f"it is in {found}, and the job in {job_location}: they have to agree", hint, place)]


def dataset_findings(dataset: str, location: str, job_location: str) -> list[Finding]:
    """Compare the location of a dataset with the job's.

    :param dataset: ``project.dataset``.
    :param location: as BigQuery tells it, such as ``us-central1`` or ``US``.
    """
    found = location.lower()
    place = f"dataset {dataset}"
    if job_location.lower() == ANYWHERE:
        return [
            warning(
                f"the job runs in {ANYWHERE}, and the dataset is in {found}: Vertex AI may not find it",
                f"run the job in {found} (location=)",
                place,
            )
        ]
    if found == job_location.lower():
        return []
    if found in _MULTI_REGIONS:
        return [
            error(
                f"it is in the multi-region {found.upper()}, which batch jobs do not read or write",
                "use a dataset in one region, and run the job there",
                place,
            )
        ]
    hint = f"run the job in {found} (location=), or copy the data"
    return [error(f"it is in {found}, and the job in {job_location}: they have to agree", hint, place)]
