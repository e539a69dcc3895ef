"""Have recorded statements analyzed: ``python -m tests.googlesql FOLDER``. Exits with 1 when one is refused."""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

import orjson

from tests.googlesql.analyzer import Case, judged
from tests.googlesql.service import MISSING


def recorded(folder: Path) -> Iterator[Case]:
    """Yield the statements that were recorded into a folder."""
    for file in sorted(folder.glob("*.jsonl")):
        for line in file.read_bytes().splitlines():
            yield Case(**orjson.loads(line))


def different(cases: Iterable[Case]) -> list[Case]:
    """Return the statements without those that differ in names of tables, digests and values only."""
    found: dict[str, Case] = {}
    for case in cases:
        sql = case.sql
        for number, name in enumerate(case.tables):
            sql = sql.replace(f"`{name}`", f"`table {number}`")
        sql = re.sub(r"`[^`]+\.[^`]+\.[^`]+`", "`new table`", re.sub(r"[0-9a-f]{12,}", "digest", sql))
        found.setdefault(f"{sql}\n{list(case.tables.values())}\n{case.parameters}", case)
    return list(found.values())


def main(folder: str) -> str | None:
    """Print what is refused; returns a message when anything is, or when nothing was analyzed."""
    if MISSING:
        return MISSING
    began = time.perf_counter()
    cases = list(recorded(Path(folder)))
    few = different(cases)
    refused = [one for one in judged(few) if one.faults]
    for one in refused:
        print(f"{one.case.name}\n  {'; '.join(one.faults)}\n  {one.case.sql[:300]!r}")
    seconds = time.perf_counter() - began
    print(f"{len(cases)} statements, {len(few)} different ones, {len(refused)} refused, {seconds:.1f} s")
    if not cases:
        return f"no statements were recorded in {folder}"
    return f"Google's SQL analyzer refuses {len(refused)} statements" if refused else None


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
