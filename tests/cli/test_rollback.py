"""gemini-batch rollback, as a user runs it, on a table and on a file."""

from __future__ import annotations

import json
from typing import Any

import pytest
from typer.testing import CliRunner

from airflow_gemini_batch.cli import app
from airflow_gemini_batch.cli import rollback as command
from airflow_gemini_batch.cli.screen import results, screen
from airflow_gemini_batch.core.columns import previous_target_of
from airflow_gemini_batch.testing.stack import PROJECT
from tests.landing.answer_files import AnswerFiles
from tests.landing.landings import good, later
from tests.landing.previous import FIRST, SECOND, FileTarget, TableTarget


@pytest.fixture
def run(vertex, monkeypatch):
    """Run the command with the credentials of this machine."""
    monkeypatch.setattr(screen, "width", 200)
    monkeypatch.setattr(results, "width", 200)

    def run(target: Any, *arguments: str, key: tuple[str, ...] = ("--key", "isbn"), **options: Any):
        given = ["rollback", target if isinstance(target, str) else target.target, *key, *arguments]
        return CliRunner().invoke(app, [*given, "--project", PROJECT], **options)

    return run


@pytest.fixture(params=["table", "jsonl"])
def target(request, gemini_batch_stack, bucket, tmp_path):
    """A target of which two rows answer the second question, and one of them is new."""
    target: TableTarget | FileTarget
    if request.param == "table":
        target = TableTarget(gemini_batch_stack)
    else:
        files = AnswerFiles(gemini_batch_stack, bucket, tmp_path)
        target = FileTarget(files, f"gs://{bucket}/out/books.jsonl")
    target.land(FIRST, [("a", good("A1")), ("b", good("B1"))])
    target.land(SECOND, [("a", later(good("A2"))), ("new", later(good("N2")))])
    return target


def test_shows_what_would_change_and_changes_it_with_yes(run, target):
    after = target.rows()
    dry = run(target, "--dry-run")
    assert dry.exit_code == 0, dry.output
    assert target.rows() == after
    lines = [" ".join(one.split()) for one in dry.stdout.splitlines()]
    assert lines[0] == f"Target {target.target}"
    assert lines[1].startswith(f"Copy {previous_target_of(target.target, SECOND)}, made 20")
    assert lines[3:] == [
        "answer the question 22222222, and are in the copy 1 come back as the copy has them",
        "answer the question 22222222, and are not in the copy 1 stay as they are",
    ]
    done = run(target, "--yes")
    assert done.exit_code == 0, done.output
    assert "1 rows came back as they were on 20" in done.stderr
    assert target.rows() == {**target.rows(previous_target_of(target.target, SECOND)), "new": after["new"]}
    again = run(target, "--yes")
    assert (again.exit_code, "There is nothing to bring back." in again.stderr) == (0, True)
    undone = run(target, "--undo", "--yes", "--json")
    assert undone.exit_code == 0, undone.output
    facts = json.loads(undone.stdout.splitlines()[-1])
    assert (facts["restored"], facts["undo"], facts["question"]) == (1, True, "22222222")
    assert target.rows() == after


@pytest.mark.parametrize(
    ("answer", "code", "said"), [("n\n", 1, "Nothing was changed."), ("y\n", 0, "came back")]
)
def test_asks_before_it_changes_rows(run, target, monkeypatch, answer, code, said):
    after = target.rows()
    alone = run(target)
    assert (alone.exit_code, "Give --yes to roll back without a question" in alone.stderr) == (2, True)
    monkeypatch.setattr(command, "_can_answer", lambda: True)
    asked = run(target, "--new-rows", "remove", input=answer)
    assert (asked.exit_code, said in asked.stderr) == (code, True), asked.output
    assert "Change 2 rows?" in asked.stderr
    assert len(target.rows()) == (3 if code else 2)
    assert (target.rows() == after) is bool(code)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--question", "33333333"), "has no copy before the answers of the question 33333333"),
        (("--undo",), "has no copy before a rollback"),
        (("--new-rows", "burn"), 'expected "keep" or "remove"'),
        (("--key", "ean"), "has no column 'ean'"),
    ],
)
def test_refusals(run, target, arguments, said):
    refused = run(target, *arguments, "--yes")
    assert (refused.exit_code, said in refused.stderr.replace("\n", " ")) == (2, True), refused.output


@pytest.mark.parametrize(
    ("target", "said"),
    [
        ("bq://demo-project.d", "is a dataset"),
        ("books.csv", "answers land in a .parquet or .jsonl file"),
        ("bq://demo-project.no_such_dataset.books", "does not exist"),
        ("nowhere/books.jsonl", "has no copy"),
    ],
)
def test_targets_that_can_not_be(run, target, said):
    refused = run(target, "--dry-run")
    assert (refused.exit_code, said in refused.stderr.replace("\n", " ")) == (2, True), refused.output
