"""The example DAGs, read by Airflow and run by it on the local stack."""

from __future__ import annotations

import json
import runpy
import subprocess
import sys
from types import SimpleNamespace

import pytest

from airflow_gemini_batch.demo.workspace import BUCKET, Workspace, example_dags_folder
from airflow_gemini_batch.testing.stack import LOCATION
from tests.support.requests_data import answers, storage_client

pytestmark = pytest.mark.slow

# Each is called like its file.
DAG_IDS = {path.stem for path in example_dags_folder().glob("*.py")}


@pytest.fixture(scope="module")
def workspace(tmp_path_factory):
    workspace = Workspace(tmp_path_factory.mktemp("workspace"))
    workspace.create()
    return workspace


@pytest.fixture(scope="module")
def environment(workspace, local_stack):
    return workspace.environment(local_stack)


def test_examples_are_read_without_an_error_and_serialise(environment, tmp_path):
    code = """
import json, sys
try:
    from airflow.dag_processing.dagbag import DagBag
    from airflow.serialization.serialized_objects import DagSerialization as Serialized
except ImportError:  # Airflow 2
    from airflow.models.dagbag import DagBag
    from airflow.serialization.serialized_objects import SerializedDAG as Serialized
from airflow_gemini_batch.testing.dag_runs import prepare_database
prepare_database()  # where Airflow 2 looks for aliases of assets
bag = DagBag(sys.argv[1])
serialized = [dag_id for dag_id, dag in bag.dags.items() if Serialized.to_dict(dag)["dag"]]
print(json.dumps({"dags": sorted(serialized), "errors": bag.import_errors}))
"""
    ended = subprocess.run(
        [sys.executable, "-c", code, str(example_dags_folder())],
        env=environment,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    found = json.loads(ended.stdout.splitlines()[-1])
    assert found == {"dags": sorted(DAG_IDS), "errors": {}}


# The others use operators of the google provider, which bring its libraries along.
@pytest.mark.parametrize("dag_id", ["nightly_book_descriptions", "reading_group_questions"])
def test_reading_an_example_loads_no_google_library(dag_id):
    code = f"""
import runpy, sys
runpy.run_path({str(example_dags_folder() / f"{dag_id}.py")!r})
heavy = ("google.auth", "google.api_core", "google.cloud.", "google.genai", "airflow.providers.google.c")
print(sorted(name for name in sys.modules if name.startswith(heavy)))
"""
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.splitlines()[-1] == "[]"


def test_report_reads_the_events_of_the_asset(capsys):
    dag = runpy.run_path(str(example_dags_folder() / "book_descriptions_report.py"))["dag"]
    event = SimpleNamespace(extra={"rows": 3, "rows_ok": 3, "rows_blocked": 1, "cost_usd": 0.01})
    function = dag.get_task("report").python_callable
    assert function(triggering_asset_events={"book_descriptions": [event]}) == [event.extra]
    assert capsys.readouterr().out == "3 rows landed, 1 failed, 0.01 USD\n"


def test_questions_are_asked_and_read_by_key(workspace, environment, local_stack):
    local_stack.storage.create_bucket(BUCKET, LOCATION, exist_ok=True)
    # Nothing is answered before the follow-up.
    local_stack.vertex.faults.plan("all_rows_failed", job="reading_group_questions.*")
    run = workspace.run_dag("reading_group_questions", environment)
    assert run.wait(timeout=500) == 0, workspace.log.read_text()[-3000:]
    told = workspace.log.read_text()
    for book in ("Emma by Jane Austen", "Frankenstein by Mary Shelley", "Middlemarch by George Eliot"):
        assert f"{book} (ok)" in told
        assert f"Write three questions about {book}" in told
    assert local_stack.vertex.faults.planned() == []


def test_recipes_go_from_files_to_files(workspace, environment, local_stack):
    local_stack.storage.create_bucket(BUCKET, LOCATION, exist_ok=True)
    # Both jobs have a follow-up, whose folder is beside theirs.
    local_stack.vertex.faults.plan("missing_rows", job="recipes_from_files.text*", share=0.4)
    local_stack.vertex.faults.plan("all_rows_failed", job="recipes_from_files.multimodal*")
    run = workspace.run_dag("recipes_from_files", environment)
    assert run.wait(timeout=500) == 0, workspace.log.read_text()[-3000:]
    assert local_stack.vertex.faults.planned() == []

    told = workspace.log.read_text()
    blobs = list(storage_client(local_stack).list_blobs(BUCKET, match_glob="**/answers/**"))
    for kind in ("text", "multimodal"):
        sent = (example_dags_folder() / "recipes" / f"{kind}_prompts.jsonl").read_text().splitlines()
        folders = {
            f"gs://{BUCKET}/{blob.name.rpartition('/')[0]}"
            for blob in blobs
            if f"/answers/{kind}/" in blob.name and blob.name.endswith("/predictions.jsonl")
        }
        assert len(folders) == 2
        rows = [row for folder in folders for row in answers(local_stack, folder)]
        texts = {prompt_of(row) for row in rows if row["response"].get("candidates")}
        requests = list(map(json.loads, sent))
        assert texts == set(map(prompt_of, requests))
        assert [one["key"] for one in requests if f"{one['key']} (ok)" not in told] == []
        assert f"has {len(sent)} rows, 0 of them failed" in told


def prompt_of(row):
    """Return the text of a request, or of one that came back."""
    return "".join(part.get("text", "") for part in row["request"]["contents"][0]["parts"])
