"""gemini-batch demo, as a user runs it."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from airflow_gemini_batch.cli import app

pytestmark = pytest.mark.slow

COMMAND = str(Path(sys.executable).parent / "gemini-batch")

HEADER = ["book_id", "title", "authors", "original_publication_year", "language_code"]
NASTY = [
    ("1", 'A "quoted", comma\'d title', 'O\'Neil, "Tip"', "1999", "eng"),
    ("2", "شيكاجو", "علاء الأسواني", "", "ara"),
    ("3", "红楼梦", "曹雪芹", "1791", "zho"),
    ("4", "Back\\slash and {braces} and $.json", "", "-720", ""),
    ("5", "Two\nlines\tand a tab", "Anon", "2001.0", "en-US"),
    ("6", "Emoji 🐙 and e\u0301", "x", "", "eng"),
    ("7", "'; DROP TABLE books; --", "Little Bobby", "2007", "eng"),
    ("8", "NULL", "null", "", "nul"),
]


@dataclass
class Demo:
    """A demo that has ended."""

    folder: Path
    code: int
    summary: dict[str, Any]
    screen: str

    @property
    def rows(self) -> list[dict[str, str]]:
        with open(self.summary["output"], encoding="utf-8", newline="") as file:
            return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def demos(tmp_path_factory) -> dict[str, Demo]:
    """Run the demos that the tests look at, at the same time."""
    started: dict[str, tuple[Path, subprocess.Popen[str]]] = {}
    for name, arguments in {
        "nasty": ["--input", "books.csv"],
        "some fail": ["--fail-rate", "0.3"],
        "all fail": ["--fail-rate", "1"],
        "embeddings": ["--example", "embeddings", "--fail-rate", "0.2"],
    }.items():
        folder = tmp_path_factory.mktemp("demo")
        with (folder / "books.csv").open("w", encoding="utf-8-sig", newline="") as file:
            writer = csv.writer(file)
            writer.writerow([*HEADER, "one more"])
            writer.writerows([*row, "x"] for row in NASTY)
        command = [COMMAND, "demo", "--json", "--folder", "out", *arguments]
        process = subprocess.Popen(
            command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        started[name] = (folder, process)
    ended = {}
    for name, (folder, process) in started.items():
        output, screen = process.communicate(timeout=500)
        lines = output.splitlines()
        assert len(lines) == 1, f"one JSON line was expected:\n{output}\n{screen}"
        ended[name] = Demo(folder, process.returncode, json.loads(lines[0]), screen)
    return ended


def one_line(text: str) -> str:
    return " ".join(text.split())


def test_demo_gives_each_book_its_own_description(demos):
    demo = demos["nasty"]
    assert demo.code == 0, demo.screen
    assert (demo.summary["rows"], demo.summary["succeeded"], demo.summary["failed"]) == (8, 8, 0)
    assert demo.summary["state"] == "success"
    enriched = {row["book_id"]: row for row in demo.rows}
    assert len(enriched) == len(NASTY)
    for book_id, title, authors, year, _ in NASTY:
        row = enriched[book_id]
        assert row["title"] == title
        described = one_line(row["description"])
        assert f"Title: {one_line(title)} By: {one_line(authors) or 'unknown'} First" in described
        assert f"published: {int(float(year)) if year else 'unknown'} " in described
        assert row["genres"]
        assert row["for_children"] in ("True", "False")
        assert row["failure"] == ""


def test_demo_of_embeddings_finds_the_books_nearest_to_a_phrase(demos):
    demo = demos["embeddings"]
    assert demo.code == 0, demo.screen
    assert demo.summary["rows"] == demo.summary["succeeded"] + demo.summary["failed"] == 42
    assert demo.summary["failed"] > 0
    assert {row["dimensions"] for row in demo.rows if not row["failure"]} == {"768"}
    nearest = demo.summary["nearest"]
    assert len(nearest) == 10
    assert [row["distance"] for row in nearest] == sorted(row["distance"] for row in nearest)
    # The stand-in's vectors are near where letters are shared.
    assert nearest[0]["phrase"] == "a school for young wizards"
    assert "School" in nearest[0]["title"]
    assert "nearest to 'a school for young wizards'" in demo.screen


def test_demo_writes_below_its_folder_only(demos):
    assert {path.name for path in demos["nasty"].folder.iterdir()} == {"books.csv", "out"}


def test_demo_counts_and_names_the_failed_books(demos):
    demo = demos["some fail"]
    assert demo.code == 0, demo.screen
    assert demo.summary["rows"] == demo.summary["succeeded"] + demo.summary["failed"] == 42
    failed = [row for row in demo.rows if row["failure"]]
    assert len(failed) == demo.summary["failed"] > 0
    assert not any(row["description"] or row["genres"] for row in failed)
    assert "Books that were not described" in demo.screen
    assert failed[0]["title"].split()[0] in demo.screen


def test_demo_of_a_failed_dag_run_says_why_and_exits_with_an_error(demos):
    demo = demos["all fail"]
    assert demo.code == 1
    assert demo.summary["state"] == "failed"
    assert (demo.summary["succeeded"], demo.summary["failed"]) == (0, 42)
    assert "succeeded, but no row has an answer" in demo.screen


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "lacks the column book_id, title: its header is None"),
        (b"id,name\n1,x\n", "lacks the column book_id, title: its header is ['id', 'name']"),
        (b"book_id,title\n", "contains no rows"),
        (b"book_id,title\n1,a\n,b\n", "line 3: book_id is empty"),
        (b"book_id,title\n1,a\n1,b\n", "book_id must be unique, but these values are repeated: ['1']"),
        (
            b"book_id,title,original_publication_year\n1,a,MCM\n",
            "line 2: original_publication_year: expected a number, got 'MCM'",
        ),
        (b"book_id,title\n1,\xff\xfe\n", "as a UTF-8 CSV file: "),
        (None, "mine.csv as a UTF-8 CSV file: "),
    ],
)
def test_demo_names_what_is_wrong_with_the_input(tmp_path, content, message):
    path = tmp_path / "mine.csv"
    if content is not None:
        path.write_bytes(content)
    result = CliRunner().invoke(app, ["demo", "--input", str(path), "--folder", str(tmp_path / "out")])
    assert result.exit_code == 2
    assert message in " ".join(result.stderr.split())
    assert not (tmp_path / "out").exists()


def test_up_refuses_a_port_in_use(gemini_batch_stack):
    port = gemini_batch_stack.storage.port
    result = CliRunner().invoke(app, ["up", "--port", str(port)])
    assert result.exit_code == 2
    assert f"Port {port} is in use" in result.stderr
