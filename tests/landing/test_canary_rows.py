"""The answers of a canary are taken into the target, in tables and in files alike."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from google.cloud.exceptions import BadRequest, NotFound

from airflow_gemini_batch.core.columns import BOOKKEEPING, FAILED_COLUMNS, QUESTION_COLUMN
from airflow_gemini_batch.core.model_families import TEXT_EMBEDDING
from airflow_gemini_batch.disk.whole_file import WholeFile
from airflow_gemini_batch.exceptions import GeminiBatchError, InvalidRequestError
from airflow_gemini_batch.landing import canary_rows
from airflow_gemini_batch.landing.bigquery import lander
from airflow_gemini_batch.landing.files import portions
from airflow_gemini_batch.landing.plan import LandingPlan, LandingReport, target_columns
from airflow_gemini_batch.outputs.embeddings import embedding_columns
from tests.landing.bigquery.test_merge_sql import ABORTED, Rivals
from tests.landing.landings import NASTY, TEXT, plan_of
from tests.support.requests_data import storage_client
from tests.support.tables import bigquery_client, fill, make_dataset, read

NEW, OLD = "a" * 16, "b" * 16
LOG = logging.getLogger(__name__)
VECTORS = LandingPlan(("isbn",), embedding_columns("embedding"), family=TEXT_EMBEDDING)
TYPED = plan_of(
    {
        "type": "object",
        "properties": {
            "genre": {"type": "string"},
            "pages": {"type": "integer"},
            "score": {"type": "number"},
            "for_children": {"type": "boolean"},
            "tags": {"type": "array", "items": {"type": "string"}},
            "facts": {"type": "object", "properties": {"a": {"type": "string"}}},
        },
    }
)
ARROW = {
    "STRING": pa.string(),
    "JSON": pa.string(),
    "INT64": pa.int64(),
    "FLOAT64": pa.float64(),
    "BOOL": pa.bool_(),
    "TIMESTAMP": pa.timestamp("us", "UTC"),
    "ARRAY<STRING>": pa.list_(pa.string()),
    "ARRAY<FLOAT64>": pa.list_(pa.float32()),
}


def time(day: int) -> str:
    return (datetime(2026, 11, 22, 8, 0, 0, 123456, UTC) + timedelta(day)).isoformat()


def answered(key: Any, day: int | None, question: str | None = NEW, **more: Any) -> dict[str, Any]:
    return {
        "isbn": key,
        "batch_processed_time": None if day is None else time(day),
        QUESTION_COLUMN: question,
        **more,
    }


class Place:
    """A target, its canary and its failures: tables, or files of one kind."""

    def __init__(self, kind: str, stack: Any, folder: Path) -> None:
        self.kind, self.stack, self._folder = kind, stack, folder
        self.target = f"{make_dataset(stack)}.books" if kind == "table" else str(folder / f"books.{kind}")

    def name(self, suffix: str) -> str:
        if self.kind == "table":
            return self.target + suffix
        return str(self._folder / f"books{suffix}.{self.kind}")

    def put(self, suffix: str, types: Mapping[str, str], rows: Sequence[Mapping[str, Any]]) -> None:
        """Write rows with all columns of the types."""
        rows = [{name: row.get(name) for name in types} for row in rows]
        name = self.name(suffix)
        if self.kind == "table":
            fill(self.stack, name, types, rows)
        elif self.kind == "jsonl":
            Path(name).write_text("".join(f"{json.dumps(row)}\n" for row in rows))
        else:
            schema = pa.schema([(name, ARROW[kind]) for name, kind in types.items()])
            cells = {column: [_cell(kind, row[column]) for row in rows] for column, kind in types.items()}
            pq.write_table(pa.table(cells, schema), name)

    def answers(self, suffix: str, *rows: Mapping[str, Any], plan: LandingPlan = TEXT, **more: str) -> None:
        self.put(suffix, {**target_columns(plan), **more}, rows)

    def failures(self, *rows: Mapping[str, Any]) -> None:
        self.put("__failed", {"isbn": "STRING", **FAILED_COLUMNS}, rows)

    def rows(self, suffix: str = "") -> dict[Any, dict[str, Any]]:
        """Return rows by key."""
        name = self.name(suffix)
        if self.kind == "table":
            found = read(self.stack, name)
        elif self.kind == "jsonl":
            found = [json.loads(line) for line in Path(name).read_bytes().splitlines()]
        else:
            found = pq.read_table(name).to_pylist()
        by_key = {row["isbn"]: row for row in found}
        assert len(by_key) == len(found)
        return by_key

    def exists(self, suffix: str = "") -> bool:
        if self.kind != "table":
            return Path(self.name(suffix)).exists()
        try:
            bigquery_client(self.stack).get_table(self.name(suffix).removeprefix("bq://"))
        except NotFound:
            return False
        return True

    def content(self) -> Any:
        """Return what is in target and failures, of files each byte."""
        suffixes = [one for one in ("", "__failed") if self.exists(one)]
        if self.kind == "table":
            return [self.rows(one) for one in suffixes]
        return [Path(self.name(one)).read_bytes() for one in suffixes]

    def land(self, plan: LandingPlan = TEXT, **more: Any) -> LandingReport:
        settings = {"canary": self.name("__canary"), "target": self.target, "failed_target": None, **more}
        return canary_rows.land_canary(
            plan,
            NEW,
            **{
                "storage_client": lambda: storage_client(self.stack),
                "bigquery_client": lambda: bigquery_client(self.stack),
                "log": LOG,
                **settings,
            },
        )


def _cell(kind: str, value: Any) -> Any:
    if kind == "TIMESTAMP" and value:
        return datetime.fromisoformat(value)
    return json.dumps(value) if kind == "JSON" and value is not None else value


@pytest.fixture(params=["table", "parquet", "jsonl"])
def place(request, gemini_batch_stack, tmp_path):
    return Place(request.param, gemini_batch_stack, tmp_path)


@pytest.fixture
def jsonl(gemini_batch_stack, tmp_path):
    return Place("jsonl", gemini_batch_stack, tmp_path)


@dataclass(frozen=True)
class Case:
    """What is known of a row, and what its answer is afterwards; days say when it was answered or has failed.

    :param canary: day and question.
    :param target: the same; the answer there is "old".
    """

    name: str
    canary: tuple[int | None, str | None] | None
    target: tuple[int | None, str | None] | None
    answer: str | None
    failed: int | None = None
    fails_still: bool = False


CASES = [
    Case("older-target", (2, NEW), (1, OLD), "new"),
    Case("newer-target", (1, NEW), (2, OLD), "old"),
    Case("target-of-the-same-time", (1, NEW), (1, OLD), "new"),
    Case("target-without-a-time", (1, NEW), (None, None), "new"),
    Case("canary-without-a-time", (None, NEW), (1, OLD), "new"),
    Case("not-in-target", (1, NEW), None, "new"),
    Case("not-in-canary", None, (1, OLD), "old"),
    Case("canary-of-another-question", (2, OLD), (1, OLD), "old"),
    Case("canary-of-an-unknown-question", (2, None), None, None),
    Case("failed-before", (2, NEW), None, "new", failed=1),
    Case("failed-at-the-same-time", (2, NEW), (1, OLD), "new", failed=2),
    Case("failed-afterwards", (1, NEW), None, "new", failed=2, fails_still=True),
    Case("failed-and-not-in-canary", None, None, None, failed=1, fails_still=True),
    Case("failed-and-other-question", (2, OLD), None, None, failed=1, fails_still=True),
]


def test_newer_answers_to_the_question_are_taken(place):
    canary, target = (
        [answered(one.name, *known, answer=text) for one in CASES if (known := getattr(one, name))]
        for name, text in (("canary", "new"), ("target", "old"))
    )
    place.answers("__canary", *canary)
    place.answers("", *target)
    place.failures(
        *(
            {"isbn": one.name, "outcome": "invalid", "failed_time": time(one.failed)}
            for one in CASES
            if one.failed is not None
        )
    )
    report = place.land()
    landed = sum(1 for one in CASES if one.canary and one.canary[1] == NEW)
    assert (report.target, report.landed, report.failed) == (place.target, landed, 0)
    rows = place.rows()
    assert {key: row["answer"] for key, row in rows.items()} == {
        one.name: one.answer for one in CASES if one.answer
    }
    questions = {one.name: NEW if one.answer == "new" else one.target and one.target[1] for one in CASES}
    assert {key: row[QUESTION_COLUMN] for key, row in rows.items()} == {key: questions[key] for key in rows}
    assert set(place.rows("__failed")) == {one.name for one in CASES if one.fails_still}
    before = place.content()
    assert place.land() == report
    assert place.content() == before


VALUES = [
    {
        "genre": NASTY,
        "pages": 2**63 - 1,
        "score": 0.1,
        "for_children": True,
        "tags": [NASTY, ""],
        "facts": {"b": [1, None, 1.5], "a": NASTY},
    },
    {"genre": "", "pages": -(2**63), "score": 1e-300, "for_children": False, "tags": [], "facts": "null"},
    {"genre": "null", "pages": 0, "score": -1234567.125, "tags": ["a"], "facts": [{"ä": 1}]},
    {"genre": None, "tags": ["x"]},
]


@pytest.mark.parametrize("present", [False, True], ids=["new-target", "target"])
def test_values_are_what_they_are_in_the_canary(place, present):
    tokens = {name: number for number, (name, kind) in enumerate(BOOKKEEPING.items()) if kind == "INT64"}
    rows = [
        answered(f"978-{number}", 1, **{**tokens, "batch_job": NASTY, "batch_fingerprint": "f" * 32, **row})
        for number, row in enumerate(VALUES)
    ]
    place.answers("__canary", *rows, plan=TYPED)
    if present:
        place.answers("", answered("978-1", 0, OLD, genre="x"), answered("978-2", 0, OLD), plan=TYPED)
    assert place.land(TYPED).landed == len(VALUES)
    assert place.rows() == place.rows("__canary")


def test_columns_are_added_and_others_keep_their_values(place):
    columns = {"isbn": "STRING", "shelf": "STRING", "batch_processed_time": "TIMESTAMP"}
    place.put("", columns, [{"isbn": "1", "shelf": "A", "batch_processed_time": time(0)}, {"isbn": "2"}])
    # The former question had another schema.
    place.answers("__canary", answered("1", 1, answer="new", genre="x"), genre="STRING")
    place.land()
    rows = place.rows()
    assert (rows["1"]["answer"], rows["1"]["shelf"], rows["1"][QUESTION_COLUMN]) == ("new", "A", NEW)
    assert rows["1"]["batch_processed_time"] == place.rows("__canary")["1"]["batch_processed_time"]
    assert (rows["2"]["answer"], rows["2"]["shelf"]) == (None, None)
    assert set(rows["1"]) == {*columns, *target_columns(TEXT)}


def test_bookkeeping_that_the_canary_lacks_is_not_known(place):
    columns = {"isbn": "STRING", "answer": "STRING", QUESTION_COLUMN: "STRING"}
    place.put("__canary", columns, [{"isbn": "1", "answer": "new", QUESTION_COLUMN: NEW}])
    place.answers("", answered("1", 1, OLD, answer="old", batch_prompt_tokens=7))
    place.land()
    assert place.rows()["1"] == {**dict.fromkeys(target_columns(TEXT)), **place.rows("__canary")["1"]}


def test_key_of_several_columns(place):
    plan = replace(TEXT, key=("shelf", "isbn"))
    types = {"shelf": "INT64" if place.kind == "table" else "STRING"}
    one, two = (1, 2) if place.kind == "table" else ("1", "2")
    place.answers(
        "__canary",
        answered("a", 1, shelf=one, answer="new"),
        answered("b", 1, shelf=two, answer="new"),
        plan=plan,
        **types,
    )
    place.answers(
        "",
        answered("a", 0, OLD, shelf=two, answer="old"),
        answered("b", 0, OLD, shelf=two, answer="old"),
        plan=plan,
        **types,
    )
    place.land(plan)
    if place.kind == "table":
        rows = read(place.stack, place.target)
    elif place.kind == "jsonl":
        rows = [json.loads(line) for line in Path(place.target).read_bytes().splitlines()]
    else:
        rows = pq.read_table(place.target).to_pylist()
    found = {(row["shelf"], row["isbn"]): row["answer"] for row in rows}
    assert found == {(one, "a"): "new", (two, "a"): "old", (two, "b"): "new"}
    assert len(rows) == 3


def test_many_rows_are_read_in_portions(place, monkeypatch):
    monkeypatch.setattr(portions, "PORTION_ROWS", 7)
    keys = [f"978-{number:03}" for number in range(50)]
    place.answers("", *(answered(key, 0, OLD, answer="old") for key in keys))
    place.answers("__canary", *(answered(key, 1, answer="new") for key in [*keys[::5], "a", "z"]))
    place.land()
    new = {*keys[::5], "a", "z"}
    assert {key: row["answer"] for key, row in place.rows().items()} == {
        key: "new" if key in new else "old" for key in {*keys, *new}
    }


def test_canary_that_is_not_there_gives_nothing(place, caplog):
    caplog.set_level("WARNING")
    report = place.land()
    assert (report.landed, place.exists()) == (0, False)
    assert f"There is no canary {place.name('__canary')}" in caplog.text


def test_target_is_kept_before_it_changes(place):
    place.answers("", answered("1", 0, OLD, answer="old"))
    place.answers("__canary", answered("1", 1, answer="new"))
    before = place.rows()
    for _ in range(2):
        place.land(replace(TEXT, keep_previous=timedelta(days=1)))
        assert place.rows("__before_aaaaaaaa") == before
    assert place.rows()["1"]["answer"] == "new"


def _without(*names: str) -> dict[str, str]:
    return {name: kind for name, kind in target_columns(TEXT).items() if name not in names}


@dataclass(frozen=True)
class Refusal:
    """Columns of canary and target that do not fit."""

    name: str
    message: str
    canary: Mapping[str, str]
    target: Mapping[str, str] | None = None
    rows: Sequence[Mapping[str, Any]] = (answered("1", 1, answer="new"),)


REFUSALS = [
    Refusal(
        "without-bookkeeping",
        "has no column 'batch_question': it was landed without",
        _without(QUESTION_COLUMN),
    ),
    Refusal("canary-without-key", "canary .* has no column 'isbn', which the key names", _without("isbn")),
    Refusal("target-without-key", "'isbn' is missing there", target_columns(TEXT), _without("isbn")),
    Refusal(
        "other-type",
        "'answer' is INT64 there, and what lands in it is STRING",
        target_columns(TEXT),
        {**target_columns(TEXT), "answer": "INT64"},
    ),
    Refusal(
        "other-schema",
        "'answer' is INT64 there, and STRING by the schema\nGive response_schema",
        {**target_columns(TEXT), "answer": "INT64"},
        rows=(answered("1", 1, answer=1),),
    ),
    Refusal("without-answer", "the column 'answer' is missing there", _without("answer")),
    Refusal(
        "key-twice",
        "[Kk]ey isbn does not identify",
        target_columns(TEXT),
        rows=(answered("1", 1, answer="a"), answered("1", 1, answer="b")),
    ),
    Refusal("key-null", "[Kk]ey isbn does not identify", target_columns(TEXT), rows=(answered(None, 1),)),
]


@pytest.mark.parametrize("case", REFUSALS, ids=lambda case: case.name)
def test_rows_that_can_not_be_landed_are_refused(place, case):
    place.put("__canary", case.canary, case.rows)
    columns = case.target or target_columns(TEXT)
    number = 5 if columns.get("answer") == "INT64" else "old"
    place.put("", columns, [answered("0", 0, OLD, answer=number)])
    before = place.content() if "isbn" in columns else None
    with pytest.raises(InvalidRequestError, match=case.message):
        place.land()
    if before:
        assert place.content() == before


def test_key_of_another_type_is_refused(gemini_batch_stack, tmp_path):
    place = Place("table", gemini_batch_stack, tmp_path)
    place.put("__canary", {**target_columns(TEXT), "isbn": "INT64"}, [answered(1, 1, answer="new")])
    place.answers("", answered("1", 0, OLD, answer="old"))
    with pytest.raises(InvalidRequestError, match="'isbn' is STRING there, and what lands in it is INT64"):
        place.land()


@pytest.mark.parametrize(
    ("addresses", "message"),
    [
        ({"canary": "bq://my-shop.d.books__canary"}, "name three tables or three files"),
        ({"failed_target": "bq://my-shop.d.failed"}, "name three tables or three files"),
        ({"target": "bq://my-shop.d.books"}, "name three tables or three files"),
        ({"canary": "books.jsonl", "target": "books.jsonl"}, "one would overwrite another"),
        ({"target": "bq://my-shop.d"}, "is a dataset"),
        ({"canary": "books.csv"}, "answers land in a .parquet or .jsonl file"),
    ],
)
def test_addresses_that_do_not_go_together_are_refused(jsonl, addresses, message):
    with pytest.raises(InvalidRequestError, match=message):
        jsonl.land(**addresses)


def vector(key: str, day: int, numbers: Sequence[float], question: str = NEW) -> dict[str, Any]:
    return answered(key, day, question, embedding=numbers, dimensions=len(numbers), truncated=False)


@pytest.mark.parametrize("present", [False, True], ids=["new-target", "target"])
def test_vectors_are_taken(place, present):
    place.answers("__canary", vector("1", 1, [0.5, 0.25]), vector("2", 1, [-1.5, 0.0]), plan=VECTORS)
    if present:
        place.answers("", vector("2", 0, [1, 1], OLD), vector("3", 0, [2, 2], OLD), plan=VECTORS)
    assert place.land(VECTORS).landed == 2
    rows = {key: list(row["embedding"]) for key, row in place.rows().items()}
    assert rows == {"1": [0.5, 0.25], "2": [-1.5, 0.0], **({"3": [2, 2]} if present else {})}
    before = place.content()
    place.land(VECTORS)
    assert place.content() == before


def test_vectors_of_another_length_are_refused(place):
    place.answers("__canary", vector("1", 1, [0.5, 0.25]), plan=VECTORS)
    place.answers("", vector("2", 0, [1, 1, 1], OLD), plan=VECTORS)
    before = place.content()
    with pytest.raises(InvalidRequestError, match=r"have 2 dimensions, and those in .* have 3"):
        place.land(VECTORS)
    assert place.content()[0] == before[0]


@pytest.mark.parametrize(("rivals", "lands"), [(2, True), (5, False)])
def test_file_written_meanwhile_is_merged_with_again(jsonl, monkeypatch, rivals, lands):
    jsonl.answers("__canary", answered("1", 1, answer="new"))
    put, left = WholeFile.put, list(range(rivals))

    def put_after(file: WholeFile, *arguments: Any) -> None:
        if file.path.name == "books.jsonl" and left:
            file.path.write_text(json.dumps(answered(f"rival {left.pop()}", 0, OLD, answer="x")) + "\n")
        put(file, *arguments)

    monkeypatch.setattr(WholeFile, "put", put_after)
    if not lands:
        with pytest.raises(GeminiBatchError, match="was replaced by another writer 5 times"):
            jsonl.land()
        return
    jsonl.land()
    assert set(jsonl.rows()) == {"1", "rival 0"}


@pytest.mark.parametrize(("times", "lands"), [(2, True), (3, False)])
def test_table_changed_meanwhile_is_merged_with_again(
    gemini_batch_stack, tmp_path, monkeypatch, times, lands
):
    monkeypatch.setattr(lander, "time", SimpleNamespace(sleep=lambda _: None))
    place = Place("table", gemini_batch_stack, tmp_path)
    place.answers("", answered("1", 0, OLD, answer="old"))
    place.answers("__canary", answered("1", 1, answer="new"))
    client = Rivals(bigquery_client(gemini_batch_stack), ABORTED, times)
    if lands:
        place.land(bigquery_client=lambda: client)
    else:
        with pytest.raises(BadRequest, match="aborted"):
            place.land(bigquery_client=lambda: client)
    assert place.rows()["1"]["answer"] == ("new" if lands else "old")
    tables = bigquery_client(gemini_batch_stack).list_tables(
        place.target.removeprefix("bq://").rpartition(".")[0]
    )
    assert not [one.table_id for one in tables if "landing" in one.table_id]


def test_files_in_a_bucket(gemini_batch_stack, jsonl, bucket):
    target = f"gs://{bucket}/{datetime.now(UTC):%s%f}/books.jsonl"
    client = storage_client(gemini_batch_stack).bucket(bucket)
    folder = target.removeprefix(f"gs://{bucket}/").partition("/")[0]
    jsonl.answers("__canary", answered("1", 1, answer=NASTY))
    client.blob(f"{folder}/books__canary.jsonl").upload_from_filename(jsonl.name("__canary"))
    jsonl.land(target=target, canary=f"gs://{bucket}/{folder}/books__canary.jsonl")
    row = json.loads(client.blob(f"{folder}/books.jsonl").download_as_text())
    assert row == jsonl.rows("__canary")["1"]
