"""HTML pages that need no other file, no network and no script; each text in them is escaped."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape

from airflow_gemini_batch.core.shown import shown

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


def document(title: str, body: Iterable[str]) -> str:
    """Return a page.

    :param body: HTML.
    """
    return "".join(
        [
            '<!doctype html><html lang="en"><head><meta charset="utf-8">',
            f'<meta http-equiv="Content-Security-Policy" content="{escape(_POLICY)}">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f"<title>{text(title)}</title><style>{_STYLE}</style></head><body>",
            *body,
            "</body></html>\n",
        ]
    )


def text(value: str) -> str:
    """Return a text as HTML."""
    return escape(shown(value))


def cards(facts: Iterable[tuple[str, str]]) -> Iterator[str]:
    """Yield the HTML of facts by name."""
    yield '<div class="grid facts">'
    for name, fact in facts:
        yield f'<div class="card"><span class="soft">{text(name)}</span><b>{text(fact)}</b></div>'
    yield "</div>"


def charts_grid(title: str, charts: Mapping[str, str]) -> Iterator[str]:
    """Yield the HTML of charts, if there are any.

    :param charts: SVG by title.
    """
    if charts:
        yield f'<h2>{text(title)}</h2><div class="grid">'
        yield from (_figure(name, svg) for name, svg in charts.items())
        yield "</div>"


def _figure(title: str, svg: str) -> str:
    # As an image it can neither run scripts nor load anything, whatever it holds.
    content = base64.b64encode(svg.encode()).decode()
    return (
        f"<figure><figcaption>{text(title)}</figcaption>"
        f'<img alt="{text(title)}" src="data:image/svg+xml;base64,{content}"></figure>'
    )


def table(title: str, columns: Sequence[Cell], rows: Iterable[Sequence[Cell]]) -> Iterator[str]:
    """Yield the HTML of a table, unless it has no rows."""
    listed = list(rows)
    if not listed:
        return
    yield f'<h2>{text(title)}</h2><div class="wide"><table><thead><tr>'
    yield from (f'<th class="{column.kind}">{text(column.text)}</th>' for column in columns)
    yield "</tr></thead><tbody>"
    for row in listed:
        yield "<tr>"
        yield from (f'<td class="{cell.kind}">{_linked(cell)}</td>' for cell in row)
        yield "</tr>"
    yield "</tbody></table></div>"


def _linked(cell: Cell) -> str:
    if not cell.address:
        return text(cell.text)
    return f'<a href="{escape(cell.address)}" rel="noreferrer">{text(cell.text)}</a>'
