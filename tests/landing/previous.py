"""Targets of each kind, with landings of several questions."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any, Protocol

import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from airflow_gemini_batch.core.addresses import GcsAddress
from airflow_gemini_batch.landing.lander import Lander
from airflow_gemini_batch.landing.plan import LandingPlan, LandingReport
from airflow_gemini_batch.landing.restoring import Change
from airflow_gemini_batch.landing.rollback import copies_of, rollback
from tests.landing.answer_files import AnswerFiles, line
from tests.landing.landings import Landing, plan_of
from tests.support.tables import bigquery_client, read

FIRST, SECOND, THIRD = "1111111100000000", "2222222200000000", "3333333300000000"
KEPT = replace(plan_of(), keep_previous=timedelta(days=30))
LOG = logging.getLogger(__name__)

Rows = Mapping[str, Mapping[str, Any]]
Answers = Sequence[tuple[Any, Mapping[str, Any]]]


class Target(Protocol):
    """A target that answers land in.

    :param target: its address.
    """

    target: str

    def land(self, question: str | None, answers: Answers, plan: LandingPlan = KEPT) -> LandingReport:
        """Land the answers of one job."""

    def rows(self, address: str | None = None) -> Rows:
        """Return the rows of the target, or of a copy of it, by key; each with all its columns."""

    def exists(self, address: str) -> bool:
        """Whether there is such a table or file."""

    def back(self, key: Sequence[str] = ("isbn",), **options: Any) -> Change:
        """Run a rollback."""

    def copies(self) -> list[tuple[str, bool]]:
        """Return the questions of the copies, and whether each was made by a rollback."""


class TableTarget:
    def __init__(self, stack: Any) -> None:
        self.landing = Landing(stack)
        self.target = str(self.landing.target)
        self.bigquery: Callable[[], Any] = lambda: bigquery_client(stack)

    def land(self, question: str | None, answers: Answers, plan: LandingPlan = KEPT) -> LandingReport:
        source = self.landing.requests(*(key for key, _ in answers))
        manifest = self.landing.manifest(source, self.landing.output(*answers))
        lander = Lander(_no_client, self.bigquery, LOG)
        return lander.land(plan, [replace(manifest, question=question)], self.target)

    def rows(self, address: str | None = None) -> Rows:
        return {row["isbn"]: row for row in read(self.landing.stack, address or self.target)}

    def exists(self, address: str) -> bool:
        return address.rpartition(".")[2] in self.landing.table_names()

    def back(self, key: Sequence[str] = ("isbn",), **options: Any) -> Change:
        return rollback(self.target, key, _no_client, self.bigquery, LOG, **options)

    def copies(self) -> list[tuple[str, bool]]:
        copies = copies_of(self.target, _no_client, self.bigquery, LOG)
        return sorted((copy.question, copy.rollback) for copy in copies)


class FileTarget:
    def __init__(self, files: AnswerFiles, target: str) -> None:
        self.files = files
        self.target = target
        self.storage: Callable[[], Any] = lambda: files.client

    def land(self, question: str | None, answers: Answers, plan: LandingPlan = KEPT) -> LandingReport:
        source = self.files.requests(*(key for key, _ in answers))
        output = self.files.output(*(line(key, cells) for key, cells in answers))
        manifest = replace(self.files.manifest(source, output), question=question)
        return Lander(self.storage, _no_client, LOG).land(plan, [manifest], self.target)

    def content(self, address: str | None = None) -> bytes:
        address = address or self.target
        if address.startswith("gs://"):
            return self.files.get(GcsAddress.parse(address).path)
        return Path(address).read_bytes()

    def replace(self, content: bytes) -> None:
        if self.target.startswith("gs://"):
            self.files.put(GcsAddress.parse(self.target).path, content)
        else:
            Path(self.target).write_bytes(content)

    def rows(self, address: str | None = None) -> Rows:
        content = self.content(address)
        if self.target.endswith(".parquet"):
            return {row["isbn"]: row for row in pq.read_table(pa.BufferReader(content)).to_pylist()}
        return {orjson.loads(one)["isbn"]: {"line": one} for one in content.splitlines()}

    def exists(self, address: str) -> bool:
        if address.startswith("gs://"):
            path = GcsAddress.parse(address).path
            return bool(self.files.client.bucket(self.files.bucket).blob(path).exists())
        return Path(address).exists()

    def back(self, key: Sequence[str] = ("isbn",), **options: Any) -> Change:
        return rollback(self.target, key, self.storage, _no_client, LOG, **options)

    def copies(self) -> list[tuple[str, bool]]:
        copies = copies_of(self.target, self.storage, _no_client, LOG)
        return sorted((copy.question, copy.rollback) for copy in copies)


def _no_client() -> Any:
    raise AssertionError("a client was made that is not needed")
