"""The live suite asks the local servers: each question has a known answer under each reading of the service."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Collection
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest

from airflow_gemini_batch.testing.stack import LOCATION, PROJECT
from airflow_gemini_batch.testing.vertex_ai import Readings
from tests.guard.sitecustomize import __file__ as guard
from tests.live.__main__ import main
from tests.live.place import Place
from tests.live.report import NOT_ANSWERED, page
from tests.live.settings import REQUIRED, SKIPPED, Settings
from tests.live.suite import QUESTIONS, ask
from tests.support.requests_data import storage_client
from tests.support.tables import bigquery_client, make_dataset

ROOT = Path(__file__).parents[2]

# What the local BigQuery would say of these means nothing.
NOT_HERE = {
    "statements",
    "transaction-conflict",
    "nested-recursive",
    "tables-of-a-query",
    "length-of-a-query",
}

# The readings that differ, and what the suite has to find under each.
USUAL = {
    "generation-key": "echoed",
    "generation-siblings": "echoed",
    "number-like-texts": "changed",
    "other-typed-texts": "kept",
    "mixed-texts": "changed",
    "embedding-number-like-texts": "changed",
    "request-labels": "echoed",
    "table-columns": "echoed",
    "failed-response-in-files": "empty",
    "failed-response-in-tables": "empty",
    "embedding-form-001": "nested",
    "embedding-form-2": "nested",
    "embedding-usage": "tokenCount",
    "import-empty-object": "job fails",
    "import-levels": "job fails",
    "import-name": "job fails",
    "import-types": "job fails",
    "import-shapes": "job fails",
    "import-null": "job fails",
    "import-reference": "job fails",
    "several-files": "all",
    "pattern": "all",
    "job-account": "taken",
    "job-key": "taken",
}
OTHER = {
    "generation-key": "dropped",
    "generation-siblings": "dropped",
    "number-like-texts": NOT_ANSWERED,
    "other-typed-texts": NOT_ANSWERED,
    "mixed-texts": NOT_ANSWERED,
    "embedding-number-like-texts": NOT_ANSWERED,
    "request-labels": "dropped",
    "table-columns": "dropped",
    "failed-response-in-files": "null",
    "failed-response-in-tables": "null",
    "embedding-form-001": "flat",
    "embedding-form-2": "flat",
    "embedding-usage": "usageMetadata",
    "import-empty-object": "row fails",
    "import-levels": "taken",
    "import-name": "taken",
    "import-types": "taken",
    "import-shapes": "taken",
    "import-null": "row fails",
    "import-reference": "taken",
    "several-files": "refused",
    "pattern": "refused",
    "job-account": "refused",
    "job-key": "refused",
}
OTHERWISE = {
    "echo_key": False,
    "labels_echoed": False,
    "columns_passed": False,
    "embedding_form": "flat",
    "embedding_usage": "usage_metadata",
    "failed_response": "json_null",
    "importer_rules": False,
    "several_files": False,
    "account_and_key": "refused",
}
# Not a matter of the readings.
ALWAYS = {
    "echoed-request": "the same",
    "wrong-role-status": "400",
    "output-columns": "all",
    "model-version": "the same",
    "response-json-schema": "obeyed",
    "text-embedding-key": "dropped",
    "text-embedding-length": "obeyed",
    "missing-bucket": "fails",
    "existing-table": "refused",
    "global-job": "taken",
    "trailing-comma": "read",
    "endpoint-as-model": "refused",
    "list-staleness": "within 15 s",
    "list-filters": "those of the package",
    "list-page-size": "taken",
    "output-files": "predictions.jsonl",
    "cancelled-output": "none named",
    "dry-runs": "all taken",
    "pipeline": "yes",
    "export-parameters": "taken",
    "ddl-in-transaction": "refused",
    "branch-in-transaction": "taken",
    "session-tables": "kept",
    "table-named-like-its-column": "the column",
    "etag": "stays",
}


SETTINGS = Settings(PROJECT, LOCATION, "my-bucket", "my_dataset")


def test_page_says_what_the_suite_asks():
    shown = (ROOT / "docs/open-questions.md").read_text(encoding="utf-8")
    assert set(re.findall(r"^\| `([a-z0-9-]+)` \|", shown, re.MULTILINE)) == QUESTIONS.keys()
    assert shown == page(QUESTIONS.values()), (
        "Write it again: python -m tests.live --page > docs/open-questions.md"
    )


def test_each_question_has_a_known_answer_here():
    assert {*USUAL, *ALWAYS} | NOT_HERE == QUESTIONS.keys()
    assert {id_ for id_, one in QUESTIONS.items() if one.only_google} == NOT_HERE
    assert OTHER.keys() == USUAL.keys()
    # What the local Vertex AI leaves open is asked about. Texts that do not come back are not asked about.
    assert {*OTHERWISE, "numbers_coerced"} == {field.name for field in fields(Readings)}


@pytest.mark.parametrize("missing", REQUIRED)
def test_skipped_unless_all_variables_are_set(missing, monkeypatch, capsys):
    for name in REQUIRED:
        monkeypatch.setenv(name, "" if name == missing else "given")
    assert Settings.from_environment() is None
    assert main([]) == 0
    assert capsys.readouterr().err == f"{SKIPPED}\n"


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        (f"gs://my-bucket/a of {PROJECT}.my_dataset.t", "gs://BUCKET/a of PROJECT.DATASET.t"),
        ("my-buckets, a-my_datasets", "my-buckets, a-my_datasets"),
        (
            "projects/123/locations/us-central1/batchPredictionJobs/456",
            "projects/NUMBER/locations/us-central1/batchPredictionJobs/ID",
        ),
        ("for service-123@gcp-sa-aiplatform.iam.gserviceaccount.com:", "for ACCOUNT:"),
    ],
)
def test_report_names_nothing_of_the_project(text, masked):
    assert Place(SETTINGS, "run").mask(text) == masked


@pytest.fixture
def settings(gemini_batch_stack, bucket) -> Settings:
    dataset = make_dataset(gemini_batch_stack).rpartition(".")[2]
    return Settings(PROJECT, LOCATION, bucket, dataset, is_google=False, wait=60, poll=0.1, settle=0.5)


def answers(settings: Settings, only: Collection[str] = ()) -> tuple[dict[str, str], str]:
    lines, text = ask(settings, only)
    return {line.question.id: line.reading for line in lines}, text


def test_all_questions_under_the_usual_reading(gemini_batch_stack, settings):
    found, text = answers(settings)
    assert found == {**USUAL, **ALWAYS, **dict.fromkeys(NOT_HERE, NOT_ANSWERED)}
    assert re.search(r"^- cost: at most \$0\.\d+ for \d+ rows in \d+ jobs", text, re.MULTILINE)
    named = [settings.project, settings.bucket, settings.dataset, gemini_batch_stack.vertex.project_number]
    assert [name for name in named if name in text] == []
    # Nothing is left behind.
    assert "Everything that the run made was removed." in text
    assert list(storage_client(gemini_batch_stack).list_blobs(settings.bucket)) == []
    assert list(bigquery_client(gemini_batch_stack).list_tables(settings.dataset)) == []


def test_the_other_reading(vertex, settings):
    with vertex.readings.changed(**OTHERWISE):
        found, _ = answers(settings, OTHER)
    assert found == OTHER


def test_kept_numbers_and_absent_responses(vertex, settings):
    asked = {"number-like-texts": "kept", "mixed-texts": "kept", "failed-response-in-files": "absent"}
    with vertex.readings.changed(numbers_coerced=False, failed_response="absent"):
        found, _ = answers(settings, asked)
    assert found == asked


def test_nothing_is_submitted_above_the_ceiling(vertex, settings):
    with pytest.raises(SystemExit, match=r"may cost \$0\.0\d+, more than \$0\.0010; nothing was submitted"):
        ask(replace(settings, max_usd=0.001))
    assert vertex.requests.counts.get("create", 0) == 0


def test_data_in_another_location_is_told_before_anything_is_written(vertex, settings):
    with pytest.raises(SystemExit, match="The dataset is in us-central1, and the jobs run in europe-west4"):
        ask(replace(settings, location="europe-west4"))


def test_jobs_that_do_not_end_are_cancelled_and_what_is_left_is_told(vertex, settings):
    vertex.faults.plan("slow", job="live import_null *")
    vertex.faults.plan("error", on="delete")
    # The job whose listing is timed may have ended between two looks at it; then it can't be cancelled.
    vertex.faults.plan("error", on="cancel", job="live generation_files *", status="FAILED_PRECONDITION")
    lines, text = ask(replace(settings, wait=0), ["import-null"])
    (line,) = lines
    assert (line.answer, line.why) == (None, "the job import_null was PENDING when time was up")
    assert re.search(r"^Not removed:\n- projects/NUMBER/.*/ID \(\w+\): deleting .* 503", text, re.MULTILINE)


@pytest.mark.slow
@pytest.mark.skipif(Settings.from_environment() is None, reason=SKIPPED)
def test_a_real_project():
    environment: dict[str, Any] = {**os.environ}
    # The tests' own processes reach no other host; this one has to.
    folders = environment.pop("PYTHONPATH", "").split(os.pathsep)
    environment["PYTHONPATH"] = os.pathsep.join(
        [str(ROOT), *(one for one in folders if one != os.path.dirname(guard))]
    )
    ended = subprocess.run(
        [sys.executable, "-m", "tests.live"], env=environment, stdout=subprocess.PIPE, text=True, check=False
    )
    print(ended.stdout)
    assert ended.returncode == 0
