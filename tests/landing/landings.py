"""Request tables, output tables and manifests made by hand, in the service's own formats."""

from __future__ import annotations

import datetime as dt
import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from airflow_gemini_batch.core.addresses import BigQueryAddress
from airflow_gemini_batch.core.response_schema import answer_columns, response_schema_of
from airflow_gemini_batch.jobs.manifest import Manifest, Round
from airflow_gemini_batch.landing.bigquery.lander import TableLanding
from airflow_gemini_batch.landing.plan import LandingPlan, LandingReport
from airflow_gemini_batch.testing.stack import LocalStack
from tests.support.tables import bigquery_client, fill, make_dataset, read

JOB = "projects/123/locations/us-central1/batchPredictionJobs"
NASTY = 'He said "hi" \\ it\'s {new}\r\nline\ttab 😀 مرحبا 你好 @p0 $1 %s ? ` \u2028 </b>'
DAY = "2026-11-22T08:00:00+00:00"
USAGE = {
    "promptTokenCount": 1090,
    "candidatesTokenCount": 95,
    "thoughtsTokenCount": 12,
    "cachedContentTokenCount": 7,
    "toolUsePromptTokenCount": 20,
    "totalTokenCount": 1204,
}


def good(text: str, **more: Any) -> dict[str, Any]:
    """Return the cells of an answer."""
    candidate = {"content": {"role": "model", "parts": [{"text": text}]}, "finishReason": "STOP"}
    response = {"candidates": [candidate], "modelVersion": "gemini-2.5-flash", "usageMetadata": USAGE}
    return {"response": response | more, "status": "", "processed_time": DAY}


def bad(code: int = 400, message: str = "Please use a valid role") -> dict[str, Any]:
    """Return the cells of a row that failed."""
    status = f'Bad Request: {{"error": {{"code": {code}, "message": "{message}", "status": "S"}}}}'
    return {"response": {}, "status": status, "processed_time": DAY}


def plan_of(schema: Any = None, key: Sequence[str] = ("isbn",), **settings: Any) -> LandingPlan:
    translated = response_schema_of(schema)
    return LandingPlan(tuple(key), answer_columns(translated), translated, **settings)


def genre(name: str, **more: Any) -> dict[str, Any]:
    """Return the cells of an answer for :data:`GENRE`."""
    return good(json.dumps({"genre": name}), **more)


def later(cells: dict[str, Any]) -> dict[str, Any]:
    """Return the cells of a row that came a day later."""
    time = dt.datetime.fromisoformat(DAY) + dt.timedelta(days=1)
    return {**cells, "processed_time": time.isoformat()}


TEXT = plan_of()
GENRE = plan_of({"genre": str})


@dataclass
class Landing:
    """A dataset with requests and answers, and the way to land them.

    :param key: columns of the key and their types.
    """

    stack: LocalStack
    key: Mapping[str, str] = field(default_factory=lambda: {"isbn": "STRING"})
    response: str = "JSON"
    tables: int = 0

    def __post_init__(self) -> None:
        self.dataset = make_dataset(self.stack)
        self.target = BigQueryAddress.parse(f"{self.dataset}.books")
        self.failed = self.target.with_table("books__failed")

    def requests(self, *keys: Any, fingerprint: str | None = "f1") -> str:
        """Make a request table; a key is a value, or a tuple of them."""
        columns = {**self.key, "request": "JSON"}
        if fingerprint is not None:
            columns["batch_fingerprint"] = "STRING"
        rows = [{**self._key(key), "request": {"contents": []}} for key in keys]
        if fingerprint is not None:
            rows = [{**row, "batch_fingerprint": fingerprint} for row in rows]
        return fill(self.stack, self._name("requests"), columns, rows)

    def output(self, *rows: tuple[Any, Mapping[str, Any]], without: Sequence[str] = (), **types: str) -> str:
        """Make an output table; a row is its key and the cells beside it."""
        columns = {
            **self.key,
            "response": self.response,
            "status": "STRING",
            "processed_time": "TIMESTAMP",
            **types,
        }
        columns = {name: kind for name, kind in columns.items() if name not in without}
        cells = [{**self._key(key), **beside} for key, beside in rows]
        kept = [{name: value for name, value in row.items() if name in columns} for row in cells]
        return fill(self.stack, self._name("output"), columns, kept)

    def manifest(self, source: str, *outputs: str, state: str = "JOB_STATE_SUCCEEDED") -> Manifest:
        rounds = tuple(
            Round(f"{JOB}/{self.tables}{number}", state, (source,), output, {})
            for number, output in enumerate(outputs)
        )
        return Manifest("identity", "gemini-2.5-flash", "https://console", {}, rounds)

    def run(self, plan: LandingPlan, *manifests: Manifest) -> LandingReport:
        landing = TableLanding(bigquery_client(self.stack), logging.getLogger(__name__))
        return landing.land(plan, manifests, self.target, self.failed)

    def land(self, plan: LandingPlan, *rows: tuple[Any, Mapping[str, Any]]) -> LandingReport:
        """Land one job with these answers."""
        source = self.requests(*(key for key, _ in rows))
        return self.run(plan, self.manifest(source, self.output(*rows)))

    def landed(self, *columns: str) -> dict[Any, Any]:
        """Return what is in the target, by key."""
        return self._read(self.target, columns)

    def failures(self, *columns: str) -> dict[Any, Any]:
        """Return what is in the table of failures, by key."""
        return self._read(self.failed, columns)

    def types(self, address: BigQueryAddress) -> dict[str, tuple[str, str]]:
        table = bigquery_client(self.stack).get_table(address.dotted)
        return {one.name: (one.field_type, one.mode) for one in table.schema}

    def table_names(self) -> set[str]:
        tables = bigquery_client(self.stack).list_tables(self.target.dataset)
        return {table.table_id for table in tables}

    def run_sql(self, sql: str) -> None:
        bigquery_client(self.stack).query_and_wait(sql)

    def _read(self, address: BigQueryAddress, columns: Sequence[str]) -> dict[Any, Any]:
        found = {}
        for row in read(self.stack, str(address)):
            key = tuple(row[name] for name in self.key)
            values = tuple(row[name] for name in columns or [n for n in row if n not in self.key])
            assert key not in found, f"{key} is there twice"
            found[key if len(key) > 1 else key[0]] = values[0] if len(columns) == 1 else values
        return found

    def _key(self, key: Any) -> dict[str, Any]:
        values = key if isinstance(key, tuple) else (key,)
        return dict(zip(self.key, values, strict=True))

    def _name(self, kind: str) -> str:
        self.tables += 1
        return f"{self.dataset}.{kind}_{self.tables}"
