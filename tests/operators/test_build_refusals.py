"""What a build task refuses before anything runs, and the cost that it stops at."""

from __future__ import annotations

from typing import Any

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException

from airflow_gemini_batch import BuildGeminiRequestsOperator
from tests.operators.steps import BOOKS, MODEL, book, built, reported
from tests.support.requests_data import storage_client
from tests.support.tables import bigquery_client, fill, make_dataset

ROWS = [book(number) for number in range(3)]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        pytest.param(
            {"prompt": "[[ titel ]]"}, r"names the column 'titel'.*\n.*isbn, title", id="no such column"
        ),
        pytest.param({"prompt": "  "}, "prompt is empty", id="empty prompt"),
        pytest.param({"prompt": "Describe [[ ]]."}, "placeholder without a column", id="empty placeholder"),
        pytest.param({"key": "asin"}, "key names the column 'asin'", id="no such key"),
        pytest.param({"key": None}, "key: expected a column name, or several", id="no key"),
        pytest.param({"key": []}, "key: expected a column name, or several", id="empty key"),
        pytest.param({"key": ["isbn", None]}, "key: expected a column name, or several", id="key of None"),
        pytest.param({"model": ""}, "model", id="no model"),
        pytest.param({"media": "cover"}, "names the column 'cover'", id="no such media"),
        pytest.param({"max_cost_usd": "5 $"}, "max_cost_usd: expected a number of US dollars", id="cost"),
        pytest.param({"max_cost_usd": -1}, "expected US dollars, 0 or more", id="negative cost"),
        pytest.param({"requests": None}, "requests is missing", id="no requests"),
        pytest.param({"requests": "bq://project-1.d"}, "has to be a folder on Cloud Storage", id="dataset"),
        pytest.param({"source": "books.docx"}, "the kind of file is not known", id="kind of file"),
        pytest.param({"source": ""}, "source is empty", id="no source"),
        pytest.param({"source": None}, "give an iterable of dicts", id="None"),
        pytest.param({"source": 7}, "the kind of file is not known", id="number"),
        pytest.param({"source": [7]}, "row 1 is 7", id="numbers"),
        pytest.param({"source": lambda: None}, "give an iterable of dicts", id="function of nothing"),
        pytest.param(
            {"source": "['a.csv', 'b.csv']"}, "a list turned into text by a template", id="text of a list"
        ),
        pytest.param({"source": ["a.csv", "b.parquet"]}, "mixes kinds of files", id="two kinds"),
        pytest.param({"source": "bq://project-1.books"}, "is a dataset", id="dataset as source"),
    ],
)
def test_what_the_user_can_mend_is_said_without_retries(bucket, arguments, message):
    settings: dict[str, Any] = {"source": ROWS, "requests": f"gs://{bucket}/requests", **arguments}
    with pytest.raises(AirflowFailException, match=message):
        built(**settings)


def test_nothing_is_written_for_a_column_that_is_not_there(gemini_batch_stack, bucket):
    dataset = make_dataset(gemini_batch_stack)
    books = fill(gemini_batch_stack, f"{dataset}.books", BOOKS, ROWS)
    for arguments in ({"source": books}, {"source": ROWS, "requests": f"gs://{bucket}/requests"}):
        with pytest.raises(AirflowFailException, match="names the column 'titel'"):
            built(**arguments, prompt="[[ titel ]]")
    tables = bigquery_client(gemini_batch_stack).list_tables(dataset.removeprefix("bq://"))
    assert [table.table_id for table in tables] == ["books"]
    assert not list(storage_client(gemini_batch_stack).list_blobs(bucket))


@pytest.mark.parametrize(
    "prompt",
    ["'); DROP TABLE books; -- [[ title ]]", "`[[ title ]]` \\' \" @p {x} %s $1", "''' [[ title ]] ''' /* "],
)
def test_prompt_with_sql_in_it_is_text(gemini_batch_stack, prompt):
    dataset = make_dataset(gemini_batch_stack)
    books = fill(gemini_batch_stack, f"{dataset}.books", BOOKS, ROWS)
    (source,) = built(books, prompt=prompt, system_instruction=prompt)
    rows = bigquery_client(gemini_batch_stack).query_and_wait(
        "SELECT isbn, JSON_VALUE(request, '$.contents[0].parts[0].text') AS prompt, "
        f"JSON_VALUE(request, '$.systemInstruction.parts[0].text') AS system FROM `{source.removeprefix('bq://')}`"
    )
    found = {row["isbn"]: (row["prompt"], row["system"]) for row in rows}
    assert found == {one["isbn"]: (prompt.replace("[[ title ]]", one["title"]), prompt) for one in ROWS}


def test_columns_that_a_job_does_not_take_are_named(gemini_batch_stack):
    columns = {**BOOKS, "printed": "DATETIME"}
    books = fill(gemini_batch_stack, f"{make_dataset(gemini_batch_stack)}.books", columns)
    with pytest.raises(AirflowFailException, match=r"printed.*DATETIME"):
        built(books, key="printed")


def test_parameters_are_looked_at_when_the_task_runs():
    # Templates are rendered only then.
    BuildGeminiRequestsOperator(
        task_id="build",
        source="{{ x }}",
        key="{{ x }}",
        prompt="{{ x }}",
        model="{{ x }}",
        max_cost_usd="{{ x }}",
    )


def test_cost_above_the_ceiling_stops_the_run(gemini_batch_stack, bucket):
    arguments = {"source": ROWS, "requests": f"gs://{bucket}/requests"}
    cost = reported(**arguments)["estimate"]["cost"]["amount"]
    assert built(**arguments, max_cost_usd=str(cost * 1.01))
    with pytest.raises(AirflowFailException, match=rf"3 rows for {MODEL} would cost about") as stopped:
        built(**arguments, max_cost_usd=cost * 0.99)
    assert "nothing was submitted" in str(stopped.value)


def test_unknown_model_is_told_in_tokens_without_money(bucket):
    arguments = {"source": ROWS, "requests": f"gs://{bucket}/requests", "model": "gemini-99-flash"}
    estimate = reported(**arguments, max_cost_usd=0.01, unpriced="allow")["estimate"]
    assert estimate["cost"]["amount"] is None
    assert estimate["prompt_tokens"] > 0


def test_configured_prices_are_those_of_the_estimate(bucket, tmp_path, monkeypatch):
    prices = tmp_path / "prices.csv"
    prices.write_text(f"model,input,output,as_of\n{MODEL},0,1000000,2026-11-01\n")
    monkeypatch.setenv("AIRFLOW__GEMINI_BATCH__PRICE_TABLE", str(prices))
    arguments = {"requests": f"gs://{bucket}/requests", "generation_config": {"maxOutputTokens": 10}}
    cost = reported(ROWS, **arguments)["estimate"]["cost"]
    assert (cost["amount"], cost["rates_as_of"]) == (30, "2026-11-01")


def test_system_instruction_counts_for_each_row(bucket):
    arguments = {"source": ROWS, "requests": f"gs://{bucket}/requests"}
    plain = reported(**arguments)["estimate"]["prompt_tokens"]
    longer = reported(**arguments, system_instruction="x" * 400)["estimate"]["prompt_tokens"]
    assert longer == plain + 300
