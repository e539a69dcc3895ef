"""@task.gemini_batch: what the function gives is asked, once, and read by key."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import DAG, AirflowFailException, TaskDeferred, task

from airflow_gemini_batch import iter_responses
from airflow_gemini_batch.decorators.gemini_batch import GeminiBatchDecoratedOperator
from airflow_gemini_batch.jobs.state import JobState
from airflow_gemini_batch.testing.dag_runs import run_dag
from airflow_gemini_batch.vertex.resource import VertexJobName
from tests.operators.steps import MODEL, creates
from tests.support.jobs import make_client, wait_for
from tests.support.requests_data import lines, request, storage_client
from tests.support.tasks import TaskInstance, run_task

PROMPTS = {"emma": "Describe Emma.", "frankenstein": "Describe Frankenstein."}


@pytest.fixture
def folder(bucket):
    return f"gs://{bucket}/prompts"


def ask(function: Callable[..., Any], folder: str, **arguments: Any) -> GeminiBatchDecoratedOperator:
    settings = {"op_args": [], "op_kwargs": {}, "model": MODEL, "poll_interval": 0.05, **arguments}
    return GeminiBatchDecoratedOperator(task_id="ask", python_callable=function, requests=folder, **settings)


def answers(manifest: dict[str, Any], **arguments: Any) -> dict[str, Any]:
    return {one.key: one.value or one.text for one in iter_responses(manifest, **arguments)}


def pairs() -> Iterator[tuple[str, str]]:
    yield from PROMPTS.items()


def whole_requests() -> list[dict[str, Any]]:
    return [{**request(text), "key": key} for key, text in PROMPTS.items()]


@pytest.mark.parametrize(
    "function", [pytest.param(lambda: PROMPTS, id="dict"), pairs, whole_requests, lambda: list(pairs())]
)
@pytest.mark.parametrize("deferrable", [True, False], ids=["deferrable", "waiting"])
def test_what_the_function_gives_is_answered_by_key(folder, function, deferrable):
    manifest = run_task(ask(function, folder, deferrable=deferrable))
    found = answers(manifest)
    assert found.keys() == PROMPTS.keys()
    assert all(text in found[key] for key, text in PROMPTS.items())


def test_prompts_without_keys_are_numbered(folder):
    found = answers(run_task(ask(lambda: list(PROMPTS.values()), folder)))
    assert "Emma" in found["0"]
    assert "Frankenstein" in found["1"]


def test_function_gets_its_arguments_and_the_context(folder):
    def function(books: list[str], ti: Any, *, style: str) -> dict[str, str]:
        return {book: f"{ti.task_id}: {style} {book}" for book in books}

    found = answers(run_task(ask(function, folder, op_args=[["emma"]], op_kwargs={"style": "Briefly"})))
    assert "ask: Briefly emma" in found["emma"]


def test_what_holds_for_all_prompts_is_in_each_request(gemini_batch_stack, folder):
    schema = {"summary": str}
    manifest = run_task(
        ask(
            pairs,
            folder,
            system_instruction="Be brief.",
            generation_config={"temperature": 0.1},
            response_schema=schema,
            safety_settings=[{"category": "HARM_CATEGORY_HARASSMENT", "threshold": "BLOCK_NONE"}],
        )
    )
    (source,) = manifest["rounds"][0]["source"]
    assert source.startswith(f"{folder}/")
    for row in lines(gemini_batch_stack, source):
        assert row["request"]["systemInstruction"] == {"parts": [{"text": "Be brief."}]}
        assert row["request"]["generationConfig"]["temperature"] == 0.1
        assert row["request"]["safetySettings"][0]["threshold"] == "BLOCK_NONE"
    found = answers(manifest, response_schema=schema)
    assert "Describe Emma." in found["emma"]["summary"]


def nothing() -> list[str]:
    return []


def breaks() -> Iterator[str]:
    yield "Describe Emma."
    raise KeyError("the catalogue is gone")


@pytest.mark.parametrize(
    ("function", "error", "message"),
    [
        pytest.param(
            lambda: [("a", "x"), ("a", "y")], AirflowFailException, "the key 'a' occurs more", id="key"
        ),
        pytest.param(
            lambda: {"a": " "}, AirflowFailException, "the key 'a': the prompt is empty", id="empty"
        ),
        pytest.param(nothing, AirflowFailException, "nothing returned no prompts", id="nothing"),
        pytest.param(lambda: None, AirflowFailException, "got NoneType", id="None"),
        pytest.param(lambda: "Describe Emma.", AirflowFailException, "got str", id="one text"),
        pytest.param(lambda: [7], AirflowFailException, "neither a text nor a request", id="number"),
        pytest.param(breaks, KeyError, "the catalogue is gone", id="error amid the prompts"),
        pytest.param(lambda: int("x"), ValueError, "invalid literal", id="error of the function"),
    ],
)
def test_what_is_no_prompt_costs_nothing(gemini_batch_stack, bucket, folder, function, error, message):
    before = creates(gemini_batch_stack)
    with pytest.raises(error, match=message):
        run_task(ask(function, folder))
    assert not list(storage_client(gemini_batch_stack).list_blobs(bucket))
    assert creates(gemini_batch_stack) == before


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"folder": "bq://project-1.d"}, "has to be a folder on Cloud Storage"),
        ({"folder": ""}, "requests is missing"),
        ({"model": ""}, "model is missing"),
        ({"response_schema": {"a": object()}}, "response_schema"),
    ],
)
def test_parameters_that_can_t_be_are_told(gemini_batch_stack, folder, arguments, message):
    before = creates(gemini_batch_stack)
    with pytest.raises(AirflowFailException, match=message):
        run_task(ask(pairs, **{"folder": folder, **arguments}))
    assert creates(gemini_batch_stack) == before


def test_next_try_calls_the_function_again_and_finds_the_job(gemini_batch_stack, folder):
    calls = []

    def function() -> dict[str, str]:
        calls.append(1)
        return PROMPTS

    first = run_task(ask(function, folder))
    before = creates(gemini_batch_stack)
    assert run_task(ask(function, folder), TaskInstance(task_id="ask", try_number=2)) == first
    assert len(calls) == 2
    assert creates(gemini_batch_stack) == before


def test_other_prompts_are_another_job(folder):
    first = run_task(ask(lambda: PROMPTS, folder))
    second = run_task(ask(lambda: {"emma": "Describe Emma again."}, folder))
    assert second["identity"] != first["identity"]


def test_task_that_resumes_does_not_call_the_function_again(gemini_batch_stack, folder):
    def never() -> Any:
        raise AssertionError("called again")

    context = {"ti": TaskInstance(task_id="ask")}
    gemini_batch_stack.vertex.faults.plan("partly_succeed", share=0.5)
    method, function, job_names, before = "execute", pairs, [], creates(gemini_batch_stack)
    arguments: dict[str, Any] = {}
    while True:
        try:
            manifest = getattr(ask(function, folder), method)(context, **arguments)
            break
        except TaskDeferred as deferred:
            name = deferred.trigger.job_name
        job_names.append(name)
        ended = (JobState.SUCCEEDED, JobState.PARTIALLY_SUCCEEDED)
        wait_for(make_client(gemini_batch_stack.vertex), VertexJobName.parse(name), *ended)
        event = {"version": 1, "outcome": "ended", "job_name": name, "state": "", "message": ""}
        method, function, arguments = "resume", never, {"event": event}
    assert [one["job_name"] for one in manifest["rounds"]] == job_names
    assert creates(gemini_batch_stack) - before == len(job_names) == 2
    assert answers(manifest).keys() == PROMPTS.keys()


def test_dag_reads_the_answers_in_the_task_after(folder):
    with DAG("prompts", start_date=datetime(2026, 1, 1), schedule=None, params={"folder": folder}) as dag:

        @task.gemini_batch(model=MODEL, requests="{{ params.folder }}", poll_interval=0.05, task_id="ask")
        def questions(books: list[str], ds: str | None = None) -> Iterator[tuple[str, str]]:
            for book in books:
                yield book, f"On {ds}: describe {book}."

        @task
        def read(manifest: dict[str, Any]) -> dict[str, str]:
            return {one.key: one.text for one in iter_responses(manifest, only_ok=True)}

        read(questions(["emma", "{{ params.folder }}"]))
    ended = run_dag(dag)
    assert ended.state == "success"
    (found,) = ended.results["read"]
    assert found.keys() == {"emma", folder}
    assert "On 20" in found["emma"]


def test_decorator_maps_over_arguments(gemini_batch_stack, folder):
    with DAG("mapped_prompts", start_date=datetime(2026, 1, 1), schedule=None) as dag:

        @task.gemini_batch(model=MODEL, requests=folder, poll_interval=0.05)
        def ask(book: str) -> dict[str, str]:
            return {book: f"Describe {book}."}

        ask.expand(book=["emma", "frankenstein"])
    ended = run_dag(dag)
    assert ended.states == {"ask": ["success", "success"]}
    assert [set(answers(manifest)) for manifest in ended.results["ask"]] == [{"emma"}, {"frankenstein"}]


def test_template_fields_are_attributes():
    one = ask(pairs, "gs://bucket/prompts")
    assert len(set(one.template_fields)) == len(one.template_fields)
    assert "source" not in one.template_fields
    assert all(hasattr(one, name) for name in one.template_fields)
