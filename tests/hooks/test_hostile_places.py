"""A location, job name or address that leads elsewhere: no token is fetched, and nothing arrives there.

The connection has the key of a service account whose tokens are asked for at the trap. So a token that is fetched, a
request that is sent and a handshake that is begun are all heard.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable
from typing import Any

import pytest

from airflow_gemini_batch.exceptions import InvalidRequestError, JobServiceError
from airflow_gemini_batch.hooks.gemini_batch import GeminiBatchHook
from airflow_gemini_batch.hooks.kill import cancel_if_killed
from airflow_gemini_batch.jobs.client import ALL_JOBS
from airflow_gemini_batch.operators.gemini import SubmitGeminiBatchOperator
from airflow_gemini_batch.sensors.job import GeminiBatchJobSensor
from airflow_gemini_batch.testing.dag_runs import run_dag
from airflow_gemini_batch.triggers.gemini_batch import GeminiBatchJobTrigger
from airflow_gemini_batch.triggers.readiness import GeminiBatchReadinessTrigger
from airflow_gemini_batch.vertex.async_client import AsyncBatchJobClient
from airflow_gemini_batch.vertex.client import BatchJobClient
from airflow_gemini_batch.vertex.resource import VertexJobName
from tests.support.jobs import job_request
from tests.support.tasks import TaskInstance, first_event
from tests.support.trap import service_account, trap

pytestmark = pytest.mark.stack

VARIABLES = (
    "STORAGE_EMULATOR_HOST",
    "BIGQUERY_EMULATOR_HOST",
    "GOOGLE_VERTEX_BASE_URL",
    "GOOGLE_CLOUD_PROJECT",
)

# {} is the trap's address, so that what is sent to the wrong host arrives there.
HOSTILE = [
    pytest.param("{}/", id="slash"),
    pytest.param("{}#", id="fragment"),
    pytest.param("{}?", id="query"),
    pytest.param("{}\\@", id="backslash"),
    pytest.param("{}\\", id="backslash-last"),
    pytest.param("us-central1@{}/", id="user"),
    pytest.param("{}/\n", id="newline"),
    pytest.param("127.0.0.1\u3002/", id="unicode-dot"),
    pytest.param("us\uff0dcentral1", id="unicode-hyphen"),
    pytest.param("US-CENTRAL1", id="uppercase"),
    pytest.param("us-central1\n", id="newline-last"),
    pytest.param("..", id="dots"),
]
hostile = pytest.mark.parametrize("location", HOSTILE)


@pytest.fixture(scope="module")
def one_trap():
    with trap() as opened:
        yield opened


@pytest.fixture
def nobody(one_trap):
    yield one_trap
    assert one_trap.heard == []


@pytest.fixture(scope="module")
def key(one_trap) -> str:
    # One key, at one address: Airflow masks all secrets that it has ever seen, and slows down with each.
    return service_account(f"http://{one_trap.address}/token")


@pytest.fixture
def connect(monkeypatch, nobody, key) -> Callable[..., str]:
    """Set the default connection, with a real key."""
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)

    def connect(**extra: Any) -> str:
        content = {"keyfile_dict": key, "project": "my-shop", **extra}
        monkeypatch.setenv(
            "AIRFLOW_CONN_GOOGLE_CLOUD_DEFAULT",
            json.dumps({"conn_type": "google_cloud_platform", "extra": content}),
        )
        return "google_cloud_default"

    return connect


def name_in(location: str, job_id: str = "42") -> str:
    return f"projects/my-shop/locations/{location}/batchPredictionJobs/{job_id}"


NAME = VertexJobName.parse(name_in("us-central1"))


async def page(hook: GeminiBatchHook) -> object:
    client = hook.get_async_conn(hook.job_name(name_in(hook.location)))
    try:
        return (await client.page(ALL_JOBS))()
    finally:
        await client.close()


USES = {
    "list": lambda hook: list(hook.get_conn().list()),
    "get": lambda hook: hook.get_conn().get(NAME),
    "create": lambda hook: hook.get_conn().create(job_request("books")),
    "cancel": lambda hook: hook.get_conn().cancel(NAME),
    "async-list": lambda hook: asyncio.run(page(hook)),
    "storage": lambda hook: hook.storage_client.get_bucket("books"),
    "bigquery": lambda hook: hook.bigquery_client.get_table("my-shop.books.t"),
}
uses = pytest.mark.parametrize("use", USES.values(), ids=USES)


@uses
@hostile
@pytest.mark.parametrize("where", ["argument", "connection"])
def test_location_that_leads_elsewhere_is_refused(connect, nobody, where, location, use):
    location = location.format(nobody.address)
    if where == "argument":
        hook = GeminiBatchHook(connect(location="us-central1"), location=location)
    else:
        hook = GeminiBatchHook(connect(location=location))
    with pytest.raises(InvalidRequestError, match=r"^location.*: expected a location such as us-central1"):
        use(hook)


@uses
@pytest.mark.parametrize(
    "project", ["{}/", "shop-one/../..", "shop-one\n", "SHOP-ONE", "..", "shop\u2024one"]
)
@pytest.mark.parametrize("where", ["argument", "connection"])
def test_project_that_leads_elsewhere_is_refused(connect, nobody, where, project, use):
    project = project.format(nobody.address)
    if where == "argument":
        hook = GeminiBatchHook(connect(location="us-central1"), project_id=project)
    else:
        hook = GeminiBatchHook(connect(location="us-central1", project=project))
    with pytest.raises(InvalidRequestError, match="expected the id or number of a Google Cloud project"):
        use(hook)


@hostile
@pytest.mark.parametrize("kind", [BatchJobClient, AsyncBatchJobClient])
def test_client_checks_the_location_once_more(nobody, kind, location):
    for url in (None, f"http://{nobody.address}"):
        with pytest.raises(ValueError, match="location: expected"):
            kind(credentials=None, project="my-shop", location=location.format(nobody.address), base_url=url)


def test_create_checks_the_location_before_google_genai_makes_an_address_of_it(nobody):
    from google.oauth2.credentials import Credentials

    client = BatchJobClient(credentials=Credentials("token"), project="my-shop", location="us-central1")
    client.location = f"{nobody.address}/"
    with pytest.raises(ValueError, match="location: expected"):
        client.create(job_request("books"))


# Wherever a job's name comes from another process, a run's conf or a row of Airflow's database.


async def wait_for(trigger: Any) -> Any:
    trigger.task_instance = TaskInstance()
    return await first_event(trigger)


def run_trigger(name: str, connection: str) -> None:
    asyncio.run(
        wait_for(
            GeminiBatchJobTrigger(job_name=name, submitted_at=0.0, gcp_conn_id=connection, poll_interval=0.01)
        )
    )


def run_readiness(probe: dict[str, Any], connection: str, **arguments: Any) -> None:
    trigger = GeminiBatchReadinessTrigger(probe=probe, gcp_conn_id=connection, **arguments)
    asyncio.run(wait_for(trigger))


def poke(name: str, connection: str) -> None:
    sensor = GeminiBatchJobSensor(task_id="wait", job_name=name, gcp_conn_id=connection, deferrable=False)
    sensor.poke({})


def resume(name: str, connection: str) -> None:
    task = SubmitGeminiBatchOperator(
        task_id="t", model="gemini-2.5-flash", requests="gs://books/in.jsonl", gcp_conn_id=connection
    )
    event = {"version": 1, "outcome": "ended", "job_name": name, "state": "", "message": ""}
    task.resume({"ti": TaskInstance()}, event)


READERS: dict[str, Callable[[str, str], object]] = {
    "hook": lambda name, connection: GeminiBatchHook(connection).get_conn(GeminiBatchHook.job_name(name)),
    "job-trigger": run_trigger,
    "readiness-trigger": lambda name, connection: run_readiness(
        {"kind": "job", "job_name": name}, connection
    ),
    "output-trigger": lambda name, connection: run_readiness(
        {"kind": "output", "output": "gs://books/out", "job_name": name}, connection
    ),
    "sensor": poke,
    "resumed-task": resume,
}


@pytest.mark.parametrize("read", READERS.values(), ids=READERS)
@pytest.mark.parametrize(
    "name",
    [
        *(pytest.param(name_in(param.values[0]), id=param.id) for param in HOSTILE),
        pytest.param(name_in(""), id="empty-location"),
        pytest.param(name_in("us-central1", ".."), id="dots-for-the-job"),
        pytest.param(name_in("us-central1", "42:cancel?"), id="call-for-the-job"),
        pytest.param(name_in("us-central1", "4\uff12"), id="unicode-digit-for-the-job"),
        pytest.param("projects/SHOP/locations/us-central1/batchPredictionJobs/42", id="project"),
    ],
)
def test_job_name_that_leads_elsewhere_is_refused(connect, nobody, name, read):
    from airflow.providers.common.compat.sdk import AirflowFailException

    with pytest.raises((ValueError, AirflowFailException), match="is not the name of a batch job"):
        read(name.format(nobody.address), connect(location="us-central1"))


@hostile
def test_location_planted_in_a_trigger_is_refused(connect, nobody, location):
    probe = {"kind": "job", "labels": {"a": "b"}}
    with pytest.raises(InvalidRequestError, match="location: expected"):
        run_readiness(probe, connect(), location=location.format(nobody.address))


def test_kill_of_a_planted_job_name_is_not_sent_and_raises_nothing(connect, nobody, caplog):
    hook = GeminiBatchHook(connect(location="us-central1"))
    log = logging.getLogger("kill")
    name = name_in(f"{nobody.address}/")
    assert not cancel_if_killed(name, hook, TaskInstance(), "deferred", log)
    assert "There is nothing to cancel" in caplog.text


@pytest.mark.slow
def test_run_whose_conf_names_a_job_elsewhere_fails(connect, nobody):
    from airflow.providers.common.compat.sdk import DAG

    connection = connect(location="us-central1")
    with DAG("waits_for_a_job_of_the_conf", schedule=None) as dag:
        GeminiBatchJobSensor(task_id="wait", job_name="{{ dag_run.conf['job'] }}", gcp_conn_id=connection)
    ended = run_dag(dag, conf={"job": name_in(f"{nobody.address}#")})
    assert (ended.state, ended.states) == ("failed", {"wait": ["failed"]})


# Real credentials and servers that are not Google's.


@uses
@pytest.mark.parametrize("where", ["extra", *VARIABLES[:3]])
def test_real_credentials_are_not_sent_over_http(connect, nobody, monkeypatch, where, use):
    url = f"http://{nobody.address}"
    if where == "extra":
        hook = GeminiBatchHook(connect(location="us-central1", vertex_base_url=url))
    else:
        monkeypatch.setenv(where, url)
        hook = GeminiBatchHook(connect(location="us-central1"))
    with pytest.raises(InvalidRequestError, match="vertex_base_url" if where == "extra" else where):
        use(hook)


def test_trigger_s_client_is_refused_over_http_too(connect, nobody):
    hook = GeminiBatchHook(connect(vertex_base_url=f"http://{nobody.address}"))
    with pytest.raises(InvalidRequestError, match="is not https"):
        hook.get_async_conn(NAME)


def test_variable_that_is_set_later_is_noticed(connect, nobody, monkeypatch):
    hook = GeminiBatchHook(connect(location="us-central1"))
    assert hook.credentials
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", f"http://{nobody.address}")
    with pytest.raises(InvalidRequestError, match="STORAGE_EMULATOR_HOST is set"):
        _ = hook.storage_client


def test_anonymous_connection_is_not_led_to_google_by_half(connect, nobody, monkeypatch):
    monkeypatch.setenv("GOOGLE_VERTEX_BASE_URL", f"http://{nobody.address}")
    hook = GeminiBatchHook(connect(location="us-central1", is_anonymous=True))
    with pytest.raises(
        InvalidRequestError, match="STORAGE_EMULATOR_HOST and BIGQUERY_EMULATOR_HOST are not set"
    ):
        list(hook.get_conn().list())


def test_trap_hears_what_is_sent(connect, nobody, monkeypatch):
    # Otherwise all tests of this module would hold nothing.
    from google.oauth2.credentials import Credentials

    with trap() as heard:
        client = BatchJobClient(
            credentials=Credentials("token"),
            base_url=f"https://{heard.address}",
            project="my-shop",
            location="eu",
        )
        with pytest.raises(JobServiceError):
            list(client.list())
        assert heard.heard
