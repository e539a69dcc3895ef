"""Kill workers, triggerers and schedulers with SIGKILL, and ask the server what it cost.

    python tests/crash/run.py --rounds 100 --full-rounds 3 --json

The quick level runs the operator and the trigger each in a process of its own, with Airflow's part (the next try,
the trigger started again from its arguments) played by the harness. The full level runs a real scheduler,
triggerer and API server. Both talk to the local servers; nothing leaves this machine.

The full level needs Airflow 3 and takes about a minute for each crash point and round. With ``--managed`` it runs as
managed Airflow does: Postgres, Celery with Redis, two workers and two triggerers; see ``services.py`` for what that
needs.

Prints one JSON line last: ``runs``, ``duplicate_jobs`` (jobs beyond those that a submission needs), ``lost_rows``
(requests without an answer), ``stuck_runs`` (not ended in time) and ``missed_crashes`` (rounds in which nothing was
killed), all of which but ``runs`` have to be 0, and the same for each crash point under ``points``. The exit code
is 1 when one is not.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path

# Of a script, Python only finds the modules beside it.
sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.crash.board import Board
from tests.crash.figures import total
from tests.crash.full import run_full
from tests.crash.full_points import FULL_POINTS
from tests.crash.points import POINTS
from tests.crash.quick import run_quick

CHECKOUT = Path(__file__).parents[2]


def main() -> int:
    """Run both levels and print the figures."""
    arguments = _arguments()
    board = Board()
    started = time.monotonic()
    with _folder(arguments.folder) as folder:
        escaped = _isolate(folder)
        with board.progress:
            wanted = arguments.point or [point.name for point in (*POINTS, *FULL_POINTS)]
            quick = [point for point in POINTS if point.name in wanted]
            full = [point for point in FULL_POINTS if point.name in wanted]
            if quick and arguments.rounds:
                run_quick(quick, arguments.rounds, arguments.lanes, folder, board)
            if full and arguments.full_rounds:
                run_full(full, arguments.full_rounds, folder, board, arguments.managed)
        if reached := escaped.exists():
            board.console.print(f"[red]reached for another host:[/red] {escaped.read_text()}")
    whole = total(board.figures.values())
    report = {
        **whole.to_json(),
        "seconds": round(time.monotonic() - started, 1),
        "points": {name: figures.to_json() for name, figures in board.figures.items()},
    }
    print(json.dumps(report))
    return 0 if whole.clean and not reached else 1


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=5, help="of each crash point at the quick level")
    parser.add_argument("--full-rounds", type=int, default=1, help="of each crash point at the full level")
    parser.add_argument("--lanes", type=int, default=2, help="rounds of the quick level at the same time")
    names = [point.name for point in (*POINTS, *FULL_POINTS)]
    parser.add_argument(
        "--point", action="append", choices=names, help="only this crash point; may be repeated"
    )
    parser.add_argument("--managed", action="store_true", help="the full level on Postgres and Celery")
    parser.add_argument(
        "--folder", type=Path, help="keep all logs and data there; by default they are removed"
    )
    parser.add_argument("--json", action="store_true", help="the default, and the only form")
    arguments = parser.parse_args()
    if arguments.full_rounds and int(version("apache-airflow").partition(".")[0]) < 3:
        parser.error(
            "the full level needs Airflow 3, whose parts can be killed one by one: give --full-rounds 0"
        )
    return arguments


@contextmanager
def _folder(kept: Path | None) -> Iterator[Path]:
    if kept:
        kept.mkdir(parents=True)
        yield kept.absolute()
        return
    with tempfile.TemporaryDirectory(prefix="gemini-batch-crash-", ignore_cleanup_errors=True) as name:
        yield Path(name)


def _isolate(folder: Path) -> Path:
    """Let processes started from here live in ``folder``, find this checkout, and reach no other host.

    Returns the file in which attempts to reach one are written down.
    """
    for key in list(os.environ):
        if key.startswith(("AIRFLOW_", "GOOGLE_", "BIGQUERY_", "STORAGE_")):
            del os.environ[key]
    escaped = folder / "escaped.txt"
    python_path = [str(CHECKOUT / "tests" / "guard"), str(CHECKOUT), os.environ.get("PYTHONPATH", "")]
    os.environ.update(
        {
            "AIRFLOW_HOME": str(folder / "airflow"),
            "AIRFLOW__CORE__LOAD_EXAMPLES": "false",
            "AIRFLOW__USAGE_DATA_COLLECTION__ENABLED": "false",
            "NO_GCE_CHECK": "true",
            "GUARD_REPORT": str(escaped),
            "PYTHONPATH": os.pathsep.join(filter(None, python_path)),
        }
    )
    import tests.guard.sitecustomize  # noqa: F401

    return escaped


if __name__ == "__main__":
    sys.exit(main())
