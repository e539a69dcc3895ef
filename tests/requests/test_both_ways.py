"""The builds of files and of tables make the same requests of the same rows, and refuse the same rows."""

from __future__ import annotations

import logging
import re
from functools import partial
from typing import Any

import orjson
import pytest

from airflow_gemini_batch.core.keys import text_of_key
from airflow_gemini_batch.exceptions import InvalidRequestError
from airflow_gemini_batch.requests.build import build_requests
from airflow_gemini_batch.requests.lines import fingerprint_of_line
from airflow_gemini_batch.requests.spec import BadRows, BuildPlan
from airflow_gemini_batch.requests.templates import BadRow
from tests.requests.plans import plan
from tests.requests.request_cases import (
    BAD_ROW_CASES,
    BAD_ROW_COLUMNS,
    BAD_ROW_PLAN,
    GOOD_ROWS,
    REQUEST_CASES,
    BadRowCase,
    RequestCase,
)
from tests.requests.value_cases import VALUE_CASES
from tests.support.requests_data import lines, storage_client
from tests.support.tables import fill, read

Requests = dict[str, tuple[dict[str, Any], str]]


@pytest.fixture
def build(gemini_batch_stack, client):
    return partial(
        build_requests,
        storage_client=lambda: storage_client(gemini_batch_stack),
        bigquery_client=lambda: client,
        log=logging.getLogger("build"),
    )


@pytest.fixture
def requests(gemini_batch_stack, build, dataset, bucket):
    """Build, and return the requests and their fingerprints by key."""

    def requests(a_plan: BuildPlan, source: Any) -> Requests:
        in_table = isinstance(source, str) and a_plan.family.takes_tables
        report = build(a_plan, source, str(dataset) if in_table else f"gs://{bucket}/requests")
        found: Requests = {}
        for address in report.sources:
            for row in read(gemini_batch_stack, address) if in_table else lines(gemini_batch_stack, address):
                key, value = _of_table(a_plan, row) if in_table else _of_file(a_plan, row)
                found[key] = value
        assert len(found) == report.requests
        return found

    return requests


def _of_table(a_plan: BuildPlan, row: dict[str, Any]) -> tuple[str, tuple[dict[str, Any], str]]:
    key = [str(row.pop(column)) for column in a_plan.key]
    fingerprint = row.pop("batch_fingerprint")
    request = orjson.loads(row["request"]) if "request" in row else row
    return key[0] if len(key) == 1 else repr(key), (request, fingerprint)


def _of_file(a_plan: BuildPlan, line: dict[str, Any]) -> tuple[str, tuple[dict[str, Any], str]]:
    fingerprint = fingerprint_of_line(a_plan.model_key, line)
    key = text_of_key(line.pop("key"))
    request = line.get("request", line)
    request.pop("labels", None)
    config = request.get("embed_content_config", {})
    if "output_dimensionality" in config:
        # BigQuery exports whole numbers as strings.
        config["output_dimensionality"] = int(config["output_dimensionality"])
    return key if len(a_plan.key) == 1 else repr(orjson.loads(key)), (request, fingerprint)


@pytest.mark.parametrize("case", REQUEST_CASES, ids=str)
def test_same_rows_become_the_same_requests(gemini_batch_stack, dataset, requests, case: RequestCase):
    table = fill(gemini_batch_stack, f"{dataset}.books", case.columns, case.rows)
    of_files = requests(case.plan, case.rows)
    assert len(of_files) == len(case.rows)
    assert requests(case.plan, table) == of_files


@pytest.mark.parametrize(
    "kinds",
    [
        ("BOOL", "INT64", "NUMERIC"),
        ("FLOAT64",),
        ("DATE", "TIME", "DATETIME", "TIMESTAMP"),
        ("STRING", "BYTES", "ARRAY", "STRUCT", "JSON"),
    ],
    ids=lambda kinds: kinds[0],
)
def test_values_of_each_type_become_the_same_request(requests, kinds):
    cases = [case for case in VALUE_CASES if case.sql and case.kind in kinds]
    wanted = plan(" ".join(f"[[ v{n} ]]" for n in range(len(cases))))
    values = ", ".join(f"{case.sql} AS v{n}" for n, case in enumerate(cases))
    row = {"isbn": "1", **{f"v{n}": case.value for n, case in enumerate(cases)}}
    assert requests(wanted, f"SELECT '1' AS isbn, {values}") == requests(wanted, [row])


@pytest.mark.parametrize("case", BAD_ROW_CASES, ids=str)
def test_bad_row_is_named_or_left_out_and_counted(build, requests, bucket, case: BadRowCase):
    rows = [GOOD_ROWS[0], case.row, GOOD_ROWS[1]]
    with pytest.raises(InvalidRequestError, match=re.escape(f"1 row: {case.fault} ({case.key})")):
        build(plan(**BAD_ROW_PLAN), rows, f"gs://{bucket}/refused")
    dropping = plan(**BAD_ROW_PLAN, drop_bad_rows=True)
    report = build(dropping, rows, f"gs://{bucket}/requests")
    assert report.bad == {case.fault: BadRows(1, (case.key,))}
    assert (report.rows, report.requests, report.dropped) == (3, 2, 1)
    assert (report.prompt_characters, report.media) == (len("EmmaIda"), 1)


@pytest.mark.parametrize("way", ["table", "files"])
def test_bad_rows_are_counted_alike(gemini_batch_stack, build, dataset, bucket, way):
    cases = [case for case in BAD_ROW_CASES if not case.python]
    rows = list(GOOD_ROWS)
    expected: dict[BadRow, list[str]] = {}
    for number, case in enumerate(cases):
        key = f"{number:02}" if case.row["isbn"] == "9" else case.row["isbn"]
        rows.append({**case.row, "isbn": key})
        expected.setdefault(case.fault, []).append(key)
    source: Any = rows
    if way == "table":
        source = fill(gemini_batch_stack, f"{dataset}.books", BAD_ROW_COLUMNS, rows)
    requests = str(dataset) if way == "table" else f"gs://{bucket}/requests"
    report = build(plan(**BAD_ROW_PLAN, drop_bad_rows=True), source, requests)
    assert report.requests == len(GOOD_ROWS)
    assert {fault: found.count for fault, found in report.bad.items()} == {
        fault: len(keys) for fault, keys in expected.items()
    }
    # SQL has no number for a row without a key, and takes the keys of a message in their order.
    for fault in expected.keys() - {BadRow.NULL_KEY}:
        assert set(report.bad[fault].keys) <= set(expected[fault])
        assert report.bad[fault].keys
