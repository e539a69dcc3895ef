"""Rows that land in a target that has rows of their keys: in tables and in files the newer ones win."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from tests.landing.landings import DAY, bad, good


@dataclass(frozen=True)
class Landed:
    """One answer or failure, and the day on which it came."""

    text: str
    day: int
    ok: bool = True

    @property
    def cells(self) -> dict[str, Any]:
        cells = good(self.text) if self.ok else bad(400, self.text)
        return {
            **cells,
            "processed_time": (dt.datetime.fromisoformat(DAY) + dt.timedelta(self.day)).isoformat(),
        }


@dataclass(frozen=True)
class Case:
    """What lands one after the other, and what the target and the failures hold afterwards."""

    name: str
    landings: tuple[Landed, ...]
    answer: str | None
    failure: str | None = None


def _ok(text: str, day: int) -> Landed:
    return Landed(text, day)


def _failed(text: str, day: int) -> Landed:
    return Landed(text, day, ok=False)


CASES = [
    Case("answer", (_ok("a", 1),), "a"),
    Case("failure", (_failed("f", 1),), None, "f"),
    Case("newer-answer", (_ok("a", 1), _ok("b", 2)), "b"),
    Case("older-answer", (_ok("a", 2), _ok("b", 1)), "a"),
    Case("answer-of-the-same-time", (_ok("a", 1), _ok("b", 1)), "b"),
    Case("newer-failure", (_failed("f", 1), _failed("g", 2)), None, "g"),
    Case("older-failure", (_failed("f", 2), _failed("g", 1)), None, "f"),
    Case("failure-of-the-same-time", (_failed("f", 1), _failed("g", 1)), None, "g"),
    Case("answer-after-failure", (_failed("f", 1), _ok("a", 2)), "a"),
    Case("answer-with-failure", (_failed("f", 1), _ok("a", 1)), "a"),
    Case("answer-before-failure", (_failed("f", 2), _ok("a", 1)), "a", "f"),
    Case("failure-after-answer", (_ok("a", 1), _failed("f", 2)), "a", "f"),
    Case("failure-with-answer", (_ok("a", 1), _failed("f", 1)), "a", "f"),
    Case("failure-before-answer", (_ok("a", 2), _failed("f", 1)), "a"),
    Case("late-failure-of-three", (_ok("a", 1), _ok("b", 3), _failed("f", 2)), "b"),
]


def land_all(land: Callable[..., Any]) -> None:
    """Land the first rows of all cases, then the second, and so on."""
    for number in range(max(len(case.landings) for case in CASES)):
        land(*((case.name, case.landings[number].cells) for case in CASES if number < len(case.landings)))


def check(answers: Mapping[str, str], failures: Mapping[str, str]) -> None:
    assert answers == {case.name: case.answer for case in CASES if case.answer}
    found = {key: message.partition('"message": "')[2][:1] for key, message in failures.items()}
    assert found == {case.name: case.failure for case in CASES if case.failure}
