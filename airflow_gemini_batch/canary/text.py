"""A canary as people read it: one table in the log, and the text of the form in which a person decides."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator, Sequence
from html import escape
from urllib.parse import quote

from airflow_gemini_batch.canary.figures import Share, percent
from airflow_gemini_batch.canary.report import CanaryReport, FieldReport, RollOutCost
from airflow_gemini_batch.canary.verdict import Verdict
from airflow_gemini_batch.core.addresses import GcsAddress
from airflow_gemini_batch.core.shown import shown
from airflow_gemini_batch.core.summary import WIDTH, counted, number_of
from airflow_gemini_batch.costs.prices import dollars

_LONGEST_NAME = 24
_COLUMNS = ("field", "agreement", "null, old → new", "what else")


def headline(report: CanaryReport, verdict: Verdict) -> str:
    """Return the most important sentence: whether it has passed, and of how many rows."""
    rows = number_of(report.invalid.of, "row")
    return f"The canary of {rows} has {'passed' if verdict.passed else 'not passed'}."


def facts(report: CanaryReport) -> Iterator[tuple[str, str]]:
    """Yield what holds for all fields together, by name."""
    yield "Answered", f"{report.answered:,} of {report.invalid.of:,} rows"
    if report.failed:
        yield "Failed", f"{counted(report.failed)}: {report.invalid}"
    yield "Agreement", _of(report.agreement, "golden rows" if report.compared_golden else "rows")
    if report.golden_rows is not None:
        before = f"; {report.golden_before} before" if report.golden_before.of else ""
        missing = report.golden_rows - report.golden.of
        not_asked = f"; {missing:,} were not asked" if missing else ""
        yield "Golden", f"{_of(report.golden, 'rows')} right{before}{not_asked}"
    if report.tokens:
        spent = ", ".join(f"{count:,.1f} {kind}" for kind, count in report.tokens.items())
        yield "Tokens", f"{spent} a row"
    yield "Cost", cost_text(report.cost)


def cost_text(cost: RollOutCost) -> str:
    """Return what was taken and what the other rows will take."""
    spent = "" if cost.canary is None else f"{dollars(cost.canary)} for the canary; "
    if cost.expected is None or cost.low is None or cost.high is None:
        return f"{spent}{'that of the other rows' if spent else 'it'} is unknown: {cost.unknown}"
    rest = number_of(cost.rest_rows or 0, "other row")
    rates = f", at batch rates of {cost.rates_as_of}" if cost.rates_as_of else ""
    return f"{spent}{dollars(cost.expected)} ({dollars(cost.low)} to {dollars(cost.high)}) for {rest}{rates}"


def _of(share: Share, rows: str) -> str:
    return f"{share} of {share.of:,} {rows}" if share.of else "unknown"


def sentence(reason: str) -> str:
    """Return a reason of a verdict as a sentence of its own."""
    return f"{reason[:1].upper()}{reason[1:]}."


def field_facts(field: FieldReport) -> list[str]:
    """Return what else is known of a column, in short texts."""
    found = []
    if field.shift is not None:
        found.append(f"category shift {percent(field.shift)}")
    if field.numbers:
        numbers = field.numbers
        found.append(
            f"difference {numbers.mean:.4g} on average, {numbers.median:.4g} median, {numbers.p95:.4g} p95"
        )
    if field.lengths:
        old, new = field.lengths
        found.append(f"{old:,.0f} → {new:,.0f} characters")
    if field.vectors:
        if field.vectors.mean is not None and field.vectors.p5 is not None:
            found.append(f"cosine {field.vectors.mean:.4f} on average, {field.vectors.p5:.4f} p5")
        if field.vectors.other_lengths:
            found.append(f"{number_of(field.vectors.other_lengths, 'row')} without a cosine")
    return found


def _with_golden(field: FieldReport) -> list[str]:
    golden = field.golden.value if field.golden else None
    return [*([] if golden is None else [f"golden {percent(golden)}"]), *field_facts(field)]


def nulls(field: FieldReport) -> str:
    """Return the shares of rows without a value."""
    old, new = field.null_old.value, field.null_new.value
    return "unknown" if old is None or new is None else f"{percent(old)} → {percent(new)}"


def log_text(report: CanaryReport, verdict: Verdict) -> str:
    """Return the comparison as one table, for the log."""
    lines = [f"Canary of the question {shown(report.question)}"]
    lines += (line for name, text in facts(report) for line in _wrapped(text, f"{name:<12}"))
    if report.agreement.of:
        rows = [
            (_cut(shown(field.name)), str(field.agreement), nulls(field), "; ".join(_with_golden(field)))
            for field in report.fields
        ]
        lines += ["", *_table([_COLUMNS, *rows])]
    lines += [
        line
        for field in report.fields
        if field.categories
        for line in ("", f"{_cut(shown(field.name))}: old → new", *_categories(field))
    ]
    if report.differences:
        lines += ["", "Some rows that differ"]
        lines += (
            f"  {shown(one.key)} {shown(one.field)}: {shown(one.old)} → {shown(one.new)}"
            for one in report.differences
        )
    lines += ["", *_verdict_lines(verdict)]
    return "\n".join(lines)


def _verdict_lines(verdict: Verdict) -> list[str]:
    if verdict.passed:
        return ["All thresholds are met."]
    return [
        "Not passed:",
        *(line for reason in verdict.reasons for line in _wrapped(sentence(reason), "  - ")),
    ]


def _wrapped(text: str, first: str) -> list[str]:
    return textwrap.wrap(
        shown(text),
        WIDTH,
        initial_indent=first,
        subsequent_indent=" " * len(first),
        break_long_words=False,
        break_on_hyphens=False,
    )


def _categories(field: FieldReport) -> Iterator[str]:
    for one in field.categories:
        yield f"  {one.old:>7,} → {one.new:>7,}  {shown(one.value)}"


def _cut(name: str) -> str:
    return name if len(name) <= _LONGEST_NAME else f"{name[: _LONGEST_NAME - 1]}…"


def _table(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """Yield the lines of a table; what is in the last column goes to lines of its own where it is too long."""
    widths = [max(len(row[n]) for row in rows) for n in range(len(_COLUMNS) - 1)]
    for row in rows:
        line = "  ".join(cell.ljust(width) for cell, width in zip(row[:-1], widths, strict=True))
        if len(line) + len(row[-1]) + 2 <= WIDTH:
            yield f"{line}  {row[-1]}".rstrip()
            continue
        yield line.rstrip()
        yield from (f"    {part}" for part in row[-1].split("; "))


def markdown(report: CanaryReport, verdict: Verdict, page: str = "") -> str:
    """Return the comparison for a form that shows Markdown.

    :param page: where the page with all of it is; empty without.
    """
    lines = [f"**{_md(headline(report, verdict))}**", ""]
    lines += (f"- {_md(sentence(reason))}" for reason in verdict.reasons)
    lines += ["", "| | |", "|---|---|"]
    lines += (f"| {_md(name)} | {_md(text)} |" for name, text in facts(report))
    if report.agreement.of:
        lines += ["", f"| {' | '.join(_COLUMNS)} |", "|---|---|---|---|"]
        lines += (
            f"| {_md(field.name)} | {_md(str(field.agreement))} | {_md(nulls(field))} "
            f"| {_md('; '.join(_with_golden(field)))} |"
            for field in report.fields
        )
    for field in report.fields:
        if field.categories:
            lines += ["", f"| {_md(field.name)} | old | new |", "|---|--:|--:|"]
            lines += (f"| {_md(one.value)} | {one.old:,} | {one.new:,} |" for one in field.categories)
    if report.differences:
        lines += ["", "| key | field | old | new |", "|---|---|---|---|"]
        lines += (
            f"| {_md(one.key)} | {_md(one.field)} | {_md(one.old)} | {_md(one.new)} |"
            for one in report.differences
        )
    if page:
        url = storage_page(page)
        lines += ["", f"The whole report: {f'[{_md(page)}]({url})' if url else _md(page)}"]
    return "\n".join(lines)


def storage_page(address: str) -> str:
    """Return where a browser shows an object on Cloud Storage to those who may read it; empty for another address."""
    try:
        place = GcsAddress.parse(address)
    except ValueError:
        return ""
    return f"https://storage.cloud.google.com/{place.bucket}/{quote(place.path)}"


def _md(text: str) -> str:
    """Return a text that Markdown shows as it is: without marks, links, HTML or lines of its own."""
    return re.sub(r"([\\`*_{}\[\]()#+!|~:$-])", r"\\\1", escape(shown(text), quote=False))
