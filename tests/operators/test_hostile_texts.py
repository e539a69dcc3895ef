"""Keys, messages, answers and names that would forge lines of a log, or steer the terminal that shows it."""

from __future__ import annotations

import json
import logging

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException
from typer.testing import CliRunner

from airflow_gemini_batch import (
    BuildGeminiRequestsOperator,
    GeminiBatchOutputFilesSensor,
    PreflightGeminiBatchOperator,
)
from airflow_gemini_batch.cli import app
from airflow_gemini_batch.core.log import ShownLog
from airflow_gemini_batch.disk.private_folder import private_folder
from airflow_gemini_batch.exceptions import GeminiBatchError, InvalidRequestError
from airflow_gemini_batch.hooks.errors import fail_without_retry
from airflow_gemini_batch.jobs.failures import job_failure
from airflow_gemini_batch.jobs.readiness import Readiness, ReadinessState
from airflow_gemini_batch.jobs.state import BatchJob, JobError, JobState
from airflow_gemini_batch.outputs.classify import Outcome, RowResult, Tally
from airflow_gemini_batch.vertex.resource import VertexJobName
from tests.landing.answer_files import AnswerFiles
from tests.landing.landings import TEXT, bad
from tests.operators.steps import BOOKS, book, built, landed, submitted
from tests.support.tables import fill, make_dataset
from tests.support.tasks import run_task

HOSTILE = "x\nFORGED all rows are fine\r\x1b[2J\x1b]0;t\x07\x9b31m\u202e\u2028[red]"
RAW = "\r\x1b\x07\x9b\u202e\u2028"


def harmless(text: str) -> bool:
    return not any(character in text for character in RAW) and "\nFORGED" not in text


@pytest.fixture
def refused(caplog):
    """Run a call that fails, and return all that a log would have of it."""
    caplog.set_level(logging.DEBUG)

    def refused(call, *arguments, **keywords) -> str:
        with pytest.raises((AirflowFailException, GeminiBatchError)) as error:
            call(*arguments, **keywords)
        told, one = [], error.value
        while one:
            told.append(str(one))
            one = one.__cause__ or (None if one.__suppress_context__ else one.__context__)
        return "\n".join([*told, caplog.text])

    return refused


ROWS = {
    "repeated-key": ([book(1, isbn=HOSTILE), book(2, isbn=HOSTILE)], {}),
    "empty-prompt": ([book(1, isbn=HOSTILE, title=" ")], {"prompt": "[[ title ]]"}),
    "media": ([book(1, isbn=HOSTILE, title=HOSTILE)], {"media": ["title"], "prompt": "Say."}),
    "columns": ([{**book(1), HOSTILE: "x"}], {"key": "other"}),
}


@pytest.mark.parametrize("case", ROWS)
@pytest.mark.parametrize("kind", ["files", "rows", "table"])
def test_rows(gemini_batch_stack, bucket, tmp_path, refused, kind, case):
    rows, arguments = ROWS[case]
    source, requests = rows, f"gs://{bucket}/requests"
    if kind == "files":
        path = tmp_path / "books.jsonl"
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        source = str(path)
    if kind == "table":
        if case == "columns":
            pytest.skip("a table has no such column")
        requests = make_dataset(gemini_batch_stack)
        source = fill(gemini_batch_stack, f"{requests}.books", BOOKS, rows)
    assert harmless(refused(built, source, requests=requests, **arguments))


def test_rows_in_the_preflight(bucket, tmp_path, caplog):
    caplog.set_level(logging.DEBUG)
    path = tmp_path / "books.jsonl"
    path.write_text(json.dumps(book(1, isbn=HOSTILE, title=HOSTILE)) + "\n")
    task = PreflightGeminiBatchOperator(
        task_id="preflight",
        source=str(path),
        key="isbn",
        prompt="Say.",
        media=["title"],
        model="gemini-2.5-flash",
        target=f"gs://{bucket}/books.parquet",
    )
    told = run_task(task)["warnings"]
    assert any("FORGED" in warning for warning in told)
    assert harmless("\n".join([caplog.text, *told]))


def test_name_of_a_file(bucket, tmp_path, refused):
    (tmp_path / f"{HOSTILE.replace('/', '')}.jsonl").write_text("[]\n")
    assert harmless(refused(built, f"{tmp_path}/*.jsonl", requests=f"gs://{bucket}/requests"))


@pytest.mark.parametrize(
    "content",
    ['["{}"]'.format("x\x9b\u202e"), '{"isbn": "a", "isbn\u202e": 1, "isbn\u202e": 2}', "x\x1b\u202e\r"],
)
def test_line_of_a_file(bucket, tmp_path, refused, content):
    (tmp_path / "books.jsonl").write_text(content + "\n")
    assert harmless(refused(built, str(tmp_path / "books.jsonl"), requests=f"gs://{bucket}/requests"))


def test_answers_and_shared_keys(gemini_batch_stack, bucket, tmp_path, caplog, refused):
    files = AnswerFiles(gemini_batch_stack, bucket, tmp_path)
    message = json.dumps(HOSTILE)[1:-1]
    report = files.land(
        [("1", {**bad(400, message), "status": HOSTILE})], TEXT, str(tmp_path / "books.jsonl")
    )
    assert harmless("\n".join([str(report), *report.samples, caplog.text]))


def test_end_of_a_job():
    tally = Tally()
    tally.add(RowResult(Outcome.REJECTED, f'Bad Request: {HOSTILE} {{"code": 400}}'))
    name = VertexJobName("my-project", "us-central1", "1")
    job = BatchJob(name, JobState.FAILED, error=JobError(13, HOSTILE))
    assert harmless(str(job_failure(job, tally, max_failed_fraction=0)))
    assert harmless("\n".join([*tally.samples, str(job.error)]))


def test_verdict_of_a_sensor(refused):
    sensor = GeminiBatchOutputFilesSensor(task_id="ready", prefix="gs://bucket/x", expected_rows=1)
    verdict = Readiness(ReadinessState.NEVER, HOSTILE.replace("\n", " "), None)
    assert harmless(refused(sensor._verdict, verdict))


def test_log_of_an_operator():
    task = BuildGeminiRequestsOperator(
        task_id="build", source=[], key="isbn", prompt="Say.", model="gemini-2.5-flash"
    )
    assert isinstance(task.log, ShownLog)


def test_cause_that_would_forge_lines_is_cut_off(refused):
    def fail():
        try:
            raise ValueError(HOSTILE)
        except ValueError as error:
            raise InvalidRequestError("the query was refused") from error

    def run():
        with fail_without_retry():
            fail()

    assert harmless(refused(run))


def test_command_line(tmp_path):
    path = tmp_path / f"{HOSTILE.replace('/', '')}.jsonl"
    lines = [{HOSTILE: 1}, {"request": {HOSTILE: [HOSTILE]}}, {"request": HOSTILE}, HOSTILE]
    path.write_text("\n".join(json.dumps(line, ensure_ascii=False) for line in lines) + f"\n{HOSTILE}\n")
    for arguments in (
        ["validate", str(path), "--all"],
        ["validate", str(path), "--json"],
        ["validate", f"{path}x"],
        ["estimate", str(path), "--model", "gemini-2.5-flash"],
        ["estimate", str(path), "--model", HOSTILE],
        ["demo", "--input", str(path), "--folder", str(tmp_path / "demo")],
    ):
        result = CliRunner().invoke(app, arguments)
        assert result.exit_code in (0, 1, 2), arguments
        assert harmless(result.output), arguments


def test_killed_task_leaves_no_rows(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    task = BuildGeminiRequestsOperator(
        task_id="build", source=[], key="isbn", prompt="Say.", model="gemini-2.5-flash"
    )
    with private_folder("build"):
        assert list(tmp_path.iterdir())
        task.on_kill()
        assert not list(tmp_path.iterdir())


def test_whole_pipeline_with_a_hostile_key_and_value(bucket, tmp_path, caplog):
    caplog.set_level(logging.DEBUG)
    rows = [book(1, isbn=HOSTILE, title=HOSTILE), book(2)]
    sources = built(rows, requests=f"gs://{bucket}/requests")
    (manifest,) = submitted(sources)
    report = landed(manifest, str(tmp_path / "books.jsonl"))
    assert report["counts"]["ok"] == 2
    found = [json.loads(line)["isbn"] for line in (tmp_path / "books.jsonl").read_text().strip().split("\n")]
    assert HOSTILE in found
    assert harmless(caplog.text)
