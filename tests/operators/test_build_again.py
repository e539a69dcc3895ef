"""The nights after the first one: what is asked again, what is not, and what is paid once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException, AirflowSkipException

from airflow_gemini_batch.testing.stack import LocalStack
from tests.operators.steps import BOOKS, PROMPT, book, built, creates, landed, reported, submitted
from tests.support.requests_data import upload
from tests.support.tables import bigquery_client, fill, make_dataset

ROWS = [book(number) for number in range(3)]
SCHEMA = {"description": str}


@dataclass
class Shop:
    """A pipeline between tables, or between files."""

    stack: LocalStack
    place: str
    ending: str = ""

    @property
    def source(self) -> str:
        return f"{self.place}/books.jsonl" if self.ending else f"{self.place}.books"

    @property
    def target(self) -> str:
        return f"{self.place}/landed.{self.ending}" if self.ending else f"{self.place}.landed"

    def stock(self, rows: list[dict[str, Any]]) -> None:
        """Let the source hold these rows and no others."""
        if self.ending:
            upload(self.stack, self.place.removeprefix("gs://"), "books.jsonl", rows)
        else:
            bigquery_client(self.stack).delete_table(self.source.removeprefix("bq://"), not_found_ok=True)
            fill(self.stack, self.source, BOOKS, rows)

    def build(self, **arguments: Any) -> list[str]:
        return built(self.source, **self._with_defaults(arguments))

    def asked(self, **arguments: Any) -> int:
        """Return how many rows a build would ask about."""
        arguments = self._with_defaults(arguments)
        requests: int = reported(self.source, on_empty="succeed", **arguments)["requests"]
        return requests

    def night(self, run_id: str = "first") -> list[dict[str, Any]]:
        """Build, submit and land; return the manifests."""
        manifests = submitted(self.build(), run_id)
        landed(manifests, self.target, response_schema=SCHEMA)
        return manifests

    def _with_defaults(self, arguments: dict[str, Any]) -> dict[str, Any]:
        return {"target": self.target, "response_schema": SCHEMA, **arguments}


@pytest.fixture(params=["tables", "parquet", "jsonl"])
def shop(request, gemini_batch_stack, bucket):
    if request.param == "tables":
        shop = Shop(gemini_batch_stack, make_dataset(gemini_batch_stack))
    else:
        shop = Shop(gemini_batch_stack, f"gs://{bucket}", request.param)
    shop.stock(ROWS)
    return shop


def test_second_night_asks_about_new_and_changed_rows_only(gemini_batch_stack, shop):
    shop.night()
    with pytest.raises(AirflowSkipException, match="no new rows"):
        shop.build()
    shop.stock([book(0), book(1, title="Another title"), book(3)])
    (manifest,) = shop.night("second")
    assert manifest["counts"]["ok"] == sum(manifest["counts"].values()) == 2
    before = creates(gemini_batch_stack)
    assert shop.asked() == 0
    assert creates(gemini_batch_stack) == before


def test_what_is_asked_otherwise_is_asked_again(shop):
    shop.night()
    assert shop.asked() == 0
    assert shop.asked(prompt=f"{PROMPT} Be brief.") == 3
    assert shop.asked(model="gemini-2.5-pro") == 3
    assert shop.asked(response_schema={"description": str, "year": int}) == 3
    assert shop.asked(system_instruction="Be brief.") == 3
    assert shop.asked(generation_config={"temperature": 0.5}) == 3
    assert shop.asked(target=None, requests=shop.place) == 3


def test_rows_that_failed_are_asked_again(gemini_batch_stack, shop):
    gemini_batch_stack.vertex.faults.plan("missing_rows", share=0.0)  # one row at the least
    manifests = submitted(shop.build(), max_row_retries=0, max_failed_fraction=0.5)
    report = landed(manifests, shop.target, response_schema=SCHEMA, max_failed_fraction=0.5)
    assert (report["landed"], report["failed"]) == (2, 1)
    assert shop.asked() == 1


def test_cleared_run_takes_the_jobs_that_it_has_paid_for(gemini_batch_stack, shop):
    requests = shop.build()
    manifests = submitted(requests)
    before = creates(gemini_batch_stack)
    assert shop.build() == requests
    assert submitted(requests) == manifests
    landed(manifests, shop.target, response_schema=SCHEMA)
    assert creates(gemini_batch_stack) == before


def test_cleared_run_that_has_landed_finds_nothing_to_ask(gemini_batch_stack, shop):
    shop.night()
    before = creates(gemini_batch_stack)
    with pytest.raises(AirflowSkipException):
        shop.build()
    assert creates(gemini_batch_stack) == before


def test_order_of_rows_makes_no_other_requests_in_tables(gemini_batch_stack):
    shop = Shop(gemini_batch_stack, make_dataset(gemini_batch_stack))
    shop.stock(ROWS)
    requests = shop.build()
    shop.stock(ROWS[::-1])
    assert shop.build() == requests


@pytest.mark.parametrize("kind", ["file", "table"])
def test_target_that_does_not_tell_what_is_done_is_an_error(gemini_batch_stack, bucket, kind):
    if kind == "file":
        done = upload(gemini_batch_stack, bucket, "done.jsonl", [{"isbn": "978-1", "description": "x"}])
    else:
        columns = {"isbn": "STRING", "description": "STRING"}
        done = fill(gemini_batch_stack, f"{make_dataset(gemini_batch_stack)}.done", columns)
    with pytest.raises(AirflowFailException, match="batch_fingerprint"):
        built(ROWS, requests=f"gs://{bucket}/requests", target=done)


def test_rows_in_files_can_be_done_in_a_table(gemini_batch_stack, bucket):
    target = f"{make_dataset(gemini_batch_stack)}.landed"
    arguments = {"requests": f"gs://{bucket}/requests", "target": target}
    landed(submitted(built(ROWS[:2], **arguments)), target)
    assert reported(ROWS, **arguments)["requests"] == 1
