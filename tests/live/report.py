"""The report of a run, and the page that lists the questions: both Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from tests.live.questions import Answer, Question

NOT_ANSWERED = "not answered here"


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the report.

    :param answer: None when there is none; then ``why`` says why.
    """

    question: Question
    answer: Answer | None
    why: str = ""

    @property
    def reading(self) -> str:
        """What holds, or that nothing is known."""
        if self.answer is None:
            return NOT_ANSWERED
        return self.answer.reading or "none of those that were expected"


def report(lines: Iterable[Line], facts: Mapping[str, str], left: Iterable[str] = ()) -> str:
    """Return the report.

    :param facts: of the run, by name.
    :param left: what could not be removed.
    """
    lines, left = list(lines), list(left)
    answered = [line for line in lines if line.answer]
    expected = [line for line in answered if line.question.believed == line.reading]
    other = [line for line in answered if line.question.believed not in ("", line.reading)]
    text = ["# Open questions, asked", ""]
    text += [f"- {name}: {fact}" for name, fact in facts.items()]
    text += [
        f"- {len(lines)} questions: {len(answered)} answered, {len(expected)} as expected, {len(other)} otherwise",
        "",
        "| question | expected | which reading holds | evidence |",
        "|---|---|---|---|",
    ]
    for line in lines:
        one = line.question
        expectation = f"{one.believed or 'open'} ({one.source})"
        mark = " **(not as expected)**" if line in other else ""
        seen = line.answer.evidence if line.answer else line.why
        cells = (f"`{one.id}`: {one.text}", expectation, line.reading + mark, seen)
        text.append(f"| {' | '.join(map(_cell, cells))} |")
    text += ["", "Everything that the run made was removed." if not left else "Not removed:"]
    text += [f"- {_cell(one)}" for one in left]
    return "\n".join(text) + "\n"


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def page(questions: Iterable[Question]) -> str:
    """Return the text of ``docs/open-questions.md``."""
    text = [_HEAD]
    about = ""
    for one in questions:
        if one.about != about:
            about = one.about
            text += ["", f"## {about}", "", _COLUMNS, "|---|---|---|---|"]
        readings = [
            f"{f'**{reading}**' if reading == one.believed else reading}: {does or 'nothing depends on it'}"
            for reading, does in one.readings.items()
        ]
        cells = (f"`{one.id}`", one.text, one.source, "<br>".join(readings))
        text.append(f"| {' | '.join(map(_cell, cells))} |")
    return "\n".join(text) + "\n"


_COLUMNS = "| id | question | known from | reading: what the package does then |"

_HEAD = """# Open questions

What this package believes about Vertex AI and BigQuery from documentation, from reports or by inference, and what it
does when the belief is wrong. No project has been asked about these yet. The live suite does, in one command:

```bash
export GEMINI_BATCH_LIVE_PROJECT=my-project GEMINI_BATCH_LIVE_LOCATION=us-central1
export GEMINI_BATCH_LIVE_BUCKET=my-bucket GEMINI_BATCH_LIVE_DATASET=my_dataset  # both in that location
gcloud auth application-default login
make test-live
```

It submits some twenty jobs of a few rows and waits for them: minutes, or hours when the service is busy. Then it
removes what it made, and prints a report that names nothing of the project and can be pasted into an issue. The upper
end of the package's own estimate is a few cents; above a dollar nothing is submitted.

| more | does |
|---|---|
| `GEMINI_BATCH_LIVE_MODEL=…` | asks another model than `gemini-3.5-flash-lite` |
| `python -m tests.live --only generation-key,list-filters` | asks some of the questions |
| `python -m tests.live --wait 2 --max-usd 0.1` | cancels jobs after two hours; submits nothing above ten cents |
| `python -m tests.live --page` | writes this page, which a test compares with what the suite asks |

The local Vertex AI server plays the readings of many of them
(`airflow_gemini_batch/testing/vertex_ai/readings.py`), and `tests/live/test_live.py` asks it under both. The reading
that is believed is **bold**."""
