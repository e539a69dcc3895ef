"""The prompt of the first request of a build, read back as the model will read it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import orjson

from airflow_gemini_batch.core.addresses import BigQueryAddress, GcsAddress, parse_address
from airflow_gemini_batch.core.defaults import LONGEST_LINE
from airflow_gemini_batch.core.model_families import ModelFamily
from airflow_gemini_batch.gcp.objects import StorageObjects
from airflow_gemini_batch.gcp.tables import Tables

if TYPE_CHECKING:
    from google.cloud import bigquery, storage


def first_prompt(
    source: str | Sequence[str],
    family: ModelFamily,
    storage_client: Callable[[], storage.Client],
    bigquery_client: Callable[[], bigquery.Client],
) -> str:
    """Return the prompt of the first request of one job; empty where there is none.

    :param source: a request table, a request file, or several.

    Raises what the clients raise.
    """
    address = parse_address(source if isinstance(source, str) else source[0])
    if isinstance(address, BigQueryAddress):
        row = _first_row(address, family, bigquery_client())
    else:
        row = _first_line(address, storage_client())
    request = row.get(family.main_column)
    if isinstance(request, str) and not family.is_flat:
        request = orjson.loads(request)
    return prompt_text(request)


def _first_row(address: BigQueryAddress, family: ModelFamily, client: bigquery.Client) -> Mapping[str, Any]:
    tables = Tables(client)
    table = tables.find(address)
    rows = iter(()) if table is None else tables.first_rows(table, family.read_columns, 1)
    return next(rows, {})


def _first_line(address: GcsAddress, client: storage.Client) -> Mapping[str, Any]:
    objects = StorageObjects(client)
    for blob in objects.objects([address]):
        for line in objects.raw_lines(blob, LONGEST_LINE):
            row: Mapping[str, Any] = orjson.loads(line)
            return row
    return {}


def prompt_text(request: Any) -> str:
    """Return what a request that this package has written says, with the addresses of its files.

    An address is shown without its query, which may hold a signature.

    :param request: a text, a GenerateContentRequest or an EmbedContentRequest.
    """
    return "\n".join(_texts(request))


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        if isinstance(text := value.get("text"), str):
            yield text
        if isinstance(file := value.get("fileData"), Mapping):
            yield f"<{urlsplit(str(file.get('fileUri')))._replace(query='', fragment='').geturl()}>"
        for name in ("contents", "content", "parts"):
            yield from _texts(value.get(name))
    elif isinstance(value, list):
        for each in value:
            yield from _texts(each)
