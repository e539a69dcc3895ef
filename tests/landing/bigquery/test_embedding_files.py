"""Vectors in files land in a table, with the real clients, against the local servers."""

from __future__ import annotations

import logging
from typing import Any

import orjson
import pytest

from airflow_gemini_batch.core.addresses import BigQueryAddress
from airflow_gemini_batch.exceptions import InvalidRequestError, OutputNotReadyError
from airflow_gemini_batch.landing.bigquery.lander import TableLanding
from airflow_gemini_batch.outputs.classify import Outcome
from tests.landing.landings import JOB, NASTY
from tests.landing.vector_files import KEYED, MODELS, TEXT, VectorFiles, asked
from tests.landing.vectors import vector_plan
from tests.outputs.vector_cases import CASES, LENGTH
from tests.support.tables import bigquery_client, fill, make_dataset, read

VECTOR = [0.1, -1e-9, 0.30000000000000004]


class Landing(VectorFiles):
    """Files in a bucket, a dataset, and the way from one to the other."""

    family = KEYED

    def __init__(self, stack, bucket, folder):
        super().__init__(stack, bucket, folder)
        self.table = BigQueryAddress.parse(f"{make_dataset(stack)}.vectors")
        self.bigquery = bigquery_client(stack)

    def load(self, *manifests, dimensions=None, key=("isbn",)):
        plan = vector_plan(dimensions, key, family=self.family)
        landing = TableLanding(self.bigquery, logging.getLogger(__name__))
        failed = self.table.with_table("vectors__failed")
        return landing.land_files(plan, manifests, self.client, self.table, failed)

    def landed(self, *columns: str) -> dict[Any, Any]:
        return _by_key(read(self.stack, str(self.table)), columns)

    def failures(self, *columns: str) -> dict[Any, Any]:
        return _by_key(read(self.stack, f"{self.table}__failed"), columns)

    def table_names(self) -> set[str]:
        return {
            one.table_id for one in self.bigquery.list_tables(f"{self.table.project}.{self.table.dataset}")
        }


def _by_key(rows, columns):
    found = {row["isbn"]: tuple(row[name] for name in columns) for row in rows}
    return {key: values[0] if len(columns) == 1 else values for key, values in found.items()}


def answer(key: str, response: Any, text: str = "A", **beside: Any) -> bytes:
    return orjson.dumps({"key": key, "request": asked(KEYED, text), "response": response, **beside})


@pytest.fixture
def files(gemini_batch_stack, bucket, tmp_path):
    return Landing(gemini_batch_stack, bucket, tmp_path)


@pytest.fixture(params=[TEXT, KEYED])
def any_files(request, files):
    files.family = request.param
    return files


def test_vectors_land_with_all_digits_and_failures_apart(any_files):
    source = any_files.texts({NASTY: NASTY, "978-2": "B", "978-3": "C"})
    lines = [any_files.vector(NASTY, NASTY, VECTOR, 8), any_files.refusal("978-2", "B")]
    manifest = any_files.submission(source, any_files.output(*lines))
    for _ in range(2):
        report = any_files.load(manifest)
        assert (report.landed, report.failed) == (1, 2)
        truncated = False if any_files.family is TEXT else None
        assert any_files.landed("embedding", "token_count", "dimensions", "truncated", "batch_job") == {
            NASTY: (VECTOR, 8, 3, truncated, f"{JOB}/0")
        }
        assert any_files.landed("batch_model") == {NASTY: MODELS[any_files.family]}
        failures = {"978-2": ("rejected", 400), "978-3": ("missing", None)}
        assert any_files.failures("outcome", "code") == failures
    assert any_files.table_names() == {"vectors", "vectors__failed"}


def test_cutting_is_said_once(any_files, caplog):
    with caplog.at_level("WARNING"):
        any_files.load(any_files.embed({"a": [3.0, 4.0, 5.0], "b": [0.6, 0.8]}), dimensions=2)
    assert any_files.landed("embedding") == {"a": [0.6, 0.8], "b": [0.6, 0.8]}
    assert [one.getMessage() for one in caplog.records] == [
        "1 vectors had more than the 2 dimensions asked for: they were cut and normalised again"
    ]


def test_target_with_vectors_of_another_length_takes_no_more(any_files):
    any_files.load(any_files.embed({"a": [1.0, 0.0]}))
    with pytest.raises(
        InvalidRequestError, match=r"the vectors have 3 dimensions, and those in .*vectors have 2"
    ):
        any_files.load(any_files.embed({"b": VECTOR}))
    assert any_files.landed("dimensions") == {"a": 2}


@pytest.mark.parametrize(
    "line",
    [
        answer("a", {"embedding": {"values": [1.0, 0.0]}, "tokenCount": "2"}, status=""),
        answer("a", {"embedding": {"values": [1.0, 0.0]}, "tokenCount": 2.0}, status={}),
        answer("a", {"embeddings": [{"values": [1.0, 0.0]}], "usageMetadata": {"promptTokenCount": 2}}),
        answer("a", {"embeddings": {"values": [1.0, 0.0]}, "tokenCount": "2"}, status=None),
        b'{"key": "a", "response": {"embedding": {"values": [1.00000000000000000000001, 0]}, "tokenCount": "2"}}\r',
    ],
    ids=["status", "empty status", "list", "object", "no request"],
)
def test_answers_of_all_shapes_are_read(files, line):
    files.load(files.submission(files.texts({"a": "A"}), files.output(line)))
    assert files.landed("embedding", "token_count") == {"a": ([1.0, 0.0], 2)}


def test_lines_that_can_not_be_read_are_told(files, caplog):
    source = files.texts({"978-1": "A", "978-2": "B"})
    files.put("texts-1.jsonl", files.get("texts-1.jsonl") + b'\n{"key": "978-3"}\n')
    cut = files.vector("978-2", "B", [1.0, 0.0])[:-9]
    with caplog.at_level("WARNING"):
        report = files.load(
            files.submission(
                source, files.output(files.vector("978-1", "A", [1.0, 0.0]), cut, b"no \x01 JSON")
            )
        )
    assert (report.landed, report.counts[Outcome.MISSING]) == (1, 1)
    assert [one.getMessage() for one in caplog.records] == [
        "1 lines of the request files do not hold a request and are left out",
        "2 lines of the answers are not JSON objects; their requests count as missing",
    ]


@pytest.mark.parametrize("number", [b"NaN", b"-Infinity"])
def test_vector_with_something_that_is_no_number_is_invalid(files, number):
    text = 'It says: "[NaN, 1]"'
    line = files.vector("a", text, [1.0, 1.0]).replace(b"[1.0,1.0]", b"[%b, %b,1.0]" % (number, number))
    report = files.load(files.submission(files.texts({"a": text}), files.output(line)))
    assert report.counts[Outcome.INVALID] == 1
    assert files.failures("message") == {"a": "the vector holds something that is not a finite number"}


def test_vector_lands_or_says_why_not(files):
    files.load(files.embed({case.name: case.values for case in CASES}), dimensions=LENGTH)
    unfit = {case.name: ("invalid", case.lands) for case in CASES if isinstance(case.lands, str)}
    assert files.failures("outcome", "message") == unfit
    landed = {case.name: pytest.approx(case.lands) for case in CASES if case.name not in unfit}
    assert files.landed("embedding") == landed


def test_keyless_vectors_are_matched_by_their_requests(files):
    source = files.texts({"978-1": "A", "978-2": "B", "978-3": "B"})
    echo = {
        "embedContentConfig": {"taskType": "RETRIEVAL_DOCUMENT", "title": None, "outputDimensionality": 2},
        "content": {"role": None, "parts": [{"text": "A"}]},
    }
    lines = [
        orjson.dumps({"request": request, "response": {"embedding": {"values": values}}})
        for request, values in ((asked(KEYED, "B"), [2.0, 0.0]), (echo, [1.0, 0.0]))
    ]
    files.load(files.submission(source, files.output(*lines)))
    assert files.landed("embedding") == {"978-1": [1.0, 0.0], "978-2": [2.0, 0.0], "978-3": [2.0, 0.0]}


def test_keyless_vector_belongs_to_no_request_of_several_parts(files):
    request = {
        "content": {"parts": [{"text": "A"}, {"text": "B"}]},
        "embed_content_config": asked(KEYED, "A")["embed_content_config"],
    }
    line = orjson.dumps({"request": request, "response": {"embedding": {"values": [1.0, 0.0]}}})
    report = files.load(files.submission(files.texts({"978-1": "A"}), files.output(line)))
    assert report.counts[Outcome.MISSING] == 1


def test_best_of_several_answers_lands(files):
    source = files.texts({"a": "A", "b": "B", "c": "C"})
    first = files.output(
        files.refusal("a", "A", 503), files.vector("b", "B", [1.0]), files.refusal("c", "C", 503)
    )
    second = files.output(files.vector("a", "A", [2.0]), files.refusal("b", "B"), files.refusal("c", "C"))
    report = files.load(files.submission(source, first, second))
    assert files.landed("embedding", "batch_job") == {"a": ([2.0], f"{JOB}/1"), "b": ([1.0], f"{JOB}/0")}
    assert files.failures("outcome", "round") == {"c": ("rejected", 1)}
    assert sum(report.counts.values()) == 3


def test_submissions_do_not_mix(files):
    first = files.submission(
        files.texts({"a": "A"}), files.output(files.vector("a", "A", [1.0])), identity="1"
    )
    second = files.submission(
        files.texts({"b": "B"}), files.output(files.vector("a", "A", [2.0])), identity="2"
    )
    files.load(first, second)
    assert files.landed("embedding") == {"a": [1.0]}
    assert files.failures("outcome") == {"b": "missing"}


def test_job_without_output_leaves_all_rows_missing(files):
    assert files.load(files.submission(files.texts({"a": "A"}), "")).counts[Outcome.MISSING] == 1
    assert files.failures("job") == {"a": f"{JOB}/0"}


def test_answers_that_are_gone_are_told(files):
    manifest = files.submission(files.texts({"a": "A"}), f"gs://{files.bucket}/gone")
    with pytest.raises(OutputNotReadyError, match="holds no prediction files"):
        files.load(manifest)
    assert not files.table_names()


def test_vectors_are_of_one_length(files):
    files.load(files.embed({"a": [1.0, 2.0], "b": [1.0, 2.0, 3.0], "c": [2.0, 1.0]}))
    assert files.landed("dimensions") == {"a": 2, "c": 2}
    assert files.failures("message") == {"b": "the vector has 3 dimensions, not the 2 of most"}


def test_key_of_several_columns_is_taken_apart(files):
    keys = [orjson.dumps([NASTY, "1"]).decode(), orjson.dumps([NASTY, "2"]).decode()]
    files.load(files.embed({keys[0]: [1.0], keys[1]: [2.0]}), key=("isbn", "page"))
    rows = read(files.stack, str(files.table))
    assert {(row["isbn"], row["page"]): row["embedding"] for row in rows} == {
        (NASTY, "1"): [1.0],
        (NASTY, "2"): [2.0],
    }


@pytest.mark.parametrize(
    ("keys", "key", "message"),
    [
        (['"a"', '"a"'], ("isbn",), r"several requests have the same key \(isbn: a\)"),
        (["null"], ("isbn",), "a request has no key"),
        (['"a"'], ("isbn", "page"), "give the same key as where the requests were built"),
        (
            ['"[\\"a\\",\\"b\\",\\"c\\"]"'],
            ("isbn", "page"),
            "give the same key as where the requests were built",
        ),
    ],
)
def test_key_that_does_not_tell_the_requests_apart_is_told(files, keys, key, message):
    request = orjson.dumps(asked(KEYED, "A")).decode()
    source = files.put(
        "texts.jsonl", "".join(f'{{"key":{one},"request":{request}}}\n' for one in keys).encode()
    )
    with pytest.raises(InvalidRequestError, match=message):
        files.load(files.submission(source, files.output(files.vector("a", "A", [1.0]))), key=key)
    assert not files.table_names()


def test_rows_of_others_stay(files):
    fill(files.stack, str(files.table), {"isbn": "STRING", "note": "STRING"}, [{"isbn": "x", "note": "kept"}])
    files.load(files.embed({"a": [1.0]}))
    assert files.landed("note") == {"x": "kept", "a": None}
