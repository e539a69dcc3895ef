from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
import requests

from airflow_gemini_batch.testing.gcs.errors import StorageError
from airflow_gemini_batch.testing.gcs.server import LocalCloudStorage

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.stack

MIB = 1 << 20


def put(server: LocalCloudStorage, name: str, content: bytes) -> int:
    """Upload to the bucket "demo"; returns the generation."""
    answer = requests.post(f"{server.url}/upload/storage/v1/b/demo/o", params={"name": name}, data=content)
    answer.raise_for_status()
    return int(answer.json()["generation"])


def test_objects_outlive_the_server(tmp_path: Path) -> None:
    with LocalCloudStorage(tmp_path) as server:
        server.create_bucket("demo", "europe-west4")
        first = put(server, "a/b", b"content")
        put(server, "deleted", b"x")
        requests.delete(f"{server.url}/storage/v1/b/demo/o/deleted")
        last = put(server, "c", b"")
    with LocalCloudStorage(tmp_path) as server:
        bucket = requests.get(f"{server.url}/storage/v1/b/demo").json()
        items = requests.get(f"{server.url}/storage/v1/b/demo/o").json()["items"]
        assert bucket["location"] == "EUROPE-WEST4"
        assert [(item["name"], item["generation"]) for item in items] == [
            ("a/b", str(first)),
            ("c", str(last)),
        ]
        assert requests.get(f"{server.url}/demo/a/b").content == b"content"
        assert put(server, "a/b", b"newer") > last


def test_generations_increase_when_the_clock_does_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with LocalCloudStorage(tmp_path) as server:
        server.create_bucket("demo")
        first = put(server, "a", b"x")
        requests.delete(f"{server.url}/storage/v1/b/demo/o/a")
        monkeypatch.setattr("time.time_ns", lambda: 1_000_000)
        assert [put(server, "a", b"x"), put(server, "b", b"x")] == [first + 1, first + 2]


def test_server_can_be_stopped_and_started_again(tmp_path: Path) -> None:
    server = LocalCloudStorage(tmp_path).start()
    server.create_bucket("demo")
    url = server.url
    server.stop()
    with pytest.raises(requests.ConnectionError):
        requests.get(f"{url}/storage/v1/b")
    server.start()
    assert requests.get(f"{url}/storage/v1/b/demo").status_code == 200
    server.stop()


def test_leftovers_of_a_crash_are_removed(tmp_path: Path) -> None:
    with LocalCloudStorage(tmp_path) as server:
        server.create_bucket("demo")
        put(server, "a", b"content")
    for stray in ("contents/123", "staging/half"):
        (tmp_path / stray).write_bytes(b"stray")
    with LocalCloudStorage(tmp_path) as server:
        assert requests.get(f"{server.url}/demo/a").content == b"content"
        assert len(list(tmp_path.glob("*/*"))) == 1


def test_second_server_on_a_folder_is_refused(tmp_path: Path) -> None:
    with LocalCloudStorage(tmp_path), pytest.raises(RuntimeError, match="another server"):
        LocalCloudStorage(tmp_path).start()


def test_taken_port_is_reported_and_frees_the_folder(tmp_path: Path) -> None:
    with LocalCloudStorage(tmp_path / "first") as first:
        with pytest.raises(OSError, match="address already in use"):
            LocalCloudStorage(tmp_path / "second", port=first.port).start()
        with LocalCloudStorage(tmp_path / "second") as second:
            second.create_bucket("demo")


def test_create_bucket_minds_what_exists(tmp_path: Path) -> None:
    with LocalCloudStorage(tmp_path, default_location="asia-east1") as server:
        server.create_bucket("demo")
        server.create_bucket("demo", "EU", exist_ok=True)
        with pytest.raises(StorageError, match="demo"):
            server.create_bucket("demo")
        with pytest.raises(StorageError, match="Invalid bucket name"):
            server.create_bucket("Demo", exist_ok=True)
        assert requests.get(f"{server.url}/storage/v1/b/demo").json()["location"] == "ASIA-EAST1"


def test_create_bucket_needs_a_running_server(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="start"):
        LocalCloudStorage(tmp_path).create_bucket("demo")


# Not getrusage: its peak is never below that of the process which started this one.
MEASURED = r"""
import pathlib, re, sys
from airflow_gemini_batch.testing.gcs.server import LocalCloudStorage
with LocalCloudStorage(pathlib.Path(sys.argv[1])) as server:
    server.create_bucket("demo")
    print(server.url, flush=True)
    for _ in sys.stdin:
        status = pathlib.Path("/proc/self/status").read_text()
        print(re.search(r"VmHWM:\s*(\d+) kB", status)[1], flush=True)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads the peak from /proc")
def test_memory_does_not_grow_with_the_object(tmp_path: Path) -> None:
    block, blocks = os.urandom(MIB), 200

    def content() -> Iterator[bytes]:
        for _ in range(blocks):
            yield block

    with subprocess.Popen(
        [sys.executable, "-c", MEASURED, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None

        def peak() -> float:
            print("peak?", file=process.stdin, flush=True)
            return int(process.stdout.readline()) / 1024

        url = process.stdout.readline().strip()
        upload = f"{url}/upload/storage/v1/b/demo/o"
        requests.post(upload, params={"name": "small"}, data=block).raise_for_status()
        requests.get(f"{url}/demo/small").raise_for_status()
        before = peak()
        requests.post(upload, params={"name": "large"}, data=content()).raise_for_status()
        requests.post(
            f"{url}/storage/v1/b/demo/o/twice/compose", json={"sourceObjects": [{"name": "large"}]}
        ).raise_for_status()
        with requests.get(f"{url}/demo/twice", stream=True) as answer:
            assert sum(len(piece) for piece in answer.iter_content(MIB)) == blocks * MIB
        grown = peak() - before
        process.stdin.close()
    assert grown < 12
