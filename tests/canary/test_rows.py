"""The rows of a canary, read out of tables and files alike."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from google.cloud.bigquery import LoadJobConfig, SchemaField, Table

from airflow_gemini_batch.canary import rows as canary_rows
from airflow_gemini_batch.canary.compare import compare
from airflow_gemini_batch.canary.figures import Share
from airflow_gemini_batch.canary.rows import CanaryReader
from airflow_gemini_batch.core.columns import BOOKKEEPING, FAILED_COLUMNS, QUESTION_COLUMN
from airflow_gemini_batch.core.response_schema import AnswerColumn
from airflow_gemini_batch.exceptions import InvalidRequestError
from airflow_gemini_batch.hooks.gemini_batch import GeminiBatchHook
from airflow_gemini_batch.outputs.embeddings import embedding_columns
from tests.canary.answers import measured
from tests.support.tables import bigquery_client, fill, make_dataset

KEY = ("isbn", "copy")
TYPES = {"isbn": "STRING", "copy": "INT64"}
ANSWER = {
    "genre": "STRING",
    "pages": "INT64",
    "score": "FLOAT64",
    "for_children": "BOOL",
    "tags": "STRING",
    "facts": "JSON",
}
COLUMNS = [AnswerColumn(name, kind, repeated=name == "tags") for name, kind in ANSWER.items()]
LANDED = {**BOOKKEEPING, QUESTION_COLUMN: "STRING"}
NEW, OLD = "a" * 16, "b" * 16


def answer(number: int, question: str | None = None, **more: Any) -> dict[str, Any]:
    return {
        "isbn": f"978-{number}",
        "copy": 1,
        "genre": "crime",
        "pages": number,
        "score": 0.1,
        "for_children": True,
        "tags": ["a", "b"],
        "facts": {"year": 2000, "b": [1]},
        **measured(),
        QUESTION_COLUMN: question,
        **more,
    }


def failure(number: int, outcome: str, **more: Any) -> dict[str, Any]:
    return {"isbn": f"978-{number}", "copy": 1, "outcome": outcome, "job": "jobs/1", **more}


class Place:
    """Where rows are: tables, or files of one kind."""

    def __init__(self, kind: str, stack: Any, folder: Path) -> None:
        self.kind = kind
        self._stack = stack
        self._folder = folder
        self.dataset = make_dataset(stack) if kind == "table" else ""

    def name(self, name: str) -> str:
        return f"{self.dataset}.{name}" if self.dataset else str(self._folder / f"{name}.{self.kind}")

    def write(self, name: str, types: Mapping[str, str], rows: Sequence[Mapping[str, Any]]) -> str:
        if self.kind == "table":
            return self._fill(name, types, rows)
        # Keys land in files as texts.
        rows = [{**row, "copy": str(row["copy"])} for row in rows]
        path = Path(self.name(name))
        if self.kind == "parquet":
            texts = [{**row, "facts": json.dumps(row["facts"])} if "facts" in row else row for row in rows]
            pq.write_table(pa.Table.from_pylist(texts), path)
        else:
            path.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
        return str(path)

    def _fill(self, name: str, types: Mapping[str, str], rows: Sequence[Mapping[str, Any]]) -> str:
        schema = [
            SchemaField(column, kind, "REPEATED" if column in ("tags", "embedding") else "NULLABLE")
            for column, kind in types.items()
        ]
        client, address = bigquery_client(self._stack), self.name(name).removeprefix("bq://")
        client.create_table(Table(address, schema=schema))
        client.load_table_from_json(rows, address, job_config=LoadJobConfig(schema=schema)).result()
        return self.name(name)


@pytest.fixture(params=["table", "parquet", "jsonl"])
def place(request, gemini_batch_stack, tmp_path):
    return Place(request.param, gemini_batch_stack, tmp_path)


def reader(columns: Sequence[str] = tuple(ANSWER), vector: str | None = None) -> CanaryReader:
    hook = GeminiBatchHook()
    return CanaryReader(KEY, columns, lambda: hook.storage_client, lambda: hook.bigquery_client, vector)


def test_answers_are_paired_by_key(place):
    target = place.write(
        "books",
        {**TYPES, **ANSWER, **LANDED},
        [
            answer(1),
            answer(2, OLD, genre="poetry", tags=[]),
            answer(3, NEW),  # asked the new question already
            answer(4, OLD),  # not of the canary
            answer(5, OLD),
        ],
    )
    place.write(
        "books__canary",
        {**TYPES, **ANSWER, **LANDED},
        [answer(1, NEW), answer(2, NEW), answer(3, NEW), answer(5, OLD), answer(6, NEW)],
    )
    place.write(
        "books__canary__failed",
        {**TYPES, **FAILED_COLUMNS},
        [failure(5, "invalid"), failure(1, "retryable"), failure(7, "blocked")],
    )
    found = reader().read(NEW, target)
    assert found.new.keys() == {f'["978-{n}","1"]' for n in (1, 2, 3, 6)}
    assert found.old.keys() == {f'["978-{n}","1"]' for n in (1, 2)}
    # An answer to the new question is not a failure any more.
    assert found.failed == {'["978-5","1"]': "invalid", '["978-7","1"]': "blocked"}
    assert found.golden is None
    report = compare(found, COLUMNS, question=NEW)
    assert report.agreement == Share(1, 2)
    assert {field.name: field.agreement.count for field in report.fields} == {
        **dict.fromkeys(ANSWER, 2),
        "genre": 1,
        "tags": 1,
    }
    assert found.new['["978-1","1"]']["batch_prompt_tokens"] == 100


def test_failures_that_name_their_question_are_those_of_one(place):
    types = {**TYPES, **FAILED_COLUMNS, QUESTION_COLUMN: "STRING"}
    target = place.name("books")
    place.write("books__canary", {**TYPES, **ANSWER, **LANDED}, [answer(1, NEW)])
    # What names no question may be of this one.
    questions = {2: NEW, 3: OLD, 4: None}
    rows = [failure(number, "invalid", **{QUESTION_COLUMN: one}) for number, one in questions.items()]
    place.write("books__canary__failed", types, rows)
    assert reader().read(NEW, target).failed.keys() == {'["978-2","1"]', '["978-4","1"]'}


def test_what_is_not_there_holds_nothing(place):
    found = reader().read(NEW, place.name("books"))
    assert (found.new, found.old, found.failed) == ({}, {}, {})


def test_target_of_an_earlier_release_names_no_question(place):
    types = {name: kind for name, kind in {**TYPES, **ANSWER, **LANDED}.items() if name != QUESTION_COLUMN}
    old = [{name: value for name, value in answer(1).items() if name != QUESTION_COLUMN}]
    target = place.write("books", types, old)
    place.write("books__canary", {**TYPES, **ANSWER, **LANDED}, [answer(1, NEW)])
    assert len(reader().read(NEW, target).old) == 1


def test_field_that_the_old_answers_do_not_have_is_null(place):
    types = {name: kind for name, kind in {**TYPES, **ANSWER, **LANDED}.items() if name != "genre"}
    target = place.write("books", types, [{k: v for k, v in answer(1, OLD).items() if k != "genre"}])
    place.write("books__canary", {**TYPES, **ANSWER, **LANDED}, [answer(1, NEW)])
    genre, *_ = compare(reader().read(NEW, target), COLUMNS, question=NEW).fields
    assert (genre.agreement, genre.null_old, genre.null_new) == (Share(0, 1), Share(1, 1), Share(0, 1))


def test_canary_without_bookkeeping_is_refused(place):
    place.write("books__canary", {**TYPES, "genre": "STRING"}, [{"isbn": "1", "copy": 1, "genre": "a"}])
    with pytest.raises(InvalidRequestError, match=r"books__canary.* has no column 'batch_question'"):
        reader().read(NEW, place.name("books"))


@pytest.mark.parametrize("kind", ["table", "csv", "jsonl"])
def test_golden_rows_are_read_with_the_columns_that_they_have(gemini_batch_stack, tmp_path, kind):
    rows = [{"isbn": "978-1", "copy": 1, "genre": "crime", "pages": 1, "note": "x"}]
    if kind == "table":
        types = {**TYPES, "genre": "STRING", "pages": "INT64", "note": "STRING"}
        where = fill(gemini_batch_stack, f"{make_dataset(gemini_batch_stack)}.golden", types, rows)
    else:
        path = tmp_path / f"golden.{kind}"
        path.write_text(
            "isbn,copy,genre,pages,note\n978-1,1,crime,1,x\n" if kind == "csv" else json.dumps(rows[0])
        )
        where = str(path)
    golden = reader().golden(where)
    assert golden.keys() == {'["978-1","1"]'}
    assert golden['["978-1","1"]'].keys() == {"genre", "pages"}
    found = canary_rows.CanaryRows({'["978-1","1"]': {"genre": "crime", "pages": 1}}, {}, golden=golden)
    assert compare(found, COLUMNS, question=NEW).golden == Share(1, 1)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("isbn,genre\n1,a\n", "has no column 'copy', which the key names"),
        ("isbn,copy,kind\n1,1,a\n", "has none of the answer's columns, genre, pages"),
        ("isbn,copy,genre\n1,1,a\n1,1,b\n", 'the key ["1","1"] is there twice'),
        ("isbn,copy,genre\n" + "".join(f"{n},1,a\n" for n in range(4)), "has more than 3 rows"),
        (None, "golden: source"),
    ],
)
def test_golden_rows_that_can_t_be_used_are_refused(
    gemini_batch_stack, tmp_path, monkeypatch, content, words
):
    monkeypatch.setattr(canary_rows, "MOST_ROWS", 3)
    path = tmp_path / "golden.csv"
    if content is not None:
        path.write_text(content)
    with pytest.raises(InvalidRequestError) as raised:
        reader().golden(str(path))
    assert words in str(raised.value)


def test_golden_table_that_is_not_there_is_refused(gemini_batch_stack):
    with pytest.raises(InvalidRequestError, match=r"golden bq://.*: there is no such table"):
        reader().golden(f"{make_dataset(gemini_batch_stack)}.golden")


def test_vectors_are_compared(place):
    types = {**dict.fromkeys((*KEY, QUESTION_COLUMN), "STRING"), "embedding": "FLOAT64"}
    names = (*KEY, "embedding", QUESTION_COLUMN)
    for name, question, vectors in (
        ("v", OLD, ([1.0, 0.0], [0.0, 1.0])),
        ("v__canary", NEW, ([2.0, 0.0], [1.0, 0.0])),
    ):
        rows = [dict(zip(names, (str(n), "1", one, question), strict=True)) for n, one in enumerate(vectors)]
        place.write(name, types, rows)
    found = reader(("embedding",), "embedding").read(NEW, place.name("v"))
    report = compare(found, embedding_columns("embedding")[:1], question=NEW, vector="embedding")
    assert report.agreement == Share(1, 2)
    assert report.fields[0].vectors
    assert report.fields[0].vectors.mean == pytest.approx(0.5)
