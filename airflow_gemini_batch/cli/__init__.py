"""The command ``gemini-batch``."""

from __future__ import annotations

import typer

from airflow_gemini_batch.cli.costs.command import costs as costs_
from airflow_gemini_batch.cli.demo import demo, up
from airflow_gemini_batch.cli.jobs import jobs_app
from airflow_gemini_batch.cli.plan import plan
from airflow_gemini_batch.cli.report.command import report as report_
from airflow_gemini_batch.cli.requests import estimate, validate
from airflow_gemini_batch.cli.rollback import rollback as rollback_
from airflow_gemini_batch.cli.screen import EXIT_CODES

app = typer.Typer(
    name="gemini-batch",
    help="Gemini batch jobs in Airflow: look at them and stop them, check request files, estimate their cost, and try "
    "the whole pipeline locally.",
    no_args_is_help=True,
    pretty_exceptions_show_locals=False,
)
for _command in (demo, up, validate, estimate, plan, report_, costs_):
    app.command()(_command)
app.command(epilog=EXIT_CODES)(rollback_)
app.add_typer(jobs_app)
