"""Rows of the bookshop's table: the sample in the package, or the user's own CSV file."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

from airflow_gemini_batch.core.shown import shown
from airflow_gemini_batch.exceptions import InvalidRequestError
from airflow_gemini_batch.testing.stack import PROJECT, LocalStack
from airflow_gemini_batch.testing.tables import bigquery_client, create_dataset

SAMPLE = Path(__file__).parent / "books_sample.csv"

# What the example DAG reads: column → BigQuery type. Further columns of a file are left out.
COLUMNS = {
    "book_id": "STRING",
    "title": "STRING",
    "authors": "STRING",
    "original_publication_year": "FLOAT",
    "language_code": "STRING",
}
_LARGEST = 64 * 2**20
REQUIRED = ("book_id", "title")


def read_books(path: Path) -> list[dict[str, Any]]:
    """Read a CSV file with a header. Empty cells and missing columns become NULL.

    Raises :class:`~airflow_gemini_batch.exceptions.InvalidRequestError` that names the file, line and column.
    """
    name = shown(str(path))
    try:
        with path.open("rb") as stream:
            content = stream.read(_LARGEST + 1)
        if len(content) > _LARGEST:
            raise InvalidRequestError(
                f"{name} is larger than {_LARGEST // 2**20} MB, and the demo runs on one machine. Take some of its rows"
            )
        with io.StringIO(content.decode("utf-8-sig"), newline="") as file:
            reader = csv.DictReader(file)
            missing = [column for column in REQUIRED if column not in (reader.fieldnames or ())]
            if missing:
                raise InvalidRequestError(
                    f"{name} lacks the column {', '.join(missing)}: its header is {reader.fieldnames}. "
                    f"Required: {', '.join(REQUIRED)}. Used if present: {', '.join(COLUMNS)}."
                )
            books = [_book(name, reader.line_num, row) for row in reader]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InvalidRequestError(
            f"Could not read {name} as a UTF-8 CSV file: {shown(str(error))}"
        ) from error
    if not books:
        raise InvalidRequestError(f"{name} contains no rows")
    seen: set[str] = set()
    repeated = {book["book_id"] for book in books if book["book_id"] in seen or seen.add(book["book_id"])}  # type: ignore[func-returns-value]
    if repeated:
        raise InvalidRequestError(
            f"{name}: book_id must be unique, but these values are repeated: {sorted(repeated)[:5]}"
        )
    return books


def _book(name: str, line: int, row: dict[str, str | None]) -> dict[str, Any]:
    book: dict[str, Any] = {column: row.get(column) or None for column in COLUMNS}
    for column in REQUIRED:
        if not book[column]:
            raise InvalidRequestError(f"{name}, line {line}: {column} is empty")
    if (year := book["original_publication_year"]) is not None:
        try:
            book["original_publication_year"] = float(year)
        except ValueError:
            raise InvalidRequestError(
                f"{name}, line {line}: original_publication_year: expected a number, got {year!r}"
            ) from None
    return book


def load_books(stack: LocalStack, dataset: str, books: list[dict[str, Any]]) -> None:
    """Create the dataset and fill its table ``books``."""
    from google.cloud.bigquery import LoadJobConfig, SchemaField

    client = bigquery_client(stack)
    create_dataset(client, dataset)
    schema = [SchemaField(column, type_) for column, type_ in COLUMNS.items()]
    config = LoadJobConfig(schema=schema, write_disposition="WRITE_TRUNCATE")
    client.load_table_from_json(books, f"{PROJECT}.{dataset}.books", job_config=config).result()
