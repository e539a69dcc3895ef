"""The command ``gemini-batch costs``."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, time
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.progress_bar import ProgressBar

from airflow_gemini_batch.cli.connection import ConnectionOption, EndpointOption, ProjectOption, connect
from airflow_gemini_batch.cli.costs.page import Costs, budget_values, drawn, page, title_of, values_of
from airflow_gemini_batch.cli.costs.sums import GROUPS, LABEL, checked_group, items_of, sums_by
from airflow_gemini_batch.cli.job_filter import parse_age
from airflow_gemini_batch.cli.jobs import JsonOption
from airflow_gemini_batch.cli.report.output import CHARTS_MISSING, write_page
from airflow_gemini_batch.cli.screen import escape, print_table, results, screen, table_of, telling_errors
from airflow_gemini_batch.core.summary import number_of
from airflow_gemini_batch.exceptions import as_invalid_request
from airflow_gemini_batch.jobs.polling import utc_now
from airflow_gemini_batch.ledger.addresses import find_ledger
from airflow_gemini_batch.ledger.budgets import Budget, ledger_since
from airflow_gemini_batch.ledger.record import RunRecord
from airflow_gemini_batch.ledger.store import Ledger, in_order
from airflow_gemini_batch.outputs.store import DataStore

_BAR_WIDTH = 24


def costs(
    ledgers: Annotated[
        list[str],
        typer.Argument(
            metavar="TARGET_OR_LEDGER...",
            help="Targets, or the ledgers themselves: bq://PROJECT.DATASET.TABLE, gs://BUCKET/FOLDER/ or local paths.",
        ),
    ],
    since: Annotated[
        str, typer.Option(metavar="AGE", help="Money spent since: 6h, 7d, 2w or all. Days are whole ones.")
    ] = "30d",
    by: Annotated[
        list[str] | None,
        typer.Option(
            metavar=f"{'|'.join(GROUPS)}|{LABEL}NAME",
            help="What to add up by. Can be repeated. By default dag, model and day.",
        ),
    ] = None,
    budgets: Annotated[
        list[str] | None,
        typer.Option(
            "--budget",
            metavar="USD/PERIOD[:LABEL=VALUE]",
            help="Show how much of a budget is used, such as 100/month or 5/day:team=search. Can be repeated.",
        ),
    ] = None,
    html: Annotated[Path | None, typer.Option(help="Write an HTML page with charts to this file.")] = None,
    as_json: JsonOption = False,
    connection: ConnectionOption = None,
    project: ProjectOption = None,
    endpoint: EndpointOption = None,
) -> None:
    """Show what runs have spent, by DAG, model and day, and how much of budgets is used."""
    if html and find_spec("matplotlib") is None:
        screen.print(escape(CHARTS_MISSING))
        raise typer.Exit(2)
    with telling_errors():
        with as_invalid_request("--by"):
            groups = [checked_group(name) for name in by or ("dag", "model", "day")]
        with as_invalid_request("--budget"):
            wanted = [Budget.parse(text) for text in budgets or ()]
        with as_invalid_request("--since"):
            age = parse_age(since)
        now = utc_now()
        begin = datetime.combine((now - age).date(), time(), UTC) if age else None
        found = _ledgers(ledgers, connection, project, endpoint)
        with screen.status("Reading ledgers …"):
            earliest = min(begin, ledger_since(wanted, now)) if begin else None
            records = _records(found, earliest)
        items = items_of(records, begin)
        first = min((item.part.time for item in items), default=now)
        told = Costs(
            [ledger.address for ledger in found],
            begin or first,
            now,
            groups,
            items,
            [record for record in records if begin is None or record.started >= begin],
            [budget.used(records, now) for budget in wanted],
        )
        if html:
            write_page(html, page(told, drawn(told)))
    if as_json:
        print(json.dumps(_json(told)))
    else:
        _show(told)
    if html:
        screen.print(escape(f"{number_of(told.total.runs, 'run')}: {html}"), soft_wrap=True)


def _ledgers(
    addresses: Sequence[str], connection: str | None, project: str | None, endpoint: str | None
) -> list[Ledger]:
    @cache
    def store() -> DataStore:
        return connect(connection, project, None, endpoint).store

    clients: tuple[Callable[[], Any], Callable[[], Any]] = (
        cache(lambda: store().storage_client()),
        cache(lambda: store().bigquery_client()),
    )
    found = [find_ledger(address, *clients) for address in dict.fromkeys(addresses)]
    return list({ledger.address: ledger for ledger in found}.values())


def _records(ledgers: Sequence[Ledger], since: datetime | None) -> list[RunRecord]:
    return in_order(record for ledger in ledgers for record in ledger.records(since))


def _json(costs: Costs) -> dict[str, Any]:
    return {
        "ledgers": list(costs.ledgers),
        "since": costs.since.isoformat(),
        "until": costs.now.isoformat(),
        "total": costs.total.to_json(),
        "by": {by: [one.to_json() for one in sums_by(costs.items, by)] for by in costs.by},
        "budgets": [
            {
                "usd": used.budget.usd,
                "per": used.budget.per,
                "labels": dict(used.budget.labels),
                "since": used.begin.isoformat(),
                "spent_usd": used.spent,
                "reserved_usd": sum(used.reserved.values()),
                "unestimated": len(used.unknown),
            }
            for used in costs.budgets
        ],
    }


def _show(costs: Costs) -> None:
    if not costs.items:
        screen.print(f"Nothing was spent since {costs.since:%Y-%m-%d}.")
    for by in costs.by if costs.items else ():
        table = table_of(
            (escape(title_of(by)), "runs", "jobs", "prompt tokens", "output tokens", "cost", "reserved")
        )
        for column in table.columns[1:5]:
            column.justify = "right"
        for one in sums_by(costs.items, by):
            table.add_row(escape(one.name or f"no {title_of(by)}"), *map(escape, values_of(one)))
        table.add_row("all", *map(escape, values_of(costs.total)), style="bold")
        print_table(table)
        results.print()
    if costs.budgets:
        table = table_of(("budget", "since", "spent", "reserved", "left", "used", ""))
        for used in costs.budgets:
            bar = ProgressBar(
                total=max(used.budget.usd, 1e-9),
                completed=used.usd,
                width=_BAR_WIDTH,
                complete_style="red" if used.is_over else "green",
                finished_style="red" if used.is_over else "green",
            )
            table.add_row(escape(str(used.budget)), *map(escape, budget_values(used)), bar)
        print_table(table)
