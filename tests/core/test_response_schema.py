from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Annotated, Any, Literal, NotRequired

import pytest
from pydantic import BaseModel, Field
from typing_extensions import TypedDict  # pydantic takes no other before Python 3.12

from airflow_gemini_batch.core.response_schema import AnswerColumn, answer_columns, response_schema_of
from airflow_gemini_batch.landing.schema_check_sql import mismatch_expression
from airflow_gemini_batch.sql.dialect import DUCKDB, Literals


class Genre(enum.StrEnum):
    NOVEL = "novel"
    POEMS = "poems"


class Author(BaseModel):
    name: str
    born: int | None = None


class Book(BaseModel):
    """A book."""

    genre: Genre
    rating: Annotated[float, Field(ge=0, le=5, description="stars")]
    tags: list[str] = []
    author: Author
    sequels: list[Author] = Field(default_factory=list, max_length=3)
    kind: Literal["a", "b"]


@dataclass
class Page:
    text: str
    number: int = 0


class Shelf(TypedDict):
    room: str
    place: NotRequired[int]


class Mixed(enum.Enum):
    WORD = "a"
    NUMBER = 1


class Chain(BaseModel):
    following: Chain | None = None


def translated(schema: Any) -> dict[str, Any]:
    found = response_schema_of(schema)
    assert found is not None
    return found


AGAIN = [
    Literal[1, 2, 5, None],
    Mixed,
    Annotated[int, Field(gt=0, multiple_of=2, description="d")],
    Annotated[str, Field(min_length=1, pattern="^a")] | None,
    {"type": "string", "pattern": "^(?=a)"},
    tuple[int, str],
    {"type": ["string", "integer"], "maxLength": 3},
]
STRING, INTEGER, NUMBER = {"type": "STRING"}, {"type": "INTEGER"}, {"type": "NUMBER"}
AUTHOR = {
    "type": "OBJECT",
    "properties": {"name": STRING, "born": {"type": "INTEGER", "nullable": True}},
    "propertyOrdering": ["name", "born"],
    "required": ["name"],
}


def _either(*ranges: tuple[int, int]) -> dict[str, Any]:
    return {"anyOf": [{"type": "INTEGER", "minimum": low, "maximum": high} for low, high in ranges]}


def test_no_schema_stays_none() -> None:
    assert response_schema_of(None) is None


def test_pydantic_model_is_translated_without_references() -> None:
    assert translated(Book) == {
        "type": "OBJECT",
        "description": "A book.",
        "properties": {
            "genre": {"type": "STRING", "enum": ["novel", "poems"]},
            "rating": {"type": "NUMBER", "minimum": 0, "maximum": 5, "description": "stars"},
            "tags": {"type": "ARRAY", "items": STRING},
            "author": AUTHOR,
            "sequels": {"type": "ARRAY", "items": AUTHOR, "maxItems": 3},
            "kind": {"type": "STRING", "enum": ["a", "b"]},
        },
        "propertyOrdering": ["genre", "rating", "tags", "author", "sequels", "kind"],
        "required": ["genre", "rating", "author", "kind"],
    }


@pytest.mark.parametrize(
    ("schema", "properties", "required"),
    [
        pytest.param(Page, {"text": STRING, "number": INTEGER}, ["text"], id="dataclass"),
        pytest.param(Shelf, {"room": STRING, "place": INTEGER}, ["room"], id="typed-dict"),
        pytest.param(
            {"genre": str, "tags": list[str]},
            {"genre": STRING, "tags": {"type": "ARRAY", "items": STRING}},
            ["genre", "tags"],
            id="dict-of-types",
        ),
        pytest.param(
            {"type": str, "properties": int},
            {"type": STRING, "properties": INTEGER},
            ["type", "properties"],
            id="odd-names",
        ),
        pytest.param({"author": Author}, {"author": AUTHOR}, ["author"], id="model-in-a-dict"),
        pytest.param(
            {"type": "OBJECT", "properties": {"a": {"type": "STRING", "nullable": True}}},
            {"a": {"type": "STRING", "nullable": True}},
            None,
            id="openapi",
        ),
        pytest.param(
            {"type": "object", "properties": {"a": {"type": ["string", "null"]}}, "required": ["a", "gone"]},
            {"a": {"type": "STRING", "nullable": True}},
            ["a"],
            id="json-schema",
        ),
    ],
)
def test_every_way_of_writing_a_schema_comes_out_alike(
    schema: Any, properties: dict[str, Any], required: list[str] | None
) -> None:
    found = translated(schema)
    assert found["type"] == "OBJECT"
    assert found["properties"] == properties
    assert found["propertyOrdering"] == list(properties)
    assert found.get("required") == required


@pytest.mark.parametrize(
    ("schema", "found"),
    [
        pytest.param(str, STRING, id="type"),
        pytest.param(list[int], {"type": "ARRAY", "items": INTEGER}, id="list"),
        pytest.param(
            {"type": "integer", "format": "int32"}, {"type": "INTEGER", "format": "int32"}, id="format"
        ),
        pytest.param({"const": "a"}, {"type": "STRING", "enum": ["a"]}, id="constant"),
        pytest.param(
            {"enum": [1, 2, 3]}, {"type": "INTEGER", "minimum": 1, "maximum": 3}, id="numbers-in-a-row"
        ),
        pytest.param(Literal[1, 2, 5], _either((1, 2), (5, 5)), id="numbers-to-choose-from"),
        pytest.param(
            {"type": "INTEGER", "format": "enum", "enum": ["101", "301"]},
            _either((101, 101), (301, 301)),
            id="numbers-as-google-writes-them",
        ),
        pytest.param(
            Literal[1, 5, None], {**_either((1, 1), (5, 5)), "nullable": True}, id="numbers-or-null"
        ),
        pytest.param(
            {"enum": [0.5, 1]},
            {"anyOf": [{"type": "NUMBER", "minimum": n, "maximum": n} for n in (0.5, 1.0)]},
            id="broken-numbers",
        ),
        pytest.param(
            Literal["x", None], {"type": "STRING", "enum": ["x"], "nullable": True}, id="words-or-none"
        ),
        pytest.param(
            {"type": ["string", "null"], "enum": ["x", None]},
            {"type": "STRING", "enum": ["x"], "nullable": True},
            id="null-among-the-words",
        ),
        pytest.param(
            Mixed,
            {"anyOf": [{"type": "STRING", "enum": ["a"]}, {"type": "INTEGER", "minimum": 1, "maximum": 1}]},
            id="words-and-numbers",
        ),
        pytest.param(Literal[True], {"type": "BOOLEAN"}, id="true"),
        pytest.param({"type": ["string", "integer"]}, {"anyOf": [STRING, INTEGER]}, id="two-types"),
        pytest.param(
            {
                "type": ["string", "integer", "null"],
                "description": "d",
                "maxLength": 5,
                "minimum": 1,
                "enum": ["a", 7, None],
            },
            {
                "anyOf": [
                    {"type": "STRING", "enum": ["a"], "maxLength": 5},
                    {"type": "INTEGER", "minimum": 7, "maximum": 7},
                ],
                "nullable": True,
                "description": "d",
            },
            id="two-types-with-all",
        ),
        pytest.param(
            {
                "type": ["array", "object"],
                "items": {"type": "string"},
                "properties": {"a": {"type": "string"}},
            },
            {
                "anyOf": [
                    {"type": "ARRAY", "items": STRING},
                    {"type": "OBJECT", "properties": {"a": STRING}, "propertyOrdering": ["a"]},
                ]
            },
            id="list-or-object",
        ),
        pytest.param(
            Annotated[str, Field(min_length=1, max_length=9, pattern="^[a-z]+$")],
            {"type": "STRING", "minLength": 1, "maxLength": 9, "pattern": "^[a-z]+$"},
            id="limits-of-a-text",
        ),
        pytest.param(
            {"type": ["string", "null"], "pattern": "^(?!a)", "description": "d"},
            {"type": "STRING", "description": "d, matching ^(?!a)", "nullable": True},
            id="pattern-in-words",
        ),
        pytest.param(
            Annotated[int, Field(gt=0, lt=10, multiple_of=2)],
            {"type": "INTEGER", "minimum": 1, "maximum": 9, "description": "a multiple of 2"},
            id="limits-of-a-number",
        ),
        pytest.param(
            Annotated[float, Field(gt=0)] | None,
            {"type": "NUMBER", "minimum": 0, "nullable": True},
            id="excluded-bound",
        ),
        pytest.param(
            Annotated[set[str], Field(min_length=2)],
            {"type": "ARRAY", "items": STRING, "minItems": 2, "description": "without repetition"},
            id="set",
        ),
        pytest.param(
            tuple[int, str],
            {"type": "ARRAY", "items": {"anyOf": [INTEGER, STRING]}, "minItems": 2, "maxItems": 2},
            id="tuple",
        ),
        pytest.param(
            {
                "type": "object",
                "properties": {"a": {"type": "string"}, "b": {"type": "string"}, "c": {"type": "string"}},
                "propertyOrdering": ["c", "a", "gone"],
            },
            {
                "type": "OBJECT",
                "properties": {"a": STRING, "b": STRING, "c": STRING},
                "propertyOrdering": ["c", "a", "b"],
            },
            id="order-of-the-user",
        ),
        pytest.param(
            {"allOf": [{"type": "string"}], "description": "d"},
            {**STRING, "description": "d"},
            id="all-of-one",
        ),
        pytest.param(int | str, {"anyOf": [INTEGER, STRING]}, id="alternatives"),
        pytest.param(int | None, {"type": "INTEGER", "nullable": True}, id="optional"),
        pytest.param(
            int | str | None, {"nullable": True, "anyOf": [INTEGER, STRING]}, id="optional-alternatives"
        ),
        pytest.param(
            {
                "$defs": {"A": {"type": "string", "description": "inner"}},
                "$ref": "#/$defs/A",
                "description": "outer",
            },
            {"type": "STRING", "description": "outer"},
            id="words-beside-a-reference",
        ),
    ],
)
def test_schema_need_not_be_an_object(schema: Any, found: dict[str, Any]) -> None:
    assert translated(schema) == found


@pytest.mark.parametrize("schema", [Book, Page, Shelf, {"genre": str}, list[int], int | str | None, *AGAIN])
def test_what_came_out_goes_in_again(schema: Any) -> None:
    once = translated(schema)
    assert translated(once) == once
    assert "CASE" in mismatch_expression(once, "text", "answer", Literals(), DUCKDB)


@pytest.mark.parametrize(
    ("schema", "message"),
    [
        pytest.param(
            {"a": dict[str, int]}, r"response_schema\.a: an object has to name its fields", id="free-keys"
        ),
        pytest.param({"type": "object"}, "response_schema: an object has to name its fields", id="no-fields"),
        pytest.param(
            {"a": list},
            r"response_schema\.a.*: its type is not given. Say .* list\[str\]",
            id="list-of-anything",
        ),
        pytest.param(
            {"a": Literal["", "b"]}, r"response_schema\.a: Vertex AI refuses an empty text", id="empty-text"
        ),
        pytest.param({"enum": [["a"]]}, "the values have to be texts, numbers", id="values-that-are-lists"),
        pytest.param(
            {"type": "integer", "enum": ["a"]}, "the values of a number have to be", id="words-as-numbers"
        ),
        pytest.param({"a": None}, "its type is not given", id="null-alone"),
        pytest.param({"type": "array"}, "a list needs the type of its items", id="no-items"),
        pytest.param({"a": Any}, r"response_schema\.a: its type is not given\. .* not Any", id="anything"),
        pytest.param(Chain, "contains itself", id="itself"),
        pytest.param(
            {"$ref": "#/$defs/Gone"}, "there is no definition of #/\\$defs/Gone", id="no-definition"
        ),
        pytest.param({"a": object()}, "response_schema has to be a Pydantic model", id="no-type"),
        pytest.param({}, "its type is not given", id="empty"),
        pytest.param({"a": set}, r"response_schema\.a\[\]: .* not list or set", id="set-of-anything"),
        pytest.param(
            {"a": Annotated[str, Field(pattern="^(?=a)")]}, "response_schema has to be", id="broken-pattern"
        ),
        pytest.param({"_id": str, "a": str}, "the field '_id' may not begin with _", id="hidden-field"),
        pytest.param(
            {
                "type": "object",
                "properties": {"a": {"type": "object", "properties": {"b": {"type": "date"}}}},
            },
            r"response_schema\.a\.b: the type 'date'",
            id="unknown-type-deep-inside",
        ),
    ],
)
def test_what_can_t_be_expressed_is_refused_by_name(schema: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        response_schema_of(schema)


def test_columns_of_an_object_are_its_fields() -> None:
    assert answer_columns(response_schema_of(Book)) == (
        AnswerColumn("genre", "STRING", path="genre"),
        AnswerColumn("rating", "FLOAT64", path="rating"),
        AnswerColumn("tags", "STRING", repeated=True, path="tags"),
        AnswerColumn("author", "JSON", path="author"),
        AnswerColumn("sequels", "JSON", path="sequels"),
        AnswerColumn("kind", "STRING", path="kind"),
    )


@pytest.mark.parametrize(
    ("kind", "column"),
    [
        (bool, AnswerColumn("a", "BOOL", path="a")),
        (int | None, AnswerColumn("a", "INT64", path="a")),
        (list[bool], AnswerColumn("a", "BOOL", repeated=True, path="a")),
        (list[list[int]], AnswerColumn("a", "JSON", path="a")),
        (list[int | None], AnswerColumn("a", "JSON", path="a")),
        (int | str, AnswerColumn("a", "JSON", path="a")),
        (Literal[1, 2, 5], AnswerColumn("a", "INT64", path="a")),
        (list[Literal[1, 5]], AnswerColumn("a", "INT64", repeated=True, path="a")),
        (Literal["x", None], AnswerColumn("a", "STRING", path="a")),
        (Mixed, AnswerColumn("a", "JSON", path="a")),
        (Author, AnswerColumn("a", "JSON", path="a")),
    ],
)
def test_type_of_a_field_is_that_of_its_column(kind: Any, column: AnswerColumn) -> None:
    assert answer_columns(response_schema_of({"a": kind})) == (column,)


@pytest.mark.parametrize(
    ("schema", "column"),
    [
        (None, AnswerColumn("words", "STRING")),
        (str, AnswerColumn("words", "STRING")),
        (list[int], AnswerColumn("words", "INT64", repeated=True)),
        (int | str, AnswerColumn("words", "JSON")),
        (list[Author], AnswerColumn("words", "JSON")),
    ],
)
def test_answer_that_is_no_object_has_one_column(schema: Any, column: AnswerColumn) -> None:
    assert answer_columns(response_schema_of(schema), "words") == (column,)


def test_text_column_has_a_name_of_its_own() -> None:
    assert answer_columns(None)[0].name == "answer"


@pytest.mark.parametrize("name", ["a b", "a-b", "1a", "ä", "", "x" * 301])
def test_field_that_can_be_no_column_is_refused(name: str) -> None:
    schema = response_schema_of({"type": "object", "properties": {name: {"type": "string"}}})
    with pytest.raises(ValueError, match="can't be a column"):
        answer_columns(schema)
