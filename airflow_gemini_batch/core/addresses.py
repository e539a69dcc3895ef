"""Addresses of data: ``gs://`` and ``bq://``, parsed once and never guessed."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Self
from urllib.parse import quote

from airflow_gemini_batch.core.places import PROJECT

# https://cloud.google.com/storage/docs/buckets#naming
_BUCKET = re.compile(r"[a-z0-9][a-z0-9._-]{1,220}[a-z0-9]")
_DATASET = re.compile(r"[A-Za-z0-9_]{1,1024}")

# Letters, marks and numbers, connectors, dashes and spaces: https://cloud.google.com/bigquery/docs/tables
_TABLE_CHARACTERS = ("L", "M", "N", "Pc", "Pd", "Zs")
LONGEST_TABLE_NAME = 1024
PARTITION_MARK = "$"

_WILDCARD = "*"


@dataclass(frozen=True, slots=True)
class GcsAddress:
    """An object, a prefix or a pattern with ``*`` on Cloud Storage."""

    bucket: str
    path: str

    @classmethod
    def parse(cls, uri: str) -> Self:
        """Read ``gs://bucket/path``; raises :class:`ValueError` that says what is wrong with it."""
        if not uri.startswith("gs://"):
            raise ValueError(f"{uri!r} is not a Cloud Storage address: it must start with gs://")
        bucket, _, path = uri[len("gs://") :].partition("/")
        if not _BUCKET.fullmatch(bucket):
            raise ValueError(f"{uri!r} does not name a valid bucket: expected gs://BUCKET/PATH")
        return cls(bucket, path)

    @property
    def has_wildcard(self) -> bool:
        """Whether the path is a pattern, not one object."""
        return _WILDCARD in self.path

    @property
    def folder(self) -> str:
        """The path's folder, without a trailing slash; empty at the top of the bucket."""
        fixed = self.path.split(_WILDCARD, 1)[0]
        return fixed.rpartition("/")[0]

    def matches(self, path: str) -> bool:
        """Whether an object of the same bucket matches: ``*`` stays within a folder, ``**`` crosses folders."""
        begin, *rest = re.split(r"(\*+)", self.path)
        if not rest:
            return path == begin
        if not path.startswith(begin) or not path.endswith(rest[-1]):
            return False
        # The places in the name that each text may end at, so that all ways to match are tried at once; a regular
        # expression tries one after the other.
        ends = [len(begin)]
        for stars, text in zip(rest[::2], rest[1::2], strict=True):
            starts = _occurrences(path, text, ends, crosses=len(stars) > 1)
            ends = [start + len(text) for start in starts]
        return len(path) in ends

    def child(self, name: str) -> GcsAddress:
        """Return the address of ``name`` below this prefix."""
        prefix = self.path.rstrip("/")
        return GcsAddress(self.bucket, f"{prefix}/{name}" if prefix else name)

    def __str__(self) -> str:
        return f"gs://{self.bucket}/{self.path}"


def _occurrences(path: str, text: str, after: Sequence[int], *, crosses: bool) -> Iterator[int]:
    """Yield where a text begins in a path, at or after one of some places and in the same folder, in order.

    :param after: in order.
    :param crosses: whether it may be in a folder below as well.
    """
    start = searched = 0
    for place in after:
        # From here on only those that the place before has not found.
        start = max(place, searched)
        folder_end = len(path) if crosses or (end := path.find("/", place)) < 0 else end
        while start <= folder_end and (start := path.find(text, start, folder_end + len(text))) >= 0:
            yield start
            start += 1
        searched = max(searched, folder_end + 1)


@dataclass(frozen=True, slots=True)
class BigQueryAddress:
    """A BigQuery table, or a dataset when ``table`` is empty."""

    project: str
    dataset: str
    table: str = ""

    @classmethod
    def parse(cls, uri: str) -> Self:
        """Read ``bq://project.dataset[.table]``; raises :class:`ValueError` that says what is wrong with it."""
        if not uri.startswith("bq://"):
            raise ValueError(f"{uri!r} is not a BigQuery address: it must start with bq://")
        rest = uri[len("bq://") :]
        # A domain-scoped project id (example.com:project) holds dots of its own before the colon.
        domain, colon, tail = rest.rpartition(":")
        project, *parts = tail.split(".")
        project = f"{domain}{colon}{project}"
        if len(parts) not in (1, 2):
            raise ValueError(f"{uri!r} is incomplete: bq://PROJECT.DATASET or bq://PROJECT.DATASET.TABLE")
        dataset, table = parts[0], parts[1] if len(parts) == 2 else ""
        if not PROJECT.fullmatch(project):
            raise ValueError(f"{uri!r}: {project!r} is not a project id")
        if not _DATASET.fullmatch(dataset):
            raise ValueError(f"{uri!r}: {dataset!r} is not a dataset name (letters, digits and _)")
        if _WILDCARD in table:
            raise ValueError(
                f"{uri!r} stands for several tables, which only a query reads: give SELECT * FROM "
                f"`{project}.{dataset}.{table}` WHERE _TABLE_SUFFIX = '…'"
            )
        if len(parts) == 2 and not _is_table_name(table):
            raise ValueError(f"{uri!r}: {table!r} is not a table name")
        return cls(project, dataset, table)

    @property
    def is_table(self) -> bool:
        """Whether a table is named, not just a dataset."""
        return bool(self.table)

    @property
    def sql(self) -> str:
        """The quoted name for use in a GoogleSQL statement."""
        return f"`{self.dotted}`"

    @property
    def dotted(self) -> str:
        """``project.dataset[.table]``, as the BigQuery client library takes it."""
        return ".".join(part for part in (self.project, self.dataset, self.table) if part)

    @property
    def console_url(self) -> str:
        """The page of the table, or of the dataset, in the Google Cloud console."""
        project, dataset, table = (quote(part, safe="") for part in (self.project, self.dataset, self.table))
        place = f"project={project}&p={project}&d={dataset}"
        return f"https://console.cloud.google.com/bigquery?{place}" + (
            f"&t={table}&page=table" if table else "&page=dataset"
        )

    def with_table(self, table: str) -> BigQueryAddress:
        """Return a table in the same dataset."""
        return BigQueryAddress(self.project, self.dataset, table)

    def __str__(self) -> str:
        return f"bq://{self.dotted}"


Address = GcsAddress | BigQueryAddress


def parse_address(uri: str) -> Address:
    """Read one address of either kind.

    Raises :class:`ValueError` that says what to write instead of a plain ``project.dataset.table``, a plain path or
    an unknown scheme.
    """
    if not isinstance(uri, str) or not uri.strip():
        raise ValueError(f"an address is missing: expected gs://… or bq://…, got {uri!r}")
    if uri != uri.strip():
        raise ValueError(f"{uri!r} has spaces around it")
    if uri.startswith("gs://"):
        return GcsAddress.parse(uri)
    if uri.startswith("bq://"):
        return BigQueryAddress.parse(uri)
    scheme, separator, _ = uri.partition("://")
    if separator:
        raise ValueError(f"{uri!r}: unknown scheme {scheme}://; use gs:// or bq://")
    for scheme, kind in (("bq", "BigQuery table"), ("gs", "Cloud Storage path")):
        suggestion = f"{scheme}://{uri.removeprefix(f'{scheme}:').lstrip('/')}"
        if _can_be_parsed(suggestion) and (scheme == "bq" or "/" in uri):
            raise ValueError(f"{uri!r} looks like a {kind} without its scheme: write {suggestion}")
    raise ValueError(f"{uri!r} has no scheme: use gs://BUCKET/PATH or bq://PROJECT.DATASET.TABLE")


def _can_be_parsed(uri: str) -> bool:
    try:
        return isinstance(parse_address(uri), Address)
    except ValueError:
        return False


def _is_table_name(name: str) -> bool:
    characters = name.replace(PARTITION_MARK, "")
    return 0 < len(characters) <= LONGEST_TABLE_NAME and all(
        unicodedata.category(character).startswith(_TABLE_CHARACTERS) for character in characters
    )
