"""A job with our label that is not ours, by attack or because somebody copied ours in the console: it is left alone."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from airflow_gemini_batch.core.addresses import parse_address
from airflow_gemini_batch.costs.prices import PriceTable
from airflow_gemini_batch.exceptions import ForeignJobError, SubmissionUnknownError
from airflow_gemini_batch.hooks.gemini_batch import GeminiBatchHook
from airflow_gemini_batch.jobs.identity import RoundId, TaskRun, identity
from airflow_gemini_batch.jobs.ownership import differences
from airflow_gemini_batch.jobs.patience import Patience
from airflow_gemini_batch.jobs.polling import WaitPolicy
from airflow_gemini_batch.jobs.runner import BatchRun
from airflow_gemini_batch.jobs.state import BatchJob, JobState
from airflow_gemini_batch.jobs.submission import JobRequest, Submission
from airflow_gemini_batch.testing.stack import LOCATION
from airflow_gemini_batch.vertex.resource import VertexJobName
from tests.jobs.submission import creates
from tests.support.jobs import wait_for
from tests.support.requests_data import request, upload

TASK = TaskRun("nightly", "manual", "describe")
KEY = f"projects/my-shop/locations/{LOCATION}/keyRings/shop/cryptoKeys/books"
OTHER_MODEL = "publishers/google/models/gemini-2.5-pro"


class Ours:
    """A submission, and the create call that it makes."""

    def __init__(self, bucket: str, destination: str | None = None) -> None:
        self.bucket = bucket
        self.hook = GeminiBatchHook()
        self.submission = Submission.checked(
            model="gemini-2.5-flash",
            requests=f"gs://{bucket}/in.jsonl",
            destination=destination,
            name="nightly.describe",
            labels={},
            model_parameters=None,
        )
        requests = self.submission.requests
        versions = self.hook.store.of(requests[0]).versions(requests)
        self.round = RoundId(identity(TASK, self.submission.fingerprint(versions)))

    @property
    def request(self) -> JobRequest:
        return self.submission.request(self.round, 0, {})

    def submit(
        self, *, first_try: bool = True, check: Callable[[JobRequest], None] = lambda _: None
    ) -> BatchJob:
        batch = BatchRun(
            self.submission,
            TASK,
            first_try=first_try,
            hook=self.hook,
            policy=WaitPolicy(),
            max_row_retries=1,
            max_failed_fraction=0,
            cancel_on_timeout=True,
            check=check,
            prices=PriceTable.load,
            log=logging.getLogger(__name__),
            patience=Patience(sleep=lambda _: None),
        )
        return batch.submit().job


@pytest.fixture
def ours(gemini_batch_stack, vertex, bucket) -> Ours:
    for name in ("in.jsonl", "other.jsonl"):
        upload(gemini_batch_stack, bucket, name, [request("a")])
    return Ours(bucket)


def foreign(ours: Ours, change: str) -> dict[str, Any]:
    """Return in what somebody else's create call differs from ours."""
    return {
        "model": {"model": OTHER_MODEL},
        "requests": {"requests": (parse_address(f"gs://{ours.bucket}/other.jsonl"),)},
        "more-requests": {
            "requests": (*ours.submission.requests, parse_address(f"gs://{ours.bucket}/other.jsonl"))
        },
        "model-parameters": {"model_parameters": {"temperature": 2}},
        "key": {"kms_key_name": KEY},
        "account": {"service_account": "books@my-shop.iam.gserviceaccount.com"},
        "destination": {"destination": parse_address(f"gs://{ours.bucket}/elsewhere")},
        "labels": {"labels": {**ours.request.labels, "gemini_batch_round": "1", "gemini_batch_after": "42"}},
        "broken-labels": {"labels": {**ours.request.labels, "gemini_batch_round": "one"}},
    }[change]


CHANGES = pytest.mark.parametrize(
    "change",
    [
        "model",
        "requests",
        "more-requests",
        "model-parameters",
        "key",
        "account",
        "destination",
        "labels",
        "broken-labels",
    ],
)


@CHANGES
@pytest.mark.parametrize(
    ("state", "fault"),
    [(JobState.PENDING, "slow"), (JobState.SUCCEEDED, None), (JobState.EXPIRED, "expire_queued")],
)
@pytest.mark.parametrize("first_try", [True, False])
def test_foreign_job_is_neither_taken_nor_cancelled_nor_followed_by_ours(
    vertex, client, ours, change, state, fault, first_try
):
    if fault:
        vertex.faults.plan(fault)
    theirs = client.create(replace(ours.request, **foreign(ours, change))).name
    wait_for(client, theirs, state)
    vertex.requests.clear()
    with pytest.raises(ForeignJobError) as refused:
        ours.submit(first_try=first_try)
    assert f"{theirs} ({state.short}) carries the label of this submission, but is another job" in str(
        refused.value
    )
    for words in ("expected ", "found ", theirs.console_url, "no job was created"):
        assert words in str(refused.value)
    assert not refused.value.retryable
    assert vertex.requests.counts.keys() == {"list"}
    assert client.get(theirs).state is state


def test_refusal_names_what_was_expected_and_what_is_there(client, ours):
    client.create(replace(ours.request, model=OTHER_MODEL))
    with pytest.raises(ForeignJobError, match=f"expected {ours.submission.model}, found {OTHER_MODEL}"):
        ours.submit()


@CHANGES
def test_copy_beside_our_own_job_is_left_alone(vertex, client, ours, caplog, change):
    for _ in range(2):
        vertex.faults.plan("slow")
    own = ours.submit()
    copy = client.create(replace(ours.request, **foreign(ours, change))).name
    vertex.requests.clear()
    assert ours.submit(first_try=False).name == own.name
    assert vertex.requests.counts.keys() == {"list"}
    assert f"{copy} (PENDING) carries the label" in caplog.text


@CHANGES
def test_copy_that_appears_while_ours_is_created_is_left_alone(vertex, client, ours, change):
    copies: list[VertexJobName] = []

    def copy(_: JobRequest) -> None:
        vertex.faults.plan("slow")
        copies.append(client.create(replace(ours.request, **foreign(ours, change))).name)
        vertex.faults.plan("slow")

    own = ours.submit(check=copy)
    assert own.name != copies[0]
    assert "cancel" not in vertex.requests.counts
    assert [client.get(name).state for name in (own.name, copies[0])] == [JobState.PENDING] * 2


def test_copy_is_not_taken_for_the_job_whose_creation_was_not_confirmed(vertex, client, ours):
    def copy(_: JobRequest) -> None:
        client.create(replace(ours.request, model=OTHER_MODEL))
        vertex.faults.plan("drop_before", on="create", times=None)

    with pytest.raises(SubmissionUnknownError):
        ours.submit(check=copy)
    assert creates(vertex) == 2


@pytest.mark.parametrize("fault", ["fail", "pause"])
def test_foreign_job_that_nobody_would_take_changes_nothing(vertex, client, ours, fault):
    vertex.faults.plan(fault)
    theirs = client.create(replace(ours.request, model=OTHER_MODEL)).name
    wait_for(client, theirs, JobState.FAILED, JobState.PAUSED)
    assert ours.submit().name != theirs


@pytest.mark.parametrize(
    ("pattern", "is_ours"), [("i*.jsonl", True), ("*.jsonl", False), ("no*.jsonl", False), ("in.json", False)]
)
def test_same_files_are_ours_by_pattern_too(client, ours, pattern, is_ours):
    theirs = (parse_address(f"gs://{ours.bucket}/{pattern}"),)
    job = client.create(replace(ours.request, requests=theirs))
    if is_ours:
        assert ours.submit().name == job.name
        return
    with pytest.raises(ForeignJobError, match="requests: expected"):
        ours.submit()


def test_bucket_of_somebody_else_is_not_read(ours):
    foreign_job = job_like(ours.submission, ours.round, requests=("gs://somebody-else/*.jsonl",))
    (found,) = differences(ours.submission, ours.round, lambda _: pytest.fail("was read"), foreign_job)
    assert "somebody-else" in found


def test_named_destination_is_compared(client, ours, bucket):
    named = Ours(bucket, f"gs://{bucket}/out/")
    client.create(replace(named.request, destination=parse_address(f"gs://{bucket}/out2")))
    with pytest.raises(ForeignJobError, match="destination: expected"):
        named.submit()


def test_our_own_later_job_is_known_by_its_numbered_destination(vertex, client, ours):
    vertex.faults.plan("fail")
    wait_for(client, ours.submit().name, JobState.FAILED)
    vertex.faults.plan("slow")
    second = ours.submit(first_try=False)
    assert ours.submit(first_try=False).name == second.name


FILES = "gs://books/in.jsonl"
TABLE = "bq://my-shop.books.prompts"


def job_like(submission: Submission, round_: RoundId, **changes: Any) -> BatchJob:
    created = submission.request(round_, 0, {})
    job = BatchJob(
        VertexJobName("123", "us-central1", "42"),
        JobState.RUNNING,
        model=created.model,
        labels=created.labels,
        requests=tuple(map(str, created.requests)),
        destination=str(created.destination),
    )
    return replace(job, **changes)


@pytest.mark.parametrize("requests", [FILES, [FILES, "gs://books/more-*.jsonl"], TABLE])
@pytest.mark.parametrize(
    "destination", [None, "gs://books/out", "bq://my-shop.books.out", "bq://my-shop.books"]
)
@pytest.mark.parametrize("number", [0, 2])
@pytest.mark.parametrize("attempt", [0, 3])
def test_own_job_is_known_whatever_its_addresses(requests, destination, number, attempt):
    submission = Submission.checked(
        model="gemini-2.5-flash",
        requests=requests,
        destination=destination,
        name="n",
        labels=None,
        model_parameters=None,
    )
    round_ = RoundId("0123456789abcdef" * 2, number, "41" if number else "")
    written = str(submission.request(round_, attempt, {}).destination)
    job = job_like(submission, round_, destination=written)
    assert differences(submission, round_, list, job) == []
    by_number = tuple(uri.replace("bq://my-shop.", "bq://123.") for uri in job.requests)
    assert differences(submission, round_, list, replace(job, requests=by_number[::-1])) == []
    for change in ({"model": ""}, {"requests": ()}, {"destination": ""}, {"labels": {}}):
        assert len(differences(submission, round_, list, replace(job, **change))) == 1
