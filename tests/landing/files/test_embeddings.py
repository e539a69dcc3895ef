"""Vectors from files land in files, with the real clients, against the local server."""

from __future__ import annotations

import datetime as dt
import json
import math
from pathlib import Path

import duckdb
import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from airflow_gemini_batch.exceptions import InvalidRequestError
from airflow_gemini_batch.outputs.classify import Outcome
from tests.landing.answer_files import jsonl, parquet
from tests.landing.landings import JOB, NASTY
from tests.landing.vector_files import KEYED, MODELS, TEXT, VectorFiles, asked
from tests.landing.vectors import vector_plan
from tests.outputs.vector_cases import CASES, LENGTH

FAMILIES = [TEXT, KEYED]


@pytest.fixture(params=FAMILIES)
def files(request, gemini_batch_stack, bucket, tmp_path):
    files = VectorFiles(gemini_batch_stack, bucket, tmp_path)
    files.family = request.param
    return files


def plan(files: VectorFiles, dimensions: int | None = None, **settings):
    return vector_plan(dimensions, family=files.family, **settings)


def test_vectors_land_as_lists_of_fixed_size_with_their_bookkeeping(files):
    source = files.texts({NASTY: "A", "978-1": "B"})
    output = files.output(files.vector(NASTY, "A", [0.6, -0.8], 8), files.vector("978-1", "B", [1, 0]))
    report = files.run(plan(files), files.submission(source, output))
    assert (report.landed, report.failed) == (2, 0)
    table = pq.read_table(files.target)
    assert table.schema.field("embedding").type == pa.list_(pa.float32(), 2)
    first, second = sorted(table.to_pylist(), key=lambda row: row["isbn"])
    assert (first["isbn"], first["embedding"]) == ("978-1", [1.0, 0.0])
    assert second["embedding"] == pytest.approx([0.6, -0.8])
    assert (second["token_count"], second["dimensions"]) == (8, 2)
    assert second["truncated"] is (False if files.family is TEXT else None)
    assert list(table.column_names)[5:] == [
        "batch_model",
        "batch_prompt_tokens",
        "batch_processed_time",
        "batch_job",
        "batch_fingerprint",
        "batch_question",
    ]
    assert (second["batch_model"], second["batch_prompt_tokens"]) == (MODELS[files.family], 8)
    assert second["batch_job"] == f"{JOB}/0"
    assert isinstance(second["batch_processed_time"], dt.datetime)
    assert len(second["batch_fingerprint"]) == 32


def test_duckdb_compares_what_has_landed(files):
    files.run(plan(files), files.embed({"a": [1.0, 0.0], "b": [0.0, 1.0], "c": [0.8, 0.6]}))
    found = duckdb.sql(f"""SELECT isbn FROM read_parquet('{files.target}')
ORDER BY array_cosine_distance(embedding::FLOAT[2], [1, 0.1]::FLOAT[2])""").fetchall()
    assert found == [("a",), ("c",), ("b",)]


def test_vectors_land_in_json_lines_with_all_digits(files, tmp_path):
    target = str(tmp_path / "vectors.jsonl")
    vector = [0.1, -1e-9, 0.30000000000000004]
    files.run(plan(files), files.embed({"b": vector, "a": [1, 2, 3]}), target=target)
    first, second = jsonl(target)
    assert (first["isbn"], first["embedding"]) == ("a", [1.0, 2.0, 3.0])
    assert second["embedding"] == vector
    assert second["batch_processed_time"].endswith("+00:00")


def test_equal_texts_get_equal_vectors(files):
    source = files.texts({"978-1": "A", "978-2": "A", "978-3": "B", "978-4": "A"})
    lines = [files.vector(f"978-{n}", "B" if n == 3 else "A", [float(n == 3), 1.0]) for n in range(1, 5)]
    report = files.run(plan(files), files.submission(source, files.output(*lines)))
    assert report.landed == 4
    assert parquet(files.target, "isbn", "embedding") == [
        ("978-1", [0.0, 1.0]),
        ("978-2", [0.0, 1.0]),
        ("978-3", [1.0, 1.0]),
        ("978-4", [0.0, 1.0]),
    ]


def test_one_vector_serves_all_rows_of_its_text(gemini_batch_stack, bucket, tmp_path):
    files = VectorFiles(gemini_batch_stack, bucket, tmp_path)
    source = files.texts({str(number): "A" for number in range(50)})
    report = files.run(plan(files), files.submission(source, files.output(files.vector("", "A", [1.0]))))
    assert report.landed == 50


def test_texts_are_told_apart_by_task_type_and_title(gemini_batch_stack, bucket, tmp_path):
    files = VectorFiles(gemini_batch_stack, bucket, tmp_path)
    rows = [
        {"content": "A"},
        {"content": "A", "task_type": "RETRIEVAL_DOCUMENT"},
        {"content": "A", "task_type": "RETRIEVAL_DOCUMENT", "title": "T"},
        {"content": "A", "task_type": "RETRIEVAL_DOCUMENT", "title": ""},
    ]
    requests = b"".join(orjson.dumps({"key": str(n), **row}) + b"\n" for n, row in enumerate(rows))
    lines = [
        orjson.dumps({"instance": row, "predictions": [{"embeddings": {"values": [n + 1.0]}}], "status": ""})
        for n, row in enumerate(rows[:3])
    ]
    files.run(plan(files), files.submission(files.put("texts.jsonl", requests), files.output(*lines)))
    assert parquet(files.target, "isbn", "embedding") == [
        ("0", [1.0]),
        ("1", [2.0]),
        ("2", [3.0]),
        ("3", [2.0]),
    ]


def test_keyless_vectors_are_matched_by_their_requests(gemini_batch_stack, bucket, tmp_path):
    files = VectorFiles(gemini_batch_stack, bucket, tmp_path)
    files.family = KEYED
    source = files.texts({"978-1": "A", "978-2": "B"})
    lines = [
        orjson.dumps({"request": asked(KEYED, text), "response": {"embedding": {"values": [value, 0]}}})
        for text, value in (("B", 2.0), ("A", 1.0))
    ]
    files.run(plan(files), files.submission(source, files.output(*lines)))
    assert parquet(files.target, "isbn", "embedding") == [("978-1", [1.0, 0.0]), ("978-2", [2.0, 0.0])]


def test_failed_rows_tell_why(files):
    texts = {f"978-{number}": f"Text {number}" for number in range(6)}
    lines = [
        files.refusal("978-0", "Text 0"),
        files.refusal("978-1", "Text 1", 429),
        files.line("978-2", "Text 2", {"predictions": [], "status": ""}, {}),
        files.vector("978-3", "Text 3", [0, 0.0]),
        files.vector("978-4", "Text 4", [1.0, None]),
        files.vector("nobody", "Nobody's text", [1.0, 0.0]),
    ]
    source = files.texts(texts)
    report = files.run(plan(files), files.submission(source, files.output(*lines)))
    assert report.landed == 0
    failed = parquet(
        files.target.replace(".parquet", "__failed.parquet"), "isbn", "outcome", "code", "message"
    )
    status = json.loads(lines[0])["status"]
    assert failed == [
        ("978-0", "rejected", 400, status),
        ("978-1", "retryable", 429, status.replace("400", "429")),
        ("978-2", "missing", None, "the row has no vector"),
        ("978-3", "invalid", None, "the vector is zero"),
        ("978-4", "invalid", None, "the vector holds something that is not a finite number"),
        ("978-5", "missing", None, "the output has no row for the request"),
    ]
    assert not Path(files.target).exists()


def test_vector_lands_or_says_why_not(files):
    manifest = files.embed({case.name: case.values for case in CASES})
    files.run(plan(files, LENGTH), manifest)
    failed = parquet(files.target.replace(".parquet", "__failed.parquet"), "isbn", "outcome", "message")
    unfit = {case.name: ("invalid", case.lands) for case in CASES if isinstance(case.lands, str)}
    assert {key: (outcome, message) for key, outcome, message in failed} == unfit
    landed = {case.name: pytest.approx(case.lands) for case in CASES if case.name not in unfit}
    assert dict(parquet(files.target, "isbn", "embedding")) == landed


@pytest.mark.parametrize("dimensions", [None, 2])
@pytest.mark.parametrize(("ending", "landed"), [("parquet", 1), ("jsonl", 2)])
def test_vector_that_is_too_large_for_32_bits_lands_where_there_are_64(
    files, tmp_path, ending, landed, dimensions
):
    manifest = files.embed({"large": [3e100, 4e100], "usual": [0.6, 0.8]})
    report = files.run(plan(files, dimensions), manifest, target=str(tmp_path / f"vectors.{ending}"))
    assert (report.landed, report.failed) == (landed, 2 - landed)
    assert all("not a finite number" in sample for sample in report.samples)


def test_failures_keep_what_has_landed_before(files):
    files.run(plan(files), files.embed({"978-1": [1.0, 0.0]}))
    before = Path(files.target).read_bytes()
    source = files.texts({"978-2": "B"})
    files.run(plan(files), files.submission(source, files.output(files.refusal("978-2", "B"))))
    assert Path(files.target).read_bytes() == before


def test_longer_vectors_are_cut_and_normalised_and_that_is_said_once(files, caplog):
    with caplog.at_level("WARNING"):
        files.run(
            plan(files, 2), files.embed({"a": [3.0, 4.0, 12.0], "b": [0.0, -5.0, 1.0], "c": [0.6, 0.8]})
        )
    vectors = dict(parquet(files.target, "isbn", "embedding"))
    assert vectors == {
        key: pytest.approx(v) for key, v in {"a": [0.6, 0.8], "b": [0, -1], "c": [0.6, 0.8]}.items()
    }
    assert all(math.hypot(*values) == pytest.approx(1) for values in vectors.values())
    assert [one.getMessage() for one in caplog.records if "dimensions" in one.getMessage()] == [
        "2 vectors had more than the 2 dimensions asked for: they were cut and normalised again"
    ]


def test_vectors_are_of_one_length(files):
    report = files.run(plan(files), files.embed({"a": [1.0, 2.0], "b": [1.0, 2.0, 3.0], "c": [2.0, 1.0]}))
    assert (report.landed, report.counts[Outcome.INVALID]) == (2, 1)
    assert parquet(files.target, "isbn", "dimensions") == [("a", 2), ("c", 2)]
    failed = parquet(files.target.replace(".parquet", "__failed.parquet"), "isbn", "message")
    assert failed == [("b", "the vector has 3 dimensions, not the 2 of most")]


@pytest.mark.parametrize("ending", ["parquet", "jsonl"])
def test_landing_twice_changes_nothing(files, tmp_path, ending):
    target = str(tmp_path / f"vectors.{ending}")
    manifest = files.embed({"a": [0.1, 0.2], "b": [0.3, 0.4]})
    first = files.run(plan(files), manifest, target=target)
    before = Path(target).read_bytes()
    assert files.run(plan(files), manifest, target=target) == first
    assert Path(target).read_bytes() == before


@pytest.mark.parametrize("ending", ["parquet", "jsonl"])
def test_vectors_merge_with_those_that_are_there(files, tmp_path, ending):
    target = str(tmp_path / f"vectors.{ending}")
    files.run(plan(files), files.embed({"a": [0.5, 0.25], "b": [0.0, 1.0]}), target=target)
    files.run(plan(files), files.embed({"b": [1.0, 0.0], "c": [-1.0, 0.0]}), target=target)
    rows = jsonl(target) if ending == "jsonl" else pq.read_table(target).to_pylist()
    found = {row["isbn"]: row["embedding"] for row in rows}
    assert found == {"a": [0.5, 0.25], "b": [1.0, 0.0], "c": [-1.0, 0.0]}
    assert [row["dimensions"] for row in rows] == [2, 2, 2]


@pytest.mark.parametrize("ending", ["parquet", "jsonl"])
def test_target_with_vectors_of_another_length_takes_no_more(files, tmp_path, ending):
    target = str(tmp_path / f"vectors.{ending}")
    files.run(plan(files), files.embed({"a": [1.0, 0.0]}), target=target)
    before = Path(target).read_bytes()
    with pytest.raises(InvalidRequestError, match=r"the vectors have 3 dimensions, and those in .* have 2"):
        files.run(plan(files), files.embed({"b": [1.0, 0.0, 0.0]}), target=target)
    assert Path(target).read_bytes() == before


def test_vectors_of_others_take_more_and_keep_rows_without_one(files):
    vectors = pa.array([[0.5, 0.25], None, [1.0, 0.0]], pa.list_(pa.float64()))
    others = pa.table({"isbn": ["x", "y", "z"], "embedding": vectors, "note": ["kept", None, "too"]})
    pq.write_table(others, files.target)
    files.run(plan(files, bookkeeping=False), files.embed({"a": [0.0, 1.0], "z": [0.0, -1.0]}))
    assert parquet(files.target, "isbn", "embedding", "note") == [
        ("a", [0.0, 1.0], None),
        ("x", [0.5, 0.25], "kept"),
        ("y", None, None),
        ("z", [0.0, -1.0], "too"),
    ]


def test_lines_of_others_take_more_and_keep_rows_without_a_vector(files, tmp_path):
    target = tmp_path / "vectors.jsonl"
    old = [
        {"isbn": "x", "embedding": [0.5, 0.25], "note": {"by": [NASTY]}},
        {"isbn": "y", "embedding": None},
        {"isbn": "z", "embedding": [1, 0]},
    ]
    target.write_bytes(b"".join(orjson.dumps(row) + b"\n" for row in old))
    for _ in range(2):
        landed = files.embed({"a": [0.0, 1.0], "z": [0.0, -1.0]})
        files.run(plan(files, bookkeeping=False), landed, target=str(target))
    assert [(row["isbn"], row.get("embedding"), row["note"]) for row in jsonl(str(target))] == [
        ("a", [0.0, 1.0], None),
        ("x", [0.5, 0.25], {"by": [NASTY]}),
        ("y", None, None),
        ("z", [0.0, -1.0], None),
    ]


@pytest.mark.parametrize("ending", ["parquet", "jsonl"])
def test_column_with_something_else_takes_no_vectors(files, tmp_path, ending):
    target = tmp_path / f"vectors.{ending}"
    if ending == "parquet":
        pq.write_table(pa.table({"isbn": ["a"], "embedding": ["text"]}), target)
    else:
        target.write_text('{"isbn": "a", "embedding": "text"}\n')
    with pytest.raises(InvalidRequestError, match=r"can't take the (answers|vectors)"):
        files.run(plan(files), files.embed({"b": [1.0]}), target=str(target))


def test_request_without_a_key_is_told(gemini_batch_stack, bucket, tmp_path):
    files = VectorFiles(gemini_batch_stack, bucket, tmp_path)
    source = files.put("texts.jsonl", b'{"content": "A"}\n')
    with pytest.raises(InvalidRequestError, match='give each line a "key" beside its "content"'):
        files.run(plan(files), files.submission(source, files.output(files.vector("", "A", [1.0]))))


def test_fingerprint_tells_the_length_that_the_job_was_asked_for(gemini_batch_stack, bucket, tmp_path):
    files = VectorFiles(gemini_batch_stack, bucket, tmp_path)
    found = []
    for parameters in ({}, {"outputDimensionality": "2"}):
        target = str(tmp_path / f"{len(parameters)}.parquet")
        files.run(plan(files, model_parameters=parameters), files.embed({"a": [1.0, 0.0]}), target=target)
        found += parquet(target, "batch_fingerprint")
    assert len(set(found)) == 2
