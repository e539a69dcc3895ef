from __future__ import annotations

import pytest

from airflow_gemini_batch.preflight.checker import bucket_findings, dataset_findings


@pytest.mark.parametrize(
    ("bucket", "job", "severity"),
    [
        ("US-CENTRAL1", "us-central1", None),
        ("US", "us", None),
        ("EUROPE-WEST4", "global", None),
        ("EUROPE-WEST4", "us-central1", "error"),
        ("US", "us-central1", "error"),
        ("NAM4", "us-central1", "warning"),
    ],
)
def test_bucket_has_to_lie_where_the_job_runs(bucket: str, job: str, severity: str | None) -> None:
    assert [one.severity for one in bucket_findings("books", bucket, job)] == ([severity] if severity else [])


@pytest.mark.parametrize(
    ("dataset", "job", "severity", "message"),
    [
        ("us-central1", "us-central1", None, ""),
        ("US", "us", None, ""),
        ("europe-west4", "us-central1", "error", "run the job in europe-west4"),
        ("US", "us-central1", "error", "multi-region US"),
        ("us-central1", "global", "warning", "run the job in us-central1"),
        ("EU", "global", "warning", "may not find it"),
    ],
)
def test_dataset_has_to_lie_where_the_job_runs(
    dataset: str, job: str, severity: str | None, message: str
) -> None:
    found = dataset_findings("p.shop", dataset, job)
    assert [one.severity for one in found] == ([severity] if severity else [])
    assert all(message in str(one) for one in found)
