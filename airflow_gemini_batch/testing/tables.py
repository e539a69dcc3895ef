"""Tables of the local BigQuery, filled from files."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from airflow_gemini_batch.exceptions import InvalidRequestError
from airflow_gemini_batch.testing.stack import LOCATION, PROJECT, LocalStack

if TYPE_CHECKING:
    from google.cloud.bigquery import Client

_FORMATS = {
    ".csv": "CSV",
    ".json": "NEWLINE_DELIMITED_JSON",
    ".jsonl": "NEWLINE_DELIMITED_JSON",
    ".parquet": "PARQUET",
}
_TABLE = re.compile(r"(\w+\.\w+)=(.+)")


def parse_table(text: str) -> tuple[str, Path]:
    """Read ``dataset.table=file``; the file has to exist, and its name to end in one of the formats."""
    found = _TABLE.fullmatch(text)
    if not found:
        raise InvalidRequestError(
            f"Write a table as DATASET.TABLE=FILE, such as shop.products=products.csv; got {text!r}"
        )
    name, file = found[1], Path(found[2])
    if not file.is_file():
        raise InvalidRequestError(f"The table {name}: there is no file {file}")
    if file.suffix not in _FORMATS:
        raise InvalidRequestError(f"The table {name}: {file} has to end in one of {', '.join(_FORMATS)}")
    return name, file


def bigquery_client(stack: LocalStack) -> Client:
    """Return a client of the local BigQuery server."""
    from google.auth.credentials import AnonymousCredentials
    from google.cloud.bigquery import Client

    return Client(
        project=PROJECT,
        credentials=AnonymousCredentials(),
        client_options={"api_endpoint": stack.bigquery.url},
    )


def create_dataset(client: Client, name: str) -> None:
    """Create a dataset where the stack is, if it does not exist."""
    from google.cloud.bigquery import Dataset

    dataset = Dataset(f"{PROJECT}.{name}")
    dataset.location = LOCATION
    client.create_dataset(dataset, exists_ok=True)


def has_table(stack: LocalStack, name: str) -> bool:
    """Whether a table, named as ``dataset.table``, exists."""
    from google.api_core.exceptions import NotFound

    try:
        bigquery_client(stack).get_table(f"{PROJECT}.{name}")
    except NotFound:
        return False
    return True


def load_table(stack: LocalStack, name: str, file: Path) -> str:
    """Fill a table, named as ``dataset.table``, with the rows of a file, and return its address.

    BigQuery finds the columns and their types in the file. Raises
    :class:`~airflow_gemini_batch.exceptions.InvalidRequestError` if it can't read the file.
    """
    from google.api_core.exceptions import GoogleAPICallError
    from google.cloud.bigquery import LoadJobConfig

    client = bigquery_client(stack)
    create_dataset(client, name.partition(".")[0])
    config = LoadJobConfig(
        source_format=_FORMATS[file.suffix], autodetect=True, write_disposition="WRITE_TRUNCATE"
    )
    try:
        with file.open("rb") as content:
            client.load_table_from_file(content, f"{PROJECT}.{name}", job_config=config).result()
    except (GoogleAPICallError, OSError) as error:
        raise InvalidRequestError(f"The table {name}: {file} can't be loaded: {error}") from error
    return f"bq://{PROJECT}.{name}"
