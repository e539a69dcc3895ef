"""``gemini-batch up`` notices when a part of Airflow ends."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading

import psutil
import pytest

from airflow_gemini_batch.demo.up import first_to_end

pytestmark = pytest.mark.slow

# As `airflow standalone` does it: it goes on when a part ends.
STANDALONE = """
import subprocess, sys
wait = "import sys; sys.stdin.read()"
parts = [subprocess.Popen([sys.executable, "-c", wait, "airflow", name]) for name in ("triggerer", "scheduler")]
print("ready", flush=True)
sys.stdin.read()
for part in parts:
    part.kill()
"""


@pytest.mark.parametrize(
    ("victim", "named"), [("scheduler", "`airflow scheduler`"), ("standalone", "Airflow")]
)
def test_part_that_ends_is_named(victim, named):
    with subprocess.Popen(
        [sys.executable, "-c", STANDALONE], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as standalone:
        assert standalone.stdout.readline() == b"ready\n"
        parts = psutil.Process(standalone.pid).children()

        def end() -> None:
            for part in parts:
                if victim in part.cmdline():
                    part.send_signal(signal.SIGKILL)
            if victim == "standalone":
                standalone.stdin.close()

        # Nobody can read the command of a part that has ended before it is looked at.
        ending = threading.Timer(1.0, end)
        ending.start()
        try:
            assert first_to_end(standalone) == named
        finally:
            ending.join()
            standalone.kill()
            for part in parts:
                if part.is_running():
                    part.kill()
