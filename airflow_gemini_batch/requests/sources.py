"""Where rows come from, before they are requests: a table, a query, or files."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any, Protocol, TypeAlias, cast

from airflow_gemini_batch.core.addresses import BigQueryAddress, GcsAddress, parse_address
from airflow_gemini_batch.exceptions import InvalidRequestError, as_invalid_request
from airflow_gemini_batch.gcp.statements import checked_parameters


class FileKind(StrEnum):
    """Kinds of files with rows, by the ending of the name; ``.gz`` may follow those of text."""

    CSV = "csv"
    JSON_LINES = "jsonl"
    PARQUET = "parquet"


_ENDINGS = {
    ".csv": FileKind.CSV,
    ".jsonl": FileKind.JSON_LINES,
    ".ndjson": FileKind.JSON_LINES,
    ".json": FileKind.JSON_LINES,
    ".parquet": FileKind.PARQUET,
}
_QUERY = re.compile(r"\(?\s*(select|with|from)\b", re.IGNORECASE)
_CONNECTION = re.compile(r"\w+://([^/@]+)@")  # of an ObjectStoragePath
_COMMENTS = {"--": "\n", "/*": "*/"}


@dataclass(frozen=True, slots=True)
class TableRows:
    """The rows of a BigQuery table or view."""

    address: BigQueryAddress


@dataclass(frozen=True, slots=True)
class QueryRows:
    """The rows of a GoogleSQL query.

    :param parameters: values by the names that stand in it as ``@name``.
    """

    sql: str
    parameters: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class FileRows:
    """The rows of files, of one kind.

    :param paths: addresses or patterns on Cloud Storage, or local paths.
    """

    paths: tuple[GcsAddress | str, ...]
    kind: FileKind


RowSource = TableRows | QueryRows | FileRows


class ArrowTable(Protocol):
    """A table of pyarrow, a DataFrame of pandas (2.2 and later) or polars, a relation of DuckDB, and the like.

    See https://arrow.apache.org/docs/format/CDataInterface/PyCapsuleInterface.html
    """

    def __arrow_c_stream__(self, requested_schema: Any = None) -> Any:
        """Return the rows as a stream of Arrow batches."""


Path: TypeAlias = "str | os.PathLike[str]"
PythonRows: TypeAlias = Iterable[Mapping[str, Any]] | ArrowTable


def is_arrow(rows: object) -> bool:
    """Return whether rows come by column."""
    return hasattr(rows, "__arrow_c_stream__")


def is_path(source: object) -> bool:
    """Return whether something is a path object; Airflow's own are no ``os.PathLike`` from Airflow 3 on."""
    return isinstance(source, os.PathLike) or (hasattr(source, "protocol") and hasattr(source, "path"))


def row_source(
    source: Path | Sequence[Path] | PythonRows | Callable[[], PythonRows],
    parameters: Mapping[str, Any] | None = None,
) -> RowSource | PythonRows | Callable[[], PythonRows]:
    """Return where rows come from: what an address or a query names, or rows of Python as they were given.

    :param parameters: of a query, see :func:`airflow_gemini_batch.gcp.statements.checked_parameters`.

    Raises :class:`.InvalidRequestError` for a text that names no rows, and for parameters of anything but a query.
    """
    with as_invalid_request():
        given = checked_parameters(parameters)
        if is_path(source):
            source = _text_of_path(source)
        elif isinstance(source, (list, tuple)):
            source = [_text_of_path(item) if is_path(item) else item for item in source]
    # An empty list is a list of no rows. A mapped task's results are a sequence, but not a list.
    if isinstance(source, Sequence) and (
        isinstance(source, str) or (len(source) > 0 and all(isinstance(item, str) for item in source))
    ):
        rows = parse_row_source(cast("str | Sequence[str]", source))
        if isinstance(rows, QueryRows):
            return replace(rows, parameters=given)
    else:
        rows = source  # type: ignore[assignment]
    if given:
        raise InvalidRequestError(
            "source_parameters are for a source that is a query (SELECT … WHERE day = @day)"
        )
    return rows


def _text_of_path(path: Any) -> str:
    """Return a path object as text; raises :class:`ValueError` for one that names a connection of its own."""
    text = str(path)
    if found := _CONNECTION.match(text):
        raise ValueError(
            f"source {text}: files are read with the connection of this task. Leave {found[1]}@ out of the path, and "
            f"give gcp_conn_id={found[1]!r}"
        )
    return text.removeprefix("file://")


@as_invalid_request()
def parse_row_source(source: str | Sequence[str]) -> RowSource:
    """Read where rows come from: ``bq://…``, a query, or one or more files (``gs://…`` or a local path).

    Raises :class:`.InvalidRequestError` for a text that names no rows.
    """
    if isinstance(source, str) and _QUERY.match(_without_comments(source)):
        return QueryRows(source.strip().rstrip(";"))
    if isinstance(source, str) and source.startswith("["):
        raise ValueError(
            f"source {source!r:.200} is a list turned into text by a template: pass the task's .output, or set "
            "render_template_as_native_obj=True on the DAG"
        )
    paths = [source] if isinstance(source, str) else list(source or ())
    if not paths or not all(isinstance(path, str) and path.strip() for path in paths):
        raise ValueError(
            "source is empty: give a bq:// table, a query (SELECT …), or files (gs://… or a path)"
        )
    if any(path.startswith("bq://") for path in paths):
        if len(paths) > 1:
            raise ValueError(
                f"source {paths} names a table and other sources: give one table, or a query that joins them"
            )
        address = BigQueryAddress.parse(paths[0])
        if not address.is_table:
            raise ValueError(f"source {address} is a dataset: name the table as well")
        return TableRows(address)
    kinds = {file_kind(path) for path in paths}
    if len(kinds) > 1:
        raise ValueError(f"source {paths} mixes kinds of files: give files of one kind")
    # Tables are returned above, and parse_address refuses other schemes.
    files = (cast("GcsAddress", parse_address(path)) if "://" in path else path for path in paths)
    return FileRows(tuple(files), kinds.pop())


def _without_comments(sql: str) -> str:
    """Return a statement from its first word on."""
    sql = sql.lstrip()
    while end := _COMMENTS.get(sql[:2]):
        sql = sql[2:].partition(end)[2].lstrip()
    return sql


def file_kind(path: str) -> FileKind:
    """Return the kind of a file; raises :class:`ValueError` for an ending that is not known."""
    name = path.lower().removesuffix(".gz")
    for ending, kind in _ENDINGS.items():
        if name.endswith(ending):
            return kind
    raise ValueError(
        f"{path!r}: the kind of file is not known: give a name that ends in {', '.join(_ENDINGS)}"
        + ("" if "://" in path else ", a bq:// table, or a query that begins with SELECT or WITH")
    )
