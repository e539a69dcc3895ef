"""SubmitGeminiBatchOperator against the local servers, files in and out."""

from __future__ import annotations

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException, TaskDeferred

from airflow_gemini_batch import SubmitGeminiBatchOperator
from airflow_gemini_batch.core.labels import label_value
from airflow_gemini_batch.exceptions import JobFailedError, SourceNotReadyError
from airflow_gemini_batch.jobs.manifest import Manifest
from tests.support.requests_data import BAD_REQUEST, answers, request, upload
from tests.support.tasks import TaskInstance, run_task
from tests.support.texts import flat


@pytest.fixture
def make_task(gemini_batch_stack):
    def make(source, **arguments):
        settings = {"task_id": "describe", "model": "gemini-3.8-flash", "poll_interval": 0.05, **arguments}
        return SubmitGeminiBatchOperator(requests=source, **settings)

    return make


@pytest.fixture
def source(gemini_batch_stack, bucket):
    return upload(gemini_batch_stack, bucket, "in/prompts.jsonl", [request(f"prompt {n}") for n in range(20)])


def creates(stack) -> int:
    return stack.vertex.requests.counts.get("create", 0)


@pytest.mark.parametrize("deferrable", [True, False], ids=["deferrable", "waiting"])
def test_returns_a_manifest_that_accounts_for_every_row(gemini_batch_stack, make_task, source, deferrable):
    manifest = run_task(make_task(source, deferrable=deferrable))

    assert manifest["counts"] == {
        "ok": 20,
        "retryable": 0,
        "rejected": 0,
        "blocked": 0,
        "truncated": 0,
        "invalid": 0,
        "missing": 0,
    }
    assert Manifest.from_json(manifest).to_json() == manifest
    (one,) = manifest["rounds"]
    assert one["state"] == "JOB_STATE_SUCCEEDED"
    assert one["source"] == [source]
    assert manifest["outputs"] == [one["output"]]
    rows = answers(gemini_batch_stack, one["output"])
    prompts = {row["request"]["contents"][0]["parts"][0]["text"] for row in rows}
    assert prompts == {f"prompt {n}" for n in range(20)}


def test_defers_with_a_link_and_without_a_secret(gemini_batch_stack, make_task, source):
    ti = TaskInstance()
    with pytest.raises(TaskDeferred) as deferred:
        make_task(source).execute({"ti": ti})
    _, arguments = deferred.value.trigger.serialize()
    assert set(arguments) == {
        "job_name",
        "submitted_at",
        "gcp_conn_id",
        "impersonation_chain",
        "poll_interval",
        "queue_timeout",
        "run_timeout",
        "cancel_on_kill",
    }
    job_id = arguments["job_name"].rpartition("/")[2]
    assert ti.xcoms["vertex_ai_batch_job_url"].startswith(
        f"https://console.cloud.google.com/vertex-ai/locations/us-central1/batch-predictions/{job_id}"
    )
    # Airflow's own timeout is later than the trigger's, so that the trigger can say what became of the job.
    assert deferred.value.timeout.total_seconds() > arguments["queue_timeout"] + arguments["run_timeout"]


def test_counts_failed_rows_and_succeeds_below_the_limit(gemini_batch_stack, make_task, bucket):
    rows = [request(f"prompt {n}") for n in range(19)] + [BAD_REQUEST]
    source = upload(gemini_batch_stack, bucket, "in.jsonl", rows)
    manifest = run_task(make_task(source, max_failed_fraction=0.05))
    assert (manifest["counts"]["ok"], manifest["counts"]["rejected"]) == (19, 1)


def test_fails_for_good_above_the_limit_and_shows_the_rows(gemini_batch_stack, make_task, bucket):
    source = upload(gemini_batch_stack, bucket, "in.jsonl", [request("fine"), BAD_REQUEST])
    with pytest.raises(AirflowFailException) as failed:
        run_task(make_task(source, preflight=False))
    message = str(failed.value)
    assert "1 of 2 rows have no answer (50.00%; max_failed_fraction allows 5.00%)" in flat(message)
    assert "Please use a valid role: user, model." in flat(message)
    assert "https://console.cloud.google.com/" in message


def test_fails_when_no_row_holds_an_answer_whatever_is_allowed(gemini_batch_stack, make_task, bucket):
    source = upload(gemini_batch_stack, bucket, "in.jsonl", [BAD_REQUEST, BAD_REQUEST])
    with pytest.raises(AirflowFailException, match="succeeded, but no row has an answer"):
        run_task(make_task(source, max_failed_fraction=1.0, preflight=False))


def test_second_try_takes_the_finished_job(gemini_batch_stack, make_task, source):
    first = run_task(make_task(source))
    before = creates(gemini_batch_stack)
    second = run_task(make_task(source), TaskInstance(try_number=2))
    assert second == first
    assert creates(gemini_batch_stack) == before


def test_second_try_waits_for_the_job_under_way(gemini_batch_stack, make_task, source):
    with pytest.raises(TaskDeferred) as first:
        make_task(source).execute({"ti": TaskInstance()})
    before = creates(gemini_batch_stack)
    manifest = run_task(make_task(source), TaskInstance(try_number=2))
    assert manifest["rounds"][0]["job_name"] == first.value.trigger.job_name
    assert creates(gemini_batch_stack) == before


@pytest.mark.parametrize(
    "change",
    [
        {"ti": TaskInstance(run_id="another run")},
        {"ti": TaskInstance(map_index=3)},
        {"ti": TaskInstance(try_number=2), "force_rerun": True},
        {"ti": TaskInstance(try_number=2), "force_rerun": "True"},
        {"model": "gemini-2.5-pro"},
        {"model_parameters": {"temperature": 1}},
    ],
    ids=["run", "map index", "forced", "forced by a template", "model", "parameters"],
)
def test_another_submission_is_another_job(gemini_batch_stack, make_task, source, change):
    arguments = dict(change)
    ti = arguments.pop("ti", None)
    first = run_task(make_task(source))
    second = run_task(make_task(source, **arguments), ti)
    assert second["rounds"][0]["job_name"] != first["rounds"][0]["job_name"]
    assert second["outputs"] != first["outputs"]


def test_changed_input_is_another_job(gemini_batch_stack, make_task, source, bucket):
    first = run_task(make_task(source))
    upload(gemini_batch_stack, bucket, "in/prompts.jsonl", [request("something new")])
    second = run_task(make_task(source))
    assert second["rounds"][0]["job_name"] != first["rounds"][0]["job_name"]
    assert second["counts"]["ok"] == 1


def test_labels_and_names_the_job(gemini_batch_stack, make_task, source):
    from airflow_gemini_batch import GeminiBatchHook
    from airflow_gemini_batch.vertex.resource import VertexJobName

    task = make_task(source, labels={"team": "bookshop"}, display_name="Nightly books")
    manifest = run_task(task)
    job = GeminiBatchHook().get_conn().get(VertexJobName.parse(manifest["rounds"][0]["job_name"]))
    assert job.labels == {
        "team": "bookshop",
        "airflow_dag": "nightly",
        "airflow_task": "describe",
        "airflow_run": label_value("scheduled__2026-11-22T00:00:00+00:00"),
        "gemini_batch_id": manifest["identity"],
        "gemini_batch_content": job.labels["gemini_batch_content"],
        "gemini_batch_last_round": "1",
    }
    assert job.display_name == f"Nightly books {manifest['identity']}"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"source": "my-shop.books.requests"}, "write bq://my-shop.books.requests"),
        ({"source": "bucket/in.jsonl"}, "write gs://bucket/in.jsonl"),
        ({"source": ["gs://b-1/a.jsonl", "bq://project-1.d.t"]}, "mixes BigQuery and Cloud Storage"),
        ({"source": ["bq://project-1.d.t", "bq://project-1.d.u"]}, "names several tables"),
        ({"source": []}, "requests is empty"),
        ({"source": ""}, "requests is empty"),
        ({"source": "s3://bucket/in.jsonl"}, "unknown scheme s3://"),
        ({"source": "['gs://b-1/a.jsonl']"}, "a list that a template turned into text"),
        ({"source": "bq://project-1.dataset"}, "Name the table as well"),
        ({"source": "gs://bucket/folder/"}, "is a folder"),
        ({"destination": "bucket/out"}, "write gs://bucket/out"),
        ({"destination": "gs://bucket/out*"}, "is a pattern"),
        ({"model": "models/gemini-3.8-flash"}, "write 'gemini-3.8-flash'"),
        ({"model": ""}, "model is missing"),
        ({"labels": {"Team": "x"}}, "label key 'Team' is not valid"),
        ({"labels": {"airflow_dag": "x"}}, "is set by the operator"),
        ({"force_rerun": "perhaps"}, "force_rerun: expected True or False"),
    ],
)
def test_refuses_what_makes_no_sense_before_anything_is_sent(
    gemini_batch_stack, make_task, source, arguments, message
):
    before = sum(gemini_batch_stack.vertex.requests.counts.values())
    with pytest.raises(AirflowFailException) as refused:
        run_task(make_task(arguments.pop("source", source), **arguments))
    assert message in str(refused.value)
    assert sum(gemini_batch_stack.vertex.requests.counts.values()) == before


def test_names_all_faults_at_once(make_task):
    with pytest.raises(AirflowFailException) as refused:
        run_task(make_task("bucket/b", model="models/x", labels={"A": "b"}))
    assert all(name in str(refused.value) for name in ("gs://bucket/b", "'x'", "'A'"))


def test_missing_source_can_be_retried_and_costs_nothing(gemini_batch_stack, make_task, bucket):
    before = creates(gemini_batch_stack)
    with pytest.raises(SourceNotReadyError, match="there is no such object"):
        run_task(make_task(f"gs://{bucket}/absent.jsonl"))
    with pytest.raises(SourceNotReadyError, match="no object matches it"):
        run_task(make_task(f"gs://{bucket}/absent-*.jsonl"))
    assert creates(gemini_batch_stack) == before


def test_missing_destination_bucket_is_told_before_the_job_is_created(gemini_batch_stack, make_task, source):
    before = creates(gemini_batch_stack)
    with pytest.raises(AirflowFailException, match="the bucket does not exist"):
        run_task(make_task(source, destination="gs://no-such-bucket-anywhere/out"))
    assert creates(gemini_batch_stack) == before


def test_refusal_of_the_service_is_final_and_says_why(gemini_batch_stack, make_task, source):
    with pytest.raises(AirflowFailException, match=r"creating the job .* 40[04]"):
        run_task(make_task(source, model="no-such-model"))


def test_several_files_and_a_pattern(gemini_batch_stack, make_task, bucket):
    one = upload(gemini_batch_stack, bucket, "in/one.jsonl", [request("a")])
    two = upload(gemini_batch_stack, bucket, "in/two.jsonl", [request("b"), request("c")])
    upload(gemini_batch_stack, bucket, "in/deeper/three.jsonl", [request("d")])
    assert run_task(make_task([one, two]))["counts"]["ok"] == 3
    assert run_task(make_task(f"gs://{bucket}/in/*.jsonl"))["counts"]["ok"] == 3


def test_failed_job_says_why_and_the_next_try_pays_for_a_new_one(gemini_batch_stack, make_task, source):
    vertex = gemini_batch_stack.vertex
    vertex.faults.plan("fail")
    with pytest.raises(JobFailedError) as failed:
        run_task(make_task(source))
    message = str(failed.value)
    assert "failed." in message
    assert "Error       [code" in message
    assert "The next try submits a new job." in message
    before = creates(gemini_batch_stack)
    assert run_task(make_task(source), TaskInstance(try_number=2))["counts"]["ok"] == 20
    assert creates(gemini_batch_stack) == before + 1
