from __future__ import annotations

import socket
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from google.auth.credentials import AnonymousCredentials
from google.cloud import bigquery

from airflow_gemini_batch.testing.bigquery.server import LocalBigQuery

if TYPE_CHECKING:
    from collections.abc import Iterator


pytestmark = pytest.mark.stack


def _client(server: LocalBigQuery) -> bigquery.Client:
    options = {"api_endpoint": server.url}
    return bigquery.Client(project="p", credentials=AnonymousCredentials(), client_options=options)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalBigQuery]:
    with LocalBigQuery(tmp_path_factory.mktemp("bigquery")) as running:
        yield running


def test_serves_the_client_through_the_environment(
    server: LocalBigQuery, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BIGQUERY_EMULATOR_HOST", server.url)
    client = bigquery.Client(project="p", credentials=AnonymousCredentials())
    assert [tuple(row.values()) for row in client.query("SELECT 1 AS a").result()] == [(1,)]


def test_listens_on_loopback_only(server: LocalBigQuery) -> None:
    assert server.url.startswith("http://127.0.0.1:")
    others = {info[4][0] for info in socket.getaddrinfo(socket.gethostname(), None, socket.AF_INET)}
    for address in others - {"127.0.0.1"}:
        with socket.socket() as probe:
            assert probe.connect_ex((address, server.port)) != 0 or address.startswith("127.")


def test_frees_its_port_and_forgets_its_tables(tmp_path: Path) -> None:
    first = LocalBigQuery(tmp_path).start()
    _client(first).create_dataset("d")
    first.stop()
    first.stop()
    with pytest.raises(ConnectionRefusedError), socket.create_connection(("127.0.0.1", first.port)):
        pass
    with LocalBigQuery(tmp_path, port=first.port) as second:
        assert second.port == first.port
        assert second.url != first.url
        assert list(_client(second).list_datasets()) == []


def test_says_that_its_port_is_taken(server: LocalBigQuery, tmp_path: Path) -> None:
    with pytest.raises(OSError, match="address already in use"):
        LocalBigQuery(tmp_path, port=server.port).start()


def test_runs_beside_another(server: LocalBigQuery, tmp_path: Path) -> None:
    with LocalBigQuery(tmp_path / "other", default_location="europe-west4") as other:
        here, there = _client(server), _client(other)
        for client in (here, there):
            client.create_dataset("same")
        there.query("CREATE TABLE same.t AS SELECT 2 AS a").result()
        here.query("CREATE TABLE same.t AS SELECT 1 AS a").result()
        assert [row.a for client in (here, there) for row in client.list_rows("same.t")] == [1, 2]
        assert [client.get_dataset("same").location for client in (here, there)] == [
            "us-central1",
            "europe-west4",
        ]
        assert there.query("SELECT 1 AS a").location == "europe-west4"
    assert [row.a for row in here.list_rows("same.t")] == [1]


def test_answers_quickly(server: LocalBigQuery) -> None:
    client = _client(server)
    client.query("SELECT 1 AS a").result()
    seconds = []
    for _ in range(20):
        started = time.monotonic()
        list(client.list_datasets())
        seconds.append(time.monotonic() - started)
    # With Nagle's algorithm on, each of them waits 40 ms.
    assert min(seconds) < 0.04


def test_writes_nothing_outside_its_folder_and_is_quiet(tmp_path: Path) -> None:
    program = """
        import pathlib, warnings
        warnings.simplefilter("error", UserWarning)
        from google.auth.credentials import AnonymousCredentials
        from google.cloud import bigquery
        from airflow_gemini_batch.testing.bigquery.server import LocalBigQuery

        server = LocalBigQuery(pathlib.Path("inside")).start()
        client = bigquery.Client(
            project="p", credentials=AnonymousCredentials(), client_options={"api_endpoint": server.url}
        )
        client.create_dataset("d")
        client.load_table_from_json([{"a": 1}], "d.t", job_config=bigquery.LoadJobConfig(autodetect=True)).result()
        client.query("CREATE TABLE d.u OPTIONS(labels=[('a', 'b')]) AS SELECT a FROM d.t").result()
        print([tuple(row.values()) for row in client.list_rows("d.u")])
        """
    places = {name: str(tmp_path / name) for name in ("home", "temporary", "work")}
    for place in places.values():
        Path(place).mkdir()
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)],
        cwd=places["work"],
        env={"HOME": places["home"], "TMPDIR": places["temporary"], "PATH": ""},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.stdout, done.stderr, done.returncode) == ("[(1,)]\n", "", 0)
    assert {name: [path.name for path in Path(place).iterdir()] for name, place in places.items()} == {
        "home": [],
        "temporary": [],
        "work": ["inside"],
    }


def test_imports_without_the_emulator() -> None:
    program = (
        "import sys; import airflow_gemini_batch.testing.bigquery.server; print('bqemulator' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


def test_says_which_extra_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'airflow-gemini-batch\[local\]'"):
        LocalBigQuery(tmp_path).start()
