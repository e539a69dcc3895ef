from __future__ import annotations

import signal
import socket
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

COMMAND = str(Path(sys.executable).parent / "gemini-batch")


@pytest.fixture
def up(tmp_path):
    """``gemini-batch up``, interrupted at the end as by Ctrl-C."""
    with closing(socket.create_server(("127.0.0.1", 0))) as free:
        port = free.getsockname()[1]
    arguments = [
        "--port",
        str(port),
        "--queue-seconds",
        "1",
        "--run-seconds",
        "8",
        "--folder",
        str(tmp_path / "up"),
    ]
    with (tmp_path / "up.log").open("w") as log:
        process = subprocess.Popen(
            [COMMAND, "up", *arguments], stdout=log, stderr=subprocess.STDOUT, start_new_session=True
        )
    yield process
    if process.poll() is None:
        process.send_signal(signal.SIGINT)
        process.wait(timeout=300)
