"""Have recorded statements analyzed: ``python -m tests.googlesql FOLDER``. Exits with 1 when one is refused."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import orjson

from tests.googlesql.analyzer import Case
from tests.googlesql.service import MISSING
from tests.googlesql.verdicts import different, new, refused


def recorded(folder: Path) -> Iterator[Case]:
    """Yield the statements that were recorded into a folder."""
    for file in sorted(folder.glob("*.jsonl")):
        for line in file.read_bytes().splitlines():
            yield Case(**orjson.loads(line))


def main(folder: str) -> str | None:
    """Print what is refused; returns a message when anything is, or when nothing was recorded."""
    if MISSING:
        return MISSING
    began = time.perf_counter()
    cases = list(recorded(Path(folder)))
    few = different(cases)
    asked = list(new(few).values())
    processes = os.cpu_count() or 1
    with ProcessPoolExecutor(processes) as pool:
        parts = pool.map(refused, (asked[number::processes] for number in range(processes)))
    faults = [fault for part in parts for fault in part]
    seconds = time.perf_counter() - began
    print(*faults, sep="\n")
    print(f"{len(cases)} statements, {len(few)} different ones, {len(asked)} of them new, {seconds:.1f} s")
    if not cases:
        return f"no statements were recorded in {folder}"
    return f"Google's SQL analyzer refuses {len(faults)} statements" if faults else None


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
