"""A task that would defer asks for a triggerer before it creates a job: Airflow answers by HTTP or from its tables."""

from __future__ import annotations

import json
import logging
import threading
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from airflow.providers.common.compat.sdk import conf

from airflow_gemini_batch import SubmitGeminiBatchOperator
from airflow_gemini_batch.exceptions import TriggererMissingError
from airflow_gemini_batch.hooks.triggerer import check_triggerer
from airflow_gemini_batch.jobs.patience import Patience
from airflow_gemini_batch.operators.submit import SubmitBatchJobOperator
from airflow_gemini_batch.testing.dag_runs import prepare_database
from airflow_gemini_batch.version_compat import AIRFLOW_V_3_0_PLUS
from tests.support.requests_data import request, upload
from tests.support.tasks import TaskInstance

LOG = logging.getLogger(__name__)
AT_ONCE = Patience(triggerer_starts=())
HEALTH = "/api/v2/monitor/health"

pytestmark = pytest.mark.stack


class Worker(TaskInstance):
    """A task instance as a worker has it: Airflow 2 gives it the id of its job."""

    job_id = 7


def told(caplog) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.name == __name__]


class Airflow:
    """Airflow's health: what its page says on Airflow 3, what its table holds on Airflow 2."""

    def __init__(self) -> None:
        self.pages: dict[str, object] = {}
        self.asked: list[str] = []

    def heard_of_a_triggerer(self, ago: float | None) -> None:
        """Let the last triggerer be silent for so many seconds; ``None``: there has been none."""
        from airflow.jobs.job import Job
        from airflow.utils.session import create_session

        prepare_database()
        with create_session() as session:
            session.query(Job).filter(Job.job_type == "TriggererJob").delete()
            if ago is not None:
                job = Job()
                job.job_type, job.state = "TriggererJob", "running"
                job.latest_heartbeat = datetime.now(UTC) - timedelta(seconds=ago)
                session.add(job)
        if AIRFLOW_V_3_0_PLUS:
            from airflow.api.common.airflow_health import get_airflow_health

            self.pages[HEALTH] = get_airflow_health()


@pytest.fixture
def airflow(monkeypatch):
    airflow = Airflow()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            airflow.asked.append(self.path)
            page = airflow.pages.get(self.path)
            self.send_response(404 if page is None else 200)
            self.end_headers()
            self.wfile.write(page.encode() if isinstance(page, str) else json.dumps(page).encode())

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    url = f"http://127.0.0.1:{server.server_port}"
    monkeypatch.setenv("AIRFLOW__API__BASE_URL", url)
    monkeypatch.setenv("AIRFLOW__CORE__EXECUTION_API_SERVER_URL", f"{url}/execution/")
    if AIRFLOW_V_3_0_PLUS:
        from airflow.sdk.execution_time import task_runner

        # What a worker has, and a test has not; nothing is sent through it.
        monkeypatch.setattr(task_runner, "SUPERVISOR_COMMS", object(), raising=False)
    yield airflow
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def source(gemini_batch_stack, bucket):
    return upload(gemini_batch_stack, bucket, "in.jsonl", [request("a")])


@pytest.mark.parametrize("ago", [0, 299])
def test_triggerer_that_is_heard_of_is_enough(airflow, caplog, ago):
    """One that restarts has not to fail a task: the next one takes its triggers over."""
    airflow.heard_of_a_triggerer(ago)
    check_triggerer(Worker(), LOG, AT_ONCE)
    assert told(caplog) == []


@pytest.mark.parametrize(
    ("ago", "heard"), [(None, "has never heard of one"), (3600, "last heard of one at ")]
)
def test_without_a_triggerer_the_message_says_what_to_do(airflow, ago, heard):
    airflow.heard_of_a_triggerer(ago)
    with pytest.raises(TriggererMissingError, match=heard) as missing:
        check_triggerer(Worker(), LOG, AT_ONCE)
    assert "No job was created" in str(missing.value)
    assert "deferrable=False" in str(missing.value)
    assert "airflow triggerer" in str(missing.value)
    assert missing.value.retryable


def test_triggerer_that_is_just_starting_is_waited_for(airflow):
    airflow.heard_of_a_triggerer(None)
    pauses = []

    def sleep(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) == 2:
            airflow.heard_of_a_triggerer(0)

    check_triggerer(Worker(), LOG, Patience(sleep=sleep))
    assert pauses == [5, 10]


def test_no_job_is_created_without_a_triggerer(airflow, vertex, source, monkeypatch):
    monkeypatch.setattr(SubmitBatchJobOperator, "patience", AT_ONCE)
    airflow.heard_of_a_triggerer(None)
    task = SubmitGeminiBatchOperator(task_id="describe", model="gemini-2.5-flash", requests=source)
    with pytest.raises(TriggererMissingError):
        task.execute({"ti": Worker()})
    assert vertex.requests.counts == {}


def test_task_that_waits_in_the_worker_needs_no_triggerer(airflow, vertex, source):
    airflow.heard_of_a_triggerer(None)
    task = SubmitGeminiBatchOperator(
        task_id="describe", model="gemini-2.5-flash", requests=source, deferrable=False, poll_interval=0.05
    )
    assert task.execute({"ti": Worker(run_id=source)})["counts"]["ok"] == 1
    assert airflow.asked == []


@pytest.mark.skipif(not AIRFLOW_V_3_0_PLUS, reason="Airflow 2 answers from its database")
@pytest.mark.parametrize(
    "page",
    [
        None,
        "<html>",
        {},
        [],
        {"metadatabase": {"status": "unhealthy"}, "triggerer": {"latest_triggerer_heartbeat": None}},
        {"metadatabase": {"status": "healthy"}, "triggerer": {}},
        {"metadatabase": {"status": "healthy"}, "triggerer": {"latest_triggerer_heartbeat": "today"}},
    ],
    ids=str,
)
def test_answer_that_does_not_say_is_a_warning(airflow, caplog, page):
    airflow.pages[HEALTH] = page
    check_triggerer(Worker(), LOG, AT_ONCE)
    assert "Could not ask Airflow whether a triggerer is running" in caplog.text
    assert airflow.asked == [HEALTH]


@pytest.mark.skipif(not AIRFLOW_V_3_0_PLUS, reason="Airflow 2 answers from its database")
def test_second_address_is_asked_where_the_first_knows_only_tasks(airflow, monkeypatch):
    airflow.heard_of_a_triggerer(None)
    url = conf.get("api", "base_url")
    monkeypatch.setenv("AIRFLOW__CORE__EXECUTION_API_SERVER_URL", f"{url}/tasks/execution/")
    with pytest.raises(TriggererMissingError):
        check_triggerer(Worker(), LOG, AT_ONCE)
    assert airflow.asked == [f"/tasks{HEALTH}", HEALTH]


def test_whoever_runs_a_whole_dag_in_one_process_is_not_asked(airflow, caplog, monkeypatch):
    """``dag.test()`` runs triggers itself."""
    airflow.heard_of_a_triggerer(None)
    if AIRFLOW_V_3_0_PLUS:
        from airflow.sdk.execution_time import task_runner
        from airflow.sdk.execution_time.supervisor import InProcessSupervisorComms

        comms = InProcessSupervisorComms(supervisor=None)
        monkeypatch.setattr(task_runner, "SUPERVISOR_COMMS", comms)
    check_triggerer(TaskInstance(), LOG, AT_ONCE)
    assert (airflow.asked, told(caplog)) == ([], [])
