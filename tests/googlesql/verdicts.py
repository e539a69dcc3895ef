"""Which statements are refused, of those that the same judge has not taken before.

A file in the cache folder names what was found without fault, by digests of all that a verdict depends on: statement,
catalog, parameters, releases of the libraries, and the sources of this folder. What is refused is not kept, and the
controls do not come through here. With another cache folder, everything is analyzed again.
"""

from __future__ import annotations

import functools
import hashlib
import re
import sys
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import TypeVar

from tests.googlesql.analyzer import Case, judged
from tests.googlesql.rules import unquoted
from tests.googlesql.service import cache_folder

T = TypeVar("T")
_MOST_BYTES = 10_000_000
_TABLE = re.compile(r"`[^`.\s]+\.[^`.\s]+\.[^`.\s]+`")


def different(cases: Iterable[Case], *, nested: bool = False) -> dict[str, Case]:
    """Return cases by keys, without those that differ in digests and in names of tables only.

    :param nested: see :func:`tests.googlesql.analyzer.judged`. The name of a table means something then.
    """
    return {
        key_of(nested, (case.sql, case.tables, case.parameters) if nested else form_of(case)): case
        for case in cases
    }


def refused(cases: Iterable[Case], *, nested: bool = False) -> list[str]:
    """Return what is refused of different cases, and why."""

    def analyzed(asked: Iterable[Case]) -> Iterator[tuple[str, ...]]:
        return (one.faults for one in judged(asked, nested=nested))

    faulty = with_faults(different(cases, nested=nested), analyzed)
    return [f"{faults}: {case.name:.300}\n  {case.sql[:300]!r}" for case, faults in faulty]


def with_faults(
    things: Mapping[str, T], judging: Callable[[Collection[T]], Iterable[tuple[str, ...]]]
) -> Iterator[tuple[T, str]]:
    """Have those judged whose keys are not kept, yield those with faults, and keep the keys of the others."""
    asked = new(things)
    for (key, thing), faults in zip(asked.items(), judging(asked.values()), strict=True):
        if faults:
            yield thing, "; ".join(faults)
        else:
            with _file().open("a") as file:
                file.write(f"{key}\n")


def new(things: Mapping[str, T]) -> dict[str, T]:
    """Return those whose keys are not kept."""
    kept = set(_file().read_text().split())
    return {key: thing for key, thing in things.items() if key not in kept}


def form_of(case: Case) -> object:
    """Return what is analyzed of a case, with numbers instead of digests and of the names of tables."""
    tables = {f"`{name}`": number for number, name in enumerate(case.tables)}
    digests: dict[str, int] = {}

    def table(found: re.Match[str]) -> str:
        is_table = found[0] in tables or _TABLE.fullmatch(found[0])
        return f"`{tables.setdefault(found[0], len(tables))}`" if is_table else found[0]

    def digest(found: re.Match[str]) -> str:
        return f"digest {digests.setdefault(found[0], len(digests))}"

    sql = re.sub(r"[0-9a-f]{12,}", digest, unquoted(case.sql, table))
    return sql, list(case.tables.values()), case.parameters


def key_of(*parts: object) -> str:
    """Return the digest of what a verdict depends on."""
    return hashlib.sha256(repr((judge(), parts)).encode()).hexdigest()


@functools.cache
def judge(sources: Path = Path(__file__).parent) -> str:
    """Return the digest of what a verdict depends on beside the statement."""
    libraries = [version(name) for name in ("zetasql", "wasmtime", "protobuf", "tzdata")]
    texts = [file.read_bytes() for file in sorted(sources.glob("*.py"))]
    return hashlib.sha256(repr((sys.version, libraries, texts)).encode()).hexdigest()


def _file() -> Path:
    file = cache_folder() / "taken.txt"
    if not file.exists() or file.stat().st_size > _MOST_BYTES:
        file.write_text("")
    return file
