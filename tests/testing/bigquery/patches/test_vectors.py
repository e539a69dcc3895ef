"""What embeddings need of BigQuery: vectors from files and from JSON, merged, measured and compared."""

from __future__ import annotations

import json
from typing import Any

import pytest
from google.cloud import bigquery, storage

from tests.testing.bigquery.patches.conftest import NASTY, Query

Field = bigquery.SchemaField

VALUES = [0.1, -1e-9, 3, 0.30000000000000004]
LINES: list[dict[str, Any]] = [
    {
        "key": NASTY,
        "vector": VALUES,
        "response": {"tokenCount": "2", "embedding": {"values": VALUES}},
        "predictions": [{"embeddings": {"values": VALUES}}],
    },
    {"key": "empty", "vector": [], "response": {}, "predictions": []},
    {"key": "absent"},
]
# The vector of a JSON column, in the order of its numbers.
ARRAY_OF = """ARRAY(SELECT CAST(JSON_VALUE(x) AS FLOAT64) FROM UNNEST(JSON_QUERY_ARRAY({})) AS x
                    WITH OFFSET AS position ORDER BY position)"""
FROM_FILES = ARRAY_OF.format("response, '$.embedding.values'")
FROM_TABLES = ARRAY_OF.format("predictions, '$[0].embeddings.values'")


@pytest.fixture
def output(client: bigquery.Client, dataset: str, bucket: storage.Bucket) -> str:
    """Load files of vectors into the table ``output`` of the dataset."""
    for number, line in enumerate(LINES):
        bucket.blob(f"out/predictions-{number}.jsonl").upload_from_string(json.dumps(line))
    schema = [
        Field("key", "STRING"),
        Field("vector", "FLOAT64", "REPEATED"),
        Field("response", "JSON"),
        Field("predictions", "JSON"),
    ]
    config = bigquery.LoadJobConfig(schema=schema, source_format="NEWLINE_DELIMITED_JSON")
    table = f"{dataset}.output"
    job = client.load_table_from_uri(f"gs://{bucket.name}/out/*.jsonl", table, job_config=config)
    assert job.result().output_rows == len(LINES)
    return table


def test_loads_vectors_and_json_from_a_bucket(client: bigquery.Client, query: Query, output: str) -> None:
    kinds = {field.name: (field.field_type, field.mode) for field in client.get_table(output).schema}
    assert kinds["vector"] in (("FLOAT", "REPEATED"), ("FLOAT64", "REPEATED"))
    assert kinds["response"] == ("JSON", "NULLABLE")
    assert query("SELECT key, vector, ARRAY_LENGTH(vector), response FROM ds.output ORDER BY 3 DESC, 1") == [
        (NASTY, VALUES, 4, LINES[0]["response"]),
        # A column of lists has no NULL.
        ("absent", [], 0, None),
        ("empty", [], 0, {}),
    ]


@pytest.mark.parametrize("vector", [FROM_FILES, FROM_TABLES], ids=["response", "predictions"])
def test_makes_columns_of_vectors(client: bigquery.Client, query: Query, output: str, vector: str) -> None:
    query(f"CREATE TABLE ds.books AS SELECT key, {vector} AS embedding FROM ds.output WHERE key != 'absent'")
    (_, field) = client.get_table(output.replace("output", "books")).schema
    assert (field.field_type, field.mode) == ("FLOAT", "REPEATED")

    merge = f"""
        MERGE ds.books AS t
        USING (SELECT key, {vector} AS embedding FROM ds.output UNION ALL SELECT 'new', [1.0, 2.0]) AS s
        ON t.key = s.key
        WHEN MATCHED THEN UPDATE SET embedding = s.embedding
        WHEN NOT MATCHED THEN INSERT (key, embedding) VALUES (s.key, s.embedding)"""
    for _ in range(2):
        query(merge)
        assert query("SELECT key, embedding FROM ds.books ORDER BY ARRAY_LENGTH(embedding) DESC, key") == [
            (NASTY, VALUES),
            ("new", [1.0, 2.0]),
            ("absent", []),
            ("empty", []),
        ]


def test_cuts_and_normalises_vectors(query: Query) -> None:
    query("CREATE TABLE ds.books AS SELECT 'k' AS key, [3.0, 4.0, 12.0] AS embedding")
    ((length, cut),) = query(
        """SELECT length, ARRAY(SELECT x / length FROM UNNEST(embedding) AS x WITH OFFSET AS position
                                WHERE position < 2 ORDER BY position)
           FROM (SELECT embedding, (SELECT SQRT(SUM(x * x)) FROM UNNEST(embedding) AS x WITH OFFSET AS position
                                    WHERE position < 2) AS length FROM ds.books)"""
    )
    assert (length, cut) == (5.0, [0.6, 0.8])


def test_finds_the_nearest(query: Query) -> None:
    query(
        """CREATE TABLE ds.books AS SELECT 'same' AS key, [2.0, 0.0] AS embedding
           UNION ALL SELECT 'across', [0.0, 1.0] UNION ALL SELECT 'against', [-1.0, 0.0]"""
    )
    nearest = """SELECT key, COSINE_DISTANCE(embedding, (SELECT embedding FROM ds.books WHERE key = 'same')) AS distance
                 FROM ds.books ORDER BY distance LIMIT 3"""
    assert query(nearest) == [("same", 0.0), ("across", 1.0), ("against", 2.0)]
