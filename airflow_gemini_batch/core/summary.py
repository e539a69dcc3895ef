"""The summary of a task that a person reads: at the end of its log, in its error, wherever else it is shown.

It is plain text with short lines, since Airflow's log page cuts long ones. Addresses are never broken.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Self

from airflow_gemini_batch.core.addresses import BigQueryAddress
from airflow_gemini_batch.core.shown import shown

WIDTH = 84
"""Most characters of a line: what Airflow's log page shows beside the grid on a screen 1,280 pixels wide."""

# A number stays on the line of its unit, bound to it by a character that no text holds.
_BEFORE_UNIT = re.compile(r"(?<=\d) (?=(?:s|min|h|d)\b)")
_BOUND = "\ue000"

MOST_JOBS = 5
"""Jobs that are described one by one."""

MOST_FAILURES = 5
MOST_WARNINGS = 10
LONGEST_MESSAGE = 200
LONGEST_PROMPT = 400
LONGEST_KEY = 60

_INDENT = 12


@dataclass(frozen=True, slots=True)
class FailedRows:
    """Rows that failed in one way.

    :param outcome: as its name is.
    :param message: of one of them.
    :param count: how many there are; ``None`` where only some messages are known.
    :param keys: of some of them, where keys are known.
    :param code: of their error, where they have one.
    """

    outcome: str
    message: str
    count: int | None = None
    keys: Sequence[str] = ()
    code: int | None = None


@dataclass(frozen=True, slots=True)
class JobSummary:
    """One batch job.

    :param name: its resource name.
    :param state: without prefix, such as ``SUCCEEDED``; empty where it is not known.
    :param url: its page in the console.
    :param shard: which of several mapped jobs it belongs to, from 1.
    :param follow_up: 0 for the first job of a shard, from 1 for its follow-ups.
    :param rows: its rows by outcome.
    :param output: what it wrote; empty without output.
    :param created: when it was created, as far as the service says; so are the others.
    """

    name: str
    state: str
    url: str
    shard: int = 1
    follow_up: int = 0
    rows: Mapping[str, int] = field(default_factory=dict)
    output: str = ""
    created: datetime | None = None
    started: datetime | None = None
    ended: datetime | None = None

    @property
    def queued_seconds(self) -> float | None:
        """How long it waited to start, or in vain; ``None`` where that is not known."""
        return _seconds(self.created, self.started or self.ended)

    @property
    def run_seconds(self) -> float | None:
        """How long it ran; ``None`` where that is not known."""
        return _seconds(self.started, self.ended)


@dataclass(frozen=True, slots=True)
class Summary:
    """What a task has done; ``str()`` gives the text. What is empty is left out.

    :param headline: the most important sentence or two.
    :param error: what the service says.
    :param rows: numbers of rows by what they are called, such as an outcome.
    :param failures: the failed rows by kind, most important first.
    :param warnings: what is not wrong enough to fail.
    :param plan: why rows are asked, a line for each reason.
    :param prompt: of one request, as the model reads it.
    :param tokens: by kind.
    :param cost: as text.
    :param jobs: shard by shard, each first job before its follow-ups.
    :param places: addresses by what is there, one a line.
    :param query: shows the failed rows: a statement, or a command.
    :param next_step: what happens next, or what to do.
    """

    headline: str
    error: str = ""
    rows: Mapping[str, int] = field(default_factory=dict)
    failures: Sequence[FailedRows] = ()
    warnings: Sequence[str] = ()
    plan: Sequence[str] = ()
    prompt: str = ""
    tokens: Mapping[str, int] = field(default_factory=dict)
    cost: str = ""
    jobs: Sequence[JobSummary] = ()
    places: Mapping[str, str] = field(default_factory=dict)
    query: str = ""
    next_step: str = ""

    def without_rows(self) -> Self:
        """Return the summary without anything of a row, for places that more people read than the log."""
        failures = [replace(failed, message="", keys=()) for failed in self.failures if failed.count]
        warnings = [f"{number_of(len(self.warnings), 'warning')} in the log"] if self.warnings else []
        return replace(self, prompt="", failures=failures, warnings=warnings)

    def __str__(self) -> str:
        spent = ", ".join(f"{count:,} {kind}" for kind, count in self.tokens.items() if count)
        return "\n".join(
            [
                *_wrapped(self.headline),
                *_labelled("Error", self.error),
                *_labelled("Rows", counted(self.rows)),
                *_items("Failed", map(_failure_text, self.failures), MOST_FAILURES),
                *_items("Warning", self.warnings, MOST_WARNINGS),
                *_items("Asked", self.plan, len(self.plan)),
                *_wrapped(_prompt(self.prompt), _column("Prompt"), breaks_words=True),
                *_labelled("Tokens", spent),
                *_labelled("Cost", self.cost),
                *job_lines(self.jobs),
                *(line for name, address in self.places.items() for line in _place(name, address)),
                *_verbatim("Query", self.query),
                *_labelled("Next", self.next_step),
            ]
        )


def number_of(count: int, noun: str) -> str:
    """Return a number with its noun: ``1 job``, ``1,200 rows``."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def counted(rows: Mapping[str, int]) -> str:
    """Return numbers of rows as text, without those that are 0."""
    return ", ".join(f"{count:,} {name}" for name, count in rows.items() if count)


def job_lines(jobs: Sequence[JobSummary]) -> list[str]:
    """Return the lines about jobs: their totals where there are several, then the first ones one by one."""
    if not jobs:
        return []
    lines = []
    if len(jobs) > 1:
        followed = sum(1 for job in jobs if job.follow_up)
        parts = [f"{len(jobs) - followed:,}"]
        if followed:
            parts.append(number_of(followed, "follow-up"))
        times = _times(
            max(filter(None, (job.queued_seconds for job in jobs)), default=None),
            max(filter(None, (job.run_seconds for job in jobs)), default=None),
            "up to ",
        )
        lines += _labelled("Jobs", "; ".join([" and ".join(parts), *times]))
    several = len({job.shard for job in jobs}) > 1
    for job in jobs[:MOST_JOBS]:
        lines += _job(job, several=several)
    if (more := len(jobs) - MOST_JOBS) > 0:
        lines += _labelled("", f"and {more:,} more")
    return lines


def _job(job: JobSummary, *, several: bool) -> Iterator[str]:
    number = f" {job.shard}" if several else ""
    named = f"Follow-up {job.follow_up}" if job.follow_up else f"Job{number}"
    rows = f", {counted(job.rows)}" if any(job.rows.values()) else ""
    of_job = f"of job{number}: " if job.follow_up and number else ""
    facts = "; ".join([f"{of_job}{job.state}{rows}", *_times(job.queued_seconds, job.run_seconds)])
    if job.state:
        yield from _labelled(named, facts)
        named = ""
    yield from _verbatim(named, f"{job.name}\n{job.url}" if job.url else job.name)
    if job.output:
        yield from _place("Answers", job.output)


def _place(name: str, addresses: str) -> Iterator[str]:
    for number, address in enumerate(addresses.split("\n")):
        yield from _verbatim("" if number else name, shown(address))
        if url := console_page(address):
            yield from _verbatim("", url)


def console_page(address: str) -> str:
    """Return the page about a table in the Google Cloud console; empty for any other address."""
    try:
        table = BigQueryAddress.parse(address)
    except ValueError:
        return ""
    return table.console_url


def _times(queued: float | None, ran: float | None, most: str = "") -> list[str]:
    parts = [
        f"{verb} {most}{duration(seconds)}"
        for verb, seconds in (("queued", queued), ("ran", ran))
        if seconds is not None
    ]
    return [", ".join(parts)] if parts else []


def duration(seconds: float) -> str:
    """Return a duration as text of two units at most: ``40 s``, ``12 min``, ``3 h 5 min``, ``2 d 7 h``."""
    minutes = round(seconds / 60)
    if seconds < 99.5:
        return f"{seconds:.0f} s"
    if minutes < 100:
        return f"{minutes} min"
    units = (("d", 1440, "h", 60), ("h", 60, "min", 1))
    large, size, small, part = units[0] if minutes >= 2880 else units[1]
    rest = minutes % size // part
    return f"{minutes // size} {large}" + (f" {rest} {small}" if rest else "")


def _seconds(since: datetime | None, until: datetime | None) -> float | None:
    return max((until - since).total_seconds(), 0.0) if since and until else None


def _failure_text(failed: FailedRows) -> str:
    named = failed.outcome if failed.count is None else f"{failed.count:,} {failed.outcome}"
    message = f": {_shortened(shown(failed.message), LONGEST_MESSAGE)}" if failed.message else ""
    keys = ", ".join(_shortened(shown(key), LONGEST_KEY) for key in failed.keys)
    plural = "keys" if len(failed.keys) > 1 else "key"
    return f"{named}{message}" + (f" ({plural} {keys})" if keys else "")


def _prompt(text: str) -> str:
    """Return a prompt without blank lines, shortened."""
    return _shortened("\n".join(filter(None, map(str.rstrip, text.splitlines()))), LONGEST_PROMPT)


def _shortened(text: str, longest: int) -> str:
    return text if len(text) <= longest else f"{text[: longest - 1]}…"


def _items(label: str, texts: Iterable[str], most: int) -> list[str]:
    """Return the lines of a list, the first ones of which are shown."""
    listed = list(texts)
    lines = []
    for number, text in enumerate(listed[:most]):
        lines += _labelled("" if number else label, text)
    if (more := len(listed) - most) > 0:
        lines += _labelled("", f"and {more:,} more")
    return lines


def _labelled(label: str, text: str) -> list[str]:
    """Return a text behind its label, which none of its further lines has."""
    return _wrapped(text, _column(label)) if text else []


def _column(label: str) -> str:
    return label.ljust(_INDENT - 1) + " "


def _wrapped(text: str, first: str = "", *, breaks_words: bool = False) -> list[str]:
    """Return the lines of a text, each below the text of the first.

    :param first: what the first line begins with.
    """
    rest = " " * len(first)
    lines: list[str] = []
    for line in text.split("\n") if text else ():
        lines += textwrap.wrap(
            _BEFORE_UNIT.sub(_BOUND, shown(line)),
            WIDTH,
            initial_indent=rest if lines else first,
            subsequent_indent=rest,
            break_long_words=breaks_words,
            break_on_hyphens=False,
        )
    return [line.replace(_BOUND, " ") for line in lines]


def _verbatim(label: str, text: str) -> list[str]:
    """Return lines that are copied as they are."""
    rest = " " * _INDENT
    return [(rest if n else _column(label)) + line for n, line in enumerate(text.split("\n"))] if text else []
