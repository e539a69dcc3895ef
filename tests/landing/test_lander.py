"""Which way answers go, by where they lie and where they are to land."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

import pytest

from airflow_gemini_batch.exceptions import InvalidRequestError
from airflow_gemini_batch.jobs.manifest import Manifest, Round
from airflow_gemini_batch.landing.bigquery.lander import TableLanding
from airflow_gemini_batch.landing.lander import Lander
from tests.landing.landings import JOB, TEXT
from tests.landing.vector_files import KEYED
from tests.landing.vectors import vector_plan

TABLE, FILES = "bq://books-project.shop.answers", "gs://books/answers"
TARGET = "bq://books-project.shop.books"


def land(source: str, output: str, target: str, failed: str | None = None, plan: Any = TEXT) -> Any:
    rounds = (Round(f"{JOB}/0", "JOB_STATE_SUCCEEDED", (source,), output, {}),)
    manifest = Manifest("identity", "gemini-2.5-flash", "https://console", {}, rounds)

    def client() -> Any:
        return None

    return Lander(client, client, logging.getLogger(__name__)).land(plan, [manifest], target, failed)


@pytest.mark.parametrize(
    ("way", "place", "plan"),
    [
        ("land", TABLE, TEXT),
        ("land_files", FILES, TEXT),
        ("land_files", FILES, vector_plan()),
        ("land_files", FILES, vector_plan(family=KEYED)),
    ],
)
def test_answers_find_their_way_into_a_table(monkeypatch, way: str, place: str, plan: Any) -> None:
    went: list[tuple[str, Sequence[Any]]] = []
    for name in ("land", "land_files"):
        monkeypatch.setattr(TableLanding, name, lambda *given, name=name: went.append((name, given[-2:])))
    land(place, place, TARGET, plan=plan)
    ((name, tables),) = went
    assert name == way
    assert [str(table) for table in tables] == [TARGET, f"{TARGET}__failed"]


@pytest.mark.parametrize(
    ("places", "target", "failed", "message"),
    [
        ((TABLE, FILES), TARGET, None, "destination of the source's kind"),
        ((TABLE, TABLE), "/tmp/books.parquet", None, "so they land in a bq:// table"),
        ((FILES, FILES), TARGET, TARGET, "failed_target is the target"),
        ((FILES, FILES), TARGET, "/tmp/failed.parquet", "name two tables or two files"),
        ((FILES, FILES), "/tmp/books.parquet", TARGET, "name two tables or two files"),
        ((FILES, FILES), "bq://books-project.shop", None, "is a dataset"),
        ((FILES, FILES), "s3://books/books.parquet", None, "s3://"),
        ((FILES, FILES), "books.csv", None, r"land in a \.parquet or \.jsonl file"),
    ],
)
def test_targets_that_can_not_be_are_refused(
    places: tuple[str, str], target: str, failed: str | None, message: str
) -> None:
    with pytest.raises(InvalidRequestError, match=message):
        land(*places, target, failed)
