"""Request files held against the rules, by their content."""

from __future__ import annotations

import gzip
import json
import subprocess
from typing import Any

import pytest

from airflow_gemini_batch.core.defaults import LONGEST_LINE, SAMPLE_ROWS
from airflow_gemini_batch.core.model_families import GENERATE_CONTENT, TEXT_EMBEDDING, ModelFamily
from airflow_gemini_batch.preflight.findings import Finding, Severity
from airflow_gemini_batch.preflight.requests import RequestSample, size_findings
from tests.support.requests_data import BAD_REQUEST, request

GENERATE = GENERATE_CONTENT
GOOD = json.dumps(request("Hello")).encode()
BAD = json.dumps(BAD_REQUEST).encode()


def _sample(content: bytes, family: ModelFamily = GENERATE, **options: Any) -> RequestSample:
    sample = RequestSample(family)
    sample.add_lines(content.splitlines(keepends=True), **options)
    return sample


def _findings(content: bytes, allowed: float = 0.0) -> list[Finding]:
    return _sample(content).findings(allowed)


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(GOOD, id="no-line-end"),
        pytest.param(GOOD + b"\n", id="plain"),
        pytest.param(GOOD + b"\r\n" + GOOD + b"\r\n", id="CRLF"),
        pytest.param(b"\n\n" + GOOD + b"\n  \n", id="blank-lines"),
        pytest.param(b"  " + GOOD + b" \n", id="spaces"),
        pytest.param(json.dumps(request("\U0001f419 é \ud83d\udc19")).encode(), id="surrogate-pair"),
        pytest.param(json.dumps(request("é"), ensure_ascii=False).encode(), id="UTF-8"),
    ],
)
def test_file_in_order_is_found_in_order(content: bytes) -> None:
    assert _findings(content) == []


PRETTY = json.dumps(request("Hello"), indent=2).encode()
ARRAY = json.dumps([request("one"), request("two")])


@pytest.mark.parametrize(
    ("content", "where", "message"),
    [
        pytest.param(b"", "", "there are no requests", id="empty"),
        pytest.param(b"\n \r\n", "", "there are no requests", id="blank"),
        pytest.param(PRETTY, "line 1", "pretty-printed", id="pretty-printed"),
        pytest.param(b"\n" + PRETTY, "line 2", "pretty-printed", id="pretty-printed-after-a-blank-line"),
        pytest.param(b'{"request": {\n"contents": []}}\n', "line 1", "ends inside an object", id="two-lines"),
        pytest.param(
            GOOD + b"\n" + GOOD[:30], "line 2", "ends inside an object: pretty-printed, or cut off", id="cut"
        ),
        pytest.param(ARRAY.encode(), "line 1", "a JSON array", id="array-on-one-line"),
        pytest.param(json.dumps([1], indent=1).encode(), "line 1", "the file is one JSON array", id="array"),
        pytest.param(
            ARRAY.replace("}, {", "},\n{").encode(), "line 1", "the file is one JSON array", id="array-by-row"
        ),
        pytest.param(
            GOOD + GOOD,
            "line 1",
            f"column {len(GOOD) + 1}: another object begins",
            id="concatenated",
        ),
        pytest.param(GOOD + b",\n", "line 1", "',' after the object", id="comma"),
        pytest.param(b"\xef\xbb\xbf" + GOOD, "line 1", "byte order mark", id="BOM"),
        pytest.param(GOOD.decode().encode("utf-16"), "line 1", "UTF-16", id="UTF-16"),
        pytest.param(gzip.compress(GOOD), "line 1", "compressed with gzip", id="gzip"),
        pytest.param(gzip.compress(GOOD)[:20], "line 1", "compressed with gzip", id="truncated-gzip"),
        pytest.param(b"id,prompt\n", "line 1", "column 1: not JSON", id="CSV"),
        pytest.param(b"{'request': {}}", "line 1", "column 2: not JSON", id="single-quotes"),
        pytest.param(b'"Hello"', "line 1", 'JSON, but not an object: "Hello"', id="string"),
        pytest.param(GOOD + b"\n7\n", "line 2", "JSON, but not an object: 7", id="number"),
        pytest.param(b'{"request": {"temperature": NaN}}', "line 1", "column 29: NaN", id="NaN"),
        pytest.param(b'{"request": -Infinity}', "line 1", "NaN or Infinity", id="Infinity"),
        pytest.param(b'{"request": "\\ud83d"}', "line 1", "half of a surrogate pair", id="lone-surrogate"),
        pytest.param(b'{"request": "\xed\xa0\xbd"}', "line 1", "half of a surrogate", id="raw-surrogate"),
        pytest.param(b'{"request": "\xe9"}', "line 1", "not UTF-8 at byte 14", id="Latin-1"),
        pytest.param(b'{"a":' * 20_000 + b"1" + b"}" * 20_000, "line 1", "", id="deep"),
    ],
)
def test_broken_file_is_named_for_what_it_is(content: bytes, where: str, message: str) -> None:
    (finding,) = _findings(content, allowed=1.0)
    assert (finding.severity, finding.where) == (Severity.ERROR, where)
    assert message in finding.message
    assert finding.hint


def test_byte_order_mark_hides_no_other_fault() -> None:
    mark, *others = _findings(b"\xef\xbb\xbf" + BAD + b"\n")
    assert "byte order mark" in mark.message
    assert any("Please use a valid role" in finding.message for finding in others)


@pytest.mark.slow
def test_advice_against_the_byte_order_mark_works(tmp_path) -> None:
    (finding,) = _findings(b"\xef\xbb\xbf" + GOOD)
    command = finding.hint[finding.hint.index("(") + 1 : -1]
    path = tmp_path / "requests.jsonl"
    path.write_bytes(b"\xef\xbb\xbf" + GOOD)
    subprocess.run(command.replace("FILE", str(path)), shell=True, check=True)
    assert _findings(path.read_bytes()) == []


def test_line_that_is_no_json_leaves_the_others_checked() -> None:
    content = b"\n".join([GOOD, b"oops", BAD, b"oops", GOOD])
    broken, whole, bad = _findings(content)
    assert (broken.where, whole.message.split(",")[0]) == (
        "line 2 and 1 more",
        "1 of 5 checked requests would be rejected",
    )
    assert bad.where == "line 3"


@pytest.mark.parametrize(
    ("bad", "allowed", "severity"),
    [
        (1, 0.05, Severity.WARNING),
        (5, 0.05, Severity.WARNING),
        (6, 0.05, Severity.ERROR),
        (99, 1.0, Severity.WARNING),
        (100, 1.0, Severity.ERROR),
        (1, 0.0, Severity.ERROR),
    ],
)
def test_rejected_requests_are_an_error_above_the_share_allowed(
    bad: int, allowed: float, severity: Severity
) -> None:
    content = b"\n".join([BAD] * bad + [GOOD] * (100 - bad))
    findings = _findings(content, allowed)
    assert {finding.severity for finding in findings} == {severity}
    assert f"{bad} of 100 checked requests would be rejected" in findings[0].message
    assert "Please use a valid role: user, model." in findings[1].message


def test_equal_faults_are_one_finding_and_many_kinds_are_cut() -> None:
    rows = [request("x", **{f"field_{number}": 1}) for number in range(25)]
    *kinds, more = _findings("\n".join(map(json.dumps, rows)).encode())
    assert len(kinds) == 10
    assert {kind.severity for kind in kinds} == {Severity.WARNING}
    assert more.message == "rows have 15 more kinds of problems"
    (_, equal) = _findings(b"\n".join([BAD] * 300))
    assert equal.where == "line 1 and 299 more"


def _lines(*rows: Any) -> bytes:
    return "\n".join(map(json.dumps, rows)).encode()


def test_what_cannot_be_imported_is_an_error_whatever_share_may_fail() -> None:
    rows = [request("x"), request("x", tools=[{"googleSearch": {}}]), request("x", labels={"key": 7})]
    sample = RequestSample(GENERATE)
    sample.add_lines(_lines(*rows, *rows[1:]).splitlines(), file="gs://b/1")
    empty, *_ = (str(one) for one in sample.findings(1.0) if one.severity is Severity.ERROR)
    assert empty == (
        "gs://b/1, line 2 and 1 more: request.tools[].googleSearch is an empty object, which can't be imported from a "
        'file; write {"excludeDomains": ["example.com"]}, which changes nothing, or put the requests into a BigQuery '
        "table, where this is allowed"
    )


def test_types_are_compared_over_all_files() -> None:
    sample = RequestSample(GENERATE)
    for file, temperature in (("gs://b/1", 0.5), ("gs://b/2", 1), ("gs://b/3", "0.5")):
        row = request("x", generationConfig={"temperature": temperature})
        sample.add_lines([json.dumps(row).encode()], file=file)
    (finding,) = sample.findings(1.0)
    assert (finding.severity, finding.where) == (Severity.ERROR, "gs://b/3, line 1")
    assert finding.message.startswith(
        "request.generationConfig.temperature is a text here and a number in gs://b/1, line 1"
    )


def test_rows_of_a_table_are_not_imported() -> None:
    sample = RequestSample(GENERATE)
    sample.add_table_rows([request("x", tools=[{"googleSearch": {}}]), request("x", labels={"größe": "7"})])
    assert sample.findings(0.0) == []


@pytest.mark.parametrize(
    ("model", "severities"),
    [("gemini-2.5-flash", ["error", "error"]), ("gemini-3.8-flash", []), ("", ["warning"])],
)
def test_some_rules_hold_for_some_models(model: str, severities: list[str]) -> None:
    schema = {"type": "OBJECT", "properties": {"a": {"type": "STRING"}}}
    config = {"responseMimeType": "application/json", "responseSchema": schema}
    tools = [{"googleSearch": {"excludeDomains": ["example.com"]}}]
    sample = RequestSample(GENERATE, model=model)
    sample.add_lines([json.dumps(request("x", tools=tools, generationConfig=config)).encode()])
    found = sample.findings(0.0)
    assert [str(one.severity) for one in found] == severities
    assert not found or "googleSearch together with responseSchema" in found[-1].message


def test_repeated_keys_are_told() -> None:
    rows = [{"key": key, **request("x")} for key in ("a", "b", "a", "a", None, None)]
    (finding,) = _findings(_lines(*rows))
    assert (finding.severity, finding.where) == (Severity.WARNING, "line 3 and 1 more")


def test_line_of_more_than_20_mb_is_told_and_not_read() -> None:
    long = b'{"request": "' + b"x" * LONGEST_LINE
    (finding,) = _findings(b"\n".join([GOOD, long]))
    assert (finding.severity, finding.where) == (Severity.WARNING, "line 2")
    assert "longer than 20 MB" in finding.message


def test_only_the_first_lines_are_checked_unless_all_are_asked_for() -> None:
    content = b"\n".join([GOOD] * SAMPLE_ROWS + [BAD])
    sample = RequestSample(GENERATE)
    assert sample.add_lines(content.splitlines()) is False
    assert (sample.rows, sample.rejected) == (SAMPLE_ROWS, 0)
    sample = RequestSample(GENERATE)
    assert sample.add_lines(content.splitlines(), limit=None) is True
    assert (sample.rows, sample.rejected) == (SAMPLE_ROWS + 1, 1)


def test_sample_that_is_the_whole_file_says_so() -> None:
    assert RequestSample(GENERATE).add_lines([GOOD] * SAMPLE_ROWS) is True


def test_sample_of_several_files_counts_as_one() -> None:
    sample = RequestSample(GENERATE)
    for file in ("gs://b/1", "gs://b/2"):
        sample.add_lines([GOOD, BAD], file=file)
    whole, bad = sample.findings(0.1)
    assert "2 of 4" in whole.message
    assert bad.where == "gs://b/1, line 2 and 1 more"


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"request": request("x")["request"]}, None),
        ({"request": json.dumps(request("x")["request"])}, None),
        ({"request": "{oops"}, "row 1 of the sample: column 2: not JSON"),
        ({"request": '{"a": "\ud800"}'}, "half of a surrogate pair"),
        ({"request": "[1]"}, "a JSON array"),
        ({"request": None}, "1 of 1 checked requests would be rejected"),
        ({"request": BAD_REQUEST["request"]}, "Please use a valid role"),
    ],
)
def test_rows_of_a_table_are_held_against_the_same_rules(row: dict[str, Any], message: str | None) -> None:
    sample = RequestSample(GENERATE)
    sample.add_table_rows([row])
    found = "\n".join(map(str, sample.findings(0.0)))
    assert message in found if message else not found


def test_rows_of_texts_are_read_as_they_are() -> None:
    sample = RequestSample(TEXT_EMBEDDING)
    sample.add_table_rows([{"content": "{a text", "title": None}, {"content": None}])
    assert (sample.rows, sample.rejected) == (2, 1)


@pytest.mark.parametrize(
    ("rows", "size", "messages"),
    [
        (30_000, 2**30, []),
        (None, 0, []),
        (30_001, 0, ["30,001 requests are more than the 30,000"]),
        (40_000, 3 * 2**29, ["40,000 requests", "1.5 GB is larger than the 1 GB"]),
    ],
)
def test_sizes_are_held_against_the_limits(rows: int | None, size: int, messages: list[str]) -> None:
    found = size_findings(rows, size, TEXT_EMBEDDING)
    assert [message in str(one) for message, one in zip(messages, found, strict=True)] == [True] * len(found)
