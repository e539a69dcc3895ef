"""The page of the report: HTML that needs no other file, no network and no script."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape

from airflow_gemini_batch.cli.job_facts import queued_seconds, rows_text, run_seconds, task_text, time_text
from airflow_gemini_batch.cli.report.history import End, History, PastJob, cost_text
from airflow_gemini_batch.core.shown import shown
from airflow_gemini_batch.core.summary import counted, number_of
from airflow_gemini_batch.jobs.summaries import tokens_by_kind

MOST_JOBS = 500
"""Jobs that are listed one by one, newest first."""

# Only what the page itself holds is loaded: neither a script nor an address.
_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"

_STYLE = """
:root { color-scheme: light dark; --edge: light-dark(#dde1e7, #343943); --soft: light-dark(#5b616d, #9aa0ab);
  --card: light-dark(#f6f7f9, #1d2027); --bad: light-dark(#b3283d, #f08a98); }
body { font: 15px/1.5 system-ui, sans-serif; margin: 0 auto; max-width: 76rem; padding: 1.5rem 1rem 3rem;
  background: light-dark(#fff, #14161b); color: light-dark(#1c1f25, #e4e6ea); }
h1 { font-size: 1.5rem; margin: 0; } h2 { font-size: 1.1rem; margin: 2.2rem 0 .6rem; }
p { margin: .3rem 0; } .soft { color: var(--soft); } .bad { color: var(--bad); }
.grid { display: grid; gap: 1rem; grid-template-columns: repeat(auto-fit, minmax(min(100%, 27rem), 1fr)); }
.facts { grid-template-columns: repeat(auto-fit, minmax(min(100%, 11rem), 1fr)); margin-top: 1.2rem; }
.card, figure { background: var(--card); border: 1px solid var(--edge); border-radius: .5rem; padding: .7rem .9rem;
  margin: 0; min-width: 0; overflow-wrap: anywhere; }
.card b { display: block; font-size: 1.05rem; font-weight: 600; }
figure img { display: block; width: 100%; height: auto; } figcaption { font-weight: 600; margin-bottom: .4rem; }
.wide { overflow-x: auto; border: 1px solid var(--edge); border-radius: .5rem; }
table { border-collapse: collapse; width: 100%; font-size: .88rem; }
th, td { text-align: left; padding: .35rem .7rem; border-top: 1px solid var(--edge); vertical-align: top; }
thead th { border-top: 0; color: var(--soft); font-weight: 600; white-space: nowrap; }
td.number, th.number { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
td.text { min-width: 6.5rem; overflow-wrap: break-word; }
td.long { min-width: 16rem; overflow-wrap: anywhere; }
a { color: light-dark(#1a5fb4, #8ab8ff); }
"""


@dataclass(frozen=True, slots=True)
class Cell:
    """One cell of a table. Its text is escaped where it is written.

    :param address: of a link; made by this package, never by others.
    """

    text: str
    kind: str = "text"
    address: str = ""


def page(history: History, charts: Mapping[str, str]) -> str:
    """Return the page.

    :param charts: SVG by title.
    """
    return "".join(
        [
            '<!doctype html><html lang="en"><head><meta charset="utf-8">',
            f'<meta http-equiv="Content-Security-Policy" content="{escape(_POLICY)}">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f"<title>Batch jobs of {_text(history.place)}</title><style>{_STYLE}</style></head><body>",
            f"<h1>Batch jobs</h1><p>{_text(history.place)}</p>",
            f'<p class="soft">{history.since:%Y-%m-%d} to {history.now:%Y-%m-%d %H:%M} UTC, by the day of creation</p>',
            *_warnings(history.warnings),
            '<div class="grid facts">',
            *(_card(name, text) for name, text in _facts(history)),
            "</div>",
            '<h2>Over time</h2><div class="grid">' if charts else "",
            *(_figure(title, svg) for title, svg in charts.items()),
            "</div>" if charts else "",
            *_table("Tasks", _TASK_COLUMNS, _task_rows(history)),
            *_table("Jobs that did not succeed", _FAILED_COLUMNS, _failed_rows(history)),
            *_table("Jobs", _JOB_COLUMNS, _job_rows(history)),
            *_more(history),
            "</body></html>\n",
        ]
    )


def _text(text: str) -> str:
    return escape(shown(text))


def _card(name: str, text: str) -> str:
    return f'<div class="card"><span class="soft">{_text(name)}</span><b>{_text(text)}</b></div>'


def _warnings(warnings: Sequence[str]) -> Iterator[str]:
    for text in warnings[:MOST_JOBS]:
        yield f'<p class="bad">{_text(text)}</p>'


def _figure(title: str, svg: str) -> str:
    # As an image it can neither run scripts nor load anything, whatever it holds.
    content = base64.b64encode(svg.encode()).decode()
    return (
        f"<figure><figcaption>{_text(title)}</figcaption>"
        f'<img alt="{_text(title)}" src="data:image/svg+xml;base64,{content}"></figure>'
    )


def _facts(history: History) -> Iterator[tuple[str, str]]:
    ends = ", ".join(f"{count:,} {end}" for end, count in history.ends.items())
    yield "Jobs", ends or "none"
    answered = sum(one.job.successful_count or 0 for one in history.jobs)
    failed = sum(one.job.failed_count or 0 for one in history.jobs)
    yield "Rows, as the service counts", counted({"answered": answered, "failed": failed}) or "unknown"
    if not history.rows_read:
        yield "Outcomes, tokens and cost", "not read: --rows reads them"
        return
    yield "Rows by outcome", counted(history.outcomes) or "unknown"
    yield "Tokens", counted(tokens_by_kind(history.tokens)) or "unknown"
    yield "Cost", cost_text(history.jobs)


_TASK_COLUMNS = (
    Cell("DAG"),
    Cell("task"),
    Cell("model"),
    Cell("jobs", "number"),
    Cell("succeeded", "number"),
    Cell("rows answered", "number"),
    Cell("rows failed", "number"),
    Cell("queued, median", "number"),
    Cell("ran, median", "number"),
    Cell("cost"),
)


def _task_rows(history: History) -> Iterator[Sequence[Cell]]:
    for task in history.tasks:
        yield (
            Cell(task.dag or "not by Airflow"),
            Cell(task.task),
            Cell(", ".join(task.models)),
            Cell(f"{task.jobs:,}", "number"),
            Cell(f"{task.succeeded:,}", "number"),
            Cell(_number(task.answered), "number"),
            Cell(_number(task.failed), "number"),
            Cell(time_text(task.queued), "number"),
            Cell(time_text(task.ran), "number"),
            Cell(task.cost),
        )


_FAILED_COLUMNS = (
    Cell("created (UTC)", "number"),
    Cell("job"),
    Cell("task"),
    Cell("end"),
    Cell("error", "long"),
)


def _failed_rows(history: History) -> Iterator[Sequence[Cell]]:
    for one in history.jobs[:MOST_JOBS]:
        if one.end not in (End.SUCCEEDED, End.UNFINISHED):
            error = str(one.job.error) if one.job.error else ""
            yield (
                _created(one),
                _job(one),
                Cell(task_text(one.job)),
                Cell(str(one.end)),
                Cell(error, "long"),
            )


_JOB_COLUMNS = (
    Cell("created (UTC)", "number"),
    Cell("job"),
    Cell("task"),
    Cell("state"),
    Cell("rows"),
    Cell("queued", "number"),
    Cell("ran", "number"),
    Cell("cost"),
)


def _job_rows(history: History) -> Iterator[Sequence[Cell]]:
    for one in history.jobs[:MOST_JOBS]:
        yield (
            _created(one),
            _job(one),
            Cell(task_text(one.job)),
            Cell(one.job.state.short),
            Cell(rows_text(one.job)),
            Cell(time_text(queued_seconds(one.job, history.now)), "number"),
            Cell(time_text(run_seconds(one.job, history.now)), "number"),
            Cell(str(one.cost) if one.cost else "unknown"),
        )


def _more(history: History) -> Iterator[str]:
    if (more := len(history.jobs) - MOST_JOBS) > 0:
        yield f'<p class="soft">and {number_of(more, "older job")}, which the numbers above include</p>'


def _created(one: PastJob) -> Cell:
    time = one.job.create_time
    return Cell(f"{time:%Y-%m-%d %H:%M}" if time else "unknown", "number")


def _job(one: PastJob) -> Cell:
    return Cell(one.job.name.job_id, "number", one.job.name.console_url)


def _number(count: int | None) -> str:
    return "unknown" if count is None else f"{count:,}"


def _table(title: str, columns: Sequence[Cell], rows: Iterable[Sequence[Cell]]) -> Iterator[str]:
    listed = list(rows)
    if not listed:
        return
    yield f'<h2>{_text(title)}</h2><div class="wide"><table><thead><tr>'
    yield from (f'<th class="{column.kind}">{_text(column.text)}</th>' for column in columns)
    yield "</tr></thead><tbody>"
    for row in listed:
        yield "<tr>"
        yield from (f'<td class="{cell.kind}">{_linked(cell)}</td>' for cell in row)
        yield "</tr>"
    yield "</tbody></table></div>"


def _linked(cell: Cell) -> str:
    if not cell.address:
        return _text(cell.text)
    return f'<a href="{escape(cell.address)}" rel="noreferrer">{_text(cell.text)}</a>'
