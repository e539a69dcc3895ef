"""gemini-batch validate, as a user runs it."""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from airflow_gemini_batch.cli import app
from airflow_gemini_batch.cli.screen import screen
from tests.support.requests_data import BAD_REQUEST, request, upload

GOOD = json.dumps(request("Hello")).encode()
BAD = json.dumps(BAD_REQUEST).encode()


def run(*arguments: str):
    return CliRunner().invoke(app, ["validate", *arguments])


@pytest.fixture
def write(tmp_path):
    def write(content: bytes, name: str = "requests.jsonl") -> str:
        path = tmp_path / name
        path.write_bytes(content)
        return str(path)

    return write


def one_line(text: str) -> str:
    return " ".join(text.replace("│", " ").replace("┃", " ").split())


def test_file_in_order_ends_with_0(write):
    result = run(write(GOOD + b"\r\n" + GOOD))
    assert result.exit_code == 0
    assert "2 of 2 lines checked; invalid: 0; findings: 0" in result.stderr
    assert result.stdout == ""


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "there are no requests"),
        (b"not json\n", "not JSON"),
        (json.dumps(request("x"), indent=2).encode(), "pretty-printed"),
        (GOOD + GOOD, "another object begins"),
        (b"\xef\xbb\xbf" + GOOD, "byte order mark"),
        (b'{"request": NaN}', "NaN"),
        (b'{"request": "\\ud800"}', "surrogate"),
        (gzip.compress(GOOD, mtime=0)[:-9], "gzip"),
        (BAD, "Please use a valid role"),
    ],
)
def test_broken_file_ends_with_1_and_is_named(write, monkeypatch, content, message):
    monkeypatch.setattr(screen, "width", 300)
    result = run(write(content))
    assert result.exit_code == 1
    assert message in one_line(result.stderr)


def test_20_mb_in_one_line_are_a_warning(write):
    line = json.dumps(request("x" * (20 * 2**20))).encode()
    result = run(write(GOOD + b"\n" + line), "--json")
    assert result.exit_code == 0
    (finding,) = json.loads(result.stdout)["findings"]
    assert (finding["severity"], finding["where"]) == ("warning", "line 2")


def test_json_is_one_line_with_all_that_was_found(write):
    file = write(b"\n".join([BAD, *[GOOD] * 3]))
    result = run(file, "--json")
    summary = json.loads(result.stdout)
    findings = summary.pop("findings")
    assert summary == {
        "file": file,
        "format": "generate_content",
        "checked": 4,
        "rejected": 1,
        "complete": True,
        "errors": 2,
        "warnings": 0,
    }
    assert findings[1] == {
        "severity": "error",
        "where": "line 1",
        "message": "Please use a valid role: user, model.",
        "hint": "",
        "retryable": False,
    }
    assert run(file, "--max-failed-fraction", "0.25").exit_code == 0


def test_all_lines_are_checked_on_request_only(write):
    file = write(b"\n".join([GOOD] * 1000 + [b"oops"]))
    first = run(file)
    assert first.exit_code == 0
    assert "1,000 of about 1,000 lines checked (--all checks all)" in one_line(first.stderr)
    assert run(file, "--all").exit_code == 1


def test_format_decides_the_rules(write):
    file = write(b'{"content": "A book"}')
    assert run(file).exit_code == 1
    assert run(file, "--format", "text_embedding").exit_code == 0
    assert run(file, "--format", "word2vec").exit_code == 2


@pytest.mark.parametrize("file", ["nowhere.jsonl", ".", "gs://", "gs://UPPER/x"])
def test_what_can_t_be_read_ends_with_2(file):
    result = run(file)
    assert result.exit_code == 2
    assert result.stderr


def test_file_on_cloud_storage_is_read_there(gemini_batch_stack, bucket):
    uri = upload(gemini_batch_stack, bucket, "requests.jsonl", [request("Hello"), BAD_REQUEST])
    result = run(uri, "--json")
    assert result.exit_code == 1
    assert (json.loads(result.stdout)["checked"], json.loads(result.stdout)["rejected"]) == (2, 1)
    missing = run(f"gs://{bucket}/nothing.jsonl")
    assert missing.exit_code == 2
    assert "there is no such object" in one_line(missing.stderr)
    upload(gemini_batch_stack, bucket, "more.jsonl", [request("Hello")])
    assert "matches 2 files" in one_line(run(f"gs://{bucket}/*.jsonl").stderr)


@pytest.mark.slow
def test_local_file_is_checked_without_airflow_and_google(write):
    code = (
        "import sys\n"
        "from airflow_gemini_batch.cli import app\n"
        "app(['validate', sys.argv[1]], standalone_mode=False)\n"
        "print({'airflow', 'google.auth', 'google.genai', 'google.cloud.storage'} & set(sys.modules))\n"
    )
    ran = subprocess.run(
        [sys.executable, "-c", code, write(GOOD)],
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[2],
    )
    assert ran.stdout == "set()\n", ran.stderr
