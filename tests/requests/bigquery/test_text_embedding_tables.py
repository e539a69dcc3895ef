"""Request tables for models that read several columns, with the real client against the local server."""

from __future__ import annotations

import pytest

from airflow_gemini_batch.core.fingerprints import fingerprint_of
from airflow_gemini_batch.core.model_families import TEXT_EMBEDDING
from airflow_gemini_batch.exceptions import InvalidRequestError
from airflow_gemini_batch.requests.bigquery.expressions import types_of
from airflow_gemini_batch.requests.forms import column_faults
from airflow_gemini_batch.requests.sources import parse_row_source
from tests.requests.plans import gemini_embedding_plan, text_embedding_plan
from tests.requests.request_cases import NASTY
from tests.support.tables import fill, read

TITLED = {"task_type": "RETRIEVAL_DOCUMENT", "title": "[[ title ]]"}


@pytest.mark.parametrize("request_", [{}, {"task_type": "CLUSTERING"}, TITLED], ids=["text", "task", "title"])
def test_columns_hold_what_python_would_write(gemini_batch_stack, client, build, dataset, table, request_):
    rows = [{"isbn": f"b{n}", "title": value} for n, value in enumerate(NASTY)]
    wanted = text_embedding_plan("About [[ title ]]", **request_)
    (source,) = build.run(wanted, table(rows), dataset).sources

    schema = client.get_table(source.removeprefix("bq://")).schema
    assert list(column_faults(types_of(schema).items(), TEXT_EMBEDDING)) == []
    found = {row.pop("isbn"): row for row in read(gemini_batch_stack, source)}
    assert found == {
        row["isbn"]: {
            **{
                name: value if isinstance(value, str) else value.render_all([row])[0]
                for name, value in wanted.template.fields.items()
            },
            "batch_fingerprint": fingerprint_of(wanted.model, wanted.template.fill(row)),
        }
        for row in rows
    }


def test_row_without_a_title_has_an_empty_one(gemini_batch_stack, build, dataset):
    source = parse_row_source("SELECT 'a' AS isbn, 'x' AS text, CAST(NULL AS STRING) AS title")
    report = build.run(text_embedding_plan("[[ text ]]", **TITLED), source, dataset)
    (row,) = read(gemini_batch_stack, report.sources[0])
    assert (row["content"], row["title"]) == ("x", "")
    assert report.prompt_characters == 1


@pytest.mark.parametrize(
    "plan",
    [
        text_embedding_plan(**TITLED),
        gemini_embedding_plan("[[ title ]]", model="gemini-embedding-2", task_type="RETRIEVAL_DOCUMENT"),
    ],
    ids=["column", "title-in-text"],
)
def test_row_without_text_is_a_bad_one(build, dataset, table, plan):
    with pytest.raises(InvalidRequestError, match=r"1 row: the prompt is empty \(a\)"):
        build.run(plan, table([{"isbn": "a", "title": " "}]), dataset)


def test_vectors_of_another_length_are_not_done(gemini_batch_stack, build, dataset, table):
    source = table([{"isbn": "a", "title": "x"}])
    first = build.run(text_embedding_plan(), source, dataset)
    target = fill(
        gemini_batch_stack,
        f"{dataset}.enriched",
        {"isbn": "STRING", "batch_fingerprint": "STRING"},
        [
            {name: row[name] for name in ("isbn", "batch_fingerprint")}
            for row in read(gemini_batch_stack, first.sources[0])
        ],
    )
    assert build.run(text_embedding_plan(target=target), source, dataset).done == 1
    shorter = text_embedding_plan(model_parameters={"outputDimensionality": "256"}, target=target)
    report = build.run(shorter, source, dataset)
    assert (report.done, report.requests) == (0, 1)
    (row,) = read(gemini_batch_stack, report.sources[0])
    assert row["batch_fingerprint"] == fingerprint_of(
        "text-embedding-005 outputDimensionality=256", shorter.template.fill({"title": "x"})
    )


@pytest.mark.parametrize("key", ["title", "Task_Type", "content"])
def test_key_that_the_model_would_read_is_refused(build, dataset, key):
    source = parse_row_source(f"SELECT 'a' AS `{key}`, 'x' AS text")
    with pytest.raises(InvalidRequestError, match=f"the key column '{key}' has a name that Vertex AI"):
        build.run(text_embedding_plan("[[ text ]]", key=(key,)), source, dataset)
