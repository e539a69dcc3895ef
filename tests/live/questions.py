"""What is asked: each open question with its readings, and the register of all of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.live.seen import Seen


@dataclass(frozen=True, slots=True)
class Answer:
    """What was seen.

    :param reading: one of the question's readings; empty when it was none of them.
    :param evidence: what was seen, in a line.
    """

    reading: str
    evidence: str


class NotAnsweredError(Exception):
    """The question could not be answered here; the text says why."""


@dataclass(frozen=True, slots=True)
class Question:
    """An open question.

    :param id: its name in the report and on the page.
    :param about: the chapter of the page.
    :param text: the question.
    :param source: who says what, and how sure that is.
    :param believed: the reading that the source speaks for; empty without one.
    :param readings: what the answer may be, and what the package does then.
    :param jobs: the probes that it reads.
    :param only_google: why the answer of a local server would say nothing; empty where it says something.
    :param ask: finds out; raises :class:`NotAnsweredError`.
    """

    id: str
    about: str
    text: str
    source: str
    believed: str
    readings: Mapping[str, str]
    jobs: tuple[str, ...]
    only_google: str
    ask: Callable[[Seen], Answer]


REGISTER: dict[str, Question] = {}


def question(
    id_: str,
    about: str,
    text: str,
    *,
    source: str,
    readings: Mapping[str, str],
    believed: str = "",
    jobs: tuple[str, ...] = (),
    only_google: str = "",
) -> Callable[[Callable[[Seen], Answer]], Callable[[Seen], Answer]]:
    """Register the function that asks a question."""
    assert id_ not in REGISTER, f"{id_} is asked twice"
    assert not believed or believed in readings, f"{id_}: {believed} is not a reading"

    def register(ask: Callable[[Seen], Answer]) -> Callable[[Seen], Answer]:
        REGISTER[id_] = Question(id_, about, text, source, believed, readings, jobs, only_google, ask)
        return ask

    return register
