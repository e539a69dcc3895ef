"""``gemini-batch up`` as a user runs it, and a web page that attacks it from a real browser."""

from __future__ import annotations

import json
import re
import time
from contextlib import suppress
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


# One test, since each would start Airflow again.
def test_only_who_was_told_gets_in_and_a_page_learns_nothing(up, told, attacks, tmp_path):
    airflow = told["Airflow"].split()[0]
    assert requests.get(airflow + DAG_RUNS, timeout=30).status_code in (401, 403)
    assert requests.post(airflow + DAG_RUNS, json={"dag_run_id": "x"}, timeout=30).status_code in (401, 403)
    deadline = time.monotonic() + 240
    while "total_entries" not in runs(told):  # the DAG is being read
        assert time.monotonic() < deadline, runs(told)
        time.sleep(1)
    assert listening(up.pid) == {"127.0.0.1"}

    if BROWSER is None:
        pytest.skip("the attack by a page needs a browser: apt-get install chromium")
    targets = []
    for server, requests_of_server in attacks.items():
        address = urlsplit(told[server].split()[0])
        # As if the page had been told the token, too.
        for prefix in {"", address.path, "/wrong"}:
            for host in ("127.0.0.1", "localhost", REBOUND):
                targets += [
                    Target(f"http://{host}:{address.port}{prefix}{path}", json.dumps(body))
                    for path, body in requests_of_server
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
