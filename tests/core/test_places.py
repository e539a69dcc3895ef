"""Which texts become part of an address: whole, ASCII, and nothing else."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest

from airflow_gemini_batch.core.places import (
    checked_job_id,
    checked_location,
    checked_project,
    may_be_same_project,
)

# What ends a host early, or reads differently to the one who checks and the one who connects. In any of the three.
HOSTILE = [
    pytest.param("evil.example/", id="slash"),
    pytest.param("evil.example#", id="fragment"),
    pytest.param("evil.example:443?", id="port-and-query"),
    pytest.param("evil.example\\@", id="backslash"),
    pytest.param("evil.example%2f", id="percent"),
    pytest.param("user@evil", id="user"),
    pytest.param("shop-one\n", id="newline"),
    pytest.param("shop-one\r\nX-Header: 1", id="header"),
    pytest.param("\nshop-one", id="newline-first"),
    pytest.param("shop-one\x00", id="null"),
    pytest.param(" shop-one", id="space"),
    pytest.param("shop\u3002one", id="ideographic-stop"),
    pytest.param("shop\uff0eone", id="fullwidth-stop"),
    pytest.param("shop\u2024one", id="one-dot-leader"),
    pytest.param("shop\u2010one", id="unicode-hyphen"),
    pytest.param("\u0455hop-one", id="cyrillic-letter"),
    pytest.param("\u0661\u0662\u0663", id="arabic-digits"),
    pytest.param("SHOP-ONE", id="uppercase"),
    pytest.param("", id="empty"),
    pytest.param(".", id="dot"),
    pytest.param("..", id="dots"),
    pytest.param("../shop-one", id="climbing"),
    pytest.param("shop-one/..", id="path"),
    pytest.param("-shop", id="hyphen-first"),
    pytest.param("{{ conf.x }}", id="template"),
    pytest.param(None, id="none"),
    pytest.param(["shop-one"], id="list"),
    pytest.param(True, id="true"),
    pytest.param("a" * 1000, id="long"),
]
CHECKS = [checked_project, checked_location, checked_job_id]


@pytest.mark.parametrize("check", CHECKS)
@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_text_is_refused_and_shown_harmlessly(check: Callable[..., str], text: Any) -> None:
    with pytest.raises(ValueError, match=r"^the thing: expected .*, got ") as refused:
        check(text, "the thing")
    assert str(refused.value).isascii()
    assert str(refused.value).isprintable()
    assert len(str(refused.value)) < 400


@pytest.mark.parametrize(
    ("check", "text"),
    [
        (checked_location, "us-central1."),
        (checked_location, "us-central1-aiplatform.googleapis.com"),
        (checked_location, "us-"),
        (checked_location, "1"),
        (checked_project, "short"),
        (checked_project, "ends-in-"),
        (checked_project, ":shop-one"),
        (checked_project, "a..b:shop-one"),
        (checked_project, "9" * 21),
        (checked_job_id, "4?alt=media"),
        (checked_job_id, "42:cancel"),
        (checked_job_id, '42"'),
    ],
)
def test_text_of_another_form_is_refused(check: Callable[..., str], text: str) -> None:
    with pytest.raises(ValueError, match=re.escape(repr(text))):
        check(text)


@pytest.mark.parametrize(
    ("check", "text"),
    [
        *((checked_location, name) for name in ("us-central1", "africa-south1", "europe-west12", "us", "eu")),
        *((checked_location, name) for name in ("global", "northamerica-northeast2", "u-france-east1")),
        *((checked_project, name) for name in ("my-shop", "shop42", "a" * 30, "1", "123456789012")),
        *((checked_project, name) for name in ("example.com:my-shop", "shop.example.co.uk:my-shop")),
        *((checked_job_id, name) for name in ("42", "5662157591678532588", "a-1")),
    ],
)
def test_what_google_allows_stays_as_it_is(check: Callable[..., str], text: str) -> None:
    assert check(text) == text


def test_number_of_a_project_may_come_as_a_number() -> None:
    assert checked_project(123456789012) == "123456789012"


@pytest.mark.parametrize(
    ("one", "other", "may"),
    [
        ("my-shop", "my-shop", True),
        ("my-shop", "your-shop", False),
        ("my-shop", "123", True),
        ("123", "my-shop", True),
        ("123", "124", False),
    ],
)
def test_id_and_number_of_a_project_cannot_be_compared(one: str, other: str, may: bool) -> None:
    assert may_be_same_project(one, other) is may
