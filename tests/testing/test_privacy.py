"""The data of the local servers is for the user who runs them: modes, and another user who tries to read."""

from __future__ import annotations

import io
import os
import stat
import subprocess
import tempfile
from pathlib import Path

import pytest
from google.auth.credentials import AnonymousCredentials
from google.cloud import bigquery, storage

from airflow_gemini_batch.demo.workspace import Workspace
from airflow_gemini_batch.testing import PROJECT, LocalStack

NOBODY = 65534


@pytest.fixture
def shared():
    """A folder that every user of the machine can look into, as /tmp is."""
    with tempfile.TemporaryDirectory() as path:
        os.chmod(path, 0o755)
        yield Path(path)


@pytest.fixture
def stack(shared):
    with LocalStack(shared / "data") as stack:
        clients = {"project": PROJECT, "credentials": AnonymousCredentials()}
        objects = storage.Client(**clients, client_options={"api_endpoint": stack.storage.url})
        bucket = objects.create_bucket("private")
        bucket.blob("rows.txt").upload_from_string("secret")
        bucket.blob("large").upload_from_file(io.BytesIO(b"secret" * 100_000), size=None)
        bucket.blob("both").compose([bucket.blob("rows.txt"), bucket.blob("large")])
        tables = bigquery.Client(**clients, client_options={"api_endpoint": stack.bigquery.url})
        # An upload that has begun: its first chunk is on the disk.
        upload = f"{stack.bigquery.url}/upload/bigquery/v2/projects/{PROJECT}/jobs?uploadType=resumable"
        job = {"configuration": {"load": {"destinationTable": {"datasetId": "d", "tableId": "t"}}}}
        begun = tables._http.post(upload, json=job)
        address = begun.headers["Location"]
        assert address.startswith(stack.bigquery.url)
        chunk = b"secret" * 2**16
        sent = tables._http.put(address, data=chunk, headers={"Content-Range": f"bytes 0-{len(chunk) - 1}/*"})
        assert sent.status_code == 308
        yield stack


def modes(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): oct(stat.S_IMODE(path.stat().st_mode)) for path in folder.rglob("*")
    }


@pytest.mark.stack
def test_files_are_for_their_owner_only(stack, shared):
    found = modes(shared)
    assert found["data"] == found["data/storage"] == found["data/bigquery"] == "0o700"
    files = {name: mode for name, mode in found.items() if (shared / name).is_file()}
    assert len(files) >= 5, files
    assert {name: mode for name, mode in files.items() if mode != "0o600"} == {}


@pytest.mark.slow
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_another_user_reads_nothing(stack, shared):
    program = """
import os, sys
seen = []
for folder, _, names in os.walk(sys.argv[1]):
    for name in names:
        try:
            seen.append(open(os.path.join(folder, name), "rb").read())
        except OSError:
            pass
print(os.geteuid(), len(seen), os.listdir(sys.argv[1]))
"""
    # The interpreter of the tests may be in a folder that is closed to others.
    arguments = ["/usr/bin/env", "-i", "python3", "-c", program, str(shared)]
    identity = {"user": NOBODY, "group": NOBODY, "extra_groups": []}
    done = subprocess.run(arguments, capture_output=True, text=True, check=True, **identity)
    assert done.stdout.split(maxsplit=2) == [str(NOBODY), "0", "['data']\n"]


@pytest.mark.unit
def test_the_workspace_of_airflow_is_private_too(tmp_path):
    workspace = Workspace(tmp_path / "up")
    for _ in range(2):  # also one that was left behind with wider modes
        workspace.create()
        found = modes(workspace.folder)
        assert {name: found[name] for name in ("airflow", "tmp", "airflow.log")} == {
            "airflow": "0o700",
            "tmp": "0o700",
            "airflow.log": "0o600",
        }
        for path in workspace.folder.iterdir():
            path.chmod(0o755)
