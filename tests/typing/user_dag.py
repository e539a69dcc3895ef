"""A DAG as users write one: mypy has to accept it, but for the lines with a comment, which is what mypy says of them."""

from datetime import datetime

from airflow.providers.common.compat.sdk import DAG, task

from airflow_gemini_batch import (
    BuildGeminiRequestsOperator,
    GeminiEnrichmentTaskGroup,
    SubmitGeminiBatchOperator,
    TextEmbeddingTaskGroup,
)

SOURCE = "bq://project-1.d.books"
TARGET = "bq://project-1.d.landed"
MODEL = "gemini-3.8-flash"

with DAG("user_dag", start_date=datetime(2026, 1, 1), schedule=None) as dag:
    # Right: the required parameters, those of each kind, the shared ones, those of Airflow's TaskGroup.
    described = GeminiEnrichmentTaskGroup(
        group_id="describe_books",
        source=SOURCE,
        key=["book_id", "language"],
        prompt="Describe [[ title ]].",
        model=MODEL,
        target=TARGET,
        response_schema={"description": str, "genres": list[str]},
        generation_config={"temperature": 0.2},
        media=["cover_uri"],
        requests="bq://project-1.d",
        incremental=True,
        on_bad_rows="drop",
        max_cost_usd=50,
        max_row_retries=2,
        max_failed_fraction=0.01,
        labels={"team": "books"},
        submit_options={"poll_interval": 30, "deferrable": False},
        location="us-central1",
        impersonation_chain=["robot@project-1.iam.gserviceaccount.com"],
        tooltip="Descriptions",
        default_args={"retries": 2},
        prefix_group_id=False,
        dag=dag,
    )
    embedded = TextEmbeddingTaskGroup(
        source=lambda: ({"id": number, "text": "a"} for number in range(3)),
        key="id",
        text="text",
        model="text-embedding-005",
        target="gs://shop/vectors.parquet",
        task_type="CLUSTERING",
        output_dimensionality=256,
        max_cost_usd="{{ var.value.budget }}",
        tooltip="Vectors",
    )

    @task
    def books() -> list[dict[str, str]]:
        return [{"id": "1", "title": "Emma"}]

    from_a_task = GeminiEnrichmentTaskGroup(
        source=books(), key="id", prompt="[[ title ]]", model=MODEL, target=TARGET
    )
    described >> embedded
    print(described.output)

    # fmt: off
    # Misspelt.
    GeminiEnrichmentTaskGroup(source=SOURCE, key="id", prompt="a", model=MODEL, target=TARGET, max_cost_ust=50)  # E: Unexpected keyword argument "max_cost_ust" for "GeminiEnrichmentTaskGroup"; did you mean "max_cost_usd"?
    TextEmbeddingTaskGroup(source=SOURCE, key="id", text="a", model=MODEL, target=TARGET, max_cost_ust=50)  # E: Unexpected keyword argument "max_cost_ust" for "TextEmbeddingTaskGroup"; did you mean "max_cost_usd"?
    GeminiEnrichmentTaskGroup(source=SOURCE, key="id", promt="a", model=MODEL, target=TARGET)  # E: Unexpected keyword argument "promt" for "GeminiEnrichmentTaskGroup"; did you mean "prompt"?
    GeminiEnrichmentTaskGroup(source=SOURCE, key="id", prompt="a", model=MODEL, target=TARGET, tooltipp="a")  # E: Unexpected keyword argument "tooltipp" for "GeminiEnrichmentTaskGroup"; did you mean "tooltip"?
    TextEmbeddingTaskGroup(source=SOURCE, key="id", text="a", model=MODEL, target=TARGET, response_schema={})  # E: Unexpected keyword argument "response_schema" for "TextEmbeddingTaskGroup"

    # Missing.
    GeminiEnrichmentTaskGroup(source=SOURCE, key="id", prompt="a", model=MODEL)  # E: Missing named argument "target" for "GeminiEnrichmentTaskGroup"

    # Of another type.
    GeminiEnrichmentTaskGroup(source=SOURCE, key="id", prompt="a", model=MODEL, target=TARGET, max_row_retries="2")  # E: Argument "max_row_retries" to "GeminiEnrichmentTaskGroup" has incompatible type "str"; expected "int"
    GeminiEnrichmentTaskGroup(source=SOURCE, key="id", prompt="a", model=MODEL, target=TARGET, on_bad_rows="skip")  # E: Argument "on_bad_rows" to "GeminiEnrichmentTaskGroup" has incompatible type "Literal['skip']"; expected "Literal['fail', 'drop']"
    GeminiEnrichmentTaskGroup(source=SOURCE, key="id", prompt="a", model=MODEL, target=TARGET, incremental="no")  # E: Argument "incremental" to "GeminiEnrichmentTaskGroup" has incompatible type "str"; expected "bool"
    GeminiEnrichmentTaskGroup(source=SOURCE, key=1, prompt="a", model=MODEL, target=TARGET)  # E: Argument "key" to "GeminiEnrichmentTaskGroup" has incompatible type "int"; expected "str | Sequence[str]"
    TextEmbeddingTaskGroup(source=SOURCE, key="id", text="a", model=MODEL, target=TARGET, task_type="CLUSTER")  # E: Argument "task_type" to "TextEmbeddingTaskGroup" has incompatible type

    # An operator's own parameters. The inherited ones, and unknown names, are checked by Airflow when it reads the file:
    # an operator passes them on to BaseOperator, so that a type checker has to accept them.
    SubmitGeminiBatchOperator(task_id="submit", model=MODEL, requests=SOURCE, poll_interval="60")  # E: Argument "poll_interval" to "SubmitGeminiBatchOperator" has incompatible type "str"; expected "float"
    BuildGeminiRequestsOperator(task_id="build", source=SOURCE, key="id", prompt=1, model=MODEL)  # E: Argument "prompt" to "BuildGeminiRequestsOperator" has incompatible type "int"; expected "str"
    BuildGeminiRequestsOperator(task_id="build", source=SOURCE, key="id", prompt="a", model=MODEL, max_cost_ust=5)
    # fmt: on
