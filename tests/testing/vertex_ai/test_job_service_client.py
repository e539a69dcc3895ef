"""The REST client of google-cloud-aiplatform, which did not come from us."""

from __future__ import annotations

import time
from typing import Any

import pytest
from google.api_core import exceptions
from google.oauth2.credentials import Credentials

from airflow_gemini_batch.testing.vertex_ai import LocalVertex
from tests.testing.vertex_ai.conftest import Folder
from tests.testing.vertex_ai.http import LOCATION, MODEL, PROJECT, prompts

PARENT = f"projects/{PROJECT}/locations/{LOCATION}"


@pytest.fixture
def client(vertex: LocalVertex) -> Any:
    # Importing it takes a second, which only these tests shall cost.
    job_service = pytest.importorskip("google.cloud.aiplatform_v1.services.job_service")
    transport = job_service.transports.JobServiceRestTransport(
        host=vertex.url.removeprefix("http://"), url_scheme="http", credentials=Credentials("local")
    )
    return job_service.JobServiceClient(transport=transport)


def _job(folder: Folder, **fields: object) -> dict[str, object]:
    job = {
        "display_name": "nightly",
        "model": MODEL,
        "labels": {"team": "search"},
        "model_parameters": {"temperature": 0.5},
        "input_config": {"instances_format": "jsonl", "gcs_source": {"uris": [folder.write(prompts(3))]}},
        "output_config": {
            "predictions_format": "jsonl",
            "gcs_destination": {"output_uri_prefix": folder.uri("out")},
        },
    }
    return {**job, **fields}


def _wait(client: Any, name: str, state: str) -> object:
    deadline = time.monotonic() + 60
    while (job := client.get_batch_prediction_job(name=name)).state.name != f"JOB_STATE_{state}":
        assert time.monotonic() < deadline, job.state
        time.sleep(0.02)
    return job


def test_runs_lists_and_deletes_a_job(client: Any, folder: Folder) -> None:
    created = client.create_batch_prediction_job(parent=PARENT, batch_prediction_job=_job(folder))
    assert dict(created.labels) == {"team": "search"}

    job = _wait(client, created.name, "SUCCEEDED")

    assert job.completion_stats.successful_count == 3
    assert len(folder.predictions(job.output_info.gcs_output_directory)) == 3
    query = {"parent": PARENT, "filter": "state=JOB_STATE_SUCCEEDED", "page_size": 1}
    assert [found.name for found in client.list_batch_prediction_jobs(request=query)] == [job.name]

    operation = client.delete_batch_prediction_job(name=job.name)
    assert operation.result(timeout=60) is not None
    # The operation is a resource of its own, too.
    assert client.transport.operations_client.get_operation(operation.operation.name).done
    with pytest.raises(exceptions.NotFound):
        client.get_batch_prediction_job(name=job.name)


def test_cancels_a_job(client: Any, folder: Folder) -> None:
    created = client.create_batch_prediction_job(parent=PARENT, batch_prediction_job=_job(folder))
    client.cancel_batch_prediction_job(name=created.name)
    assert _wait(client, created.name, "CANCELLED").error.code == 1
    with pytest.raises(exceptions.BadRequest, match="It can't be cancelled"):
        client.cancel_batch_prediction_job(name=created.name)


def test_hears_what_is_wrong(client: Any, folder: Folder) -> None:
    with pytest.raises(exceptions.BadRequest, match="Label key 'Team' is not valid"):
        client.create_batch_prediction_job(
            parent=PARENT, batch_prediction_job=_job(folder, labels={"Team": "x"})
        )
    with pytest.raises(exceptions.Forbidden):
        client.list_batch_prediction_jobs(parent=f"projects/not-mine/locations/{LOCATION}")
