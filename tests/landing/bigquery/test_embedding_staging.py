"""Vectors from files land in a table, with the real clients, against the local servers."""

from __future__ import annotations

import logging

import pytest

from airflow_gemini_batch.core.addresses import BigQueryAddress
from airflow_gemini_batch.exceptions import InvalidRequestError
from airflow_gemini_batch.landing.bigquery.lander import TableLanding
from tests.landing.vector_files import KEYED, TEXT, VectorFiles
from tests.landing.vectors import vector_plan
from tests.support.tables import bigquery_client, make_dataset, read

VECTOR = [0.1, -1e-9, 0.30000000000000004]


@pytest.fixture
def target(gemini_batch_stack):
    return BigQueryAddress.parse(f"{make_dataset(gemini_batch_stack)}.vectors")


@pytest.fixture(params=[TEXT, KEYED])
def files(request, gemini_batch_stack, bucket, tmp_path):
    files = VectorFiles(gemini_batch_stack, bucket, tmp_path)
    files.family = request.param
    return files


def land(files, target, manifest, dimensions=None):
    plan = vector_plan(dimensions, family=files.family)
    client, log = bigquery_client(files.stack), logging.getLogger(__name__)
    failed = target.with_table("vectors__failed")
    return TableLanding(client, log).land_files(plan, [manifest], files.client, target, failed)


def test_vectors_land_with_all_digits_and_failures_apart(gemini_batch_stack, files, target):
    source = files.texts({"978-1": "A", "978-2": "B", "978-3": "C"})
    lines = [files.vector("978-1", "A", VECTOR, 8), files.refusal("978-2", "B")]
    for _ in range(2):
        report = land(files, target, files.submission(source, files.output(*lines)))
        assert (report.landed, report.failed) == (1, 2)
    (row,) = read(gemini_batch_stack, str(target))
    assert (row["isbn"], row["embedding"], row["token_count"], row["dimensions"]) == ("978-1", VECTOR, 8, 3)
    failed = read(gemini_batch_stack, f"{target}__failed")
    assert {row["isbn"]: row["outcome"] for row in failed} == {"978-2": "rejected", "978-3": "missing"}


def test_cutting_is_said_once(files, target, caplog):
    with caplog.at_level("WARNING"):
        land(files, target, files.embed({"a": [3.0, 4.0, 5.0]}), 2)
    assert [one.getMessage() for one in caplog.records if "dimensions" in one.getMessage()] == [
        "1 vectors had more than the 2 dimensions asked for: they were cut and normalised again"
    ]


def test_target_with_vectors_of_another_length_takes_no_more(gemini_batch_stack, files, target):
    land(files, target, files.embed({"a": [1.0, 0.0]}))
    with pytest.raises(
        InvalidRequestError, match=r"the vectors have 3 dimensions, and those in .*vectors have 2"
    ):
        land(files, target, files.embed({"b": VECTOR}))
    assert len(read(gemini_batch_stack, str(target))) == 1
