"""The unit tests on each release of Airflow, each Python that is here, newest and lowest dependencies, as a table.

    python -m tests.matrix                                              # all cells: long
    python -m tests.matrix --airflow 3.1 --python 3.12 --dependencies lowest

``uv`` makes an environment for each cell, in a temporary folder that is removed after it; ``lowest`` is the lower bound
of each dependency in ``pyproject.toml``. A cell that can't be installed says why.
"""

from __future__ import annotations

import argparse
import itertools
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]
AIRFLOWS = ("2.11", "3.1", "3.2", "3.3")
PYTHONS = ("3.11", "3.12", "3.13")
RESOLUTIONS = {"newest": "highest", "lowest": "lowest-direct"}
SHOWN = ("apache-airflow", "apache-airflow-providers-google", "google-genai", "duckdb", "pyarrow")


def run(*command: object, **options: object) -> subprocess.CompletedProcess[str]:
    """Run a command in the checkout and return what it printed."""
    return subprocess.run(
        [str(part) for part in command], cwd=ROOT, capture_output=True, text=True, check=False, **options
    )


def uv(*command: object, **options: object) -> subprocess.CompletedProcess[str]:
    """Run uv, which installs no Python of its own here."""
    return run(sys.executable, "-m", "uv", "--no-python-downloads", *command, **options)


def row(airflow: str, version: str, dependencies: str) -> str:
    """Try one cell, and return its row of the table."""
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="matrix-") as name:
        folder = Path(name)
        python = folder / "venv" / "bin" / "python"
        found, result = "-", ""
        wanted = (f"{ROOT}[test]", newest_patch(airflow), "--resolution", RESOLUTIONS[dependencies])
        for step in (
            ("venv", "-q", "--python", version, folder / "venv"),
            ("pip", "install", "-q", "--python", python, "-e", *wanted),
        ):
            if not result and (done := uv(*step)).returncode:
                result = f"not installed: {' '.join(done.stderr.split())[:300]}"
        if not result:
            found = versions(uv("pip", "freeze", "--python", python).stdout)
            result = unit_tests(python, folder)
    minutes = (time.monotonic() - began) / 60
    return f"| {airflow} | {version} | {dependencies} | {found} | {result.replace('|', '/')} | {minutes:.0f} min |"


def newest_patch(airflow: str) -> str:
    """Return the newest patch release of a release of Airflow; the first ones do not run with today's libraries."""
    asked = ("pip", "compile", "-q", "--no-deps", "--no-header", "--no-annotate", "-")
    return uv(*asked, input=f"apache-airflow=={airflow}.*").stdout.strip()


def versions(freeze: str) -> str:
    """Return the versions that tell most of an environment, in the order of the table's head."""
    installed = dict(line.split("==") for line in freeze.splitlines() if "==" in line)
    return ", ".join(installed.get(name, "-") for name in SHOWN)


def unit_tests(python: Path, folder: Path) -> str:
    """Run the unit tests and return the last line that pytest prints."""
    done = run(python, "-m", "pytest", "-m", "unit", "-q", "-n", "1", "-o", f"cache_dir={folder / 'cache'}")
    lines = done.stdout.splitlines()
    failed = [line.split(" - ")[0] for line in lines if line.startswith(("FAILED", "ERROR"))]
    ends = [line for line in lines if re.search(r"\d+ (passed|failed|error)", line)]
    return (
        "; ".join([*ends[-1:], *failed[:5]]) or f"pytest ended with {done.returncode}: {done.stderr[-200:]}"
    )


def main() -> None:
    """Print the table, row by row."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--airflow", choices=AIRFLOWS, action="append")
    parser.add_argument("--python", choices=PYTHONS, action="append")
    parser.add_argument("--dependencies", choices=RESOLUTIONS, action="append")
    chosen = parser.parse_args()
    pythons = [each for each in chosen.python or PYTHONS if not uv("python", "find", each).returncode]
    for missing in set(chosen.python or PYTHONS) - set(pythons):
        print(f"Python {missing} is not here, so its cells are left out.", file=sys.stderr)
    print(f"| Airflow | Python | dependencies | {', '.join(SHOWN)} | unit tests | took |", flush=True)
    print("|---|---|---|---|---|---|", flush=True)
    for cell in itertools.product(chosen.airflow or AIRFLOWS, pythons, chosen.dependencies or RESOLUTIONS):
        print(row(*cell), flush=True)


if __name__ == "__main__":
    main()
