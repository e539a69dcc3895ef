"""What it costs to wait for many jobs in one event loop, with this package and with the Google provider.

Prints one JSON line. ``ours`` are :class:`GeminiBatchJobTrigger` on the local Vertex AI server, ``peer`` the Google
provider's ``GenAIGeminiCreateBatchJobTrigger`` on a stand-in for the Gemini Developer API; each server has a process
of its own, and nothing reaches another host. Each of the two has:

``cpu_ms_per_job_poll``  processor time (user and system, all threads) of the process with the event loop, less what
                         the heartbeat takes on an idle loop, divided by ``job_polls``. Ours: both are counted while
                         every job is running, from ``settled_s`` after the first trigger until the first job ends.
                         The peer's: both are counted from the first trigger to the last event, since it makes a
                         client for every call and its loop is never free.
``job_polls``            answers about single jobs in that time. Ours: jobs x list passes + questions by name. The
                         peer's: its calls, those that create a job included.
``cpu_ms_per_job``       processor time from the first trigger to the last event, divided by the jobs
``loop_lag_p99_ms``      how late a coroutine that wants to run every 10 ms does so, from the first trigger to the
                         last event; ``loop_lag_max_ms`` likewise
``rss_added_mb``         peak of the resident memory over that before the first trigger was made; the libraries that
                         the triggers load count
``requests``             HTTP calls that the server has counted
``detect_p99_s``         from a job's end, as its server says, to its trigger's event
``interval_s``           mean time between two polls of one job, as far as ``job_polls`` were counted

``ratio`` is the peer's ``cpu_ms_per_job_poll`` over ours. Logs are off below errors for both.

    python tests/benchmarks/waiting.py --jobs 10000 --seconds 60 --json
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import itertools
import json
import logging
import math
import multiprocessing
import os
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import Progress

ROOT = Path(__file__).parents[2]
PROJECT, LOCATION = "demo-project", "us-central1"
BEAT = 0.01
SETTLED = 0.2  # of our run
PEER_SECONDS = 40.0
PEER_INTERVAL = 5
_spawn = multiprocessing.get_context("spawn")


@dataclass(frozen=True)
class Times:
    """When the jobs of a run end, in seconds since they were created: evenly between the two."""

    first: float
    last: float

    @classmethod
    def of(cls, seconds: float) -> Times:
        return cls(seconds * 0.55, seconds * 0.8)


@dataclass
class Meter:
    """Lag, processor time and memory of this process while triggers run."""

    lags: list[float] = field(default_factory=list)
    cpu: list[tuple[float, float]] = field(default_factory=list)
    rss_before: int = field(default_factory=lambda: _rss())
    rss_peak: int = 0
    own_share: float = 0.0
    """Processor time that the heartbeat takes, in seconds per second."""

    async def calibrate(self) -> None:
        """Find out what the heartbeat takes, and forget its beats."""
        before = time.process_time()
        await asyncio.sleep(2)
        self.own_share = (time.process_time() - before) / 2
        self.lags.clear()

    async def beat(self) -> None:
        loop = asyncio.get_running_loop()
        for count in itertools.count(1):
            due = loop.time() + BEAT
            await asyncio.sleep(BEAT)
            self.lags.append((loop.time() - due) * 1000)
            if count % 20 == 0:
                self.sample()

    def sample(self) -> None:
        self.cpu.append((time.time(), time.process_time()))
        self.rss_peak = max(self.rss_peak, _rss())

    def cpu_ms(self, begin: float, end: float) -> float:
        """Return the processor time between two moments but for our own, as exactly as the samples lie."""
        return 1000 * (self._cpu_at(end) - self._cpu_at(begin) - self.own_share * (end - begin))

    def _cpu_at(self, moment: float) -> float:
        return min(self.cpu, key=lambda sample: abs(sample[0] - moment))[1]


def _rss() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def percentile(values: list[float], share: float) -> float:
    return sorted(values)[max(0, math.ceil(len(values) * share) - 1)]


@dataclass
class Run:
    """What was seen of one run: by the triggers, and by their server.

    :param seen: when the event of each job came.
    :param ended: when each job ended.
    :param asked: when and about how many jobs the server was asked.
    """

    began: float
    meter: Meter
    seen: dict[str, float]
    ended: dict[str, float]
    asked: list[tuple[float, int]]
    requests: dict[str, int]

    def figures(self, settled: float | None) -> dict[str, Any]:
        """Return the figures; ``settled`` is ``None`` to count the polls of the whole run."""
        jobs, meter = len(self.ended), self.meter
        begin, end = self.began, max(self.seen.values())
        if settled is not None:
            begin, end = self.began + settled, min(self.ended.values())
        polls = sum(count for moment, count in self.asked if begin <= moment < end)
        late = [self.seen[name] - ended for name, ended in self.ended.items() if name in self.seen]
        return {
            "jobs": jobs,
            "events": len(self.seen),
            "cpu_ms_per_job_poll": round(meter.cpu_ms(begin, end) / max(polls, 1), 5),
            "job_polls": polls,
            "cpu_ms_per_job": round(meter.cpu_ms(self.began, max(self.seen.values())) / jobs, 3),
            "loop_lag_p99_ms": round(percentile(meter.lags, 0.99), 1),
            "loop_lag_max_ms": round(max(meter.lags), 1),
            "rss_added_mb": round((meter.rss_peak - meter.rss_before) / 2**20, 1),
            "requests": sum(self.requests.values()),
            "requests_by_method": self.requests,
            "detect_p99_s": round(percentile(late, 0.99), 2),
            "interval_s": round((end - begin) * jobs / max(polls, 1), 2),
            "settled_s": settled,
        }


async def watch(make: Callable[[], Iterator[Any]], total: int, progress: Progress, title: str) -> Any:
    """Run triggers to their events; returns when the first began, the meter, and each event with its time."""
    meter, bar = Meter(), progress.add_task(title, total=total)
    events: list[tuple[float, dict[str, Any]]] = []

    async def run(trigger: Any) -> None:
        async for event in trigger.run():
            events.append((time.time(), event.payload))
            progress.update(bar, advance=1, refresh=len(events) % max(total // 10, 1) == 0)

    heart = asyncio.create_task(meter.beat())
    await meter.calibrate()
    meter.sample()
    began = time.time()
    tasks = []
    for trigger in make():
        tasks.append(asyncio.create_task(run(trigger)))
        await asyncio.sleep(0)  # as the triggerer starts them
    await asyncio.gather(*tasks)
    meter.sample()
    heart.cancel()
    return began, meter, events


def progress_bar() -> Progress:
    # Drawn when a job ends: a thread that draws ten times a second would be measured along.
    return Progress(console=Console(stderr=True), auto_refresh=False)


def call(url: str, body: object = None) -> Any:
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=60) as answer:
        return json.load(answer)


def serve_vertex(pipe: Connection) -> None:
    from airflow_gemini_batch.testing.vertex_ai import LocalVertex

    # Bare jobs have no data, so there is no server for it.
    nowhere = "http://127.0.0.1:9"
    with LocalVertex(storage_url=nowhere, bigquery_url=nowhere, project=PROJECT) as vertex:
        pipe.send(vertex.url)
        pipe.recv()


def serve_developer_api(pipe: Connection) -> None:
    """Serve as much of the Gemini Developer API as the peer asks for: create a batch, get it."""
    from aiohttp import web

    from airflow_gemini_batch.testing.server_thread import ServerThread

    first, last, jobs = pipe.recv()
    began = time.time()
    ends: list[float] = []
    calls: list[tuple[float, int]] = []

    def batch(number: int) -> web.Response:
        state = "SUCCEEDED" if time.time() >= ends[number] else "RUNNING"
        metadata = {"state": f"BATCH_STATE_{state}", "model": "models/gemini-3.8-flash"}
        return web.json_response({"name": f"batches/{number}", "metadata": metadata})

    async def create(request: web.Request) -> web.Response:
        calls.append((time.time(), 1))
        ends.append(began + first + (last - first) * len(ends) / max(jobs - 1, 1))
        return batch(len(ends) - 1)

    async def get(request: web.Request) -> web.Response:
        calls.append((time.time(), 1))
        return batch(int(request.match_info["number"]))

    def application() -> web.Application:
        served = web.Application()
        served.router.add_post("/v1beta/models/{model}:batchGenerateContent", create)
        served.router.add_get("/v1beta/batches/{number}", get)
        return served

    with ServerThread(application) as server:
        pipe.send(server.url)
        pipe.recv()
        pipe.send((ends, calls))


@contextlib.contextmanager
def child(serve: Callable[..., None], *first: object) -> Iterator[Connection]:
    """Run a function in a process of its own, with a pipe to it; sending anything ends a server."""
    mine, its = _spawn.Pipe()
    for message in first:
        mine.send(message)
    process = _spawn.Process(target=serve, args=(its,))
    process.start()
    try:
        yield mine
    finally:
        process.join(timeout=10)
        process.terminate()


def prepare(**variables: str) -> None:
    """Set up Airflow in this process, before it is imported; nothing leaves this machine from here on."""
    connection = {"conn_type": "google_cloud_platform", "extra": {"is_anonymous": True, "project": PROJECT}}
    os.environ |= {
        "AIRFLOW_CONN_GOOGLE_CLOUD_DEFAULT": json.dumps(connection),
        "AIRFLOW__LOGGING__LOGGING_LEVEL": "ERROR",
        "GUARD_REPORT": f"{os.environ['AIRFLOW_HOME']}/escaped.txt",
        "NO_GCE_CHECK": "true",
        **variables,
    }
    sys.path.insert(0, str(ROOT))
    import tests.guard.sitecustomize  # noqa: F401

    logging.getLogger().setLevel(logging.ERROR)


def measure_ours(jobs: int, seconds: float, progress: Progress) -> dict[str, Any]:
    with child(serve_vertex) as server:
        url = server.recv()
        # The connection is anonymous: what leads elsewhere leads there altogether.
        prepare(GOOGLE_VERTEX_BASE_URL=url, STORAGE_EMULATOR_HOST=url, BIGQUERY_EMULATOR_HOST=url)
        from airflow_gemini_batch.triggers.gemini_batch import GeminiBatchJobTrigger

        times = Times.of(seconds)
        spread = {"run_seconds": times.first, "spread_seconds": times.last - times.first}
        seeds = {"count": jobs, "queue_seconds": 0, "labels": {"airflow_dag": "nightly"}, **spread}
        created = time.time()
        names = call(f"{url}/local/v1/jobs:seed", seeds)["names"]

        def make() -> Iterator[Any]:
            for name in names:
                yield GeminiBatchJobTrigger(
                    job_name=name, submitted_at=created, gcp_conn_id="google_cloud_default"
                )

        began, meter, events = asyncio.run(watch(make, jobs, progress, f"{jobs} jobs, ours"))
        log = call(f"{url}/local/v1/requests")
        ended = ends_of(url)
        server.send("enough")
    asked = [
        (datetime.fromisoformat(one["at"]).timestamp(), jobs if one["method"] == "list" else 1)
        for one in log["calls"]
        if "pageToken" not in one["query"]
    ]
    seen = {event["job_name"]: moment for moment, event in events if event["outcome"] == "ended"}
    return Run(began, meter, seen, ended, asked, log["counts"]).figures(seconds * SETTLED)


def ends_of(url: str) -> dict[str, float]:
    from google.oauth2.credentials import Credentials

    from airflow_gemini_batch.vertex.client import BatchJobClient

    client = BatchJobClient(
        credentials=Credentials("token"), project=PROJECT, location=LOCATION, base_url=url
    )
    return {str(job.name): job.end_time.timestamp() for job in client.list() if job.end_time}


def measure_peer(pipe: Connection) -> None:
    """Measure the Google provider's trigger in a fresh process."""
    jobs = pipe.recv()
    times = Times.of(PEER_SECONDS)
    with child(serve_developer_api, (times.first, times.last, jobs)) as server:
        prepare(GOOGLE_GEMINI_BASE_URL=server.recv())
        from airflow.providers.google.cloud.triggers.gen_ai import GenAIGeminiCreateBatchJobTrigger

        def make() -> Iterator[Any]:
            for _ in range(jobs):
                yield GenAIGeminiCreateBatchJobTrigger(
                    project_id=PROJECT,
                    location=LOCATION,
                    model="gemini-3.8-flash",
                    input_source="files/requests",
                    gemini_api_key="none",
                    polling_interval=PEER_INTERVAL,
                )

        with progress_bar() as progress:
            began, meter, events = asyncio.run(watch(make, jobs, progress, f"{jobs} jobs, peer"))
        server.send("enough")
        ends, calls = server.recv()
    seen = {event["job_name"]: moment for moment, event in events if event["status"] == "success"}
    ended = {f"batches/{number}": end for number, end in enumerate(ends)}
    requests = {"create": len(ends), "get": len(calls) - len(ends)}
    run = Run(began, meter, seen, ended, calls, requests)
    errors = [event["message"] for _, event in events if event["status"] != "success"]
    pipe.send({**run.figures(None), "errors": errors[:1]} if seen else {"could_not_run": errors[:1]})


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--jobs", type=int, default=10_000)
    parser.add_argument(
        "--seconds", type=float, default=60.0, help="length of our run; the jobs end within it"
    )
    parser.add_argument("--peer-jobs", type=int, default=100, help="0 leaves the peer out")
    parser.add_argument(
        "--json", action="store_true", help="print one JSON line (the default, and the only form)"
    )
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="waiting-benchmark-", ignore_cleanup_errors=True) as home:
        os.environ["AIRFLOW_HOME"] = home  # the children inherit it
        with progress_bar() as progress:
            ours = measure_ours(asked.jobs, asked.seconds, progress)
        result: dict[str, Any] = dict(ours)
        if asked.peer_jobs:
            with child(measure_peer, asked.peer_jobs) as peer:
                result["peer"] = peer.recv()
            if theirs := result["peer"].get("cpu_ms_per_job_poll"):
                result["ratio"] = round(theirs / ours["cpu_ms_per_job_poll"], 1)
    print(json.dumps(result))


if __name__ == "__main__":
    main()
