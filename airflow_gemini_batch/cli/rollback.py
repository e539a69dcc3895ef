"""``gemini-batch rollback``: bring the rows of a target back as they were before a question was asked."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Annotated, cast, get_args

import typer

from airflow_gemini_batch.cli.connection import ConnectionOption, ProjectOption, connect
from airflow_gemini_batch.cli.job_rows import Warnings
from airflow_gemini_batch.cli.jobs import JsonOption
from airflow_gemini_batch.cli.screen import (
    ExitCode,
    escape,
    print_table,
    results,
    screen,
    table_of,
    telling_errors,
)
from airflow_gemini_batch.core.shown import listed
from airflow_gemini_batch.core.summary import number_of
from airflow_gemini_batch.exceptions import InvalidRequestError, RowsUnreadableError
from airflow_gemini_batch.landing.restoring import Change, NewRows
from airflow_gemini_batch.landing.rollback import rollback as rollback_
from airflow_gemini_batch.outputs.store import DataStore


def rollback(
    target: Annotated[
        str,
        typer.Argument(
            metavar="TARGET",
            help="Where the answers are: bq://PROJECT.DATASET.TABLE, gs://BUCKET/FILE or a local file.",
        ),
    ],
    key: Annotated[
        list[str],
        typer.Option(
            "--key",
            metavar="COLUMN",
            help="Column that identifies the rows, as in the DAG. Repeat it for several.",
        ),
    ],
    question: Annotated[
        str | None,
        typer.Option(
            metavar="ID",
            help="Whose answers are taken back: the value of batch_question, or its first 8 digits. By default those "
            "of the newest copy.",
        ),
    ] = None,
    new_rows: Annotated[
        str,
        typer.Option(
            metavar="|".join(get_args(NewRows)),
            help="Keep or remove the rows that answer the question and are not in the copy.",
        ),
    ] = "keep",
    undo: Annotated[
        bool, typer.Option("--undo", help="Take a rollback back, except for rows that were answered since.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show what would change, and change nothing.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    as_json: JsonOption = False,
    connection: ConnectionOption = None,
    project: ProjectOption = None,
) -> None:
    """Bring rows back as they were before a question was asked, from the copy that keep_previous made.

    No model is asked. BigQuery bills the bytes of target and copy that it reads. Before, the target is copied, so that
    --undo can take the rollback back.
    """

    @cache
    def store() -> DataStore:
        return connect(connection, project).store

    def run(*, dry: bool) -> Change:
        log = Warnings()
        with _telling_of(target):
            return rollback_(
                target,
                key,
                lambda: store().storage_client(),
                lambda: store().bigquery_client(),
                log,
                question=question,
                new_rows=cast("NewRows", new_rows),
                undo=undo,
                dry_run=dry,
            )

    with telling_errors():
        change = run(dry=True)
        if not as_json:
            _show(change)
        if change.changes and not dry_run:
            if not yes:
                _ask(change)
            change = run(dry=False)
            screen.print(escape(str(change.summary), lines=True), soft_wrap=True, highlight=False)
        elif not change.changes:
            screen.print("There is nothing to bring back.")
    if as_json:
        print(json.dumps(change.to_json()))


def _show(change: Change) -> None:
    """Print what would change as a table."""
    results.print(escape(f"Target  {change.target}"), soft_wrap=True, highlight=False)
    made = change.made[:16].replace("T", " ")
    results.print(escape(f"Copy    {change.copy}, made {made} UTC"), soft_wrap=True, highlight=False)
    table = table_of(("rows", "number", "what happens to them"))
    answers = f"the question {change.question}"
    lines: list[tuple[str, int, str]] = [
        (f"answer {answers}, and are in the copy", change.restored, "come back as the copy has them"),
        (f"answer {answers}, and are not in the copy", change.kept, "stay as they are"),
        (f"answer {answers}, and are not in the copy", change.removed, "are removed"),
    ]
    if change.undo:
        lines = [
            (f"answered {answers} in the copy", change.restored, "come back as the copy has them"),
            ("are in the copy only", change.added, "are added"),
        ]
    for what, number, becomes in lines:
        if number or what == lines[0][0]:
            table.add_row(what, f"{number:,}", becomes)
    print_table(table)
    if change.emptied:
        results.print(
            escape(
                f"NULL in the rows that come back, as the copy has no such columns: {listed(change.emptied)}"
            ),
            soft_wrap=True,
            highlight=False,
        )


def _ask(change: Change) -> None:
    """Exit unless the user agrees."""
    if not _can_answer():
        raise InvalidRequestError("Nobody can answer here. Give --yes to roll back without a question")
    if not typer.confirm(f"Change {number_of(change.changes, 'row')}?", err=True):
        screen.print("Nothing was changed.")
        raise typer.Exit(ExitCode.FAILED)


def _can_answer() -> bool:
    return sys.stdin.isatty()


@contextmanager
def _telling_of(target: str) -> Iterator[None]:
    from google.api_core.exceptions import GoogleAPIError
    from google.auth.exceptions import GoogleAuthError

    try:
        yield
    except (GoogleAPIError, GoogleAuthError, OSError) as error:
        raise RowsUnreadableError(
            f"{target}: {error}. Run the command again: it shows what is left to be brought back"
        ) from error
