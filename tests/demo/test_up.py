"""``gemini-batch up`` as a user runs it: a real scheduler and triggerer run the nightly DAG.

Meanwhile a web page attacks it from a real browser. Afterwards secrets are looked for, and processes that were left
behind. All of it is one test, since each would start Airflow again.
"""

from __future__ import annotations

import json
import re
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from contextlib import closing, suppress
from urllib.parse import urlsplit

import psutil
import pytest
import requests
from google.auth.credentials import AnonymousCredentials
from google.cloud import bigquery, storage

from airflow_gemini_batch.testing import LOCATION, PROJECT
from airflow_gemini_batch.version_compat import AIRFLOW_V_3_0_PLUS
from tests.support.hostile_page import BROWSER, REBOUND, Target, visit

pytestmark = pytest.mark.slow

JOBS = f"/v1/projects/{PROJECT}/locations/{LOCATION}/batchPredictionJobs"
DAG_RUNS = f"/api/{'v2' if AIRFLOW_V_3_0_PLUS else 'v1'}/dags/nightly_book_descriptions/dagRuns"


DAG_ID = "nightly_book_descriptions"

PASSWORD = "hunter2-planted-secret"
KEY = "-----BEGIN PRIVATE KEY-----planted"

# The connection of the local servers with secrets in it, and all that Airflow has to say.
START = f"""
import json
from airflow_gemini_batch.cli import app
from airflow_gemini_batch.testing.stack import LocalStack

plain = LocalStack.environment

def environment(stack):
    found = plain(stack)
    connection = json.loads(found["AIRFLOW_CONN_GOOGLE_CLOUD_DEFAULT"])
    connection["password"] = {PASSWORD!r}
    connection["extra"]["some_private_key"] = {KEY!r}
    return {{
        **found,
        "AIRFLOW_CONN_GOOGLE_CLOUD_DEFAULT": json.dumps(connection),
        "AIRFLOW__LOGGING__LOGGING_LEVEL": "DEBUG",
    }}

LocalStack.environment = environment
app()
"""


@pytest.fixture
def up(tmp_path):
    """``gemini-batch up``, interrupted at the end as by Ctrl-C."""
    with closing(socket.create_server(("127.0.0.1", 0))) as free:
        port = free.getsockname()[1]
    options = {"--port": port, "--queue-seconds": 1, "--run-seconds": 8, "--folder": tmp_path / "up"}
    arguments = [str(each) for option in options.items() for each in option]
    with (tmp_path / "up.log").open("w") as log:
        process = subprocess.Popen(
            [sys.executable, "-c", START, "up", *arguments],
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    yield process
    if process.poll() is None:
        process.send_signal(signal.SIGINT)
        process.wait(timeout=300)


@pytest.fixture
def told(up, tmp_path):
    """What ``up`` has told its user, by name."""
    deadline = time.monotonic() + 320
    while time.monotonic() < deadline and up.poll() is None:
        text = (tmp_path / "up.log").read_text()
        if "Press Ctrl-C" in text:
            return dict(re.findall(r"^([\w ]+): (.*)$", text, re.MULTILINE))
        time.sleep(0.5)
    raise AssertionError(text + (tmp_path / "up" / "airflow.log").read_text()[-5000:])


@pytest.fixture
def attacks(told, tmp_path):
    """What a page would send: by server, the path and the body."""
    query = f"COPY (SELECT 'import os') TO '{tmp_path / 'stolen.py'}' (HEADER false)"
    run = {"dag_run_id": "stolen", "logical_date": None, "conf": {}}
    return {
        "Cloud Storage": [
            ("/storage/v1/b", {"name": "stolen"}),
            ("/upload/storage/v1/b/gemini-batch-demo/o?uploadType=media&name=stolen", {}),
        ],
        "BigQuery": [
            (f"/bigquery/v2/projects/{PROJECT}/queries", {"query": "CREATE SCHEMA stolen"}),
            (f"/bigquery/v2/projects/{PROJECT}/queries", {"query": query}),
            (f"/bigquery/v2/projects/{PROJECT}/datasets", {"datasetReference": {"datasetId": "stolen"}}),
        ],
        "Vertex AI": [
            (JOBS, {"displayName": "stolen"}),
            ("/local/v1/jobs:seed", {"count": 1, "display_name": "stolen"}),
            ("/local/v1/faults", {"name": "error", "times": 1000}),
            ("/local/v1/requests", {}),
        ],
        "Airflow": [(DAG_RUNS, run)],
    }


def test_dag_runs_nobody_gets_in_and_nothing_is_left_behind(up, told, attacks, tmp_path):
    nobody_gets_in_without_the_login(told)
    assert listening(up.pid) == {"127.0.0.1"}
    if BROWSER:
        a_page_learns_and_changes_nothing(told, attacks, tmp_path)
    else:
        print("Not attacked by a page, which needs a browser: apt-get install chromium")
    states = dag_run_ends(up, tmp_path / "up")
    assert states == ["success"], (tmp_path / "up" / "airflow.log").read_text()[-5000:]
    logs = [
        path.read_text()
        for path in (tmp_path / "up" / "airflow" / "logs").rglob("*.log")
        if "submit" in str(path)
    ]
    assert any("Pausing task as DEFERRED" in log for log in logs)
    nothing_is_left_running(up, tmp_path)
    no_secret_is_written(tmp_path)  # afterwards, since SQLite and Airflow remove files while they run


def nobody_gets_in_without_the_login(told):
    airflow = told["Airflow"].split()[0]
    assert requests.get(airflow + DAG_RUNS, timeout=30).status_code in (401, 403)
    assert requests.post(airflow + DAG_RUNS, json={"dag_run_id": "x"}, timeout=30).status_code in (401, 403)
    deadline = time.monotonic() + 240
    while "total_entries" not in runs(told):  # the DAG is being read
        assert time.monotonic() < deadline, runs(told)
        time.sleep(1)


def a_page_learns_and_changes_nothing(told, attacks, tmp_path):
    targets = []
    for server, requests_of_server in attacks.items():
        address = urlsplit(told[server].split()[0])
        # As if the page had been told the token, too: one call with it and without at each name, the others with it.
        (path, body), *others = requests_of_server
        targets += [
            Target(f"http://{host}:{address.port}{prefix}{path}", json.dumps(body))
            for prefix in {"", address.path, "/wrong"}
            for host in ("127.0.0.1", "localhost", REBOUND)
        ]
        targets += [
            Target(f"http://127.0.0.1:{address.port}{address.path}{path}", json.dumps(body))
            for path, body in others
        ]

    for name in ("127.0.0.1", REBOUND):
        found, baited = visit(targets, name=name)
        bait = [each for each in found if each["url"].endswith("/bait")]
        assert {each["way"] for each in bait if each["read"] == "bait"} == {"get", "json", "text", "xhr"}
        assert len(baited) == 9  # each way to send a body works, where it is let in
        assert len(found) == len(targets) * len(bait) + len(bait)
        assert [each for each in found if each["read"] and each not in bait] == []

    assert not (tmp_path / "stolen.py").exists()
    clients = {"project": PROJECT, "credentials": AnonymousCredentials()}
    objects = storage.Client(**clients, client_options={"api_endpoint": told["Cloud Storage"]})
    assert [bucket.name for bucket in objects.list_buckets()] == ["gemini-batch-demo"]
    assert not objects.bucket("gemini-batch-demo").blob("stolen").exists()
    tables = bigquery.Client(**clients, client_options={"api_endpoint": told["BigQuery"]})
    assert [dataset.dataset_id for dataset in tables.list_datasets()] == ["bookshop"]
    vertex = told["Vertex AI"]
    assert requests.get(f"{vertex}/local/v1/faults", timeout=10).json() == {"faults": []}
    calls = requests.get(f"{vertex}/local/v1/requests", timeout=10).json()
    assert "unknown" not in calls["counts"]
    jobs = requests.get(vertex + JOBS, headers={"Authorization": "Bearer local"}, timeout=10).json()
    assert "stolen" not in json.dumps(jobs)
    assert "stolen" not in json.dumps(runs(told))


def dag_run_ends(up, folder):
    """Wait for the end of the DAG run and return the states of all runs."""
    deadline, states = time.monotonic() + 900, []
    while time.monotonic() < deadline and up.poll() is None and not {"success", "failed"} & set(states):
        states = [state for (state,) in query(folder, "SELECT state FROM dag_run WHERE dag_id = ?")]
        time.sleep(0.3)
    return states


def query(folder, sql):
    try:
        with closing(sqlite3.connect(f"file:{folder}/airflow/airflow.db?mode=ro", uri=True)) as connection:
            return connection.execute(sql, (DAG_ID,)).fetchall()
    except sqlite3.Error:
        return []


def no_secret_is_written(folder):
    """Look into all that was written: Airflow's logs and its database with triggers, results and rendered templates."""
    files = [path for path in folder.rglob("*") if path.is_file() and not path.is_symlink()]
    contents = {path: path.read_bytes() for path in files}
    names = {path.name for path in files}
    assert {"airflow.db", "airflow.log"} <= names
    heard = [
        path for path, content in contents.items() if b"DEBUG" in content.upper() and path.suffix == ".log"
    ]
    assert len(heard) > 3, "Airflow has not said all that it has to say"
    for secret in (PASSWORD, KEY):
        assert [path for path, content in contents.items() if secret.encode() in content] == []


def nothing_is_left_running(up, tmp_path):
    started = psutil.Process(up.pid).children(recursive=True)
    assert len(started) > 3
    up.send_signal(signal.SIGINT)
    assert up.wait(timeout=300) == 0
    assert "Stopped." in (tmp_path / "up.log").read_text()
    assert [process for process in started if is_alive(process)] == []


def is_alive(process):
    try:
        return process.status() != psutil.STATUS_ZOMBIE  # of which nothing is left but its exit code
    except psutil.NoSuchProcess:
        return False


def listening(pid):
    """The addresses where a process and its children accept connections."""
    process = psutil.Process(pid)
    found = set()
    for each in [process, *process.children(recursive=True)]:
        with suppress(psutil.NoSuchProcess):  # it has just ended
            sockets = each.net_connections("tcp")
            found |= {one.laddr.ip for one in sockets if one.status == psutil.CONN_LISTEN}
    return found


def runs(told):
    """The runs of the nightly DAG, asked for with the login."""
    airflow, login = told["Airflow"].split(maxsplit=1)
    user, password = re.fullmatch(r"\(user (\w+), password (\S+)\)", login).groups()
    if AIRFLOW_V_3_0_PLUS:
        body = {"username": user, "password": password}
        token = requests.post(f"{airflow}/auth/token", json=body, timeout=30).json()["access_token"]
        headers = {"Authorization": f"Bearer {token}"}
        return requests.get(airflow + DAG_RUNS, headers=headers, timeout=30).json()
    with requests.Session() as browser:
        page = browser.get(f"{airflow}/login/", timeout=60).text
        secret = re.search(r'name="csrf_token"[^>]*value="([^"]+)"', page).group(1)
        form = {"username": user, "password": password, "csrf_token": secret}
        browser.post(f"{airflow}/login/", data=form, timeout=60)
        return browser.get(airflow + DAG_RUNS, timeout=60).json()
