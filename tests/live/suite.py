"""One run: prepare, submit, wait, ask, remove, report."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Collection
from datetime import UTC, datetime

from airflow_gemini_batch import __version__
from tests.live import about_bigquery, about_jobs, about_rows, night
from tests.live.jobs import Jobs, check_cost, write_requests
from tests.live.place import Place
from tests.live.questions import REGISTER, NotAnsweredError, Question
from tests.live.report import Line, report
from tests.live.seen import Seen
from tests.live.settings import Settings

log = logging.getLogger("tests.live")

# Their questions read the pipeline.
_OF_THE_NIGHT = frozenset({"dry-runs", "pipeline"})
# The first job of a list of others is the one whose appearance is timed.
_TIMED = ("generation_files",)

# The modules that ask, in the order of the page; importing them registers their questions.
_CHAPTERS = [chapter.__name__ for chapter in (about_rows, about_jobs, about_bigquery)]

QUESTIONS = dict(sorted(REGISTER.items(), key=lambda item: _CHAPTERS.index(item[1].ask.__module__)))
"""All questions, by their ids."""


def ask(settings: Settings, only: Collection[str] = ()) -> tuple[list[Line], str]:
    """Ask the questions, or some of them, and return what was answered and the report.

    Raises :class:`SystemExit` before anything is submitted when the project does not fit or the jobs may cost too much.
    """
    chosen = [one for id_, one in QUESTIONS.items() if not only or id_ in only]
    place = Place(settings, run=f"{datetime.now(UTC):%m%d%H%M}{secrets.token_hex(3)}")
    place.check()
    needed = dict.fromkeys(_TIMED)
    needed |= dict.fromkeys(probe for one in chosen for probe in one.jobs)
    plays = any(one.id in _OF_THE_NIGHT for one in chosen)
    jobs = Jobs(place)
    left: list[str] = []
    try:
        submissions = write_requests(place, needed)
        cost = check_cost(place, submissions, [night.expected(place)] if plays else [])
        log.info("%d questions, %s", len(chosen), cost)
        jobs.submit(submissions)
        played = night.play(place) if plays else None
        jobs.wait()
        seen = Seen(place, jobs.ran, played, jobs.appeared_after)
        lines = [_line(one, seen) for one in chosen]
    finally:
        left += jobs.remove()
        left += place.clean()
        for one in left:
            log.warning("Not removed: %s", one)
    facts = {
        "package": __version__,
        "day": f"{datetime.now(UTC):%Y-%m-%d} (UTC)",
        "location": settings.location,
        "model": settings.model,
        "cost": cost,
    }
    return lines, place.mask(report(lines, facts, left)).replace(place.run, "RUN")


def _line(one: Question, seen: Seen) -> Line:
    if one.only_google and not seen.place.settings.is_google:
        return Line(one, None, one.only_google)
    try:
        answer = one.ask(seen)
    except NotAnsweredError as error:
        return Line(one, None, str(error))
    except Exception as error:
        log.exception("%s could not be asked", one.id)
        return Line(one, None, f"{type(error).__name__}: {error}")
    return Line(one, answer)
