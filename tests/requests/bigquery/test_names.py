"""Columns are found whatever they are called: like a name of our own, or in another case than the key."""

from __future__ import annotations

from dataclasses import replace

import pytest

from airflow_gemini_batch.requests.sources import parse_row_source
from tests.googlesql.names import internal_names
from tests.googlesql.shapes import hostile_shapes
from tests.requests.plans import plan, prompts
from tests.support.tables import fill, read

OURS = sorted({name for names in internal_names().values() for name in names})
RECURSIVE = """WITH RECURSIVE counted AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM counted WHERE n < 3)
SELECT CAST(n AS STRING) AS isbn, 'x' AS title FROM counted -- ;"""


def test_columns_have_names_of_ours(gemini_batch_stack, build, dataset, table):
    keys = tuple(hostile_shapes(tuple(OURS))["key"].key)
    assert {"source_rows", "done", "key_text", "gemini_batch_rows"} <= set(keys)
    row = {name: f"<{name}>" for name in OURS}
    wanted = plan(" ".join(f"[[ {name} ]]" for name in OURS), key=keys)
    source = table([row], dict.fromkeys(OURS, "STRING"))
    first = build.run(wanted, source, dataset)
    (asked,) = read(gemini_batch_stack, first.sources[0])
    assert {name: asked[name] for name in keys} == {name: row[name] for name in keys}
    assert all(f"<{name}>" in asked["request"] for name in OURS)

    landed = {name: asked[name] for name in (*keys, "batch_fingerprint")}
    target = fill(gemini_batch_stack, f"{dataset}.enriched", dict.fromkeys(landed, "STRING"), [landed])
    assert build.run(replace(wanted, target=target), source, dataset).done == 1


@pytest.mark.parametrize("key", ["isbn", "ISBN", "Isbn"])
@pytest.mark.parametrize("columns", [("isbn", "title"), ("ISBN", "Title")], ids=["small", "capital"])
def test_key_is_found_in_whatever_case(gemini_batch_stack, build, dataset, table, key, columns):
    source = table([dict(zip(columns, ("a", "x"), strict=True))], dict.fromkeys(columns, "STRING"))
    wanted = plan("Describe [[ title ]].", key=(key,))
    first = build.run(wanted, source, dataset)
    (asked,) = read(gemini_batch_stack, first.sources[0])
    assert (asked[key], first.requests) == ("a", 1)
    for number, column in enumerate(("isbn", "ISBN")):
        landed = {column: "a", "batch_fingerprint": asked["batch_fingerprint"]}
        address = f"{dataset}.landed_{number}"
        target = fill(gemini_batch_stack, address, dict.fromkeys(landed, "STRING"), [landed])
        assert build.run(replace(wanted, target=target), source, dataset).done == 1


@pytest.mark.parametrize(("shard_rows", "jobs"), [(200_000, 1), (2, 2)])
def test_source_query_is_recursive(build, dataset, requests, shard_rows, jobs):
    report = build.run(plan(shard_rows=shard_rows), parse_row_source(RECURSIVE), dataset)
    assert (report.requests, len(report.sources)) == (3, jobs)
    assert prompts(requests(report)) == {str(number): "Describe x." for number in (1, 2, 3)}
