"""How fast rows pass through the pipeline where the data is in files, and in how much memory.

Prints one JSON line, with an object for each step:

``build``  rows of a local file (``--source``: JSON Lines, CSV or Parquet) become request files on Cloud Storage
``parse``  the output files of the jobs become outcomes, held against the requests, as the submit task does at its end
``land``   the output files become one Parquet file: typed columns and bookkeeping, matched by key

and in each of these:

``rows_per_second``        of ``seconds``; ``cpu_seconds`` is the processor time in it, of all threads
``bare_seconds``           what bare JSON (orjson) takes for the same lines in the same process, reading and writing
                           left out. Build: decoding the source rows, as JSON whatever the source's format, and
                           encoding the requests, which is the least that reads rows and writes requests. Parse and
                           land: decoding the output lines.
``bare_encode_seconds``    of build: the encoding alone
``own_loop_seconds``       what the loop takes that users write themselves. Build, in a process of its own: read a row
                           (json, csv.DictReader, pyarrow), make a dict, ``json.dumps`` it, write it to an object on
                           Cloud Storage. Parse and land, over the same lines of output: ``json.loads`` of a line, its
                           outcome and its tokens, and to land its answer, without matching and without writing
                           anything. ``times_own_loop`` is that over ``seconds``.
``share_of_bare``          ``bare_seconds / seconds``: 1 would be as fast as bare JSON
``peak_mb``                most resident memory of the step's process (VmHWM) with all rows, ``peak_mb_small`` with
                           ``small_rows`` of them, and ``growth_mb`` the difference

Each step has a fresh process, and so has the local Cloud Storage server. The answers are made here, in the documented
format: in another order than the requests, one of a hundred a failure. Libraries are loaded before a step begins.

    python tests/benchmarks/rows.py --rows 1000000 --json
    python tests/benchmarks/rows.py --kind embeddings --json

With ``--engine bigquery`` the rows are in tables of the local BigQuery, and what is counted is what its statements read
and write: see ``nights.py``.

    python tests/benchmarks/rows.py --engine bigquery --rows 20000 --json
    python tests/benchmarks/rows.py --source csv --build-only --json
"""

from __future__ import annotations

import argparse
import json
import logging
import multiprocessing
import os
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from itertools import islice
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson
from made_rows import Kind, Source, own_loop, write_source
from waiting import PROJECT, child, prepare, progress_bar

if TYPE_CHECKING:
    from rich.progress import Progress

SMALL_ROWS = 10_000
BUCKET = "benchmark"
BLOCK = 1000
CHUNK = 8 * 1024 * 1024
LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class Case:
    """Rows on their way.

    :param url: of the Cloud Storage server.
    :param folder: for local files.
    :param source_format: of the source file.
    :param shard_rows: most rows of one job; ``None`` for as many as a job takes.
    """

    kind: Kind
    rows: int
    url: str
    folder: Path
    source_format: Source = Source.JSON_LINES
    shard_rows: int | None = None

    @property
    def source(self) -> Path:
        return self.folder / f"rows.{self.source_format}"

    @property
    def lines(self) -> Path:
        """The source's rows as JSON Lines."""
        return self.folder / f"rows.{Source.JSON_LINES}"

    def client(self) -> Any:
        from google.auth.credentials import AnonymousCredentials
        from google.cloud.storage import Client

        return Client(PROJECT, AnonymousCredentials(), client_options={"api_endpoint": self.url})


@dataclass(frozen=True)
class Job:
    """Addresses of a job's file of requests, and of the folder with its answers."""

    requests: str
    output: str


@dataclass(frozen=True)
class Step:
    """What a step took."""

    seconds: float
    cpu_seconds: float
    peak_mb: float
    bare_seconds: float
    bare_encode_seconds: float | None = None
    own_loop_seconds: float | None = None


class Subscription:
    """Takes the time of the block, then the most memory that the process has had."""

    def __enter__(self) -> Subscription:
        self._begin, self._cpu = time.perf_counter(), time.process_time()
        return self

    def __exit__(self, *_: object) -> None:
        self.seconds = time.perf_counter() - self._begin
        self.cpu_seconds = time.process_time() - self._cpu
        status = Path("/proc/self/status").read_text()
        self.peak_mb = int(status.partition("VmHWM:")[2].split()[0]) / 1024

    def step(self, *others: float | None) -> Step:
        return Step(self.seconds, self.cpu_seconds, self.peak_mb, *others)


def bare(work: Callable[[Any], object], items: Iterable[Any]) -> float:
    """Return the seconds that some work on all items takes, without what it takes to get them."""
    rest, seconds = iter(items), 0.0
    while block := list(islice(rest, BLOCK)):
        begin = time.perf_counter()
        for item in block:
            work(item)
        seconds += time.perf_counter() - begin
    return seconds


def stored_lines(case: Case, places: Sequence[str]) -> Iterator[bytes]:
    from airflow_gemini_batch.core.addresses import GcsAddress
    from airflow_gemini_batch.outputs.files import CloudStorage

    storage = CloudStorage(case.client())
    for place in places:
        yield from storage.lines(storage.objects([GcsAddress.parse(place)]))


def answered_lines(case: Case, jobs: Sequence[Job]) -> Iterator[bytes]:
    return stored_lines(case, [f"{job.output}/predictions.jsonl" for job in jobs])


def read_loop(case: Case, jobs: Sequence[Job], *, answers: bool = False) -> float | None:
    """Return the seconds of the users' own loop over output lines; ``None`` for vectors.

    :param answers: read what the model has answered, too.
    """
    if case.kind is not Kind.GENERATION:
        return None
    begin, good, tokens = time.perf_counter(), 0, 0
    for line in answered_lines(case, jobs):
        row = json.loads(line)
        if row["status"]:
            continue
        candidate = row["response"]["candidates"][0]
        if candidate["finishReason"] == "STOP":
            good += 1
            tokens += row["response"]["usageMetadata"]["totalTokenCount"]
            if answers:
                json.loads(candidate["content"]["parts"][0]["text"])
    assert 0 < good < tokens
    return time.perf_counter() - begin


def write_rows(case: Case) -> None:
    case.folder.mkdir()
    for path in {case.source, case.lines}:
        write_source(path, case.rows)


def loop(case: Case) -> float:
    """Return the seconds that the users' own loop takes to build."""
    with Subscription() as watch:
        blob = case.client().bucket(BUCKET).blob(f"own-loop-{case.rows}.jsonl")
        with blob.open("w", encoding="utf-8") as requests:
            own_loop(case.source, case.kind, requests)
    blob.delete()
    return watch.seconds


def build(case: Case) -> tuple[Step, list[str]]:
    """Measure the step; also returns the addresses of the request files."""
    import pyarrow as pa
    import pyarrow.compute
    import pyarrow.json
    import pyarrow.parquet

    from airflow_gemini_batch.core.addresses import GcsAddress
    from airflow_gemini_batch.requests.files.builder import build_files
    from airflow_gemini_batch.requests.files.rows import read_rows
    from airflow_gemini_batch.requests.sources import FileRows, parse_row_source

    plan, client = case.kind.build_plan(), case.client()
    plan = replace(plan, shard_rows=case.shard_rows or plan.shard_rows)
    source = parse_row_source(str(case.source))
    assert isinstance(source, FileRows)
    pa.array([""])  # pyarrow loads pandas with the first one
    with Subscription() as watch:
        rows = read_rows(source, [*plan.key, *plan.template.columns], client)
        report = build_files(plan, rows, GcsAddress(BUCKET, f"requests-{case.rows}"), client, LOG)
    assert report.requests == case.rows
    files = [str(file) for file in report.sources]
    with case.lines.open("rb") as lines:
        decode = bare(orjson.loads, lines)
    encode = bare(orjson.dumps, map(orjson.loads, stored_lines(case, files)))
    return watch.step(decode + encode, encode), files


def answer(case: Case, requests: Sequence[str]) -> list[Job]:
    """Write the answers of one job for each request file."""
    jobs = []
    for number, file in enumerate(requests):
        output = f"answers-{case.rows}/{number}"
        lines = case.kind.answers(list(stored_lines(case, [file])), number)
        blob = case.client().bucket(BUCKET).blob(f"{output}/predictions.jsonl")
        with blob.open("wb", chunk_size=CHUNK) as stream:
            stream.writelines(line + b"\n" for line in lines)
        jobs.append(Job(file, f"gs://{BUCKET}/{output}"))
    return jobs


def parse(case: Case, jobs: Sequence[Job]) -> Step:
    from airflow_gemini_batch.core.addresses import GcsAddress
    from airflow_gemini_batch.outputs.files import CloudStorage

    storage = CloudStorage(case.client())
    with Subscription() as watch:
        summaries = [
            storage.summarize(GcsAddress.parse(job.output), [GcsAddress.parse(job.requests)]) for job in jobs
        ]
    tallies = [summary.tally for summary in summaries if summary]
    assert sum(tally.rows for tally in tallies) == case.rows > sum(tally.answered for tally in tallies)
    assert not any(tally.unknown or tally.duplicates for tally in tallies)
    return watch.step(bare(orjson.loads, answered_lines(case, jobs)), None, read_loop(case, jobs))


def land(case: Case, jobs: Sequence[Job]) -> Step:
    import duckdb  # noqa: F401
    import pyarrow as pa
    import pyarrow.parquet

    from airflow_gemini_batch.jobs.manifest import Manifest, Round
    from airflow_gemini_batch.landing.files.lander import land_files

    name = f"projects/{PROJECT}/locations/us-central1/batchPredictionJobs"
    manifests = [
        Manifest(
            f"identity-{number}",
            case.kind.model,
            "https://console.cloud.google.com/",
            {},
            [Round(f"{name}/{number}", "JOB_STATE_SUCCEEDED", [job.requests], job.output, {})],
        )
        for number, job in enumerate(jobs)
    ]
    plan, client = case.kind.landing_plan(), case.client()
    target, failed = (str(case.folder / name) for name in ("answers.parquet", "failed.parquet"))
    pa.array([""])  # pyarrow loads pandas with the first one
    with Subscription() as watch:
        report = land_files(plan, manifests, target, failed, client, LOG)
    assert report.landed + report.failed == case.rows > report.landed
    return watch.step(
        bare(orjson.loads, answered_lines(case, jobs)), None, read_loop(case, jobs, answers=True)
    )


def serve(pipe: Connection) -> None:
    from airflow_gemini_batch.testing.gcs.server import LocalCloudStorage

    with LocalCloudStorage(pipe.recv()) as server:
        server.create_bucket(BUCKET)
        pipe.send(server.url)
        pipe.recv()


def run(case: Case, progress: Progress, *, build_only: bool = False) -> dict[str, Step]:
    """Take the rows through all steps, each in a fresh process."""
    bar = progress.add_task("", total=3 if build_only else 6)
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, spawn, prepare, max_tasks_per_child=1) as processes:

        def fresh(step: Callable[..., Any], title: str, *arguments: object) -> Any:
            progress.update(bar, description=f"{case.rows:,} rows: {title}", refresh=True)
            result = processes.submit(step, case, *arguments).result()
            progress.advance(bar)
            return result

        fresh(write_rows, "write the source")
        built, requests = fresh(build, "build")
        steps = {"build": replace(built, own_loop_seconds=fresh(loop, "the users' own loop"))}
        if not build_only:
            jobs = fresh(answer, "answer", requests)
            steps |= {"parse": fresh(parse, "parse", jobs), "land": fresh(land, "land", jobs)}
        progress.update(bar, refresh=True)
    return steps


def figures(rows: int, step: Step, small: Step) -> dict[str, float]:
    found = {
        "rows_per_second": round(rows / step.seconds),
        "share_of_bare": round(step.bare_seconds / step.seconds, 3),
        "seconds": round(step.seconds, 3),
        "cpu_seconds": round(step.cpu_seconds, 3),
        "bare_seconds": round(step.bare_seconds, 3),
        "peak_mb": round(step.peak_mb, 1),
        "peak_mb_small": round(small.peak_mb, 1),
        "growth_mb": round(step.peak_mb - small.peak_mb, 1),
    }
    if step.bare_encode_seconds is not None:
        found["bare_encode_seconds"] = round(step.bare_encode_seconds, 3)
    if step.own_loop_seconds is not None:
        found["own_loop_seconds"] = round(step.own_loop_seconds, 3)
        found["times_own_loop"] = round(step.own_loop_seconds / step.seconds, 2)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--engine", choices=["files", "bigquery"], default="files")
    parser.add_argument("--shards", type=int, default=4, help="jobs of the first night on BigQuery")
    parser.add_argument("--nights", type=int, default=4, help="how many of them on BigQuery")
    parser.add_argument("--kind", type=Kind, choices=list(Kind), default=Kind.GENERATION)
    parser.add_argument("--source", type=Source, choices=list(Source), default=Source.JSON_LINES)
    parser.add_argument("--shard-rows", type=int, help="most rows of one job, where the data is in files")
    parser.add_argument("--build-only", action="store_true", help="measure the first step alone")
    parser.add_argument(
        "--json", action="store_true", help="print one JSON line (the default, and the only form)"
    )
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="rows-benchmark-", ignore_cleanup_errors=True) as home:
        os.environ["AIRFLOW_HOME"] = home  # the children inherit it
        folder = Path(home)
        if asked.engine == "bigquery":
            from nights import measure  # its libraries are no part of what the steps above take

            found = measure(asked.rows, asked.shards, asked.nights, folder)
            print(json.dumps({"engine": asked.engine, "rows": asked.rows, "shards": asked.shards, **found}))
            return
        with child(serve, folder / "storage") as server, progress_bar() as progress:
            url = server.recv()
            small, full = (
                run(
                    Case(asked.kind, rows, url, folder / name, asked.source, asked.shard_rows),
                    progress,
                    build_only=asked.build_only,
                )
                for name, rows in (("small", SMALL_ROWS), ("full", asked.rows))
            )
            server.send("enough")
    steps = {name: figures(asked.rows, step, small[name]) for name, step in full.items()}
    about = {
        "kind": asked.kind,
        "source": asked.source,
        "rows": asked.rows,
        "small_rows": SMALL_ROWS,
        "shard_rows": asked.shard_rows,
    }
    print(json.dumps({**about, **steps}))


if __name__ == "__main__":
    main()
