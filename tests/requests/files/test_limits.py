"""Hostile files, read by processes that may take half a gigabyte for it and no more."""

from __future__ import annotations

import gzip
import time
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from airflow_gemini_batch.core.addresses import GcsAddress
from airflow_gemini_batch.core.jsonl import tolerant_object
from airflow_gemini_batch.landing.schema_check_sql import parsed_answer
from airflow_gemini_batch.requests.files.rows import read_rows
from airflow_gemini_batch.requests.sources import QueryRows, parse_row_source
from airflow_gemini_batch.sql.dialect import DUCKDB
from airflow_gemini_batch.sql.engine import connect
from tests.outputs.lines import sort_rows
from tests.support.limited_process import run_limited

MEGABYTE = 2**20

# What a reader may take besides the program itself: see docs/limits.md. Large pages of Parquet take more than the rest.
ALLOWED = 2**30
NEEDED = 2**29
LARGE = 3 * 2**28


def packed(path: Path, begin: bytes, piece: bytes, times: int, end: bytes = b"") -> None:
    """Write a small gzip file of large content."""
    path.write_bytes(gzip.compress(begin) + gzip.compress(piece) * times + gzip.compress(end))


def sparse(path: Path, begin: bytes, size: int) -> None:
    """Write a file that takes no room on disk."""
    with path.open("wb") as file:
        file.write(begin)
        file.truncate(size)


X = b"x" * (64 * MEGABYTE)


def table(**columns: list[object]) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        pq.write_table(pa.table(columns), path, compression="zstd")

    return write


def of_lists(path: Path) -> None:
    """Write one row with a list of many zeros, which take next to no room."""
    zeros = pa.array([0] * 1000, pa.int8())
    many = pa.concat_arrays([zeros] * 40_000)
    rows = pa.ListArray.from_arrays(pa.array([0, len(many)], pa.int32()), many)
    pq.write_table(pa.table({"id": ["1"], "text": rows}), path, compression="zstd")


LONG_VALUE = "x" * (300 * MEGABYTE)

FILES = {
    "one-line.jsonl.gz": (
        lambda path: packed(path, b'{"id":"1"}\n{"id":"2","text":"', X, 12),
        "one-line.jsonl.gz, line 2: the line is longer than 32 MB",
    ),
    "one-line.jsonl": (
        lambda path: sparse(path, b'{"id":"1"}\n\n{"id":"2","text":"', LARGE),
        "one-line.jsonl, line 3: the line is longer than 32 MB",
    ),
    "lists.jsonl": (
        lambda path: path.write_bytes(b'{"id":"1","text":[' + b"[]," * 10_000_000 + b"[]]}\n"),
        "line 1: the line is longer than 32 MB, or holds more than 1,000,000 lists and objects",
    ),
    "other-columns.jsonl.gz": (
        lambda path: packed(path, b"", b'{"id":"1","text":"a","more":"' + X[: 20 * MEGABYTE] + b'"}\n', 26),
        "26 rows",
    ),
    "names.jsonl": (
        lambda path: path.write_text(
            "".join(
                "{{{}}}\n".format(",".join(f'"n{row}_{number}":1' for number in range(1000)))
                for row in range(1000)
            )
        ),
        "1000 rows",
    ),
    "one-line.csv": (
        lambda path: sparse(path, b"id,text\n1,a\n2,", LARGE),
        "one-line.csv, line 3: the row is longer than 32 MB",
    ),
    "open-quote.csv.gz": (
        lambda path: packed(path, b'id,text\n1,a\n2,"', b"line\n" * 10_000_000, 15),
        "the row is longer than 32 MB",
    ),
    "quoted-cells.csv.gz": (
        lambda path: packed(path, b"id,text\n", b'"a\n",' * 10_000_000, 15),
        "the row is longer than 32 MB",
    ),
    "commas.csv.gz": (
        lambda path: packed(path, b"id,text\n", b"," * (64 * MEGABYTE), 12),
        "the row is longer than 32 MB",
    ),
    "header.csv.gz": (
        lambda path: packed(path, b"", b"," * (64 * MEGABYTE), 12),
        "the row is longer than 32 MB",
    ),
    "dictionary.parquet": (
        table(id=[str(number) for number in range(1000)], text=["x" * MEGABYTE] * 1000),
        "1000 rows",
    ),
    "list-dictionary.parquet": (
        table(id=["1"] * 90, text=[["x" * MEGABYTE] * 10] * 90),
        "90 rows",
    ),
    "struct-dictionary.parquet": (
        table(id=["1"] * 1000, text=[{"a": "x" * MEGABYTE}] * 1000),
        "1000 rows",
    ),
    "one-row-of-one-text.parquet": (
        table(id=["1"] * 2, text=[["x" * MEGABYTE] * 100, []]),
        "one-row-of-one-text.parquet, row 1 or one of the 1000 after it has 100 MB",
    ),
    "one-value.parquet": (
        table(id=["1", "2"], text=["a", LONG_VALUE]),
        "one-value.parquet: in row group 1, the column 'text' has pages of 600 MB",
    ),
    "values.parquet": (
        table(id=["1"] * 6, text=[str(number) * (20 * MEGABYTE) for number in range(6)]),
        "6 rows",
    ),
    "zeros.parquet": (of_lists, "the column 'text.list.element' has 40,000,000 values in lists"),
    "footer.parquet": (
        lambda path: sparse(path, b"PAR1", 300 * MEGABYTE) or path.open("ab").write(b"\xff\xff\xff\x0fPAR1"),
        "footer.parquet has a footer of 255 MB",
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", FILES)
def test_reader_of_rows_keeps_to_its_memory(tmp_path: Path, name: str) -> None:
    write, printed = FILES[name]
    write(tmp_path / name)
    count = """
    rows = read_rows(parse_row_source(path), ("id", "text"), None)
    print(sum(1 for _ in rows.rows), "rows")
    """
    allowed = ALLOWED if name == "values.parquet" else NEEDED
    assert printed in run_limited(count, tmp_path / name, allowed)


@pytest.mark.slow
@pytest.mark.parametrize("small", [10, 1100])
def test_build_keeps_to_its_memory_when_large_rows_follow_small_ones(tmp_path: Path, small: int) -> None:
    rows = [
        {"isbn": str(number), "title": "x" * ((number >= small) * MEGABYTE)} for number in range(small + 1000)
    ]
    pq.write_table(pa.Table.from_pylist([*rows, {"isbn": None, "title": "last"}]), tmp_path / "a.parquet")
    build = """
    import logging
    from unittest.mock import MagicMock
    from airflow_gemini_batch.core.addresses import GcsAddress
    from tests.requests.plans import plan
    client = MagicMock()
    rows = read_rows(parse_row_source(path), ("isbn", "title"), client)
    build_files(plan("[[ title | a ]]"), rows, GcsAddress("b", "r"), client, logging.getLogger())
    """
    assert "1 row: the key is NULL" in run_limited(build, tmp_path / "a.parquet", NEEDED)


@pytest.mark.slow
def test_lines_of_answers_keep_to_their_memory(tmp_path: Path) -> None:
    sparse(tmp_path / "predictions.jsonl", b'{"a": 1}\n{"b": "', LARGE)
    with (tmp_path / "predictions.jsonl").open("ab") as file:
        file.write(b'"}\n{"c": 1}\n')
    read = """
    with open(path, "rb") as stream:
        print([line[:8] for line in iter_lines(stream)])
    """
    assert (
        run_limited(read, tmp_path / "predictions.jsonl", NEEDED)
        == """[b'{"a": 1}', b'{"b": "\\x00', b'{"c": 1}']"""
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "write", "found"),
    [
        ("line", lambda path: sparse(path, b'{"request": "', LARGE), "the line is longer than 20 MB"),
        (
            "kinds",
            lambda path: path.write_text("".join(f'{{"request":{{"field{n}":1}}}}\n' for n in range(2_000))),
            "rows have at least 990 more kinds of problems",
        ),
    ],
)
def test_validate_keeps_to_its_memory(
    tmp_path: Path, name: str, write: Callable[[Path], object], found: str
) -> None:
    write(tmp_path / "requests.jsonl")
    check = """
    from airflow_gemini_batch.cli import app
    from typer.testing import CliRunner
    result = CliRunner().invoke(app, ["validate", path, "--all", "--json"])
    print(" ".join(result.output.split()))
    """
    assert found in run_limited(check, tmp_path / "requests.jsonl", NEEDED)


# What takes time rather than memory: each of these took seconds, or for ever.


def quickly(call: Callable[[], object], seconds: float = 2.0) -> object:
    start = time.process_time()
    result = call()
    assert time.process_time() - start < seconds
    return result


def test_csv_with_many_columns_is_read(tmp_path: Path) -> None:
    names = [f"column {number}" for number in range(30_000)]
    path = tmp_path / "wide.csv"
    path.write_text(f"{','.join(names)}\n{','.join('v' for _ in names)}\n")
    rows = quickly(lambda: list(read_rows(parse_row_source(str(path)), names[-2:], None).rows))  # type: ignore[arg-type]
    assert rows == [{"column 29998": "v", "column 29999": "v"}]


@pytest.mark.parametrize(
    ("pattern", "name", "matches"),
    [
        ("*a*a*a*a*a*b", "a" * 1000, False),
        ("**a**a**a**a**a**b", "a" * 1000, False),
        ("*a**a*a**a*a**/*.jsonl", "a" * 500 + "/" + "a" * 500, False),
        ("*a*a*a*a*a*b", "a" * 1000 + "b", True),
        ("**/*a*/**/*a*.jsonl", "/".join(["aaa"] * 250) + ".jsonl", True),
    ],
)
def test_patterns_are_matched_in_linear_time(pattern: str, name: str, matches: bool) -> None:
    assert quickly(lambda: GcsAddress("bucket", pattern).matches(name)) is matches


@pytest.mark.parametrize(
    ("sql", "is_query"),
    [
        ("/**/" * 50_000 + "SELECT 1", True),
        ("--\n" * 50_000 + "SELECT 1", True),
        ("--\n" + " " * 500_000 + "x.csv", False),
        ("/*" * 100_000 + "x.csv", False),
        ("/* a */ -- b\n ( SELECT 1)", True),
    ],
)
def test_queries_are_told_from_files_in_linear_time(sql: str, is_query: bool) -> None:
    assert isinstance(quickly(lambda: parse_row_source(sql)), QueryRows) is is_query


@pytest.mark.parametrize(
    "answer", ["```json\n" + "\n" * 500_000, "```" + " " * 500_000 + "x", "```json" + " \n" * 300_000 + "{"]
)
def test_answers_that_begin_a_fence_are_read_in_linear_time(tmp_path: Path, answer: str) -> None:
    with connect(tmp_path) as database:
        query = f"SELECT {parsed_answer('text', DUCKDB)} FROM (SELECT ?::VARCHAR AS text)"
        assert quickly(lambda: database.execute(query, [answer]).fetchall()) == [(None,)]


@pytest.mark.parametrize(
    "line",
    [b'{"a": "' + b'\\"' * 500_000, b'{"a": ' + b"," * 500_000, b'{"a": 1,' + b" " * 500_000],
    ids=["quotes", "commas", "spaces"],
)
def test_lines_that_were_cut_off_are_read_in_linear_time(line: bytes) -> None:
    assert quickly(lambda: tolerant_object(line)) is None


def test_statuses_are_read_in_linear_time(tmp_path: Path) -> None:
    status = '{"code": 0' + " " * 500_000 + "{"
    assert quickly(lambda: sort_rows(tmp_path, [{"status": status}]))
