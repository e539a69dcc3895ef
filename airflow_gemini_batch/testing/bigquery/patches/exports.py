"""``EXPORT DATA`` and extract jobs: rows into files of a bucket.

bqemulator knows the statement and writes it to a directory of this machine. So the writing is replaced; the statement
is read, and its query run, as before.
"""

from __future__ import annotations

import base64
import csv
import datetime as dt
import io
import math
from collections.abc import Callable, Iterable
from decimal import Decimal
from typing import Any

import orjson
from bqemulator.domain.errors import InvalidQueryError, NotFoundError, UnsupportedFeatureError
from bqemulator.jobs.executor import _ExportOutcome
from bqemulator.storage.sql_identifiers import quoted_table_ref

from airflow_gemini_batch.testing.bigquery.patches import objects
from airflow_gemini_batch.testing.bigquery.patches.jobs import failed, finished, selectable
from airflow_gemini_batch.testing.bigquery.patches.seams import replace
from airflow_gemini_batch.testing.bigquery.patches.tables import field_of

ROWS_PER_FILE = 50_000  # BigQuery decides by itself; readers have to expect several files


def export_to_buckets() -> None:
    """Write what ``EXPORT DATA`` selects into objects of the local storage server."""
    replace("bqemulator.jobs.executor", "write_export", lambda _original: write_export)


def run_extracts() -> None:
    """Write what an extract job names into objects of the local storage server; it wrote to this machine's disk."""
    replace("bqemulator.api.routes.jobs", "execute_extract_job", lambda _original: execute_extract)


async def execute_extract(project: str, job_id: str, config: dict[str, Any], context: Any) -> Any:
    """Run one extract job and give it back finished; whatever goes wrong is the job's error."""
    extract = config["extract"]
    source = extract["sourceTable"]
    key = (source.get("projectId") or project, source["datasetId"], source["tableId"])
    started = context.clock.now()
    try:
        if context.catalog.get_table(*key) is None:
            raise NotFoundError(f"Not found: Table {key[0]}:{key[1]}.{key[2]}")
        rows = context.engine.fetch_arrow(f"SELECT * FROM {quoted_table_ref(*key)}")
        encode = _encoder(_Extract(extract))
        counts = [_write(encode, uri, rows, context) for uri in extract["destinationUris"]]
    except Exception as error:
        return failed(project, job_id, "EXTRACT", config, error, context)
    statistics = {"extract": {"destinationUriFileCounts": [str(count) for count in counts]}}
    return finished(project, job_id, "EXTRACT", config, statistics, started, context)


class _Extract:
    """The options of an extract job, by the names of those of EXPORT DATA."""

    def __init__(self, extract: dict[str, Any]) -> None:
        self.format = extract.get("destinationFormat") or "CSV"
        self.compression = extract.get("compression")
        self.header = extract.get("printHeader") is not False
        self.field_delimiter = extract.get("fieldDelimiter") or ","


def write_export(rows: Any, options: Any, context: Any) -> Any:
    """Write rows to ``uri``, with a number of twelve digits in the place of ``*`` in each file's name.

    Without ``overwrite`` nothing may match the address. With it files of the same names are replaced, and others that
    match stay, as in BigQuery.

    :param rows: an Arrow table.
    :param options: bqemulator's ``_ExportOptions``.

    Raises bqemulator's errors: ``InvalidQueryError`` for an address without exactly one ``*`` or with files already,
    ``NotFoundError`` for a bucket that does not exist, ``UnsupportedFeatureError`` for AVRO and compressed text.
    """
    encode = _encoder(options)
    uri = options.uri
    bucket, _, name = uri.removeprefix("gs://").partition("/")
    if name.count("*") != 1 or "*" in bucket:
        raise InvalidQueryError(
            f"Option 'uri' value must be a wildcard URI with exactly one '*', got {uri!r}."
        )
    try:
        client = objects.storage_client(uri)
    except ValueError as error:
        raise InvalidQueryError(str(error)) from None
    if not client.bucket(bucket).exists():
        raise NotFoundError(f"Not found: Bucket {bucket}")
    if not options.overwrite and (existing := objects.matching(client, uri)):
        raise InvalidQueryError(
            f"Invalid value: destination {uri} already holds {len(existing)} files. To replace them, set "
            "overwrite=true."
        )
    count = _write(encode, uri, rows, context)
    return _ExportOutcome(rows=rows.num_rows, file_count=count, uris=[uri])


def _write(encode: Callable[[Any, Any], bytes], uri: str, rows: Any, context: Any) -> int:
    """Write the files of one address, a single one if there is no ``*`` in it, and give their number."""
    client = objects.storage_client(uri)
    bucket, _, name = uri.removeprefix("gs://").partition("/")
    share = ROWS_PER_FILE if "*" in name else max(rows.num_rows, 1)
    starts = range(0, max(rows.num_rows, 1), share)
    for number, start in enumerate(starts):
        content = encode(rows.slice(start, share), context)
        blob = client.bucket(bucket).blob(name.replace("*", f"{number:012}"))
        blob.upload_from_string(content, content_type="application/octet-stream")
    return len(starts)


def _encoder(options: Any) -> Callable[[Any, Any], bytes]:
    if options.format == "PARQUET":
        return lambda rows, _context: _parquet(rows, options.compression or "NONE")
    plain = options.compression in (None, "NONE")
    if options.format in ("NEWLINE_DELIMITED_JSON", "JSON") and plain:
        return _json_lines
    if options.format == "CSV" and plain:
        return lambda rows, context: _csv(rows, context, options)
    compressed = f" with {options.compression}" if options.compression else ""
    raise UnsupportedFeatureError(
        f"The local BigQuery server exports JSON and CSV (uncompressed) and PARQUET, not {options.format}{compressed}."
    )


def _parquet(rows: Any, compression: str) -> bytes:
    from pyarrow import parquet

    content = io.BytesIO()
    parquet.write_table(rows, content, compression=compression)
    return content.getvalue()


def _csv(rows: Any, context: Any, options: Any) -> bytes:
    """Encode rows as BigQuery does: NULL is nothing, and values are written as in JSON, without quotes around them."""
    content = io.StringIO()
    writer = csv.writer(content, delimiter=options.field_delimiter or ",", lineterminator="\n")
    if options.header is not False:
        writer.writerow(rows.column_names)
    for line in _json_lines(rows, context).splitlines():
        row = orjson.loads(line)
        values = (row.get(name) for name in rows.column_names)
        writer.writerow(str(value).lower() if isinstance(value, bool) else value for value in values)
    return content.getvalue().encode()


def _json_lines(rows: Any, context: Any) -> bytes:
    """Encode rows as BigQuery does: without NULLs, and with whole and decimal numbers as strings."""
    with selectable(rows, context) as select:
        description = context.engine.execute(f"SELECT * FROM ({select}) LIMIT 0").description
    convert = _record(field_of(name, kind) for name, kind, *_ in description)
    content = b"".join(
        orjson.dumps(convert(row), option=orjson.OPT_APPEND_NEWLINE) for row in rows.to_pylist()
    )
    # They stand in strings only, and BigQuery does not write them as they are.
    for character in b"<>&":
        content = content.replace(bytes([character]), b"\\u%04x" % character)
    return content


def _record(fields: Iterable[Any]) -> Callable[[dict[str, Any]], dict[str, Any]]:
    converters = [(field.name, _value(field), field.mode == "REPEATED") for field in fields]

    def convert(row: dict[str, Any]) -> dict[str, Any]:
        return {
            name: value(row[name])
            for name, value, repeated in converters
            if repeated or row[name] is not None
        }

    return convert


def _value(field: Any) -> Callable[[Any], Any]:
    if field.mode == "REPEATED":
        item = _value(field.model_copy(update={"mode": "NULLABLE"}))
        return lambda values: [item(value) for value in values or ()]
    return _record(field.fields) if field.type == "RECORD" else _SCALARS.get(field.type, str)


def _as_it_is(value: Any) -> Any:
    return value


def _number(value: float) -> float | str:
    if math.isfinite(value):
        return value
    return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"


def _decimal(value: Decimal) -> str:
    text = f"{value:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def _timestamp(value: dt.datetime) -> str:
    return f"{value.astimezone(dt.UTC):%Y-%m-%d %H:%M:%S.%f}".rstrip("0").rstrip(".") + " UTC"


_SCALARS: dict[str, Callable[[Any], Any]] = {
    "STRING": _as_it_is,
    "BOOLEAN": _as_it_is,
    "FLOAT": _number,
    "NUMERIC": _decimal,
    "BYTES": lambda value: base64.b64encode(value).decode(),
    "JSON": orjson.Fragment,
    "TIMESTAMP": _timestamp,
    "DATETIME": lambda value: value.isoformat(),
}

CORRECTIONS: tuple[Callable[[], None], ...] = (export_to_buckets, run_extracts)
