"""Answers and the schemas that they fit or not: Python and SQL have to say the same."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

TEXT = {"type": "STRING"}
WHOLE = {"type": "INTEGER"}
NUMBER = {"type": "NUMBER"}
YES_NO = {"type": "BOOLEAN"}


def list_of(items: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"type": "ARRAY", "items": items, **more}


def object_of(required: list[str] | None = None, **fields: dict[str, Any]) -> dict[str, Any]:
    return {"type": "OBJECT", "properties": fields, "required": required or []}


@dataclass(frozen=True)
class Case:
    """An answer as the model wrote it, and whether it fits the schema."""

    name: str
    schema: dict[str, Any]
    text: str
    fits: bool


_BOOK = object_of(
    ["genre", "year"],
    genre={"type": "STRING", "enum": ["novel", 'it\'s "poetry" 😀']},
    year={"type": "INTEGER", "minimum": -3000, "maximum": 2100},
    rating={"type": "NUMBER", "minimum": 0, "maximum": 5.5},
    tags=list_of(TEXT, minItems=1, maxItems=2),
    note={"type": "STRING", "nullable": True},
    author=object_of(["name"], name=TEXT, born={"type": "INTEGER", "nullable": True}),
    prints=list_of(object_of(["year", "places"], year=WHOLE, places=list_of(TEXT))),
)
_NEEDED_NULLABLE = object_of(["note"], note={"type": "STRING", "nullable": True})
_ODD_NAMES = {
    "type": "OBJECT",
    "properties": {"a b": WHOLE, "c.d": WHOLE, "$": WHOLE, "你好": WHOLE},
    "required": ["a b", "c.d", "$", "你好"],
}


def _book(**fields: str) -> str:
    parts = {"genre": '"novel"', "year": "1847", **fields}
    return "{" + ", ".join(f'"{name}": {value}' for name, value in parts.items()) + "}"


def _case(name: str, schema: dict[str, Any], text: str, fits: bool) -> Case:
    return Case(name, schema, text, fits)


CASES = [
    _case("text", TEXT, '"A \\"novel\\" \\n 😀"', True),
    _case("text-empty", TEXT, '""', True),
    _case("text-is-a-number", TEXT, "3", False),
    _case("text-is-null", TEXT, "null", False),
    _case("text-nullable", TEXT | {"nullable": True}, "null", True),
    _case("text-is-a-list", TEXT, '["a"]', False),
    _case("text-not-among-the-values", TEXT | {"enum": ["a", "b"]}, '"c"', False),
    _case("text-among-the-values", TEXT | {"enum": ["a", "b"]}, '"b"', True),
    _case("values-and-nullable", TEXT | {"enum": ["a"], "nullable": True}, "null", True),
    _case("number-looks-like-a-value", TEXT | {"enum": ["3"]}, "3", False),
    _case("whole", WHOLE, "-42", True),
    _case("whole-is-text", WHOLE, '"42"', False),
    _case("whole-has-a-point", WHOLE, "42.0", False),
    _case("whole-has-an-exponent", WHOLE, "1e3", False),
    _case("whole-is-true", WHOLE, "true", False),
    _case("whole-largest", WHOLE, str(2**63 - 1), True),
    _case("whole-smallest", WHOLE, str(-(2**63)), True),
    _case("whole-beyond-64-bits", WHOLE, str(2**63), False),
    _case("whole-far-beyond-64-bits", WHOLE, "9" * 40, False),
    _case("whole-in-bounds", WHOLE | {"minimum": 1, "maximum": 5}, "5", True),
    _case("whole-too-small", WHOLE | {"minimum": 1}, "0", False),
    _case("whole-too-large", WHOLE | {"maximum": 5}, "6", False),
    _case("whole-with-broken-bound", WHOLE | {"minimum": 0.5}, "1", True),
    _case("number", NUMBER, "0.1", True),
    _case("number-is-whole", NUMBER, "7", True),
    _case("number-with-exponent", NUMBER, "-1.5E-7", True),
    _case("number-very-large", NUMBER, "9" * 40, True),
    _case("number-is-text", NUMBER, '"0.1"', False),
    _case("number-too-large", NUMBER | {"maximum": 1.0}, "1.01", False),
    _case("number-at-its-bound", NUMBER | {"maximum": 1e-7, "minimum": 1e-7}, "1e-7", True),
    _case("number-is-nan", NUMBER, "NaN", False),
    _case("number-is-infinite", NUMBER, "-Infinity", False),
    _case("boolean", YES_NO, "false", True),
    _case("boolean-is-text", YES_NO, '"true"', False),
    _case("boolean-is-a-number", YES_NO, "1", False),
    _case("list", list_of(TEXT), '["a", ""]', True),
    _case("list-empty", list_of(TEXT), "[]", True),
    _case("list-is-an-object", list_of(TEXT), '{"a": "b"}', False),
    _case("list-is-text", list_of(TEXT), '"[]"', False),
    _case("list-with-another-type", list_of(TEXT), '["a", 1]', False),
    _case("list-with-null", list_of(TEXT), '["a", null]', False),
    _case("list-of-nullable", list_of(TEXT | {"nullable": True}), '["a", null]', True),
    _case("list-too-short", list_of(WHOLE, minItems=2), "[1]", False),
    _case("list-too-long", list_of(WHOLE, maxItems=2), "[1, 2, 3]", False),
    _case("list-at-its-length", list_of(WHOLE, minItems=2, maxItems=2), "[1, 2]", True),
    _case("list-of-lists", list_of(list_of(WHOLE)), "[[1, 2], [], [3]]", True),
    _case("list-of-lists-inner-fault", list_of(list_of(WHOLE)), '[[1, 2], ["x"]]', False),
    _case("object", _BOOK, _book(), True),
    _case("object-whole", _BOOK, _book(rating="4.5", tags='["a", "b"]', note='"n"'), True),
    _case("object-quotes-in-value", _BOOK, _book(genre='"it\'s \\"poetry\\" 😀"'), True),
    _case("object-is-a-list", _BOOK, "[]", False),
    _case("object-is-null", _BOOK, "null", False),
    _case("object-nullable", _BOOK | {"nullable": True}, "null", True),
    _case("object-field-missing", _BOOK, '{"genre": "novel"}', False),
    _case("object-field-null", _BOOK, _book(year="null"), False),
    _case("object-optional-field-null", _BOOK, _book(rating="null", tags="null", author="null"), True),
    _case("object-optional-field-wrong", _BOOK, _book(rating='"good"'), False),
    _case("object-nullable-field-null", _BOOK, _book(note="null"), True),
    _case("object-needed-nullable-null", _NEEDED_NULLABLE, '{"note": null}', True),
    _case("object-needed-nullable-missing", _NEEDED_NULLABLE, "{}", False),
    _case("object-other-fields", _BOOK, _book(more='{"a": [1]}'), True),
    _case("object-list-too-long", _BOOK, _book(tags='["a", "b", "c"]'), False),
    _case("nested", _BOOK, _book(author='{"name": "Emily", "born": 1818}'), True),
    _case("nested-null", _BOOK, _book(author='{"name": "Emily", "born": null}'), True),
    _case("nested-missing", _BOOK, _book(author='{"born": 1818}'), False),
    _case("nested-wrong", _BOOK, _book(author='{"name": ["Emily"]}'), False),
    _case("nested-lists", _BOOK, _book(prints='[{"year": 1847, "places": ["London"]}]'), True),
    _case("nested-lists-wrong", _BOOK, _book(prints='[{"year": 1847, "places": ["London", 2]}]'), False),
    _case("nested-lists-missing", _BOOK, _book(prints='[{"year": 1847, "places": []}, {"year": 1}]'), False),
    _case("odd-names", _ODD_NAMES, '{"a b": 1, "c.d": 2, "$": 4, "你好": 5}', True),
    _case("odd-names-wrong", _ODD_NAMES, '{"a b": 1, "c": {"d": 2}, "$": 4, "你好": 5}', False),
    _case("alternatives-first", {"anyOf": [TEXT, WHOLE]}, '"a"', True),
    _case("alternatives-second", {"anyOf": [TEXT, WHOLE]}, "1", True),
    _case("alternatives-none", {"anyOf": [TEXT, WHOLE]}, "1.5", False),
    _case("alternatives-null", {"anyOf": [TEXT, WHOLE], "nullable": True}, "null", True),
    _case(
        "alternatives-in-a-field", object_of(["a"], a={"anyOf": [TEXT, list_of(TEXT)]}), '{"a": ["b"]}', True
    ),
    _case("fenced", _BOOK, f"```json\n{_book()}\n```", True),
    _case("fenced-without-language", WHOLE, "```\n3\n```\n", True),
    _case("fenced-with-spaces", WHOLE, "  ```JSON  \n\n 3 \n\n```  \n", True),
    _case("fenced-no-json", WHOLE, "```json\nthree\n```", False),
    _case("fenced-does-not-fit", WHOLE, '```json\n"3"\n```', False),
    _case("fence-not-closed", WHOLE, "```json\n3", False),
    _case("fence-within-text", TEXT, '"```json\\n3\\n```"', True),
    _case("text-around", WHOLE, "Here it is: 3", False),
    _case("two-values", WHOLE, "3 4", False),
    _case("cut-off", _BOOK, '{"genre": "nov', False),
    _case("trailing-comma", list_of(WHOLE), "[1, 2,]", False),
    _case("single-quotes", TEXT, "'a'", False),
    _case("empty", TEXT, "", False),
    _case("spaces-around", WHOLE, " \n 3 \n", True),
]
