"""The unit tests on each release of Airflow, Python found here, and newest and lowest dependencies, as a table.

    python -m tests.matrix                                              # all cells: long
    python -m tests.matrix --airflow 3.1 --python 3.12 --dependencies lowest

Each cell gets a virtual environment of its own, in a temporary folder that is removed after it. ``lowest`` pins what
the package depends on to the lower bounds of ``pyproject.toml``. A cell that can't be installed says why.
"""

from __future__ import annotations

import argparse
import itertools
import re
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Iterator
from pathlib import Path

from packaging.requirements import Requirement
from packaging.version import Version

ROOT = Path(__file__).parents[1]
AIRFLOWS = ("2.11", "3.1", "3.2", "3.3")
PYTHONS = ("3.11", "3.12", "3.13")
DEPENDENCIES = ("newest", "lowest")


def lower_bounds() -> dict[str, str]:
    """Return the lowest version of each dependency that all of the package and of the local servers allow."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    bounds: dict[str, Version] = {}
    for text in [*project["dependencies"], *project["optional-dependencies"]["local"]]:
        requirement = Requirement(text)
        for specifier in requirement.specifier:
            if specifier.operator == ">=" and requirement.name != "apache-airflow":
                version = Version(specifier.version)
                bounds[requirement.name] = max(version, bounds.get(requirement.name, version))
    return {name: str(version) for name, version in bounds.items()}


def found_pythons() -> Iterator[tuple[str, str]]:
    """Yield the version and the command of each Python that is here, this one among them."""
    for version in PYTHONS:
        command = (
            sys.executable if sys.version.startswith(f"{version}.") else shutil.which(f"python{version}")
        )
        if command is None:
            print(f"Python {version} is not on the PATH, so its cells are left out.", file=sys.stderr)
        else:
            yield version, command


def install(python: Path, airflow: str, dependencies: str, folder: Path) -> str:
    """Install the checkout, and return why that failed, if it did."""
    command = [
        str(python),
        "-m",
        "pip",
        "install",
        "-q",
        "-e",
        f"{ROOT}[dev]",
        f"apache-airflow=={airflow}.*",
    ]
    if dependencies == "lowest":
        pins = folder / "lowest.txt"
        pins.write_text("".join(f"{name}=={version}\n" for name, version in lower_bounds().items()))
        command += ["--constraint", str(pins)]
    done = subprocess.run(command, capture_output=True, text=True)
    if not done.returncode:
        return ""
    lines = [line for line in done.stderr.splitlines() if line.strip() and not line.startswith("WARNING")]
    causes = [line for line in lines if "depends on" in line or "requires" in line or "No matching" in line]
    errors = [line for line in lines if line.startswith("ERROR")]
    return " ".join([*causes[:2], *errors][:2] or lines[-1:]).strip() or f"pip ended with {done.returncode}"


def test(python: Path, folder: Path) -> str:
    """Run the unit tests and return the last line that pytest prints."""
    command = [
        str(python),
        "-m",
        "pytest",
        "-m",
        "unit",
        "-q",
        "-n",
        "1",
        "-o",
        f"cache_dir={folder / 'cache'}",
    ]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    lines = done.stdout.splitlines()
    failed = [line.split(" - ")[0] for line in lines if line.startswith(("FAILED", "ERROR"))]
    ends = [line for line in lines if re.search(r"\d+ (passed|failed|error)", line)]
    return (
        "; ".join([*ends[-1:], *failed[:5]]) or f"pytest ended with {done.returncode}: {done.stderr[-200:]}"
    )


def row(airflow: str, python: tuple[str, str], dependencies: str) -> str:
    """Try one cell, and return its row of the table."""
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="matrix-") as name:
        folder = Path(name)
        subprocess.run([python[1], "-m", "venv", str(folder / "venv")], check=True)
        own = folder / "venv" / "bin" / "python"
        problem = install(own, airflow, dependencies, folder)
        result = f"not installed: {problem}" if problem else test(own, folder)
    minutes = (time.monotonic() - began) / 60
    return f"| {airflow} | {python[0]} | {dependencies} | {result.replace('|', '/')} | {minutes:.0f} min |"


def main() -> None:
    """Print the table, row by row."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--airflow", choices=AIRFLOWS, action="append")
    parser.add_argument("--python", choices=PYTHONS, action="append")
    parser.add_argument("--dependencies", choices=DEPENDENCIES, action="append")
    chosen = parser.parse_args()
    pythons = [each for each in found_pythons() if each[0] in (chosen.python or PYTHONS)]
    print("| Airflow | Python | dependencies | unit tests | took |\n|---|---|---|---|---|", flush=True)
    cells = itertools.product(chosen.airflow or AIRFLOWS, pythons, chosen.dependencies or DEPENDENCIES)
    for airflow, python, dependencies in cells:
        print(row(airflow, python, dependencies), flush=True)


if __name__ == "__main__":
    main()
