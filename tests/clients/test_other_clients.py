"""Clients of BigQuery and Cloud Storage that nobody here wrote, as they are, on the local servers."""

from __future__ import annotations

import io
import socket
import uuid
from collections.abc import Callable
from typing import Any

import pytest
from google.auth.credentials import AnonymousCredentials

from airflow_gemini_batch.testing import LOCATION, PROJECT, LocalStack
from airflow_gemini_batch.testing.leading import HostRefusedError

pytestmark = pytest.mark.filterwarnings("ignore")
ROWS = [{"isbn": "a", "pages": 1}, {"isbn": "b", "pages": 2}]


@pytest.fixture
def dataset(gemini_batch_stack: LocalStack) -> str:
    name = f"ds_{uuid.uuid4().hex[:8]}"
    _bigquery().create_dataset(name)
    return name


def _bigquery() -> Any:
    from google.cloud import bigquery

    return bigquery.Client(project=PROJECT, credentials=AnonymousCredentials())


def _files() -> Any:
    import gcsfs

    return gcsfs.GCSFileSystem(token="anon", project=PROJECT, skip_instance_cache=True)


def _bigquery_default_credentials(_bucket: str, dataset: str) -> Any:
    from google.cloud import bigquery

    return [dict(row) for row in bigquery.Client().query_and_wait("SELECT 'a' AS isbn, 1 AS pages")][
        :1
    ] + ROWS[1:]


def _bigquery_dataframe(_bucket: str, dataset: str) -> Any:
    import pandas

    client = _bigquery()
    client.load_table_from_dataframe(pandas.DataFrame(ROWS), f"{dataset}.t").result()
    return client.list_rows(f"{dataset}.t").to_dataframe().to_dict("records")


def _bigquery_arrow(_bucket: str, dataset: str) -> Any:
    client = _bigquery()
    client.load_table_from_json(ROWS, f"{dataset}.t").result()
    return client.query_and_wait(f"SELECT * FROM {dataset}.t ORDER BY isbn").to_arrow().to_pylist()


def _bigquery_load_uri(bucket: str, dataset: str) -> Any:
    from google.cloud import bigquery

    _files().pipe(f"{bucket}/t.jsonl", b'{"isbn": "a", "pages": 1}\n{"isbn": "b", "pages": 2}\n')
    config = bigquery.LoadJobConfig(autodetect=True, source_format="NEWLINE_DELIMITED_JSON")
    _bigquery().load_table_from_uri(f"gs://{bucket}/t.jsonl", f"{dataset}.t", job_config=config).result()
    return [dict(row) for row in _bigquery().list_rows(f"{dataset}.t")]


def _bigquery_extract(bucket: str, dataset: str) -> Any:
    import pyarrow.parquet
    from google.cloud import bigquery

    client = _bigquery()
    client.load_table_from_json(ROWS, f"{dataset}.t").result()
    config = bigquery.ExtractJobConfig(destination_format="PARQUET")
    client.extract_table(f"{PROJECT}.{dataset}.t", f"gs://{bucket}/out.parquet", job_config=config).result()
    return pyarrow.parquet.read_table(io.BytesIO(_files().cat(f"{bucket}/out.parquet"))).to_pylist()


def _bigquery_export(bucket: str, dataset: str) -> Any:
    import pyarrow.parquet

    sql = f"EXPORT DATA OPTIONS(uri='gs://{bucket}/x/*.parquet', format='PARQUET') AS SELECT 'a' AS isbn, 1 AS pages"
    _bigquery().query_and_wait(f"{sql} UNION ALL SELECT 'b', 2 ORDER BY 1")
    (path,) = _files().glob(f"{bucket}/x/*.parquet")
    return pyarrow.parquet.read_table(io.BytesIO(_files().cat(path))).to_pylist()


def _pandas_gbq(_bucket: str, dataset: str) -> Any:
    import pandas
    import pandas_gbq

    pandas_gbq.to_gbq(
        pandas.DataFrame(ROWS), f"{dataset}.t", project_id=PROJECT, location=LOCATION, progress_bar=False
    )
    sql = f"SELECT * FROM {dataset}.t ORDER BY isbn"
    return pandas_gbq.read_gbq(sql, project_id=PROJECT, location=LOCATION, progress_bar_type=None).to_dict(
        "records"
    )


def _pandas_parquet(bucket: str, _dataset: str) -> Any:
    import pandas

    options = {"token": "anon", "project": PROJECT}
    pandas.DataFrame(ROWS).to_parquet(f"gs://{bucket}/t.parquet", storage_options=options)
    return pandas.read_parquet(f"gs://{bucket}/t.parquet", storage_options=options).to_dict("records")


def _pyarrow_gcsfs(bucket: str, _dataset: str) -> Any:
    import pyarrow
    import pyarrow.dataset

    files = _files()
    table = pyarrow.Table.from_pylist(ROWS)
    pyarrow.dataset.write_dataset(table, f"{bucket}/t", format="parquet", filesystem=files)
    return pyarrow.dataset.dataset(f"{bucket}/t", format="parquet", filesystem=files).to_table().to_pylist()


def _polars_gcsfs(bucket: str, _dataset: str) -> Any:
    polars = pytest.importorskip("polars", reason="needs the extra 'clients'")
    with _files().open(f"{bucket}/t.parquet", "wb") as file:
        polars.DataFrame(ROWS).write_parquet(file)
    with _files().open(f"{bucket}/t.parquet", "rb") as file:
        return polars.read_parquet(file).to_dicts()


def _duckdb_gcsfs(bucket: str, _dataset: str) -> Any:
    import duckdb

    with _files().open(f"{bucket}/t.csv", "w") as file:
        file.write("isbn,pages\na,1\nb,2\n")
    with duckdb.connect() as connection:
        connection.register_filesystem(_files())
        found = connection.execute(f"SELECT isbn, pages FROM read_csv('gcs://{bucket}/t.csv')").fetchall()
    return [dict(zip(("isbn", "pages"), row, strict=True)) for row in found]


def _discovery(_bucket: str, dataset: str) -> Any:
    from googleapiclient.discovery import build

    _bigquery().load_table_from_json(ROWS, f"{dataset}.t").result()
    rows = (
        build("bigquery", "v2").tabledata().list(projectId=PROJECT, datasetId=dataset, tableId="t").execute()
    )
    return [{"isbn": row["f"][0]["v"], "pages": int(row["f"][1]["v"])} for row in rows["rows"]]


CALLS: dict[str, tuple[str, Callable[[str, str], Any]]] = {
    "google-cloud-bigquery: Client() with default credentials": (
        "google.cloud.bigquery",
        _bigquery_default_credentials,
    ),
    "google-cloud-bigquery: load_table_from_dataframe, to_dataframe": ("db_dtypes", _bigquery_dataframe),
    "google-cloud-bigquery: load_table_from_json, to_arrow": ("google.cloud.bigquery", _bigquery_arrow),
    "google-cloud-bigquery: load_table_from_uri": ("gcsfs", _bigquery_load_uri),
    "google-cloud-bigquery: extract_table": ("gcsfs", _bigquery_extract),
    "google-cloud-bigquery: EXPORT DATA": ("gcsfs", _bigquery_export),
    "googleapiclient: tabledata.list": ("googleapiclient", _discovery),
    "pandas-gbq: to_gbq, read_gbq": ("pandas_gbq", _pandas_gbq),
    "pandas: to_parquet, read_parquet of gs://": ("pandas", _pandas_parquet),
    "pyarrow through gcsfs: a dataset": ("gcsfs", _pyarrow_gcsfs),
    "polars through gcsfs: write_parquet, read_parquet": ("polars", _polars_gcsfs),
    "duckdb through gcsfs: read_csv": ("gcsfs", _duckdb_gcsfs),
}


@pytest.mark.parametrize("call", CALLS)
def test_client(dataset: str, bucket: str, call: str) -> None:
    module, run = CALLS[call]
    pytest.importorskip(module, reason="needs the extra 'clients'")
    assert run(bucket, dataset) == ROWS


@pytest.mark.parametrize(
    "options", [{}, {"vertexai": True}, {"vertexai": True, "location": LOCATION}], ids=str
)
def test_genai_client_with_default_credentials(
    gemini_batch_stack: LocalStack, monkeypatch: pytest.MonkeyPatch, options: dict[str, Any]
) -> None:
    from google import genai

    monkeypatch.setenv("GOOGLE_GENAI_USE_VERTEXAI", "true")
    client = genai.Client(**options)
    list(client.batches.list())
    assert gemini_batch_stack.vertex.requests


def _gapic() -> Any:
    from google.cloud.aiplatform_v1 import JobServiceClient

    return JobServiceClient()


def _gapic_rest() -> Any:
    from google.cloud.aiplatform_v1 import JobServiceClient

    return JobServiceClient(transport="rest").list_batch_prediction_jobs(
        parent=f"projects/p/locations/{LOCATION}"
    )


def _read_api() -> Any:
    from google.cloud.bigquery_storage import BigQueryReadClient

    return BigQueryReadClient()


@pytest.mark.parametrize(
    ("call", "host"),
    [
        (_gapic, "aiplatform.googleapis.com"),
        (_gapic_rest, "aiplatform.googleapis.com"),
        (_read_api, "bigquerystorage.googleapis.com"),
        (lambda: socket.getaddrinfo("oauth2.googleapis.com", 443), "oauth2.googleapis.com"),
        (lambda: socket.create_connection(("www.google.com", 443)), "www.google.com"),
    ],
    ids=["gRPC of Vertex AI", "REST of Vertex AI", "gRPC of BigQuery", "look-up", "connection"],
)
def test_what_is_not_led_is_refused_by_name(
    gemini_batch_stack: LocalStack, call: Callable[[], Any], host: str
) -> None:
    with pytest.raises(
        HostRefusedError, match=f"asked for {host}, .* Give the client the address of a server"
    ):
        call()
