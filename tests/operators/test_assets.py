"""The target of a landing is an asset, and its event says what landed."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from airflow.providers.common.compat.sdk import DAG, Asset, AssetAlias

from airflow_gemini_batch import GeminiEnrichmentTaskGroup, LandGeminiResultsOperator
from airflow_gemini_batch.core.outcomes import Outcome
from airflow_gemini_batch.jobs.manifest import Manifest, Round
from airflow_gemini_batch.landing.plan import LandingReport
from airflow_gemini_batch.operators.assets import add_event, asset_uri, event_extra

TABLE = "bq://my-shop.books.descriptions"
URI = "bigquery://my-shop/books/descriptions"


@pytest.mark.parametrize(
    ("target", "uri"),
    [
        (TABLE, URI),
        ("gs://shop/books.parquet", "gs://shop/books.parquet"),
        ("/data/books.jsonl", "file:///data/books.jsonl"),
        ("/data/two words.jsonl", "file:///data/two%20words.jsonl"),
        ("books.jsonl", None),
    ],
)
def test_uri_of_a_target(target, uri):
    assert asset_uri(target) == uri


def land(target=TABLE, **arguments):
    return LandGeminiResultsOperator(
        task_id="land", manifest={}, key="isbn", target=target, response_schema={"a": str}, **arguments
    )


TEMPLATE = "bq://my-shop.books.{{ ds_nodash }}"


@pytest.mark.parametrize(
    ("target", "name"),
    [
        (TABLE, TABLE),
        (TEMPLATE, TEMPLATE),
        ("gs://shop/büro", "gemini_batch_target"),
        ("a" * 2000, "gemini_batch_target"),
    ],
)
def test_target_is_an_outlet_by_an_alias(target, name):
    (outlet,) = land(target).outlets
    assert isinstance(outlet, AssetAlias)
    assert outlet.name == name


def test_outlets_of_the_user_take_its_place():
    assert [outlet.uri for outlet in land(outlets=[Asset(uri="gs://shop/other")]).outlets] == [
        "gs://shop/other"
    ]


def test_task_group_takes_outlets():
    asked = {
        "source": "bq://my-shop.books.books",
        "key": "isbn",
        "prompt": "[[ title ]]",
        "model": "gemini-3.8-flash",
        "target": TABLE,
    }
    with DAG("groups", schedule=None) as dag:
        GeminiEnrichmentTaskGroup(group_id="usual", **asked)
        GeminiEnrichmentTaskGroup(group_id="none", outlets=[], **asked)
    found = {
        name: [outlet.name for outlet in dag.get_task(f"{name}.land_results").outlets]
        for name in ("usual", "none")
    }
    assert found == {"usual": [TABLE], "none": []}


def manifest(cost):
    job = Round("projects/1/locations/l/batchPredictionJobs/2", "JOB_STATE_SUCCEEDED", [], "", {"ok": 3})
    usage = {"gemini-3.8-flash": {"prompt_tokens": 5, "output_tokens": 7}}
    model = "publishers/google/models/gemini-3.8-flash"
    return Manifest("id", model, "", {"ok": 3}, [job], usage, cost)


PRICED = {"amount": 0.25, "unpriced": []}


@pytest.mark.parametrize(
    ("costs", "usd"),
    [
        ([PRICED, PRICED], 0.5),
        ([PRICED, None], None),
        ([PRICED, {"amount": None, "unpriced": ["m"]}], None),
        ([{"amount": 0.25, "unpriced": ["m"]}], None),
    ],
)
def test_event_says_what_landed(costs, usd):
    report = LandingReport(TABLE, f"{TABLE}__failed", {Outcome.OK: 3, Outcome.BLOCKED: 1, Outcome.MISSING: 0})
    extra = event_extra(report, list(map(manifest, costs)))
    assert extra == {
        "rows": 3,
        "rows_ok": 3,
        "rows_blocked": 1,
        "prompt_tokens": 5 * len(costs),
        "output_tokens": 7 * len(costs),
        "thoughts_tokens": 0,
        "cost_usd": usd,
        "models": "gemini-3.8-flash",
        "jobs": ",".join(["projects/1/locations/l/batchPredictionJobs/2"] * len(costs)),
        "failed_target": f"{TABLE}__failed",
    }
    # Airflow 2 puts what an alias's event says into a set, after the task has succeeded.
    assert frozenset(extra.items())


def test_outlets_of_the_user_get_the_event():
    other = Asset(uri="gs://shop/other")
    event = SimpleNamespace(extra={})

    class Events:  # Airflow 3.1's assets can't be keys of a dict, and need not
        def __getitem__(self, asset):
            assert asset == other
            return event

    add_event({"task": land(outlets=[other]), "outlet_events": Events()}, TABLE, {"rows": 3})
    assert event.extra == {"rows": 3}
