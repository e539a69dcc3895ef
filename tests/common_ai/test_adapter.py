"""The adapter for ``@task.llm_batch``, with common-ai's own operator and trigger on the local servers."""

from __future__ import annotations

import json
import tomllib
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from airflow_gemini_batch.core.labels import IDENTITY_LABEL
from airflow_gemini_batch.exceptions import JobServiceError
from airflow_gemini_batch.jobs.state import JobState
from tests.support.jobs import make_client, seed, wait_for
from tests.support.requests_data import lines
from tests.support.tasks import TaskInstance, run_task

try:
    from airflow.providers.common.ai.batch import dispatch, state
    from airflow.providers.common.ai.exceptions import LLMBatchCancelledError, LLMBatchInputError
    from airflow.providers.common.ai.operators import llm_batch
except ImportError:
    pytestmark = pytest.mark.skip("needs the extra common-ai")
else:
    from airflow_gemini_batch.common_ai.adapter import VertexBatchAdapter, _identity

MODEL = "google-cloud:gemini-3.8-flash"


class Described(BaseModel):
    title: str
    genres: list[str]


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch):
    monkeypatch.setattr(llm_batch, "_MIN_POLL_INTERVAL", 0)


@pytest.fixture
def place(gemini_batch_stack, bucket, monkeypatch):
    connection = {"conn_type": "pydanticai", "host": f"gs://{bucket}/llm"}
    monkeypatch.setenv("AIRFLOW_CONN_LLM", json.dumps(connection))
    return f"gs://{bucket}/llm"


@pytest.fixture
def ask(vertex, place, tmp_path):
    """Run the operator of common-ai and return its manifest and its rows, by their numbers."""

    def ask(
        requests: list[Any], ti: TaskInstance | None = None, **options: Any
    ) -> tuple[dict[str, Any], list[Any]]:
        operator = llm_batch.LLMBatchOperator(
            task_id="ask",
            requests=requests,
            result_path=f"file://{tmp_path}/results",
            llm_conn_id="llm",
            **{"model_id": MODEL, "poll_interval": 0.1, "deferrable": False, **options},
        )
        manifest = run_task(operator, ti)
        lines = Path(manifest["result_uri"].removeprefix("file://")).read_text().splitlines()
        return manifest, sorted(map(json.loads, lines), key=lambda row: row["index"])

    return ask


def test_common_ai_finds_the_adapter_by_its_entry_point():
    assert dispatch.import_adapter_class("google-cloud") is VertexBatchAdapter
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]
    assert list(project["entry-points"][dispatch.ENTRY_POINT_GROUP]) == [VertexBatchAdapter.name]


@pytest.mark.parametrize("deferrable", [False, True])
def test_each_prompt_gets_its_own_answer(ask, vertex, deferrable):
    prompts = [f"Describe number {number}" for number in range(5)]
    manifest, rows = ask(prompts, deferrable=deferrable)
    assert manifest["counts"]["succeeded"] == 5
    assert manifest["terminal_reason"] == "succeeded"
    assert [prompt in row["output"] for prompt, row in zip(prompts, rows, strict=True)] == [True] * 5
    assert rows[0]["model"].startswith("gemini")
    assert rows[0]["usage"]["output_tokens"] > 0
    assert rows[0]["finish_reason"] == "STOP"
    assert vertex.requests.counts["create"] == 1


def test_output_type_becomes_a_schema_and_comes_back(ask):
    _, rows = ask(["Describe a book"], output_type=Described)
    assert rows[0]["status"] == "success", rows[0]
    assert Described(**rows[0]["output"]).title


def test_settings_are_those_of_a_generation_config(ask, vertex, gemini_batch_stack):
    own = {
        "prompt": "b",
        "system_prompt": "Be short.",
        "max_tokens": 7,
        "params": {"topK": 3, "max_output_tokens": 9},
    }
    ask(["a", own], system_prompt="Be kind.", request_params={"temperature": 0.5})
    client = make_client(vertex)
    job = next(client.list())
    first, second = (line["request"] for line in lines(gemini_batch_stack, job.requests[0]))
    assert first["generationConfig"] == {"temperature": 0.5, "maxOutputTokens": 1024}
    assert second["generationConfig"] == {"temperature": 0.5, "topK": 3, "maxOutputTokens": 7}
    assert [one["systemInstruction"]["parts"][0]["text"] for one in (first, second)] == [
        "Be kind.",
        "Be short.",
    ]


def test_failed_and_missing_rows_are_told(ask, vertex):
    vertex.faults.plan("missing_rows", share=0.4)
    manifest, rows = ask([f"number {number}" for number in range(5)])
    assert manifest["counts"]["missing"] == sum(row["status"] == "missing" for row in rows) > 0
    assert manifest["counts"]["succeeded"] + manifest["counts"]["missing"] == 5


def test_task_that_is_cleared_lands_the_same_job_again(ask, vertex):
    first, _ = ask(["a", "b"])
    second, _ = ask(["a", "b"])
    assert second["batch_id"] == first["batch_id"]
    assert vertex.requests.counts["create"] == 1


def test_job_whose_creation_was_not_answered_is_found_and_paid_once(ask, vertex):
    vertex.faults.plan("drop_after", on="create")
    with pytest.raises(JobServiceError):
        ask(["a", "b"])
    manifest, _ = ask(["a", "b"])
    assert manifest["counts"]["succeeded"] == 2
    assert vertex.requests.counts["create"] == 1


def test_orphan_that_cannot_be_looked_for_is_not_absent(ask, vertex):
    vertex.faults.plan("drop_after", on="create")
    with pytest.raises(JobServiceError):
        ask(["a"])
    vertex.faults.plan("error", on="list", times=None, status="UNAVAILABLE")
    with pytest.raises(Exception, match=r"orphan|503"):
        ask(["a"])
    assert vertex.requests.counts["create"] == 1


def test_cancelled_job_keeps_what_it_has_answered(ask, vertex):
    vertex.faults.plan("slow", run_seconds=60.0)
    with pytest.raises(Exception, match=r"timeout|time"):
        ask(["a", "b"], timeout=1)
    client = make_client(vertex)
    wait_for(client, next(client.list()).name, JobState.CANCELLED)
    with pytest.raises(LLMBatchCancelledError, match="cancelled before"):
        ask(["a", "b"])


@pytest.mark.parametrize(
    ("requests", "options", "told"),
    [
        (
            [{"prompt": "a", "model": "google-cloud:gemini-3.8-pro"}],
            {},
            "all requests of a job ask one model",
        ),
        ([{"prompt": "a", "model": "openai:gpt-5"}], {}, "does not resolve to the 'google-cloud' adapter"),
        (["a"], {"request_params": {"safetySettings": 3}}, "Request 0: safety_settings"),
        (
            [{"prompt": "a"}, {"prompt": "b", "params": {"temperature": "warm"}}],
            {"request_params": {"temperature": 1}},
            "Request 1: ",
        ),
        (["a"], {"model_id": "google-cloud:models/x"}, "is not a name"),
    ],
)
def test_bad_requests_are_refused_before_anything_is_created(ask, vertex, requests, options, told):
    with pytest.raises(LLMBatchInputError, match=told):
        ask(requests, **options)
    assert "create" not in vertex.requests.counts


@pytest.mark.parametrize("limit", ["max_requests", "max_payload_bytes"])
def test_more_than_a_job_takes_is_refused(ask, vertex, monkeypatch, limit):
    monkeypatch.setattr(VertexBatchAdapter, limit, 1)
    with pytest.raises(LLMBatchInputError, match=r"A batch job takes 1 .*\.expand"):
        ask(["a", "b"])
    assert "create" not in vertex.requests.counts


@pytest.mark.parametrize(
    ("host", "found"),
    [
        ("gs://shop/llm", ("gs://shop/llm", "google_cloud_default", None)),
        ("gs://shop/llm?gcp_conn_id=other&location=europe-west4", ("gs://shop/llm", "other", "europe-west4")),
        ("", None),
        ("https://api.example.com", None),
        ("gs://shop/llm?conn=x", None),
        ("gs://", None),
    ],
)
def test_host_of_the_connection_says_where(host, found):
    if found is None:
        with pytest.raises(
            LLMBatchInputError, match="The host of the connection has to be gs://BUCKET/FOLDER"
        ):
            VertexBatchAdapter(base_url=host)
        return
    adapter = VertexBatchAdapter(base_url=host)
    assert (str(adapter._folder).rstrip("/"), adapter._gcp_conn_id, adapter._location) == found


@pytest.mark.parametrize(
    ("job_state", "done", "left", "told"),
    [
        ("PENDING", None, None, ("in_progress", None)),
        ("CANCELLING", None, None, ("in_progress", None)),
        ("SUCCEEDED", 2, None, ("completed", None)),
        ("PARTIALLY_SUCCEEDED", 1, 1, ("completed", None)),
        ("FAILED", None, None, ("failed", None)),
        # Its answers are paid for.
        ("FAILED", 1, 1, ("completed", None)),
        ("EXPIRED", 1, 3, ("expired", {"expired": 3})),
        ("CANCELLED", 1, 3, ("cancelled", {"cancelled": 3})),
        ("PAUSED", None, None, ("failed", None)),
    ],
)
def test_each_state_has_its_meaning(place, vertex, mocker, job_state, done, left, told):
    (name,) = seed(vertex)
    fields = {"successful_count": done, "incomplete_count": left}
    job = replace(make_client(vertex).get(name), state=JobState(f"JOB_STATE_{job_state}"), **fields)
    mocker.patch("airflow_gemini_batch.vertex.client.BatchJobClient.get", return_value=job)
    found = VertexBatchAdapter(base_url=place).get_batch(str(name))
    assert (found.status, found.counts) == told


def test_job_that_is_not_found_is_unknown_rather_than_gone(place, vertex):
    with pytest.raises(JobServiceError) as error:
        VertexBatchAdapter(base_url=place).get_batch(
            "projects/demo-project/locations/us-central1/batchPredictionJobs/404"
        )
    # By a status_code of 404 the operator would submit, and pay, again.
    assert not hasattr(error.value, "status_code")


def test_orphans_are_those_of_the_same_content_since_then(place, vertex):
    adapter = VertexBatchAdapter(base_url=place)
    key, fingerprint = state.key16("k" * 64), "f"
    assert adapter.find_orphaned_batch(key, fingerprint, "2020-01-01T00:00:00+00:00") is None
    (name,) = seed(vertex, labels={IDENTITY_LABEL: _identity(key, fingerprint)})
    assert adapter.find_orphaned_batch(key, fingerprint, "2020-01-01T00:00:00+00:00") == str(name)
    assert adapter.find_orphaned_batch(key, "other", "2020-01-01T00:00:00+00:00") is None
    assert adapter.find_orphaned_batch(key, fingerprint, "2999-01-01T00:00:00+00:00") is None
