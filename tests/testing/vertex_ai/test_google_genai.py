"""The google-genai client, which did not come from us."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
from google import genai
from google.genai import errors, types
from google.oauth2.credentials import Credentials

from airflow_gemini_batch.testing.vertex_ai import LocalVertex
from tests.testing.vertex_ai.conftest import Folder
from tests.testing.vertex_ai.http import LOCATION, PROJECT, prompts


@pytest.fixture
def client(vertex: LocalVertex) -> Iterator[genai.Client]:
    client = genai.Client(
        vertexai=True,
        project=PROJECT,
        location=LOCATION,
        credentials=Credentials("local"),
        http_options=types.HttpOptions(base_url=vertex.url, api_version="v1"),
    )
    yield client
    client.close()


def _create(client: genai.Client, folder: Folder, name: str = "nightly") -> types.BatchJob:
    return client.batches.create(
        model="gemini-2.5-flash",
        src=types.BatchJobSource(format="jsonl", gcs_uri=[folder.write(prompts(3))]),
        config=types.CreateBatchJobConfig(
            display_name=name,
            dest=folder.uri("out"),
            http_options=types.HttpOptions(extra_body={"labels": {"team": "search"}}),
        ),
    )


def _wait(client: genai.Client, job: types.BatchJob, state: str) -> types.BatchJob:
    deadline = time.monotonic() + 60
    while job.state != state:
        assert time.monotonic() < deadline, job.state
        time.sleep(0.02)
        job = client.batches.get(name=job.name)
    return job


def test_runs_a_job_over_files(client: genai.Client, folder: Folder) -> None:
    created = _create(client, folder)
    assert created.state == "JOB_STATE_PENDING"

    job = _wait(client, created, "JOB_STATE_SUCCEEDED")

    assert job.model == "publishers/google/models/gemini-2.5-flash"
    assert (job.completion_stats.successful_count, job.completion_stats.failed_count) == (3, None)
    assert job.create_time < job.start_time < job.end_time
    rows = folder.predictions(job.output_info.gcs_output_directory)
    assert sorted(row["request"]["labels"]["key"] for row in rows) == ["k0", "k1", "k2"]
    assert all(
        "[local stand-in]" in row["response"]["candidates"][0]["content"]["parts"][0]["text"] for row in rows
    )


def test_lists_jobs_by_label_and_name(client: genai.Client, folder: Folder) -> None:
    first, second = _create(client, folder, "first"), _create(client, folder, "second")

    def found(text: str) -> list[str]:
        return [job.name for job in client.batches.list(config={"page_size": 1, "filter": text})]

    assert found('labels.team="search"') == [second.name, first.name]
    assert found('displayName="first"') == [first.name]
    assert found('labels.team="ads"') == []


def test_cancels_and_deletes(client: genai.Client, folder: Folder) -> None:
    job = _create(client, folder)
    with pytest.raises(errors.ClientError) as refused:
        client.batches.delete(name=job.name)
    assert (refused.value.code, refused.value.status) == (400, "FAILED_PRECONDITION")

    client.batches.cancel(name=job.name)
    _wait(client, job, "JOB_STATE_CANCELLED")
    assert client.batches.delete(name=job.name).done

    with pytest.raises(errors.ClientError) as gone:
        client.batches.get(name=job.name)
    assert (gone.value.code, gone.value.status) == (404, "NOT_FOUND")


def test_refuses_a_bucket_elsewhere(client: genai.Client, folder: Folder) -> None:
    with pytest.raises(
        errors.ClientError, match="same regional location as the service location `us-central1`"
    ):
        client.batches.create(
            model="gemini-2.5-flash",
            src=types.BatchJobSource(format="jsonl", gcs_uri=[folder.write(prompts(1))]),
            config=types.CreateBatchJobConfig(display_name="x", dest="gs://elsewhere/out"),
        )


async def test_runs_a_job_asynchronously(client: genai.Client, folder: Folder) -> None:
    job = _create(client, folder)
    polled = await client.aio.batches.get(name=job.name)
    assert polled.name == job.name
