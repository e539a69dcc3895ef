"""Answers and the schemas that they fit or not."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import orjson

# Releases of orjson write 1e40 or 1e+40.
FAR = orjson.dumps(1e40).decode()

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
    """An answer as the model wrote it, and the message if it does not fit the schema."""

    name: str
    schema: dict[str, Any]
    text: str
    message: str | None = None


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
_NUMBERS = {"anyOf": [WHOLE | {"minimum": 1, "maximum": 2}, WHOLE | {"minimum": 5, "maximum": 5}]}
_NEEDED_NULLABLE = object_of(["note"], note={"type": "STRING", "nullable": True})
_ODD_NAMES = {
    "type": "OBJECT",
    "properties": {"a b": WHOLE, "c.d": WHOLE, "$": WHOLE, "你好": WHOLE},
    "required": ["a b", "c.d", "$", "你好"],
}


def _book(**fields: str) -> str:
    parts = {"genre": '"novel"', "year": "1847", **fields}
    return "{" + ", ".join(f'"{name}": {value}' for name, value in parts.items()) + "}"


CASES = [
    Case("text", TEXT, '"A \\"novel\\" \\n 😀"'),
    Case("text-empty", TEXT, '""'),
    Case("text-is-a-number", TEXT, "3", "the answer: expected a string, got 3"),
    Case("text-is-null", TEXT, "null", "the answer: expected a string, got null"),
    Case("text-nullable", TEXT | {"nullable": True}, "null"),
    Case("text-is-a-list", TEXT, '["a"]', 'the answer: expected a string, got ["a"]'),
    Case(
        "text-not-among-the-values",
        TEXT | {"enum": ["a", "b"]},
        '"c"',
        'the answer: expected one of "a", "b", got "c"',
    ),
    Case("text-among-the-values", TEXT | {"enum": ["a", "b"]}, '"b"'),
    Case("values-and-nullable", TEXT | {"enum": ["a"], "nullable": True}, "null"),
    Case("number-looks-like-a-value", TEXT | {"enum": ["3"]}, "3", 'the answer: expected one of "3", got 3'),
    Case("whole", WHOLE, "-42"),
    Case("whole-is-text", WHOLE, '"42"', 'the answer: expected an integer, got "42"'),
    Case("whole-has-a-point", WHOLE, "42.0", "the answer: expected an integer, got 42.0"),
    Case("whole-has-an-exponent", WHOLE, "1e3", "the answer: expected an integer, got 1000.0"),
    Case("whole-is-true", WHOLE, "true", "the answer: expected an integer, got true"),
    Case("whole-largest", WHOLE, str(2**63 - 1)),
    Case("whole-smallest", WHOLE, str(-(2**63))),
    Case(
        "whole-beyond-64-bits", WHOLE, str(2**63), "the answer: expected an integer, got 9223372036854775808"
    ),
    Case("whole-far-beyond-64-bits", WHOLE, "9" * 40, f"the answer: expected an integer, got {FAR}"),
    Case("whole-in-bounds", WHOLE | {"minimum": 1, "maximum": 5}, "5"),
    Case(
        "whole-too-small", WHOLE | {"minimum": 1}, "0", "the answer: expected an integer of at least 1, got 0"
    ),
    Case(
        "whole-too-large", WHOLE | {"maximum": 5}, "6", "the answer: expected an integer of at most 5, got 6"
    ),
    Case("whole-with-broken-bound", WHOLE | {"minimum": 0.5}, "1"),
    Case("number", NUMBER, "0.1"),
    Case("number-is-whole", NUMBER, "7"),
    Case("number-with-exponent", NUMBER, "-1.5E-7"),
    Case("number-very-large", NUMBER, "9" * 40),
    Case("number-is-text", NUMBER, '"0.1"', 'the answer: expected a number, got "0.1"'),
    Case(
        "number-too-large",
        NUMBER | {"maximum": 1.0},
        "1.01",
        "the answer: expected a number of at most 1.0, got 1.01",
    ),
    Case("number-at-its-bound", NUMBER | {"maximum": 1e-7, "minimum": 1e-7}, "1e-7"),
    Case("number-is-nan", NUMBER, "NaN", "the answer is not valid JSON: NaN"),
    Case("number-is-infinite", NUMBER, "-Infinity", "the answer is not valid JSON: -Infinity"),
    Case("number-beyond-all-floats", NUMBER, "1e400", "the answer is not valid JSON: 1e400"),
    Case(
        "number-inside-beyond-all-floats",
        list_of(NUMBER),
        "[-10e308]",
        "the answer is not valid JSON: [-10e308]",
    ),
    Case("boolean", YES_NO, "false"),
    Case("boolean-is-text", YES_NO, '"true"', 'the answer: expected a boolean, got "true"'),
    Case("boolean-is-a-number", YES_NO, "1", "the answer: expected a boolean, got 1"),
    Case("list", list_of(TEXT), '["a", ""]'),
    Case("list-empty", list_of(TEXT), "[]"),
    Case("list-is-an-object", list_of(TEXT), '{"a": "b"}', 'the answer: expected a list, got {"a":"b"}'),
    Case("list-is-text", list_of(TEXT), '"[]"', 'the answer: expected a list, got "[]"'),
    Case("list-with-another-type", list_of(TEXT), '["a", 1]', "the answer[1]: expected a string, got 1"),
    Case("list-with-null", list_of(TEXT), '["a", null]', "the answer[1]: expected a string, got null"),
    Case("list-of-nullable", list_of(TEXT | {"nullable": True}), '["a", null]'),
    Case(
        "list-too-short",
        list_of(WHOLE, minItems=2),
        "[1]",
        "the answer: expected a list of at least 2 items, got [1]",
    ),
    Case(
        "list-too-long",
        list_of(WHOLE, maxItems=2),
        "[1, 2, 3]",
        "the answer: expected a list of at most 2 items, got [1,2,3]",
    ),
    Case("list-at-its-length", list_of(WHOLE, minItems=2, maxItems=2), "[1, 2]"),
    Case("list-of-lists", list_of(list_of(WHOLE)), "[[1, 2], [], [3]]"),
    Case(
        "list-of-lists-inner-fault",
        list_of(list_of(WHOLE)),
        '[[1, 2], ["x"]]',
        'the answer[1][0]: expected an integer, got "x"',
    ),
    Case("object", _BOOK, _book()),
    Case("object-whole", _BOOK, _book(rating="4.5", tags='["a", "b"]', note='"n"')),
    Case("object-quotes-in-value", _BOOK, _book(genre='"it\'s \\"poetry\\" 😀"')),
    Case("object-is-a-list", _BOOK, "[]", "the answer: expected an object, got []"),
    Case("object-is-null", _BOOK, "null", "the answer: expected an object, got null"),
    Case("object-nullable", _BOOK | {"nullable": True}, "null"),
    Case(
        "object-field-missing",
        _BOOK,
        '{"genre": "novel"}',
        "year: expected an integer from -3000 to 2100, got nothing",
    ),
    Case(
        "object-field-null",
        _BOOK,
        _book(year="null"),
        "year: expected an integer from -3000 to 2100, got null",
    ),
    Case("object-optional-field-null", _BOOK, _book(rating="null", tags="null", author="null")),
    Case(
        "object-optional-field-wrong",
        _BOOK,
        _book(rating='"good"'),
        'rating: expected a number from 0 to 5.5, got "good"',
    ),
    Case("object-nullable-field-null", _BOOK, _book(note="null")),
    Case("object-needed-nullable-null", _NEEDED_NULLABLE, '{"note": null}'),
    Case(
        "object-needed-nullable-missing",
        _NEEDED_NULLABLE,
        "{}",
        "note: expected a string or null, got nothing",
    ),
    Case("object-other-fields", _BOOK, _book(more='{"a": [1]}')),
    Case(
        "object-list-too-long",
        _BOOK,
        _book(tags='["a", "b", "c"]'),
        'tags: expected a list of 1 to 2 items, got ["a","b","c"]',
    ),
    Case("nested", _BOOK, _book(author='{"name": "Emily", "born": 1818}')),
    Case("nested-null", _BOOK, _book(author='{"name": "Emily", "born": null}')),
    Case(
        "nested-missing", _BOOK, _book(author='{"born": 1818}'), "author.name: expected a string, got nothing"
    ),
    Case(
        "nested-wrong",
        _BOOK,
        _book(author='{"name": ["Emily"]}'),
        'author.name: expected a string, got ["Emily"]',
    ),
    Case("nested-lists", _BOOK, _book(prints='[{"year": 1847, "places": ["London"]}]')),
    Case(
        "nested-lists-wrong",
        _BOOK,
        _book(prints='[{"year": 1847, "places": ["London", 2]}]'),
        "prints[0].places[1]: expected a string, got 2",
    ),
    Case(
        "nested-lists-missing",
        _BOOK,
        _book(prints='[{"year": 1847, "places": []}, {"year": 1}]'),
        "prints[1].places: expected a list, got nothing",
    ),
    Case("odd-names", _ODD_NAMES, '{"a b": 1, "c.d": 2, "$": 4, "你好": 5}'),
    Case(
        "odd-names-wrong",
        _ODD_NAMES,
        '{"a b": 1, "c": {"d": 2}, "$": 4, "你好": 5}',
        "c.d: expected an integer, got nothing",
    ),
    Case("alternatives-first", {"anyOf": [TEXT, WHOLE]}, '"a"'),
    Case("alternatives-second", {"anyOf": [TEXT, WHOLE]}, "1"),
    Case(
        "alternatives-none",
        {"anyOf": [TEXT, WHOLE]},
        "1.5",
        "the answer: expected a string or an integer, got 1.5",
    ),
    Case("one-of-the-numbers", _NUMBERS, "5"),
    Case(
        "none-of-the-numbers",
        _NUMBERS,
        "3",
        "the answer: expected an integer from 1 to 2 or an integer from 5 to 5, got 3",
    ),
    Case("alternatives-null", {"anyOf": [TEXT, WHOLE], "nullable": True}, "null"),
    Case("alternatives-in-a-field", object_of(["a"], a={"anyOf": [TEXT, list_of(TEXT)]}), '{"a": ["b"]}'),
    Case("fenced", _BOOK, f"```json\n{_book()}\n```"),
    Case("fenced-without-language", WHOLE, "```\n3\n```\n"),
    Case("fenced-with-spaces", WHOLE, "  ```JSON  \n\n 3 \n\n```  \n"),
    Case("fenced-no-json", WHOLE, "```json\nthree\n```", "the answer is not valid JSON: ```json\nthree\n```"),
    Case("fenced-does-not-fit", WHOLE, '```json\n"3"\n```', 'the answer: expected an integer, got "3"'),
    Case("fence-not-closed", WHOLE, "```json\n3"),
    Case("fence-not-closed-and-cut-off", WHOLE, "```json\n[3", "the answer is not valid JSON: ```json\n[3"),
    Case("fence-on-one-line", list_of(WHOLE), "```json [3]```"),
    Case("fence-without-any-space", object_of(a=WHOLE), '```JSON{"a": 3}```'),
    Case("fence-without-language-on-one-line", list_of(WHOLE), "```[3]```"),
    Case("fence-without-language-around-a-word", YES_NO, "```true```"),
    Case("fence-of-another-language", WHOLE, "```json5\r\n3\r\n```\r\n"),
    Case("fence-behind-words", WHOLE, "Here it is:\n```json\n3\n```"),
    Case("fence-behind-a-word-on-its-line", WHOLE, "Answer: ```json\n3\n```"),
    Case("fence-before-words", WHOLE, "```json\n3\n```\nI hope this helps!"),
    Case("fence-between-words", _BOOK, f"Here:\n\n```json\n{_book()}\n```\n\nAnything else? `yes` ```x```"),
    Case("fence-between-words-on-one-line", WHOLE, "Here: ```json 3 ``` as you asked."),
    Case("fence-behind-words-not-closed", WHOLE, "Here it is:\n```json\n3\n"),
    Case("fence-behind-another-one", WHOLE, "```python\nprint(3)\n```\n```json\n3\n```"),
    Case("first-of-two-fences", WHOLE, "```json\n3\n```\nor\n```json\n4\n```"),
    Case("first-of-two-fences-on-one-line", WHOLE, "```3``` or ```4```"),
    Case("fence-around-fences", object_of(a=TEXT), '```json\n{"a": "```x```\\n```"}\n```'),
    Case("fence-around-fences-on-one-line", object_of(a=TEXT), '```json {"a": "```x``` y"} ```'),
    Case("fence-around-fences-not-closed", object_of(a=TEXT), '```json\n{"a": "```x``` y"}'),
    Case(
        "fence-around-fences-before-words",
        object_of(a=TEXT),
        '```json\n{"a": "`` ```"}\n```\nThe ```a``` is text.',
    ),
    Case("fence-with-more-ticks", WHOLE, "````json\n3\n````"),
    Case("fence-around-two-values", WHOLE, "```\n3 4\n```", "the answer is not valid JSON: ```\n3 4\n```"),
    Case("fence-around-words", WHOLE, "```\nnone\n``` 3x", "the answer is not valid JSON: ```\nnone\n``` 3x"),
    Case("byte-order-mark", WHOLE, "\ufeff3"),
    Case("byte-order-mark-before-a-fence", _BOOK, f"\ufeff```json\n{_book()}\n```\n"),
    Case("byte-order-mark-within", object_of(a=TEXT | {"enum": ["\ufeffb"]}), '{"a": "\ufeffb"}'),
    Case("fence-within-text", TEXT, '"```json\\n3\\n```"'),
    Case("text-around", WHOLE, "Here it is: 3", "the answer is not valid JSON: Here it is: 3"),
    Case("two-values", WHOLE, "3 4", "the answer is not valid JSON: 3 4"),
    Case("cut-off", _BOOK, '{"genre": "nov', 'the answer is not valid JSON: {"genre": "nov'),
    Case("trailing-comma", list_of(WHOLE), "[1, 2,]", "the answer is not valid JSON: [1, 2,]"),
    Case("single-quotes", TEXT, "'a'", "the answer is not valid JSON: 'a'"),
    Case("empty", TEXT, "", "the answer is empty"),
    Case("long-text", WHOLE, '"%s"' % ("é" * 200), 'the answer: expected an integer, got "' + "é" * 99),
    Case("long-no-json", WHOLE, "é" * 200, "the answer is not valid JSON: " + "é" * 100),
    Case(
        "quotes-in-what-came",
        WHOLE,
        '"a\\"b\\\\c\\n"',
        'the answer: expected an integer, got "a\\"b\\\\c\\n"',
    ),
    Case("spaces-around", WHOLE, " \n 3 \n"),
]
