"""The quick level: many rounds, several at a time, on one set of storage servers."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from airflow_gemini_batch.testing.stack import LocalStack
from tests.crash.board import Board
from tests.crash.points import CrashPoint
from tests.crash.rounds import BUCKET, play_round

# On a busy machine a run may end before it is killed. Such a round says nothing, so it is played again.
_ATTEMPTS = 5


def run_quick(points: Sequence[CrashPoint], rounds: int, lanes: int, folder: Path, board: Board) -> None:
    """Play the rounds.

    :param rounds: of each point.
    :param lanes: rounds that are played at the same time.
    """
    for point in points:
        board.expect(point.name, rounds)
    with LocalStack(folder / "data") as stack, ThreadPoolExecutor(lanes) as pool:
        # Inherited by the process that the others are forked from, which starts with the first round.
        os.environ.update(stack.environment())
        stack.storage.create_bucket(BUCKET)

        def play(point: CrashPoint, number: int) -> None:
            started = time.monotonic()
            log = folder / f"{point.name}-{number}.log"
            for attempt in range(_ATTEMPTS):
                outcome = play_round(point, f"{point.name}-{number}-{attempt}", stack, log)
                if not outcome.missed:
                    break
            board.record(point.name, outcome, time.monotonic() - started, log)

        # The points take turns, so that a run that is cut short has tried them all.
        timers = [pool.submit(play, point, number) for number in range(rounds) for point in points]
        for timer in timers:
            timer.result()
