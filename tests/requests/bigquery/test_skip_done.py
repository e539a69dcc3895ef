"""Rows that an enriched table holds already."""

from __future__ import annotations

import logging

import pytest

from airflow_gemini_batch.core.addresses import BigQueryAddress
from airflow_gemini_batch.exceptions import InvalidRequestError
from airflow_gemini_batch.gcp.portions import StatementLimits
from airflow_gemini_batch.requests.bigquery.builder import TableBuild
from tests.requests.plans import plan
from tests.support.tables import fill, read


@pytest.fixture
def enriched(gemini_batch_stack, build, dataset, table):
    """Land the requests of a build, and return the address of the enriched table."""

    def enriched(report, columns=(("isbn", "STRING"), ("batch_fingerprint", "STRING"))):
        rows = [row for source in report.sources for row in read(gemini_batch_stack, source)]
        landed = [{name: row[name] for name, _ in columns} for row in rows]
        return fill(gemini_batch_stack, f"{dataset}.enriched", dict(columns), landed)

    return enriched


def test_rows_that_were_asked_the_same_are_left_out(build, dataset, table, enriched, requests):
    old = [{"isbn": "1", "title": "x"}, {"isbn": "2", "title": "y"}]
    target = enriched(build.run(plan(), table(old, name="old"), dataset))
    new = [{"isbn": "1", "title": "x"}, {"isbn": "2", "title": "changed"}, {"isbn": "3", "title": "z"}]
    report = build.run(plan(target=target), table(new), dataset)
    assert (report.rows, report.requests, report.done) == (3, 2, 1)
    assert requests(report).keys() == {"2", "3"}

    nothing = build.run(plan(target=target), table(old[:1], name="first"), dataset)
    assert (nothing.rows, nothing.requests, nothing.done, nothing.sources) == (1, 0, 1, ())
    assert (
        build.run(plan("Tell of [[ title ]].", target=target), table(new[:1], name="other"), dataset).done
        == 0
    )


def test_done_rows_are_found_by_the_text_of_their_key(build, dataset, table, enriched):
    source = table([{"isbn": "1", "title": "x"}])
    target = enriched(
        build.run(plan(), source, dataset), (("isbn", "INT64"), ("batch_fingerprint", "STRING"))
    )
    assert build.run(plan(target=target), source, dataset).done == 1


def test_row_that_was_landed_twice_is_done_once(
    gemini_batch_stack, build, dataset, table, enriched, requests
):
    source = table([{"isbn": "1", "title": "x"}, {"isbn": "2", "title": "x"}])
    first = build.run(plan(), source, dataset)
    enriched(first)
    target = enriched(first)
    assert build.run(plan(target=target), source, dataset).done == 2


def test_rows_under_way_in_more_tables_than_a_statement_reads_are_left_out(client, build, dataset, table):
    rows = [{"isbn": str(number), "title": "x"} for number in range(8)]
    under_way = [
        BigQueryAddress.parse(
            build.run(plan(), table(rows[number : number + 2], name=f"t{number}"), dataset).sources[0]
        )
        for number in (0, 2, 3, 5)
    ]
    source, asked = table(rows), plan(target=f"{dataset}.absent")
    reports = [
        TableBuild(client, logging.getLogger("build"), under_way, limits).run(asked, source, dataset)
        for limits in (StatementLimits(), StatementLimits(tables=3), StatementLimits(text=1_000))
    ]
    assert [(report.requests, report.done) for report in reports] == [(1, 7)] * 3
    assert reports[0].sources == reports[1].sources == reports[2].sources


def test_without_the_enriched_table_nothing_is_done(build, dataset, table):
    source = table([{"isbn": "1", "title": "x"}])
    assert build.run(plan(target=f"{dataset}.absent"), source, dataset).requests == 1


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        (
            (("isbn", "STRING"),),
            r"enriched has no column 'batch_fingerprint': it was landed without bookkeeping",
        ),
        ((("batch_fingerprint", "STRING"),), r"enriched has no column 'isbn', which the key names"),
    ],
)
def test_enriched_table_that_can_not_be_compared_is_refused(
    build, dataset, table, enriched, columns, message
):
    source = table([{"isbn": "1", "title": "x"}])
    target = enriched(build.run(plan(), source, dataset), columns)
    with pytest.raises(InvalidRequestError, match=message):
        build.run(plan(target=target), source, dataset)


@pytest.mark.parametrize("target", ["gs://bucket/done.jsonl", "books.enriched"])
def test_rows_of_bigquery_are_compared_with_a_table_only(build, dataset, table, target):
    with pytest.raises(InvalidRequestError, match=r"target: .*not a BigQuery address"):
        build.run(plan(target=target), table([{"isbn": "1", "title": "x"}]), dataset)
