from __future__ import annotations

import re
from typing import Any

import pytest

from airflow_gemini_batch.core.models import is_model, model_resource_name, short_model_name


@pytest.mark.parametrize(
    "name",
    [
        "gemini-2.5-flash",
        "gemini-3.5-flash-lite",
        "gemini-2.5-flash-preview-09-2025",
        "text-embedding-005",
        "text-multilingual-embedding-002",
        "textembedding-gecko@003",
        "a",
    ],
)
def test_plain_name_is_a_google_model(name: str) -> None:
    assert model_resource_name(name) == f"publishers/google/models/{name}"


@pytest.mark.parametrize(
    "name",
    [
        pytest.param("publishers/google/models/gemini-2.5-flash", id="google"),
        pytest.param("publishers/meta/models/Llama-3.1-405B-Instruct@001", id="other-publisher"),
        pytest.param("projects/my-shop/locations/us-central1/models/123456", id="tuned"),
        pytest.param("projects/my-shop/locations/us-central1/models/123456@2", id="tuned-version"),
        pytest.param("projects/123/locations/europe-west4/endpoints/456", id="endpoint"),
        pytest.param(
            "projects/example.com:my-shop/locations/us-central1/models/1", id="domain-scoped-project"
        ),
        pytest.param(
            "projects/p/locations/global/publishers/google/models/gemini-2.5-flash", id="full-publisher"
        ),
    ],
)
def test_resource_name_stays_as_it_is(name: str) -> None:
    assert model_resource_name(name) == name


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        pytest.param("", "model is missing", id="empty"),
        pytest.param(None, "model is missing", id="none"),
        pytest.param(5, "model is missing", id="number"),
        pytest.param("models/gemini-2.5-flash", "write 'gemini-2.5-flash'", id="developer-api-name"),
        pytest.param("google/gemini-2.5-flash", "write 'gemini-2.5-flash'", id="openai-style-name"),
        pytest.param("meta/llama-3", "publishers/PUBLISHER/models/MODEL", id="other-publisher-in-short"),
        pytest.param("models/", "expected a plain name", id="prefix-only"),
        pytest.param("Gemini 2.5 Flash", "expected a plain name", id="marketing-name"),
        pytest.param(" gemini-2.5-flash", "expected a plain name", id="leading-space"),
        pytest.param("gemini-2.5-flash\n", "expected a plain name", id="trailing-newline"),
        pytest.param("publishers/google/models/", "expected a plain name", id="publisher-without-model"),
        pytest.param("publishers/google/gemini-2.5-flash", "expected a plain name", id="no-models-part"),
        pytest.param("projects/p/locations/l/models/", "expected a plain name", id="tuned-without-id"),
        pytest.param("projects/p/locations/l/models/1/2", "expected a plain name", id="tuned-with-a-tail"),
        pytest.param("projects/p/models/1", "expected a plain name", id="tuned-without-location"),
        pytest.param("{{ params.model }}", "expected a plain name", id="unrendered-template"),
        pytest.param("gemini-2.5-flàsh", "expected a plain name", id="unicode"),
    ],
)
def test_what_is_no_model_is_refused_with_the_way_out(name: Any, hint: str) -> None:
    with pytest.raises(ValueError, match=re.escape(hint)) as caught:
        model_resource_name(name)
    assert repr(name) in str(caught.value)


@pytest.mark.parametrize(
    ("name", "short"),
    [
        ("publishers/google/models/gemini-2.5-flash", "gemini-2.5-flash"),
        ("projects/p/locations/l/endpoints/456", "456"),
        ("gemini-2.5-flash", "gemini-2.5-flash"),
        ("", ""),
    ],
)
def test_short_name_is_the_last_part(name: str, short: str) -> None:
    assert short_model_name(name) == short


FLASH = "publishers/google/models/gemini-2.5-flash"
TUNED = "projects/my-shop/locations/us-central1/models/1"


@pytest.mark.parametrize(
    ("found", "asked", "same"),
    [
        (FLASH, FLASH, True),
        (f"projects/123/locations/us-central1/{FLASH}", FLASH, True),
        (FLASH, f"projects/my-shop/locations/us-central1/{FLASH}", True),
        ("gemini-2.5-flash", FLASH, True),
        (f"{FLASH}@001", FLASH, True),
        (FLASH, f"{FLASH}@001", False),
        (f"{FLASH}@002", f"{FLASH}@001", False),
        (f"{FLASH}-lite", FLASH, False),
        ("publishers/evil/models/gemini-2.5-flash", FLASH, False),
        (f"evil/{FLASH}", FLASH, False),
        (f"{FLASH}\n", FLASH, False),
        ("", FLASH, False),
        (TUNED, TUNED, True),
        ("projects/123/locations/us-central1/models/1", TUNED, True),
        ("projects/123/locations/us-central1/models/1@2", TUNED, True),
        ("projects/your-shop/locations/us-central1/models/1", TUNED, False),
        ("projects/123/locations/europe-west4/models/1", TUNED, False),
        ("projects/123/locations/us-central1/models/2", TUNED, False),
        ("projects/123/locations/us-central1/endpoints/1", TUNED, False),
        ("models/1", TUNED, False),
    ],
)
def test_models_are_compared_by_their_meaning(found: str, asked: str, same: bool) -> None:
    assert is_model(found, asked) is same
