from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, date, datetime
from decimal import Decimal
from types import MappingProxyType
from typing import Any

import pytest

from airflow_gemini_batch.core.values import text_of
from airflow_gemini_batch.requests.prompts import Placeholder, PromptTemplate


def rendered(template: str, **row: Any) -> str:
    return PromptTemplate.parse(template).render(row)


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
    assert PromptTemplate.parse("by [[ who | nobody ]], [[ who ]].").render(row) == "by nobody, ."


def test_empty_text_is_not_null() -> None:
    assert rendered("<[[ who | nobody ]]>", who="") == "<>"


class Text(str):
    __slots__ = ()


@pytest.mark.parametrize(
    ("value", "text"),
    [
        pytest.param("007", "007", id="text"),
        pytest.param(Text("a"), "a", id="kind-of-text"),
        pytest.param(7, "7", id="integer"),
        pytest.param(2**70, "1180591620717411303424", id="long-integer"),
        pytest.param(2008.0, "2008", id="whole-float"),
        pytest.param(-0.25, "-0.25", id="float"),
        pytest.param(float("inf"), "inf", id="infinity"),
        pytest.param(True, "true", id="true"),
        pytest.param(False, "false", id="false"),
        pytest.param(Decimal("1.50"), "1.50", id="decimal"),
        pytest.param(b"\x00\xff", "AP8=", id="bytes"),
        pytest.param(date(2026, 1, 2), "2026-01-02", id="date"),
        pytest.param(datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC), "2026-01-02T03:04:05+00:00", id="timestamp"),
        pytest.param(["a", None, 1], '["a",null,1]', id="list"),
        pytest.param(("é", True), '["é",true]', id="tuple"),
        pytest.param({"a": {"b": Decimal("1.5")}}, '{"a":{"b":"1.5"}}', id="object"),
        pytest.param({"a": MappingProxyType({"b": 1})}, '{"a":{"b":1}}', id="object-of-another-class"),
        pytest.param([2**70], "[1180591620717411303424]", id="long-integer-inside"),
        pytest.param({1: "é"}, '{"1":"é"}', id="number-as-name"),
        pytest.param([b"\x00"], '["AA=="]', id="bytes-inside"),
        pytest.param([], "[]", id="empty-list"),
    ],
)
def test_value_becomes_text(value: Any, text: str) -> None:
    assert text_of(value) == text
    assert rendered("[[ a ]]", a=value) == text


def test_missing_value_of_pandas_is_null() -> None:
    assert rendered("[[ a | unknown ]]", a=float("nan")) == "unknown"


def test_lone_surrogate_is_left_for_the_request_to_refuse() -> None:
    assert text_of("\ud800") == "\ud800"
    assert text_of(["\ud800"]) == '["\ud800"]'
