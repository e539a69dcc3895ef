"""The account that a job runs as, the key that encrypts what it keeps, and a time limit of Airflow's."""

from __future__ import annotations

import logging
from datetime import timedelta
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException, TaskDeferred

from airflow_gemini_batch import PreflightGeminiBatchOperator
from airflow_gemini_batch.core.places import checked_kms_key, checked_service_account
from airflow_gemini_batch.exceptions import ForeignJobError
from airflow_gemini_batch.operators.base import GeminiBatchOperator
from airflow_gemini_batch.testing.stack import LOCATION
from airflow_gemini_batch.version_compat import AIRFLOW_V_3_0_PLUS
from airflow_gemini_batch.vertex.resource import VertexJobName
from tests.operators.stage import describe
from tests.operators.steps import group_dag
from tests.support.jobs import make_client
from tests.support.tasks import TaskInstance, run_task

KEY = f"projects/my-shop/locations/{LOCATION}/keyRings/shop/cryptoKeys/books"
ELSEWHERE = KEY.replace(LOCATION, "europe-west4")
ACCOUNT = "books@my-shop.iam.gserviceaccount.com"


def job_of(vertex: Any, manifest: dict[str, Any]) -> Any:
    return make_client(vertex).get(VertexJobName.parse(manifest["rounds"][-1]["job_name"]))


@pytest.mark.usefixtures("half_of_rows_missing")
def test_job_and_follow_up_have_account_and_key(vertex, source):
    manifest = run_task(describe(source, service_account=ACCOUNT, kms_key_name=KEY))
    assert len(manifest["rounds"]) == 2
    job = job_of(vertex, manifest)
    assert (job.service_account, job.kms_key_name) == (ACCOUNT, KEY)
    assert run_task(describe(source, service_account=ACCOUNT, kms_key_name=KEY)) == manifest


@pytest.mark.parametrize("change", [{"service_account": ACCOUNT}, {"kms_key_name": KEY}], ids=str)
def test_another_account_or_key_is_another_job(vertex, source, change):
    first = run_task(describe(source))
    second = run_task(describe(source, **change))
    assert second["identity"] != first["identity"]


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"service_account": "books"}, "service_account: expected the address of a service account"),
        ({"service_account": "books@example.com"}, "service_account: expected the address"),
        ({"kms_key_name": "books"}, "kms_key_name: expected projects/P/locations/L/keyRings/R/cryptoKeys/K"),
        ({"kms_key_name": ELSEWHERE}, f"it is in europe-west4, but the job runs in {LOCATION}"),
    ],
    ids=str,
)
def test_wrong_account_or_key_is_told_before_a_job_is_created(vertex, source, wrong, message):
    vertex.requests.clear()
    with pytest.raises(AirflowFailException, match=message):
        run_task(describe(source, **wrong))
    assert "create" not in vertex.requests.counts


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"service_account": "books@example.com"}, "service_account"),
        ({"kms_key_name": ELSEWHERE}, "kms_key_name.*europe-west4"),
        ({"kms_key_name": "books"}, "kms_key_name"),
    ],
    ids=str,
)
def test_preflight_of_the_pipeline_tells_it_before_anything_is_built(
    gemini_batch_stack, bucket, wrong, message
):
    check = PreflightGeminiBatchOperator(
        task_id="preflight",
        source=[{"isbn": "1", "title": "a"}],
        key="isbn",
        prompt="Describe [[ title ]].",
        model="gemini-2.5-flash",
        target=f"gs://{bucket}/out.jsonl",
        **wrong,
    )
    with pytest.raises(AirflowFailException, match=message):
        run_task(check)


@pytest.mark.parametrize(
    "body",
    [
        {"serviceAccount": "books@example.com"},
        {"serviceAccount": "a b@x.gserviceaccount.com"},
        {"encryptionSpec": {}},
        {"encryptionSpec": {"kmsKeyName": "books"}},
        {"encryptionSpec": {"kmsKeyName": ELSEWHERE}},
        {"encryptionSpec": {"kmsKey": KEY}},
    ],
    ids=str,
)
def test_the_service_refuses_them_as_well(vertex, source, body):
    import requests

    from airflow_gemini_batch.testing.stack import PROJECT

    answer = requests.post(
        f"{vertex.url}/v1/projects/{PROJECT}/locations/{LOCATION}/batchPredictionJobs",
        headers={"Authorization": "Bearer local"},
        timeout=10,
        json={
            "displayName": "a",
            "model": "publishers/google/models/gemini-2.5-flash",
            "inputConfig": {"instancesFormat": "jsonl", "gcsSource": {"uris": [source]}},
            "outputConfig": {
                "predictionsFormat": "jsonl",
                "gcsDestination": {"outputUriPrefix": source.rpartition("/")[0]},
            },
            **body,
        },
    )
    assert answer.status_code == 400, answer.text


@pytest.mark.parametrize(
    "account",
    [
        ACCOUNT,
        "123456-compute@developer.gserviceaccount.com",
        "my-shop@appspot.gserviceaccount.com",
        "books@shop.example.com.iam.gserviceaccount.com",
        "service-123@gcp-sa-aiplatform.iam.gserviceaccount.com",
    ],
)
def test_addresses_of_accounts(account):
    assert checked_service_account(account) == account


@pytest.mark.parametrize(
    "key", ["", KEY + "/cryptoKeyVersions/1", KEY + "\n", f"//kms/{KEY}", 5, None], ids=str
)
def test_what_is_no_key(key):
    with pytest.raises(ValueError, match="kms_key_name"):
        checked_kms_key(key)


def test_task_group_hands_them_to_the_tasks_that_use_them():
    dag = group_dag(
        kms_key_name=KEY, service_account=ACCOUNT, quota_project_id="my-quota", user_project="the-payer"
    )
    preflight, build, land = (
        dag.get_task(f"books.{name}") for name in ("preflight", "build_requests", "land_results")
    )
    submit = dag.get_task("books.submit").partial_kwargs
    assert (preflight.kms_key_name, preflight.service_account) == (KEY, ACCOUNT)
    assert (submit["kms_key_name"], submit["service_account"]) == (KEY, ACCOUNT)
    assert submit["target"] == "bq://shop.books.described"
    assert "max_cost_usd" not in submit
    for task in (preflight, build, land):
        assert (task.quota_project_id, task.user_project) == ("my-quota", "the-payer")
    assert (submit["quota_project_id"], submit["user_project"]) == ("my-quota", "the-payer")


@pytest.mark.parametrize(
    ("limit", "deferrable", "warned"),
    [
        (timedelta(hours=2), True, not AIRFLOW_V_3_0_PLUS),
        (timedelta(hours=2), False, True),
        (timedelta(hours=96), False, False),
        (None, False, False),
    ],
    ids=str,
)
def test_time_limit_of_airflow_that_is_too_short_is_told(
    vertex, source, caplog, monkeypatch, limit, deferrable, warned
):
    monkeypatch.setattr(GeminiBatchOperator, "log", logging.getLogger(__name__), raising=False)
    run_task(describe(source, execution_timeout=limit, deferrable=deferrable))
    assert ("execution_timeout is 2:00:00, and the time" in caplog.text) is warned


def test_job_that_the_task_would_not_have_created_is_not_taken_after_the_wait(vertex, source):
    """The event of a trigger names a job, and any job can be named."""
    ti = TaskInstance()
    with pytest.raises(TaskDeferred) as deferred:
        describe(source).execute({"ti": ti})
    event = {
        "version": 1,
        "job_name": deferred.value.trigger.job_name,
        "outcome": "ended",
        "state": "",
        "message": "",
    }
    changed = describe(source, model_parameters={"temperature": 1})
    with pytest.raises(AirflowFailException, match=r"model_parameters: expected .* found nothing") as refused:
        changed.resume({"ti": ti}, event)
    assert isinstance(refused.value.__context__, ForeignJobError)


def test_job_that_the_task_would_not_have_created_is_not_cancelled_after_the_wait(vertex, source):
    vertex.faults.plan("slow")
    ti = TaskInstance()
    with pytest.raises(TaskDeferred) as deferred:
        describe(source).execute({"ti": ti})
    name = deferred.value.trigger.job_name
    event = {"version": 1, "job_name": name, "outcome": "timed_out", "state": "", "message": "late"}
    vertex.requests.clear()
    with pytest.raises(AirflowFailException, match="model_parameters"):
        describe(source, model_parameters={"temperature": 1}).resume({"ti": ti}, event)
    assert "cancel" not in vertex.requests.counts
