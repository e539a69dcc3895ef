"""A changed question is rolled out over five nights, with kills in between, and each row is paid once."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.crash.roll_out import CANARY_ROWS, NIGHTS, ROWS, ROWS_A_NIGHT

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("seed", [1])
def test_each_row_is_paid_once(tmp_path, seed: int) -> None:
    # In a process of its own, from which those that are killed are forked.
    ended = subprocess.run(
        [sys.executable, "-m", "tests.crash.roll_out", str(tmp_path), str(seed)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    found = json.loads(ended.stdout.splitlines()[-1])
    assert found["new"] == [min(ROWS, CANARY_ROWS + night * ROWS_A_NIGHT) for night in range(1, NIGHTS + 1)]
    assert found["paid"] == {f"{word} {row}": 1 for row in range(ROWS) for word in ("Describe", "Praise")}
    assert len(found["killed"]) > NIGHTS, found["killed"]
