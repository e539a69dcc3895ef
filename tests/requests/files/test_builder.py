"""Builds of request files with the real client, against the local server."""

from __future__ import annotations

import json
import logging
from typing import Any

import pytest

from airflow_gemini_batch.core.addresses import GcsAddress
from airflow_gemini_batch.core.fingerprints import fingerprint_of
from airflow_gemini_batch.core.keys import key_text, sent_key, text_of_key
from airflow_gemini_batch.core.model_families import GEMINI_EMBEDDING, TEXT_EMBEDDING
from airflow_gemini_batch.exceptions import InvalidRequestError
from airflow_gemini_batch.requests.done import Mark, Place
from airflow_gemini_batch.requests.files.builder import build_files
from airflow_gemini_batch.requests.files.rows import python_rows, read_rows
from airflow_gemini_batch.requests.prompts import PromptTemplate
from airflow_gemini_batch.requests.sources import parse_row_source
from airflow_gemini_batch.requests.spec import BadRows
from airflow_gemini_batch.requests.templates import BadRow, RequestTemplate, TextSlot
from tests.requests.plans import MODEL, plan, prompts
from tests.support.odd_keys import ODD_KEYS
from tests.support.requests_data import storage_client

EMMA = {"isbn": "1", "title": "Emma"}
IDA = {"isbn": "2", "title": "Ida"}
TARGET = "landed.parquet"
COMPARED = plan(target=TARGET)
"""Rows are compared with what is known of them."""


@pytest.fixture
def files(gemini_batch_stack):
    return storage_client(gemini_batch_stack)


@pytest.fixture
def build(files, bucket):
    def build(rows, a_plan=None, **options):
        destination = GcsAddress(bucket, "requests")
        return build_files(
            a_plan or plan(), python_rows(rows), destination, files, logging.getLogger("build"), **options
        )

    return build


@pytest.fixture
def lines(files):
    """Read the lines of a report's files."""

    def lines(report) -> list[dict[str, Any]]:
        found = []
        for uri in report.sources:
            bucket, _, path = uri.removeprefix("gs://").partition("/")
            content = files.bucket(bucket).blob(path).download_as_bytes()
            found += [json.loads(line) for line in content.split(b"\n")[:-1]]
        return found

    return lines


@pytest.fixture
def requests(lines):
    """Read the requests of a report, by key."""
    return lambda report: {text_of_key(line["key"]): line["request"] for line in lines(report)}


@pytest.fixture
def nothing_is_written(files, bucket):
    yield
    assert list(files.list_blobs(bucket)) == []


def landed(rows: list[dict[str, Any]]) -> list[Mark]:
    template = plan().template
    return [
        Mark(key_text([row["isbn"]]), fingerprint_of(MODEL, template.fill(row)), Place.TARGET) for row in rows
    ]


def test_each_row_becomes_a_request(build, requests) -> None:
    report = build([EMMA, IDA])
    assert prompts(requests(report)) == {"1": "Describe Emma.", "2": "Describe Ida."}
    assert (report.rows, report.requests, report.done, report.bad) == (2, 2, 0, {})
    assert (report.prompt_characters, report.media) == (len("Describe Emma.Describe Ida."), 0)


@pytest.mark.parametrize("key", ODD_KEYS, ids=lambda key: repr(key[:20]))
def test_any_key_and_any_text_come_through(build, lines, key) -> None:
    (line,) = lines(build([{"isbn": key, "title": f"{{}}[[ x ]]\n\"'%s {key}"}]))
    assert line["key"] == sent_key(key)
    assert line.keys() == {"key", "request"}
    assert "labels" not in line["request"]
    assert prompts({key: line["request"]})[key] == f"Describe {{}}[[ x ]]\n\"'%s {key}."


def test_template_with_sql_in_it_is_text(build, requests) -> None:
    prompt = "'; DROP TABLE books; -- [[ title ]] SELECT `x` FROM @p WHERE a = '%s'"
    report = build([EMMA], plan(prompt))
    assert prompts(requests(report)) == {"1": prompt.replace("[[ title ]]", "Emma")}


def test_keys_of_several_columns_stand_together(build, requests) -> None:
    rows = [{"isbn": 1, "part": "a", "title": "x"}, {"isbn": 1, "part": "b", "title": "y"}]
    report = build(rows, plan(key=("isbn", "part")))
    assert list(requests(report)) == ['["1","a"]', '["1","b"]']


@pytest.mark.parametrize("columns", [("request",), ("first name",), ("response", "a b")])
def test_columns_of_the_prompt_may_have_any_name(build, requests, columns) -> None:
    row = {"isbn": "1", **dict.fromkeys(columns, "text")}
    report = build([row], plan(" ".join(f"[[ {column} ]]" for column in columns)))
    assert prompts(requests(report)) == {"1": " ".join("text" for _ in columns)}


@pytest.mark.usefixtures("nothing_is_written")
@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"prompt": "[[ titel ]]"},
            "the prompt or media names the column 'titel', which the iterable of rows does not have",
        ),
        ({"key": ("id",)}, "key names the column 'id'"),
        ({"key": ("request",), "prompt": "[[ title ]]"}, "the key column 'request' has a name"),
        ({"request": {"media": {"cover": None}}}, "names the column 'cover'"),
    ],
)
def test_wrong_columns_are_named_before_anything_runs(build, options, message) -> None:
    with pytest.raises(InvalidRequestError, match=message):
        build([{**EMMA, "request": "x"}], plan(**options))


def test_embedding_rows_have_their_own_form(build, lines) -> None:
    text = PromptTemplate.parse("[[ title ]]")
    template = RequestTemplate(('{"content":', TextSlot(text), "}"), text)
    a_plan = plan()
    for family, line in (
        (TEXT_EMBEDDING, {"key": "key=1;", "content": "Emma"}),
        (GEMINI_EMBEDDING, {"key": "key=1;", "request": {"content": "Emma"}}),
    ):
        report = build([EMMA], type(a_plan)(MODEL, family, ("isbn",), template))
        assert lines(report) == [line]


@pytest.mark.usefixtures("nothing_is_written")
def test_all_faults_are_told_at_once(build) -> None:
    rows = [EMMA, {"isbn": None}, *[EMMA] * 3, {"isbn": "8", "title": "\ud800"}]
    with pytest.raises(InvalidRequestError) as refused:
        build(rows)
    assert "3 rows: the key occurs more than once (1)" in str(refused.value)
    assert "1 row: the key is NULL (row 2)" in str(refused.value)
    assert "1 row: the key, prompt or media holds a lone surrogate" in str(refused.value)


def test_good_row_is_not_lost_to_a_bad_one_with_its_key(build, requests) -> None:
    report = build([{"isbn": "1", "title": " "}, EMMA], plan("[[ title ]]", drop_bad_rows=True))
    assert prompts(requests(report)) == {"1": "Emma"}


@pytest.mark.parametrize(
    ("rows", "counts"),
    [
        pytest.param([], (0, 0), id="no-rows"),
        pytest.param([EMMA], (1, 1), id="one-row"),
    ],
)
def test_few_rows(build, rows, counts) -> None:
    report = build(rows)
    assert (report.rows, report.requests) == counts
    assert len(report.sources) == counts[1]


def test_same_rows_are_the_same_file(build, files, bucket) -> None:
    first = build([EMMA, IDA])
    (blob,) = files.list_blobs(bucket)
    assert build(iter([EMMA, IDA])).sources == first.sources
    (again,) = files.list_blobs(bucket)
    assert again.generation == blob.generation
    assert build([EMMA]).sources != first.sources


def test_shards_hold_no_more_than_a_job_takes(build, lines) -> None:
    rows = [{"isbn": number, "title": "a"} for number in range(25)]
    report = build(rows, plan(shard_rows=10))
    assert len(report.sources) == 3
    assert [text_of_key(line["key"]) for line in lines(report)] == [str(number) for number in range(25)]
    small = build(rows, plan(shard_bytes=500))
    assert len(small.sources) > 3
    assert lines(small) == lines(report)


def test_too_many_jobs_are_refused_before_anything_is_written(build, nothing_is_written) -> None:
    rows = [{"isbn": number, "title": "a"} for number in range(1101)]
    with pytest.raises(InvalidRequestError, match="1,101 requests among 1,101 jobs"):
        build(rows, plan(shard_rows=1))


def test_shards_are_full_though_rows_were_left_out(build, lines) -> None:
    rows = [{"isbn": number % 15, "title": "a"} for number in range(40)]
    report = build(rows, plan(shard_rows=5, drop_bad_rows=True))
    assert [text_of_key(line["key"]) for line in lines(report)] == [str(number) for number in range(15)]
    assert (len(report.sources), report.bad[BadRow.DUPLICATE_KEY].count) == (3, 25)


@pytest.mark.usefixtures("nothing_is_written")
def test_generator_that_fails_half_way_leaves_nothing(build) -> None:
    def generate():
        for number in range(3000):
            yield {"isbn": number, "title": "a"}
        raise ZeroDivisionError("half-way")

    with pytest.raises(ZeroDivisionError, match="half-way"):
        build(generate(), plan(shard_rows=100))


@pytest.mark.parametrize("size", [1, 500, 5_000])
def test_rows_are_taken_few_or_many_at_a_time(build, lines, size) -> None:
    rows = [{"isbn": number, "title": f"title {number}" * size} for number in range(200)]
    report = build([*rows, *rows[:50]], plan(drop_bad_rows=True))
    assert [text_of_key(line["key"]) for line in lines(report)] == [str(number) for number in range(200)]
    assert report.prompt_characters == sum(len(f"Describe {row['title']}.") for row in rows)


def test_bad_rows_among_many_are_found_by_themselves(build, lines) -> None:
    rows = [{"isbn": None if number % 50 == 7 else number, "title": "a"} for number in range(3000)]
    rows[1500]["title"] = "\ud800"
    report = build(rows, plan(drop_bad_rows=True))
    good = [str(number) for number in range(3000) if number % 50 != 7 and number != 1500]
    assert [text_of_key(line["key"]) for line in lines(report)] == good
    assert report.bad == {
        BadRow.NULL_KEY: BadRows(60, ("row 8", "row 58", "row 108", "row 158", "row 208")),
        BadRow.NOT_TEXT: BadRows(1, ("1500",)),
    }


def test_row_of_20_megabytes_comes_through(build, requests) -> None:
    report = build([EMMA, {"isbn": "2", "title": "x" * 20_000_000}])
    assert len(prompts(requests(report))["2"]) == 20_000_000 + len("Describe .")


def test_rows_of_files_are_built(build, requests, files, bucket, tmp_path) -> None:
    path = tmp_path / "books.csv"
    path.write_bytes('\ufeffisbn,title\r\n007,"a ""b"",\r\nc"\r\n'.encode())
    rows = read_rows(parse_row_source(str(path)), ("isbn", "title"), files)
    report = build_files(plan(), rows, GcsAddress(bucket, "r"), files, logging.getLogger("build"))
    assert prompts(requests(report)) == {"007": 'Describe a "b",\r\nc.'}


@pytest.mark.usefixtures("nothing_is_written")
def test_empty_key_cell_is_null(files, bucket, tmp_path) -> None:
    (tmp_path / "books.csv").write_text("isbn,title\n1,Emma\n,Ida\n")
    rows = read_rows(parse_row_source(str(tmp_path / "books.csv")), ("isbn", "title"), files)
    with pytest.raises(InvalidRequestError, match=r"1 row: the key is NULL \(row 2\)"):
        build_files(plan(), rows, GcsAddress(bucket, "r"), files, logging.getLogger("build"))


def test_bucket_that_does_not_exist_is_named_before_rows_are_read(files) -> None:
    rows = python_rows([EMMA])
    with pytest.raises(InvalidRequestError, match="the bucket does not exist"):
        build_files(
            plan(), rows, GcsAddress("no-such-bucket-anywhere", "r"), files, logging.getLogger("build")
        )
    assert list(rows.rows) == [EMMA]


def test_rows_that_are_done_are_left_out(build, requests) -> None:
    known = landed([EMMA, {**IDA, "title": "as it was before"}])
    report = build([EMMA, IDA], COMPARED, known=known)
    assert prompts(requests(report)) == {"2": "Describe Ida."}
    assert (report.rows, report.requests, report.done) == (2, 1, 1)
    assert report.prompt_characters == len("Describe Ida.")


def test_nothing_to_ask_is_no_file(build) -> None:
    report = build([EMMA, IDA], COMPARED, known=iter(landed([EMMA, IDA])))
    assert (report.sources, report.requests, report.done) == ([], 0, 2)


def test_other_prompt_or_model_is_asked_anew(build) -> None:
    known = landed([EMMA])
    assert build([EMMA], COMPARED, known=known).done == 1
    assert build([EMMA], plan("Praise [[ title ]].", target=TARGET), known=known).done == 0
    assert build([EMMA], plan(model="gemini-3.8-flash", target=TARGET), known=known).done == 0
    assert build([{**EMMA, "pages": 400}], COMPARED, known=known).done == 1
