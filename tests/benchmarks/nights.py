"""What the statements of a night read and write where the data is in BigQuery; ``rows.py --engine bigquery``.

Four nights over one source: ``first`` asks all rows, ``few_new`` a few rows that are new, ``few_changed`` a few whose
text has changed, ``nothing_new`` none. Requests are divided among one job, then, in another dataset, among several.
The answers are made here, by a statement, in the documented format: one of a hundred a failure for good.

Of each night and step (``build``; ``submit``: the summary of the output; ``land``) there are:

``seconds``     that it took, here; counting takes a part of it
``jobs``        queries and scripts that were sent
``statements``  in them, by kind, without those that only begin or end a transaction
``scans``       how often each table is read, by what the table is; ``read_rows`` and ``read_bytes`` of these scans
``written``     rows that statements write, by what the table is

See ``statements.py`` for how they are counted. ``--shards 1000 --nights 1`` lands 1,000 jobs at once.
"""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import orjson
from made_rows import KEY, Kind, write_source
from statements import TEMPORARY, Ran, Recorder, Table
from waiting import PROJECT

LOG = logging.getLogger(__name__)
COLUMNS = {"book_id": "STRING", "title": "STRING", "authors": "STRING", "year": "INTEGER", "blurb": "STRING"}
JOB = f"projects/{PROJECT}/locations/us-central1/batchPredictionJobs"
FEW = 0.01
NIGHTS = ("first", "few_new", "few_changed", "nothing_new")
_ANSWER = """{"candidates": [{"content": {"parts": [{"text": "{\\"description\\": \\"A tale of a long winter.\\",
 \\"genres\\": [\\"novel\\"], \\"for_children\\": false}"}], "role": "model"}, "finishReason": "STOP"}],
 "modelVersion": "gemini-3.8-flash", "usageMetadata": {"promptTokenCount": 80, "candidatesTokenCount": 90}}"""
_REFUSAL = 'Bad Request: {"error": {"code": 400, "message": "It is refused.", "status": "INVALID_ARGUMENT"}}'


@dataclass
class Nights:
    """A source, a target and the jobs between them, in a dataset of their own."""

    client: Any
    recorder: Recorder
    dataset: str
    jobs: int = 0
    seconds: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        from google.cloud.bigquery import Dataset

        dataset = Dataset(f"{PROJECT}.{self.dataset}")
        dataset.location = "us-central1"
        self.client.create_dataset(dataset)

    def play(self, rows: int, shard_rows: int, nights: int, folder: Path) -> dict[str, Any]:
        """Return the figures of the nights by night and step."""
        few = max(1, round(rows * FEW))
        write_source(folder / f"{self.dataset}.jsonl", rows + few)
        lines = (folder / f"{self.dataset}.jsonl").read_bytes().splitlines()
        made = [orjson.loads(line) for line in lines]
        found: dict[str, Any] = {}
        for night in NIGHTS[:nights]:
            if night == "first":
                self._fill(made[:rows])
            elif night == "few_new":
                self._fill(made[rows:])
            elif night == "few_changed":
                self._change(few)
            begun, sent = len(self.recorder.ran), len(self.recorder.jobs)
            self.seconds.clear()
            self._night(shard_rows)
            ran, jobs = self.recorder.ran[begun:], self.recorder.jobs[sent:]
            found[night] = {
                step: {"seconds": round(seconds, 1), **figures(step, ran, jobs)}
                for step, seconds in self.seconds.items()
            }
        return found

    @contextmanager
    def _step(self, name: str) -> Iterator[None]:
        begin, self.recorder.step = time.perf_counter(), name
        yield
        self.seconds[name] += time.perf_counter() - begin
        self.recorder.step = ""

    def _night(self, shard_rows: int) -> None:
        from airflow_gemini_batch.core.addresses import BigQueryAddress
        from airflow_gemini_batch.landing.bigquery.lander import TableLanding
        from airflow_gemini_batch.outputs.tables import BigQueryStorage
        from airflow_gemini_batch.requests.bigquery.builder import TableBuild
        from airflow_gemini_batch.requests.sources import parse_row_source

        target = BigQueryAddress(PROJECT, self.dataset, "books_enriched")
        plan = replace(Kind.GENERATION.build_plan(), target=str(target), shard_rows=shard_rows)
        source: Any = parse_row_source(str(target.with_table("books")))
        with self._step("build"):
            report = TableBuild(self.client, LOG).run(plan, source, target.with_table(""))
        manifests = [self._answered(BigQueryAddress.parse(one)) for one in report.sources]
        if not manifests:
            return
        with self._step("submit"):
            for manifest in manifests:
                (round_,) = manifest.rounds
                output, requests = (BigQueryAddress.parse(one) for one in (round_.output, round_.source[0]))
                summary = BigQueryStorage(self.client).summarize(output, [requests])
                assert summary is not None
                summary.count_usage()
        failed = target.with_table(f"{target.table}__failed")
        with self._step("land"):
            landed = TableLanding(self.client, LOG).land(
                Kind.GENERATION.landing_plan(), manifests, target, failed
            )
        assert landed.landed + landed.failed == report.requests >= landed.landed > 0

    def _answered(self, requests: Any) -> Any:
        from airflow_gemini_batch.jobs.manifest import Manifest, Round

        self.jobs += 1
        output = requests.with_table(f"output_{self.jobs}")
        failed = "MOD(ABS(FARM_FINGERPRINT(book_id)), 100) = 0"
        self._run(
            f"CREATE TABLE {output.sql} AS SELECT book_id, batch_fingerprint, request, "
            f"TIMESTAMP_ADD(TIMESTAMP '2026-11-22 08:00:00+00', INTERVAL {self.jobs} MINUTE) AS processed_time, "
            f"IF({failed}, @refusal, '') AS status, PARSE_JSON(IF({failed}, '{{}}', @answer)) AS response "
            f"FROM {requests.sql}",
            {"refusal": _REFUSAL, "answer": _ANSWER.replace("\n", "")},
        )
        round_ = Round(f"{JOB}/{self.jobs}", "JOB_STATE_SUCCEEDED", [str(requests)], str(output), {})
        return Manifest(f"identity-{self.jobs}", Kind.GENERATION.model, "https://console", {}, [round_])

    def _fill(self, rows: Sequence[Mapping[str, Any]]) -> None:
        from google.cloud.bigquery import LoadJobConfig, SchemaField

        schema = [SchemaField(name, kind) for name, kind in COLUMNS.items()]
        config = LoadJobConfig(schema=schema)
        self.client.load_table_from_json(
            list(rows), f"{PROJECT}.{self.dataset}.books", job_config=config
        ).result()

    def _change(self, few: int) -> None:
        self._run(
            f"UPDATE `{PROJECT}.{self.dataset}.books` SET blurb = CONCAT('A new edition. ', blurb) "
            f"WHERE book_id IN (SELECT book_id FROM `{PROJECT}.{self.dataset}.books_enriched` "
            f"ORDER BY book_id LIMIT {few})",
            {},
        )

    def _run(self, sql: str, parameters: Mapping[str, str]) -> None:
        from airflow_gemini_batch.gcp.statements import Statement

        statement = Statement(sql, given=parameters)
        self.client.query(statement.sql, job_config=statement.job_config()).result()


def role(table: Table) -> str:
    """Return what a table is."""
    project, _, name = table
    for sign, what in (("__failed", "failures"), ("__landing", "staging"), ("sorted_", "sorted")):
        if sign in name:
            return what
    if name == "books_enriched":
        return "target"
    if name.startswith(("requests_", "output_")):
        return name.partition("_")[0]
    return "temporary" if project == TEMPORARY else "source" if name == "books" else name


def figures(step: str, ran: Iterable[Ran], jobs: Sequence[str]) -> dict[str, Any]:
    """Return the figures of a step."""
    some = [one for one in ran if one.step == step]
    found: dict[str, Any] = {"jobs": jobs.count(step), "statements": dict(Counter(one.kind for one in some))}
    for name in ("scans", "read_rows", "read_bytes", "written"):
        found[name] = dict(sum((Counter(getattr(one, name)) for one in some), Counter()))
    return found


def measure(rows: int, shards: int, nights: int, folder: Path) -> dict[str, Any]:
    """Return the figures of all nights, with one job a night and with several."""
    from google.auth.credentials import AnonymousCredentials
    from google.cloud.bigquery import Client

    from airflow_gemini_batch.testing.bigquery.server import LocalBigQuery

    recorder = Recorder(role)
    with LocalBigQuery(folder / "bigquery", project=PROJECT) as server, recorder:
        client = Client(PROJECT, AnonymousCredentials(), client_options={"api_endpoint": server.url})
        return {
            "key": list(KEY),
            **{
                f"shards_{count}": Nights(client, recorder, f"nights_{count}").play(
                    rows, -(-rows // count), nights, folder
                )
                for count in (1, shards)
            },
        }
