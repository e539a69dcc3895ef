"""``gemini-batch demo`` and ``gemini-batch up``: the whole pipeline on local servers."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from airflow_gemini_batch.cli.screen import escape, failed, screen
from airflow_gemini_batch.demo.examples import Example
from airflow_gemini_batch.exceptions import GeminiBatchError

if TYPE_CHECKING:
    from airflow_gemini_batch.demo.run import DemoResult
    from airflow_gemini_batch.demo.workspace import Workspace

_DEFAULT_FOLDER = Path("gemini-batch-local")
_MAX_ROWS = 5
_MAX_FAILURES = 10
_MAX_CHARACTERS = 120

FolderOption = Annotated[Path, typer.Option(help="Folder for everything that the run writes.")]
FailRateOption = Annotated[
    float,
    typer.Option(min=0.0, max=1.0, help="Share of the rows that fail, from 0 to 1."),
]


def demo(
    input_: Annotated[
        Path | None,
        typer.Option("--input", help="CSV file with your own books. It needs the columns book_id and title."),
    ] = None,
    example: Annotated[
        Example,
        typer.Option(help="Which example to run: descriptions of books, or embeddings to search them."),
    ] = Example.DESCRIPTIONS,
    fail_rate: FailRateOption = 0.0,
    folder: FolderOption = _DEFAULT_FOLDER,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the result as one JSON line on stdout.")
    ] = False,
) -> None:
    """Run an example DAG once: build requests from books, run a batch job, write the answers to a table."""
    _require_local_extra()
    from airflow_gemini_batch.demo.books import SAMPLE, read_books
    from airflow_gemini_batch.demo.run import run_demo

    workspace = _workspace(folder, "demo")
    try:
        books = read_books(input_ or SAMPLE)
        with screen.status("") as status:
            result = run_demo(
                workspace,
                books,
                example,
                fail_rate=fail_rate,
                report=lambda text: status.update(escape(text, lines=True)),
            )
    except GeminiBatchError as error:
        raise failed(error) from None
    _show(result, workspace, example)
    if as_json:
        print(json.dumps(result.summary()))
    if result.state != "success":
        raise typer.Exit(1)


def up(
    fail_rate: FailRateOption = 0.0,
    port: Annotated[int, typer.Option(help="Port of Airflow's web interface.")] = 8080,
    queue_seconds: Annotated[
        float, typer.Option(min=0.0, help="Seconds that a job waits before it runs.")
    ] = 10.0,
    run_seconds: Annotated[float, typer.Option(min=0.0, help="Seconds that a job runs.")] = 30.0,
    folder: Annotated[
        Path | None,
        typer.Option(
            help="Folder to keep all files in, for a later run to go on from. By default, a temporary folder that "
            "is removed at the end."
        ),
    ] = None,
    dags: Annotated[
        Path | None,
        typer.Option(
            exists=True,
            file_okay=False,
            help="Folder of your own DAGs, to run in place of the examples. They begin paused.",
        ),
    ] = None,
    table: Annotated[
        list[str] | None,
        typer.Option(
            metavar="DATASET.TABLE=FILE",
            help="Fill a table of the local BigQuery from a CSV, JSON Lines or Parquet file. May be repeated.",
        ),
    ] = None,
) -> None:
    """Start the local servers and Airflow with the example DAGs or your own, until Ctrl-C."""
    _require_local_extra()
    from airflow_gemini_batch.demo.up import run_until_interrupted

    try:
        run_until_interrupted(
            folder,
            port=port,
            fail_rate=fail_rate,
            queue_seconds=queue_seconds,
            run_seconds=run_seconds,
            dags=dags,
            tables=table or (),
            # Addresses stay whole, to be copied.
            report=lambda text: screen.print(escape(text, lines=True), soft_wrap=True),
        )
    except GeminiBatchError as error:
        raise failed(error) from None


def _require_local_extra() -> None:
    from importlib.util import find_spec

    if find_spec("bqemulator") is None:
        screen.print(
            escape("The local servers are not installed. Run: pip install 'airflow-gemini-batch[local]'")
        )
        raise typer.Exit(2)


def _workspace(folder: Path, kind: str) -> Workspace:
    from airflow_gemini_batch.demo.workspace import Workspace

    return Workspace(folder.absolute() / f"{kind}-{datetime.now():%Y%m%d-%H%M%S}")


def _show(result: DemoResult, workspace: Workspace, example: Example) -> None:
    """Print some of the rows, then the totals."""
    results = example.results
    if result.enriched:
        _print_table(
            f"Some of the books that were {results.done}", results.columns, result.enriched[:_MAX_ROWS]
        )
    if result.nearest:
        title = f"The books nearest to {result.nearest[0]['phrase']!r}"
        _print_table(title, ("distance",), result.nearest[:_MAX_ROWS])
    if result.failures:
        _print_table(f"Books that were not {results.done}", ("failure",), result.failures[:_MAX_FAILURES])
        if (more := len(result.failures) - _MAX_FAILURES) > 0:
            screen.print(f"… and {more} more")
    if result.error:
        screen.print(f"[red]{escape(result.error, lines=True)}[/]", soft_wrap=True)
    colour = "green" if result.state == "success" else "red"
    screen.print(
        f"[{colour}]DAG run: {result.state}[/]. {result.rows} books, {result.succeeded} {results.done}, "
        f"{result.failed} failed, in {result.seconds:.0f} s"
    )
    screen.print(f"Rows: {escape(result.output)}\nAirflow log: {escape(str(workspace.log))}", soft_wrap=True)
    if result.state == "success":
        screen.print(results.stand_in)


def _print_table(title: str, columns: Sequence[str], books: Sequence[Mapping[str, Any]]) -> None:
    table = Table("book", "title", *columns, title=escape(title), title_justify="left")
    for book in books:
        table.add_row(*(escape(_shortened(book[name])) for name in ("book_id", "title", *columns)))
    screen.print(table)


def _shortened(value: Any) -> str:
    text = f"{value:.3f}" if isinstance(value, float) else str(value)
    return text if len(text) <= _MAX_CHARACTERS else f"{text[: _MAX_CHARACTERS - 1]}…"
