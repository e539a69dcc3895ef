from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from airflow_gemini_batch.requests.prompts import Placeholder, PromptTemplate


def rendered(template: str, **row: Any) -> str:
    return PromptTemplate.parse(template).render_all([row])[0]


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        pytest.param("no placeholder", ("no placeholder",), id="text-only"),
        pytest.param("[[title]]", (Placeholder("title"),), id="placeholder-only"),
        pytest.param("[[ a ]][[ b ]]", (Placeholder("a"), Placeholder("b")), id="side-by-side"),
        pytest.param("by [[ who | n. n. ]]!", ("by ", Placeholder("who", "n. n."), "!"), id="default"),
        pytest.param("[[ who | ]]", (Placeholder("who"),), id="empty-default"),
        pytest.param("[[ who | a | b ]]", (Placeholder("who", "a | b"),), id="bar-in-the-default"),
        pytest.param("[[ first name ]]", (Placeholder("first name"),), id="space-in-the-name"),
        pytest.param("[[ request ]]", (Placeholder("request"),), id="reserved-name"),
        pytest.param("[[ größe ]]", (Placeholder("größe"),), id="letters-beyond-ascii"),
        pytest.param(r"a \[[ b ]] c", ("a [[ b ]] c",), id="escaped"),
        pytest.param(r"\[[ [[ b ]]", ("[[ ", Placeholder("b")), id="escaped-before-a-placeholder"),
        pytest.param("a[0] [b] ]] [[", ("a[0] [b] ]] [[",), id="other-brackets"),
        pytest.param("[[[ a ]]]", ("[", Placeholder("a"), "]"), id="brackets-around"),
        pytest.param("{{ ds }} {x} %s %(a)s $1", ("{{ ds }} {x} %s %(a)s $1",), id="other-templates"),
        pytest.param("[[ a\nb ]]", (Placeholder("a\nb"),), id="newline-in-the-name"),
    ],
)
def test_template_is_parsed(text: str, parts: tuple[Any, ...]) -> None:
    assert PromptTemplate.parse(text).parts == parts


@pytest.mark.parametrize("text", ["", "  \n", None, 5])
def test_empty_template_is_refused(text: Any) -> None:
    with pytest.raises(ValueError, match="prompt is empty"):
        PromptTemplate.parse(text)


@pytest.mark.parametrize("text", ["a [[]] b", "[[ ]]", "[[ | default ]]"])
def test_placeholder_without_a_column_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="a placeholder without a column"):
        PromptTemplate.parse(text)


def test_columns_are_named_once_in_order() -> None:
    assert PromptTemplate.parse("[[ b ]] [[ a ]] [[ b | x ]]").columns == ("b", "a")


@pytest.mark.parametrize(
    "value",
    [
        pytest.param("[[ title ]] ]] \\[[", id="brackets"),
        pytest.param("{{ ds }} {0} {title}", id="braces"),
        pytest.param("%s %(title)s %% 100%", id="percent-signs"),
        pytest.param("\"quoted\" 'single' `back` \\ \\n", id="quotes-and-backslashes"),
        pytest.param("a\nb\r\nc\td\0e", id="control-characters"),
        pytest.param("Ünïcödé Ελληνικά Русский العربية עברית हिन्दी 日本語 한국어 ไทย", id="alphabets"),
        pytest.param("😀👩‍👩‍👧🏳️‍🌈", id="emoji"),
        pytest.param("'; DROP TABLE books; -- ", id="sql"),
        pytest.param("x" * 1_000_000, id="long"),
        pytest.param("  ", id="white-space"),
    ],
)
def test_values_come_through_unharmed(value: str) -> None:
    assert rendered("<[[ title ]]>", title=value) == f"<{value}>"


def test_fixed_text_comes_through_unharmed() -> None:
    text = "100 % of SELECT * FROM `books` WHERE title LIKE '%s' {x} \\ \"q\"\n"
    assert rendered(f"{text}[[ a ]]{text}", a="!") == f"{text}!{text}"


@pytest.mark.parametrize("row", [{"who": None}, {}])
def test_null_and_absent_give_the_default(row: Mapping[str, Any]) -> None:
    assert PromptTemplate.parse("by [[ who | nobody ]], [[ who ]].").render_all([row]) == ["by nobody, ."]


def test_empty_text_is_not_null() -> None:
    assert rendered("<[[ who | nobody ]]>", who="") == "<>"


def test_missing_value_of_pandas_is_null() -> None:
    assert rendered("[[ a | unknown ]]", a=float("nan")) == "unknown"
