"""A rollback brings rows back as they were before a question was asked, in tables and in files."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from airflow_gemini_batch.core.columns import previous_target_of
from airflow_gemini_batch.exceptions import GeminiBatchError, InvalidRequestError
from airflow_gemini_batch.landing.files import previous as file_previous
from airflow_gemini_batch.landing.files import rollback as file_rollback
from airflow_gemini_batch.landing.previous import Copy
from tests.landing.answer_files import AnswerFiles
from tests.landing.landings import NASTY, bad, good, later, plan_of
from tests.landing.previous import FIRST, KEPT, SECOND, THIRD, FileTarget, TableTarget, Target
from tests.support.tables import bigquery_client

KINDS = ["table", "parquet", "jsonl", "gs parquet", "gs jsonl"]
FILES = KINDS[1:]


@pytest.fixture
def make(gemini_batch_stack: Any, bucket: str, tmp_path: Path) -> Callable[[str], Target]:
    def make(kind: str) -> Target:
        if kind == "table":
            return TableTarget(gemini_batch_stack)
        where, _, ending = kind.rpartition(" ")
        target = f"gs://{bucket}/out/books.{ending}" if where else str(tmp_path / f"books.{ending}")
        return FileTarget(AnswerFiles(gemini_batch_stack, bucket, tmp_path), target)

    return make


def first_night(target: Target) -> None:
    """Land rows of the first question; one of them holds a text with all that is odd."""
    target.land(FIRST, [("a", good("A1")), ("b", good(NASTY)), ("c", good("C1"))])


def questions(target: Target) -> dict[str, Any]:
    """Return what each row answers, in tables and Parquet."""
    return {key: row["batch_question"] for key, row in target.rows().items()}


@pytest.mark.parametrize("kind", KINDS)
def test_rows_come_back_and_others_stay(make, kind):
    target = make(kind)
    first_night(target)
    before = target.rows()
    assert target.copies() == []
    target.land(SECOND, [("a", later(good("A2"))), ("b", later(good("B2"))), ("new", later(good("N2")))])
    after = target.rows()
    copy = previous_target_of(target.target, SECOND)
    assert target.rows(copy) == before
    dry = target.back(dry_run=True)
    assert (dry.restored, dry.kept, dry.removed, dry.question) == (2, 1, 0, "22222222")
    assert target.rows() == after
    assert not target.exists(dry.saved)
    change = target.back()
    assert (change.restored, change.kept, change.copy) == (2, 1, copy)
    assert target.rows() == {**before, "new": after["new"]}
    assert target.copies() == [("22222222", False), ("22222222", True)]
    # Once more there is nothing to bring back, and what was saved stays.
    again = target.back()
    assert (again.changes, again.saved) == (0, "")
    assert target.rows(change.saved) == after


@pytest.mark.parametrize("kind", KINDS)
def test_a_rollback_of_a_rollback(make, kind):
    target = make(kind)
    first_night(target)
    before = target.rows()
    target.land(SECOND, [("a", later(good("A2"))), ("c", later(good("C2"))), ("new", later(good("N2")))])
    after = target.rows()
    assert target.back(new_rows="remove").removed == 1
    assert target.rows() == before
    undone = target.back(undo=True)
    assert (undone.restored, undone.added) == (2, 1)
    assert target.rows() == after
    assert target.back(undo=True).changes == 0
    target.back(new_rows="remove")
    assert target.rows() == before


@pytest.mark.parametrize("kind", KINDS)
def test_roll_out_over_nights_has_one_copy(make, kind):
    target = make(kind)
    target.land(FIRST, [(key, good(f"{key}1")) for key in "abcd"])
    before = target.rows()
    for key in "abc":
        target.land(SECOND, [(key, later(good(f"{key}2")))])
    # A landing of the question before, between the nights, is no first night of it.
    target.land(FIRST, [("d", later(good("D1 again")))])
    assert target.copies() == [("22222222", False)]
    after = target.rows()
    assert target.back(question=SECOND).restored == 3
    assert target.rows() == {**before, "d": after["d"]}


@pytest.mark.parametrize("kind", KINDS)
def test_each_question_has_its_copy(make, kind):
    target = make(kind)
    first_night(target)
    target.land(SECOND, [("a", later(good("A2"))), ("b", later(good("B2")))])
    second = target.rows()
    target.land(THIRD, [("b", later(good("B3"))), ("c", later(good("C3")))])
    third = target.rows()
    assert target.copies() == [("22222222", False), ("33333333", False)]
    # The newest copy is the one before the third question.
    assert target.back().question == "33333333"
    assert target.rows() == second
    target.back(undo=True)
    assert target.rows() == third
    # Rows that answer another question stay.
    assert target.back(question="22222222").restored == 1
    assert target.rows() == {**third, "a": target.rows(previous_target_of(target.target, SECOND))["a"]}


@pytest.mark.parametrize("kind", KINDS)
def test_a_question_that_comes_again_has_a_new_copy(make, kind):
    target = make(kind)
    first_night(target)
    target.land(SECOND, [("a", later(good("A2")))])
    target.back()
    target.land(FIRST, [("b", later(good("B1 again")))])
    before = target.rows()
    target.land(SECOND, [("a", later(good("A2"))), ("b", later(later_still("B2")))])
    assert target.rows(previous_target_of(target.target, SECOND)) == before
    target.back()
    assert target.rows() == before


def later_still(text: str) -> dict[str, Any]:
    return {**good(text), "processed_time": "2026-11-25T08:00:00+00:00"}


@pytest.mark.parametrize(
    ("question", "plan", "first"),
    [
        pytest.param(None, KEPT, True, id="no question is known"),
        pytest.param(SECOND, plan_of(), True, id="keep_previous is not set"),
        pytest.param(SECOND, KEPT, False, id="there is no target yet"),
        pytest.param(FIRST, KEPT, True, id="rows answer the question already"),
    ],
)
@pytest.mark.parametrize("kind", ["table", "parquet"])
def test_landings_without_a_copy(make, kind, question, plan, first):
    target = make(kind)
    if first:
        first_night(target)
    target.land(question, [("a", later(good("A2")))], plan)
    assert target.copies() == []


@pytest.mark.parametrize("kind", KINDS)
def test_rows_of_no_known_question_come_back(make, kind):
    target = make(kind)
    target.land(None, [("a", good("A0")), ("b", good("B0"))])
    before = target.rows()
    target.land(SECOND, [("a", later(good("A2"))), ("b", later(bad()))])
    assert target.back().restored == 1
    assert target.rows() == before


ODD = {
    "note": pa.array([None, "😀\n\t\"'\\", ""], pa.string()),
    "tags": pa.array([[], ["x", None, "\u2028"], None], pa.list_(pa.string())),
    "price": pa.array([1e-300, -0.0, float("nan")], pa.float64()),
    "raw": pa.array([b"\x00\xff", None, b""], pa.binary()),
    "small": pa.array([1, None, -128], pa.int8()),
    "exact": pa.array(["1.10", None, "0.00"]).cast(pa.decimal128(9, 2)),
    "seen": pa.array([1, None, 3], pa.timestamp("ms", "UTC")),
    "vector": pa.array([[0.1, 1e-30], None, [3.0, -0.0]], pa.list_(pa.float32(), 2)),
    "nested": pa.array([{"b": 1, "a": [{"x": None}]}, None, {"b": None, "a": []}]),
}


def test_values_of_others_in_parquet_are_the_same_in_value_and_type(make):
    target = make("parquet")
    rows = pa.table({"isbn": pa.array(["a", "b", "c"]), "answer": pa.array(["A0", "B0", None]), **ODD})
    pq.write_table(rows, target.target)
    target.land(SECOND, [("a", later(good("A2"))), ("b", later(good("B2"))), ("d", later(good("D2")))])
    after = pq.read_table(target.target)
    change = target.back()
    assert change.restored == 2
    assert "batch_job" in change.emptied
    found = pq.read_table(target.target)
    assert found.schema == after.schema
    assert found.column("isbn").to_pylist() == ["a", "b", "c", "d"]
    assert found.column("answer").to_pylist() == ["A0", "B0", None, "D2"]
    assert repr(found.select(list(ODD)).slice(0, 3).to_pylist()) == repr(rows.select(list(ODD)).to_pylist())
    assert repr(found.slice(2, 2).to_pylist()) == repr(after.slice(2, 2).to_pylist())
    assert found.column("batch_question").to_pylist() == [None, None, None, SECOND]


def test_lines_of_others_are_the_same_byte_for_byte(make):
    target = make("jsonl")
    lines = [
        b'{"isbn": "a",  "z": {"b": 1.0, "a": 1e-300}, "answer":"\\u0041", "vector": [0.10, -0.0]}\r\n',
        '{"answer": null, "isbn": "b", "note": "😀", "tags": []}\n'.encode(),
        b'{"isbn": "c", "answer": "C0"}',
    ]
    target.replace(b"".join(lines))
    target.land(SECOND, [(key, later(good(f"{key}2"))) for key in "abc"])
    target.back()
    found = Path(target.target).read_bytes()
    assert found == b"".join(lines) + b"\n"


def test_values_of_others_in_a_table_are_the_same(make):
    target = make("table")
    sql = f"""CREATE TABLE {target.landing.target.sql} AS
SELECT "a" AS isbn, "A0" AS answer, JSON '{{"b":1,"a":[1e-300,null]}}' AS doc, 1e-300 AS price,
  ARRAY<STRING>[] AS tags, [0.1, -0.0] AS vector, CAST(NULL AS STRING) AS note,
  DATE '0001-01-01' AS day, NUMERIC '1.10' AS exact, FROM_BASE64('/wA=') AS raw
UNION ALL
SELECT "b", "B0", NULL, CAST('nan' AS FLOAT64), ["😀", ""], ARRAY<FLOAT64>[], "😀", NULL, NULL, NULL"""
    target.landing.run_sql(sql)
    before = target.rows()
    target.land(SECOND, [("a", later(good("A2"))), ("b", later(good("B2")))])
    change = target.back()
    assert change.restored == 2
    emptied = dict.fromkeys(change.emptied)
    assert repr(target.rows()) == repr({key: {**row, **emptied} for key, row in before.items()})


def test_columns_that_came_later_are_null_in_the_rows_that_come_back(make):
    for kind in ("table", "parquet"):
        target = make(kind)
        first_night(target)
        before = target.rows()
        wider = replace(plan_of({"genre": str, "tags": list[str]}), keep_previous=timedelta(days=3))
        target.land(SECOND, [("a", later(good(json.dumps({"genre": "x", "tags": ["y"]}))))], wider)
        change = target.back()
        assert change.emptied == ("genre", "tags")
        row = target.rows()["a"]
        assert not row.pop("genre")
        assert not row.pop("tags")
        assert row == before["a"]


@pytest.mark.parametrize("kind", FILES)
def test_expired_copies_go_at_the_next_landing(make, kind, monkeypatch):
    target = make(kind)
    first_night(target)
    target.land(SECOND, [("a", later(good("A2")))])
    target.back()
    monkeypatch.setattr(file_previous, "utc_now", lambda: datetime.now(UTC) + timedelta(29))
    target.land(SECOND, [("b", later(good("B2")))])
    assert len(target.copies()) == 2
    monkeypatch.setattr(file_previous, "utc_now", lambda: datetime.now(UTC) + timedelta(31))
    target.land(SECOND, [("c", later(good("C2")))])
    assert target.copies() == []
    with pytest.raises(InvalidRequestError, match="no copy before the answers of any question"):
        target.back()


def test_copies_of_tables_expire(make):
    target = make("table")
    first_night(target)
    target.land(SECOND, [("a", later(good("A2")))])
    copy = previous_target_of(target.target, SECOND).removeprefix("bq://")
    left = target.bigquery().get_table(copy).expires - datetime.now(UTC)
    assert timedelta(29) < left <= timedelta(30)


class Cut:
    """A client that breaks at the first call of a kind.

    :param breaks: tells it by its name and arguments.
    """

    def __init__(self, client: Any, breaks: Callable[[str, tuple[Any, ...]], bool]) -> None:
        self._client = client
        self._breaks = breaks

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._client, name)
        if not callable(value):
            return value

        def call(*arguments: Any, **options: Any) -> Any:
            if self._breaks(name, arguments):
                raise ConnectionError("the worker is gone")
            return value(*arguments, **options)

        return call


def test_a_crash_between_copy_and_merge_in_a_table(make, gemini_batch_stack):
    target = make("table")
    first_night(target)
    before = target.rows()
    whole = target.bigquery
    client = bigquery_client(gemini_batch_stack)
    target.bigquery = lambda: Cut(client, lambda name, given: name == "query" and "MERGE INTO" in given[0])
    with pytest.raises(ConnectionError):
        target.land(SECOND, [("a", later(good("A2")))])
    assert target.rows(previous_target_of(target.target, SECOND)) == before
    target.bigquery = whole
    target.land(SECOND, [("a", later(good("A2")))])
    assert target.back().restored == 1
    assert target.rows() == before


@pytest.mark.parametrize("kind", ["parquet", "gs jsonl"])
def test_a_crash_between_copy_and_merge_in_a_file(make, kind, monkeypatch):
    target = make(kind)
    first_night(target)
    before = target.rows()
    keep = file_previous.KeptBefore.keep

    def cut(*arguments: Any) -> None:
        keep(*arguments)
        raise ConnectionError("the worker is gone")

    with monkeypatch.context() as patched:
        patched.setattr(file_previous.KeptBefore, "keep", cut)
        with pytest.raises(ConnectionError):
            target.land(SECOND, [("a", later(good("A2")))])
    assert target.rows(previous_target_of(target.target, SECOND)) == before
    target.land(SECOND, [("a", later(good("A2")))])
    target.back()
    assert target.rows() == before


@pytest.mark.parametrize("kind", ["parquet", "gs parquet", "gs jsonl"])
def test_another_writer_in_between_loses_nothing(make, kind, monkeypatch):
    target = make(kind)
    first_night(target)
    target.land(SECOND, [("a", later(good("A2")))])
    content: list[bytes] = []
    picked = file_rollback._places

    def meanwhile(*arguments: Any) -> Any:
        with monkeypatch.context() as patched:
            patched.setattr(file_rollback, "_places", picked)
            target.land(SECOND, [("b", later(good("B2")))])
        content.append(target.content())
        return picked(*arguments)

    with monkeypatch.context() as patched:
        patched.setattr(file_rollback, "_places", meanwhile)
        with pytest.raises(
            GeminiBatchError, match="replaced by another writer meanwhile, so nothing was changed"
        ):
            target.back()
    assert target.content() == content[0]
    assert target.back().restored == 2


def test_a_copy_of_a_table_is_of_before_also_when_another_landing_comes_in_between(make, gemini_batch_stack):
    """Two landings see a target without the question; the copy of the slower one holds rows of the faster one."""
    target = make("table")
    first_night(target)
    before = target.rows()
    other = TableTarget(gemini_batch_stack)
    other.landing, other.target = target.landing, target.target
    client, landed = bigquery_client(gemini_batch_stack), []

    def comes_between(name: str, given: tuple[Any, ...]) -> bool:
        if name == "query" and "CLONE" in given[0] and not landed:
            landed.append(True)
            other.land(SECOND, [("a", later(good("A2")))])
        return False

    target.bigquery = lambda: Cut(client, comes_between)
    target.land(SECOND, [("b", later(good("B2")))])
    assert landed
    assert target.rows(previous_target_of(target.target, SECOND)) == before
    assert target.back().restored == 2
    assert target.rows() == before
    assert not [name for name in target.landing.table_names() if "before_22222222_" in name]


REFUSALS = [
    (
        {"question": THIRD},
        r"of the question 3333333300000000.*\n.*\n.*before the question 22222222, made 20",
    ),
    ({"undo": True}, "no copy before a rollback of any question"),
    ({"question": "my prompt"}, "expected the id of a question"),
    ({"new_rows": "drop"}, 'expected "keep" or "remove"'),
    ({"new_rows": "remove", "undo": True}, "give one of them"),
]


@pytest.mark.parametrize(("options", "message"), REFUSALS)
@pytest.mark.parametrize("kind", ["table", "gs jsonl"])
def test_refusals(make, kind, options, message):
    target = make(kind)
    first_night(target)
    target.land(SECOND, [("a", later(good("A2")))])
    after = target.rows()
    with pytest.raises(InvalidRequestError, match=message):
        target.back(**options)
    assert target.rows() == after


@pytest.mark.parametrize("kind", ["table", "parquet", "jsonl"])
def test_refuses_a_key_that_is_no_column(make, kind):
    target = make(kind)
    first_night(target)
    target.land(SECOND, [("a", later(good("A2")))])
    for key, message in (
        (["ean"], "no column 'ean', which the key names. The columns are: "),
        ([], "got none"),
    ):
        with pytest.raises(InvalidRequestError, match=message):
            target.back(key=key)


@pytest.mark.parametrize("kind", ["table", "parquet", "jsonl"])
def test_refuses_a_key_that_the_copy_has_twice(make, kind):
    target = make(kind)
    target.land(FIRST, [("a", good("A1"))])
    if kind == "table":
        target.landing.run_sql(
            f"INSERT INTO {target.landing.target.sql} SELECT * FROM {target.landing.target.sql}"
        )
    elif kind == "jsonl":
        target.replace(target.content() * 2)
    else:
        rows = pq.read_table(io.BytesIO(target.content()))
        pq.write_table(pa.concat_tables([rows, rows]), target.target)
    target.land(SECOND, [("a", later(good("A2")))])
    with pytest.raises(InvalidRequestError, match="several rows of the same key"):
        target.back()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("DROP COLUMN answer", "the column 'answer' of .* is not in .* any more"),
        ("ALTER COLUMN batch_code SET DATA TYPE NUMERIC", "the column 'batch_code' is NUMERIC in"),
    ],
)
def test_refuses_columns_that_have_changed(make, change, message):
    target = make("table")
    first_night(target)
    target.landing.run_sql(f"ALTER TABLE {target.landing.target.sql} ADD COLUMN batch_code INT64")
    target.land(SECOND, [("a", later(good("A2")))])
    target.landing.run_sql(f"ALTER TABLE {target.landing.target.sql} {change}")
    with pytest.raises(InvalidRequestError, match=message):
        target.back()


ADDRESSES = [
    ("bq://p.d.books", "bq://p.d.books__before_1a2b3c4d", ("1a2b3c4d", False)),
    ("bq://p.d.books", "bq://p.d.books__before_rollback_1a2b3c4d", ("1a2b3c4d", True)),
    ("bq://p.d.books", "bq://p.d.books__before_1a2b3c4d_0011aabb", None),
    ("bq://p.d.books", "bq://p.d.books__before_the_war", None),
    ("bq://p.d.books", "bq://p.d.books", None),
    ("gs://b/x/books.jsonl", "gs://b/x/books__before_1a2b3c4d.jsonl", ("1a2b3c4d", False)),
    ("gs://b/x/books.jsonl", "gs://b/x/books__before_1a2b3c4d.parquet", None),
    ("gs://b/x/books.jsonl", "gs://b/x/books__before_rollback_1a2b3c4d.jsonl", ("1a2b3c4d", True)),
    ("/tmp/a.b/books.parquet", "/tmp/a.b/books__before_1a2b3c4d.parquet", ("1a2b3c4d", False)),
]


@pytest.mark.parametrize(("target", "address", "expected"), ADDRESSES)
def test_names_of_copies(target, address, expected):
    copy = Copy.of(target, address, datetime.now(UTC))
    assert ((copy.question, copy.rollback) if copy else None) == expected


@pytest.mark.parametrize(
    ("kept", "options", "message"),
    [
        (timedelta(0), {}, "expected how long"),
        (30, {}, "expected how long"),
        (timedelta(days=1), {"bookkeeping": False}, "needs the column batch_question"),
    ],
)
def test_refuses_what_could_not_be_brought_back(kept, options, message):
    with pytest.raises(InvalidRequestError, match=message):
        plan_of(keep_previous=kept, **options)
