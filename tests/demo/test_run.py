from __future__ import annotations

import re

import pytest

from airflow_gemini_batch.demo.run import what_killed


@pytest.mark.parametrize(
    ("returncode", "said"),
    [
        (-9, r"killed \(SIGKILL\).*memory runs out.*fewer rows"),
        (-15, "ended by the signal SIGTERM"),
        (1, "^$"),
        (0, "^$"),
    ],
)
def test_signal_that_ended_airflow_is_named(returncode: int, said: str) -> None:
    assert re.search(said, what_killed(returncode))
