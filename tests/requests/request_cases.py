"""Plans with rows, and rows that can't become requests: one table each for the builds of files and of tables."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from airflow_gemini_batch.requests.spec import BuildPlan
from airflow_gemini_batch.requests.templates import BadRow
from tests.requests.plans import BOOKS, gemini_embedding_plan, plan, text_embedding_plan

NASTY = [
    'He said "hi" \\ it\'s {new} }} {{ ds }}',
    "two\r\nlines\ttab \x08\x0c\x01\x7f",
    "😀 e\u0301 مرحبا 你好 \u2028 \u2029 \u200b",
    "[[ title ]] \\[[ [[isbn|none]]",
    "'; DROP TABLE books; -- @p0 ? $1 %s ` </b>",
    "\\n \\u0041 \\",
]


def _books(*titles: str | None, **values: Any) -> list[dict[str, Any]]:
    return [{"isbn": f"b{n} {title}", "title": title, **values} for n, title in enumerate(titles)]


@dataclass(frozen=True)
class RequestCase:
    """A plan, and rows that all become requests.

    :param columns: BigQuery's types of the rows' columns.
    """

    id: str
    plan: BuildPlan
    rows: list[dict[str, Any]]
    columns: Mapping[str, str] = field(default_factory=lambda: BOOKS)

    def __str__(self) -> str:
        return self.id


_SCHEMA = {"type": "OBJECT", "properties": {"a_b": {"type": "STRING", "description": NASTY[0]}}}
_CONFIG = {"temperature": 0.1, "topP": 1.0, "maxOutputTokens": 2**31, "stopSequences": NASTY[:5]}
_TITLED = {"task_type": "RETRIEVAL_DOCUMENT", "title": "[[ title ]]"}

REQUEST_CASES = [
    RequestCase("texts", plan(), _books(*NASTY, "x" * 10_000, "")),
    RequestCase("NULL", plan('<[[ title | no "title"\u2028 ]]> <[[ title ]]> [[isbn]]'), _books(None, "")),
    RequestCase(
        "fixed text",
        plan(f"{NASTY[0]} \\[[ {NASTY[4]}\n[[ title ]]", request={"system_instruction": "".join(NASTY)}),
        _books(NASTY[1]),
    ),
    RequestCase(
        "configuration",
        plan(
            request={
                "generation_config": _CONFIG,
                "response_schema": _SCHEMA,
                "safety_settings": [{"category": "HARM_CATEGORY_HARASSMENT", "threshold": "OFF"}],
                "tools": [{"googleSearch": {"excludeDomains": ["example.org"]}}],
            }
        ),
        _books("x"),
    ),
    RequestCase(
        "media",
        plan(request={"media": {"cover": None, "sound": "audio/mpeg"}}),
        [
            {"isbn": "a", "title": "x", "cover": "gs://covers/a b.JPEG", "sound": "https://x.org/a?v=1"},
            {"isbn": "b", "title": "x", "cover": 'https://x.org/"é\u2028.png?v=1#top', "sound": None},
            {"isbn": "c", "title": "x", "cover": None, "sound": ""},
        ],
        {**BOOKS, "cover": "STRING", "sound": "STRING"},
    ),
    RequestCase(
        "columns of other types",
        plan("[[ n ]] [[ f ]] [[ b ]] [[ j ]] [[ title ]]"),
        [
            {"isbn": "a", "title": "x", "n": -7, "f": 2008.0, "b": True, "j": {"a": [1, NASTY[0], None]}},
            {"isbn": "b", "title": "x", "n": None, "f": 0.1, "b": False, "j": ["é"]},
        ],
        {**BOOKS, "n": "INT64", "f": "FLOAT64", "b": "BOOL", "j": "JSON"},
    ),
    RequestCase(
        "key of several columns",
        plan(key=("isbn", "n")),
        [{"isbn": title, "title": title, "n": n} for n, title in enumerate(NASTY)],
        {**BOOKS, "n": "INT64"},
    ),
    RequestCase(
        "column of any name",
        plan("[[ the title ]]"),
        [{"isbn": "a", "the title": "x"}],
        {"isbn": "STRING", "the title": "STRING"},
    ),
    RequestCase("text embedding", text_embedding_plan("About [[ title ]]", **_TITLED), _books(*NASTY, None)),
    RequestCase("text embedding with a task", text_embedding_plan(task_type="CLUSTERING"), _books(*NASTY)),
    RequestCase(
        "text embedding with parameters",
        text_embedding_plan(model_parameters={"outputDimensionality": "256"}),
        _books("x"),
    ),
    RequestCase(
        "Gemini embedding",
        gemini_embedding_plan("About [[ title ]]", output_dimensionality=768, **_TITLED),
        _books(*NASTY, None),
    ),
    RequestCase(
        "Gemini embedding with the title in the text",
        gemini_embedding_plan("About [[ title ]]", model="gemini-embedding-2", **_TITLED),
        _books(*NASTY, None),
    ),
]


@dataclass(frozen=True)
class BadRowCase:
    """A row that stands between two good ones with the keys 1 and 2, and why it is bad.

    :param key: what a message says of it.
    :param python: whether only Python can have such a row.
    """

    id: str
    row: dict[str, Any]
    fault: BadRow
    key: str
    python: bool = False

    def __str__(self) -> str:
        return self.id


BAD_ROW_PLAN: dict[str, Any] = {"prompt": "[[ title ]]", "request": {"media": {"cover": None}}}
BAD_ROW_COLUMNS = {**BOOKS, "cover": "STRING"}
GOOD_ROWS = [
    {"isbn": "1", "title": "Emma", "cover": "gs://b/a.png"},
    {"isbn": "2", "title": "Ida", "cover": None},
]


def _bad(id_: str, fault: BadRow, row: dict[str, Any], key: str = "9", *, python: bool = False) -> BadRowCase:
    return BadRowCase(id_, {"isbn": "9", "title": "a", **row}, fault, key, python)


BAD_ROW_CASES = [
    _bad("NULL as key", BadRow.NULL_KEY, {"isbn": None}, "row 2"),
    _bad("missing number as key", BadRow.NULL_KEY, {"isbn": float("nan")}, "row 2", python=True),
    _bad("NULL as key before an empty prompt", BadRow.NULL_KEY, {"isbn": None, "title": ""}, "row 2"),
    _bad("repeated key", BadRow.DUPLICATE_KEY, {"isbn": "1", "title": "Emma, too"}, "1"),
    _bad("key repeated as a number", BadRow.DUPLICATE_KEY, {"isbn": 1}, "1", python=True),
    _bad("empty prompt", BadRow.EMPTY_PROMPT, {"title": ""}),
    _bad("NULL as prompt", BadRow.EMPTY_PROMPT, {"title": None}),
    _bad("prompt of white space", BadRow.EMPTY_PROMPT, {"title": " \n\u00a0"}),
    _bad("empty prompt with a good row's key", BadRow.EMPTY_PROMPT, {"isbn": "1", "title": " "}, "1"),
    _bad("empty prompt before bad media", BadRow.EMPTY_PROMPT, {"title": "", "cover": "a.png"}),
    _bad("file on a disk", BadRow.BAD_MEDIA, {"cover": "/home/a.png"}),
    _bad("file of an unknown type", BadRow.BAD_MEDIA, {"cover": "gs://b/a.xyz"}),
    _bad("file without a type", BadRow.BAD_MEDIA, {"cover": "gs://b/a"}),
    _bad("line end behind a file", BadRow.BAD_MEDIA, {"cover": "gs://b/a.png\n"}),
    _bad("list of files", BadRow.BAD_MEDIA, {"cover": ["gs://b/a.png"]}, python=True),
    _bad("lone surrogate in the prompt", BadRow.NOT_TEXT, {"title": "\ud800"}, python=True),
    _bad("lone surrogate in the media", BadRow.NOT_TEXT, {"cover": "gs://b/\ud800.png"}, python=True),
    _bad("lone surrogate in the key", BadRow.NOT_TEXT, {"isbn": "\ud800"}, "\\ud800", python=True),
]
