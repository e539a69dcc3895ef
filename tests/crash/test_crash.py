from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.crash.points import POINTS

pytestmark = pytest.mark.slow

RUN = Path(__file__).parent / "run.py"


def test_a_kill_at_any_point_pays_no_job_twice_and_loses_no_row():
    ended = subprocess.run(
        [sys.executable, str(RUN), "--rounds", "1", "--full-rounds", "0", "--json"],
        capture_output=True,
        text=True,
        timeout=3600,  # each run has a limit of its own
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    report = json.loads(ended.stdout.splitlines()[-1])
    assert report["points"].keys() == {point.name for point in POINTS}
    figures = ("runs", "duplicate_jobs", "lost_rows", "stuck_runs", "missed_crashes")
    assert [report[name] for name in figures] == [len(POINTS), 0, 0, 0, 0]
