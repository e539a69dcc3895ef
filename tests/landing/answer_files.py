"""Request files, output files and manifests made by hand, and the way to land them in files."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import orjson
import pyarrow.parquet as pq

from airflow_gemini_batch.core.columns import failed_target_of
from airflow_gemini_batch.core.keys import sent_key
from airflow_gemini_batch.jobs.manifest import Manifest, Round
from airflow_gemini_batch.landing.files.lander import land_files
from airflow_gemini_batch.landing.plan import LandingPlan, LandingReport
from airflow_gemini_batch.requests.lines import request_line
from airflow_gemini_batch.testing.stack import LocalStack
from tests.landing.landings import JOB, TEXT
from tests.support.requests_data import storage_client

SUCCEEDED, EXPIRED = "JOB_STATE_SUCCEEDED", "JOB_STATE_EXPIRED"


def asked(key: str) -> dict[str, Any]:
    """Return the request of a key."""
    return {"contents": [{"role": "user", "parts": [{"text": f"Describe {key}."}]}]}


def line(key: str, cells: Mapping[str, Any], echo: str = "key") -> bytes:
    """Return an output line.

    :param echo: what comes back of the key: ``key`` or ``nothing``.
    """
    beside = {"key": sent_key(key)} if echo == "key" else {}
    return orjson.dumps({**cells, "request": asked(key), **beside})


class AnswerFiles:
    """Files of batch jobs in a bucket.

    :param folder: for local targets.
    """

    def __init__(self, stack: LocalStack, bucket: str, folder: Path) -> None:
        self.client = storage_client(stack)
        self.bucket = bucket
        self.target = str(folder / "books.parquet")
        self._files = 0

    def put(self, name: str, content: bytes) -> str:
        self.client.bucket(self.bucket).blob(name).upload_from_string(content)
        return f"gs://{self.bucket}/{name}"

    def get(self, name: str) -> bytes:
        return bytes(self.client.bucket(self.bucket).blob(name).download_as_bytes())

    def requests(self, *keys: str) -> str:
        self._files += 1
        lines = [request_line(key, orjson.dumps(asked(key))) for key in keys]
        return self.put(f"requests-{self._files}.jsonl", b"".join(lines))

    def output(self, *lines: bytes, end: bytes = b"\n") -> str:
        self._files += 1
        name = f"out/{self._files}"
        self.put(f"{name}/predictions.jsonl", b"".join(one + end for one in lines))
        return f"gs://{self.bucket}/{name}"

    def manifest(self, source: str, *outputs: str, state: str = SUCCEEDED, **counts: int) -> Manifest:
        rounds = tuple(
            Round(f"{JOB}/{number}", state, (source,), output, counts)
            for number, output in enumerate(outputs)
        )
        return Manifest("identity", "gemini-2.5-flash", "https://console", {}, rounds)

    def run(self, plan: LandingPlan, *manifests: Manifest, target: str | None = None) -> LandingReport:
        target = target or self.target
        log = logging.getLogger(__name__)
        return land_files(plan, manifests, target, failed_target_of(target), self.client, log)

    def land(
        self,
        rows: Sequence[tuple[str, Mapping[str, Any]]],
        plan: LandingPlan = TEXT,
        target: str | None = None,
    ) -> LandingReport:
        """Land one job with these answers, one for each request."""
        source = self.requests(*(key for key, _ in rows))
        output = self.output(*(line(key, cells) for key, cells in rows))
        return self.run(plan, self.manifest(source, output), target=target)


def parquet(path: str, *columns: str) -> list[tuple[Any, ...]]:
    """Return the rows of a Parquet file in its order."""
    table = pq.read_table(path)
    return [tuple(row.values()) for row in (table.select(columns) if columns else table).to_pylist()]


def jsonl(path: str) -> list[dict[str, Any]]:
    """Return the rows of a JSON Lines file in its order."""
    return [json.loads(one) for one in Path(path).read_bytes().splitlines()]
