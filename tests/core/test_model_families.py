from __future__ import annotations

import pytest

from airflow_gemini_batch.core.addresses import BigQueryAddress
from airflow_gemini_batch.core.model_families import (
    FAMILIES,
    GEMINI_EMBEDDING,
    GENERATE_CONTENT,
    TEXT_EMBEDDING,
    ModelFamily,
    family_of,
)
from airflow_gemini_batch.costs.request_size import measure
from airflow_gemini_batch.outputs.tally_sql import tally_statement
from airflow_gemini_batch.outputs.vectors_sql import VECTOR_FORMS
from airflow_gemini_batch.requests.forms import FORMS


@pytest.mark.parametrize(
    ("model", "family"),
    [
        ("gemini-2.5-flash", GENERATE_CONTENT),
        ("publishers/google/models/gemini-2.5-flash", GENERATE_CONTENT),
        ("projects/p/locations/us-central1/models/123", GENERATE_CONTENT),
        ("text-embedding-005", TEXT_EMBEDDING),
        ("publishers/google/models/text-embedding-004", TEXT_EMBEDDING),
        ("text-multilingual-embedding-002", TEXT_EMBEDDING),
        ("textembedding-gecko@003", TEXT_EMBEDDING),
        ("textembedding-gecko-multilingual@001", TEXT_EMBEDDING),
        ("gemini-embedding-001", GEMINI_EMBEDDING),
        ("gemini-embedding-2-preview", GEMINI_EMBEDDING),
        ("multimodalembedding@001", None),
        ("embedding-next", None),
    ],
)
def test_model_decides_the_family(model: str, family: ModelFamily | None) -> None:
    assert family_of(model) is family


def test_first_column_that_a_model_reads_holds_the_request() -> None:
    assert {name: (family.main_column, family.is_flat) for name, family in FAMILIES.items()} == {
        "generate_content": ("request", False),
        "text_embedding": ("content", True),
        "gemini_embedding": ("request", False),
    }


def test_families_have_limits_of_their_own() -> None:
    assert {
        name: (family.max_rows, family.takes_tables, family.dimensions) for name, family in FAMILIES.items()
    } == {
        "generate_content": (200_000, True, 0),
        "text_embedding": (30_000, True, 768),
        "gemini_embedding": (1_000_000, False, 3072),
    }


@pytest.mark.parametrize("family", FAMILIES.values(), ids=str)
def test_each_folder_has_the_form_of_each_family(family: ModelFamily) -> None:
    assert family in FORMS
    assert measure({}, family).characters == 0
    assert (family in VECTOR_FORMS) is family.embeds
    if family.takes_tables:
        assert tally_statement(BigQueryAddress("p", "d", "t"), family)
