"""``gemini-batch validate`` and ``gemini-batch estimate``: check and price a request file, without Airflow."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, cast, get_args

import typer
from rich.table import Table

from airflow_gemini_batch.cli.screen import escape, failed, screen, with_bar
from airflow_gemini_batch.core.addresses import GcsAddress
from airflow_gemini_batch.core.defaults import DEFAULT_MAX_FAILED_FRACTION, LONGEST_LINE, SAMPLE_ROWS
from airflow_gemini_batch.core.media import checked_prefixes
from airflow_gemini_batch.core.model_families import FAMILIES, GENERATE_CONTENT, ModelFamily, family_of
from airflow_gemini_batch.core.models import model_resource_name
from airflow_gemini_batch.core.shown import shown
from airflow_gemini_batch.costs.estimate import Estimate, Unpriced, between, check_ceiling
from airflow_gemini_batch.costs.prices import PriceTable, dollars
from airflow_gemini_batch.costs.rates import GLOBAL
from airflow_gemini_batch.costs.request_size import SizeSample
from airflow_gemini_batch.exceptions import (
    GeminiBatchError,
    InvalidRequestError,
    SourceNotReadyError,
    as_invalid_request,
)
from airflow_gemini_batch.jobs.polling import utc_now
from airflow_gemini_batch.preflight.findings import Finding, Severity
from airflow_gemini_batch.preflight.requests import RequestSample, size_findings

_File = Annotated[
    str, typer.Argument(help="Request file: a local JSON Lines file, or gs://bucket/file.jsonl.")
]
_AsJson = Annotated[bool, typer.Option("--json", help="Print the result as one JSON line on stdout.")]


def _family_named(name: str | ModelFamily) -> ModelFamily:
    if family := FAMILIES.get(str(name)):
        return family
    raise typer.BadParameter(f"{name!r} is not one of {', '.join(FAMILIES)}")


def _unpriced(choice: str) -> str:
    if choice in get_args(Unpriced):
        return choice
    raise typer.BadParameter(f"{choice!r} is not refuse or allow")


_Format = typer.Option(
    "--format",
    help="Request format. By default, estimate takes it from the model's name.",
    parser=_family_named,
    metavar="|".join(FAMILIES),
)


_COLOURS = {Severity.ERROR: "red", Severity.WARNING: "yellow"}


def validate(
    file: _File,
    family: Annotated[ModelFamily, _Format] = GENERATE_CONTENT,
    check_all: Annotated[
        bool, typer.Option("--all", help=f"Check all lines instead of the first {SAMPLE_ROWS:,}.")
    ] = False,
    max_failed_fraction: Annotated[
        float, typer.Option(min=0.0, max=1.0, help="Share of the requests that may be invalid, from 0 to 1.")
    ] = DEFAULT_MAX_FAILED_FRACTION,
    media_prefix: Annotated[
        list[str] | None,
        typer.Option(help="What addresses of files may begin with, such as gs://bucket/. Can be repeated."),
    ] = None,
    model: Annotated[
        str, typer.Option(help="Name of the model, such as gemini-3.8-flash: some rules hold for some only.")
    ] = "",
    as_json: _AsJson = False,
) -> None:
    """Check a request file by Vertex AI's rules. Exits with 1 if a job would fail."""
    try:
        with as_invalid_request():
            sample = RequestSample(
                family, checked_prefixes(media_prefix or None), model and model_resource_name(model)
            )
        with _opened(file) as (size, lines):
            is_whole = sample.add_lines(with_bar(lines, size), limit=None if check_all else SAMPLE_ROWS)
    except GeminiBatchError as error:
        raise failed(error) from None
    findings = [
        *sample.findings(max_failed_fraction),
        *size_findings(sample.rows if is_whole else None, size, family),
    ]
    errors = sum(finding.severity is Severity.ERROR for finding in findings)
    _show(findings, sample, size, is_whole=is_whole)
    if as_json:
        summary = {
            "file": file,
            "format": family.name,
            "checked": sample.rows,
            "rejected": sample.rejected,
            "complete": is_whole,
            "errors": errors,
            "warnings": len(findings) - errors,
            "findings": [asdict(finding) for finding in findings],
        }
        print(json.dumps(summary))
    if errors:
        raise typer.Exit(1)


def estimate(
    file: _File,
    model: Annotated[
        str, typer.Option(help="Name of the model, such as gemini-3.8-flash, or its resource name.")
    ],
    family: Annotated[ModelFamily | None, _Format] = None,
    prices: Annotated[
        str | None, typer.Option(help="CSV file with prices that override the built-in ones.")
    ] = None,
    sample_rows: Annotated[
        int, typer.Option("--sample", min=1, help="Number of requests to sample.")
    ] = SAMPLE_ROWS,
    max_cost_usd: Annotated[
        float | None,
        typer.Option(min=0.0, help="Ceiling in US dollars. Exits with 1 if the estimate is above it."),
    ] = None,
    unpriced: Annotated[
        str,
        typer.Option(
            help="What the ceiling does with a model whose price is not known.",
            parser=_unpriced,
            metavar="refuse|allow",
        ),
    ] = "refuse",
    location: Annotated[
        str, typer.Option(help="Location of the job; outside global, some models cost more.")
    ] = GLOBAL,
    as_json: _AsJson = False,
) -> None:
    """Estimate what a request file costs as a batch job."""
    try:
        table = PriceTable.load(prices, location=location)
        sample = SizeSample(family or _family_of(model))
        with _opened(file) as (size, lines):
            is_whole = sample.add_lines(with_bar(lines, size), sample_rows)
        if not sample.lines:
            raise InvalidRequestError(f"{shown(file)} contains no requests")
        result = sample.estimate(model, table, on=utc_now().date(), file_bytes=None if is_whole else size)
    except GeminiBatchError as error:
        raise failed(error) from None
    _show_estimate(result)
    if as_json:
        summary = {"file": file, "sampled": sample.rows, "complete": is_whole, "max_cost_usd": max_cost_usd}
        print(json.dumps({**result.to_json(), **summary}))
    try:
        if warning := check_ceiling(result, max_cost_usd, cast("Unpriced", unpriced)):
            screen.print(f"[yellow]{escape(warning)}[/]")
    except InvalidRequestError as above:
        screen.print(f"[red]{escape(str(above), lines=True)}[/]", soft_wrap=True)
        raise typer.Exit(1) from None


def _family_of(model: str) -> ModelFamily:
    try:
        if family := family_of(model_resource_name(model)):
            return family
    except ValueError as error:
        raise InvalidRequestError(str(error)) from None
    raise InvalidRequestError(f"The request format of the model {model} is unknown. Set --format.")


@contextmanager
def _opened(file: str) -> Iterator[tuple[int, Iterator[bytes]]]:
    """Yield the size of a file in bytes, and its lines.

    Raises :class:`~airflow_gemini_batch.exceptions.InvalidRequestError` when it can't be read.
    """
    from airflow_gemini_batch.gcp.lines import raw_lines

    if file.startswith("gs://"):
        with _reading_from_google(file) as opened:
            yield opened
        return
    try:
        with Path(file).open("rb") as stream:
            yield Path(file).stat().st_size, raw_lines(stream, LONGEST_LINE)
    except OSError as error:
        raise InvalidRequestError(
            f"Could not read {shown(file)}: {shown(error.strerror or str(error))}"
        ) from None


@contextmanager
def _reading_from_google(uri: str) -> Iterator[tuple[int, Iterator[bytes]]]:
    from google.api_core.exceptions import GoogleAPIError
    from google.auth.exceptions import GoogleAuthError
    from google.cloud.storage import Client
    from requests.exceptions import RequestException

    from airflow_gemini_batch.gcp.objects import StorageObjects

    try:
        address = GcsAddress.parse(uri)
    except ValueError as error:
        raise InvalidRequestError(str(error)) from None
    try:
        storage = StorageObjects(Client())
        blobs = list(storage.objects([address]))
        if len(blobs) > 1:
            raise InvalidRequestError(f"{shown(uri)} matches {len(blobs)} files. Name one of them.")
        yield blobs[0].size, storage.raw_lines(blobs[0], LONGEST_LINE)
    except SourceNotReadyError as error:
        raise InvalidRequestError(str(error)) from None
    except (GoogleAPIError, GoogleAuthError, RequestException, OSError) as error:
        raise InvalidRequestError(f"Could not read {shown(uri)}: {shown(str(error))}") from None


def _show(findings: list[Finding], sample: RequestSample, size: int, *, is_whole: bool) -> None:
    """Print the findings, then the totals."""
    if findings:
        table = Table("where", "problem", "what to do")
        for finding in findings:
            colour = _COLOURS[finding.severity]
            what = f"[{colour}]{finding.severity}:[/] {escape(finding.message)}"
            table.add_row(escape(finding.where), what, escape(finding.hint))
        screen.print(table)
    if is_whole:
        checked = f"{sample.rows:,} of {sample.rows:,} lines checked"
    else:
        about = round(size * sample.rows / sample.bytes) if sample.bytes else 0
        checked = f"{sample.rows:,} of about {max(about, sample.rows):,} lines checked (--all checks all)"
    screen.print(f"{checked}; invalid: {sample.rejected:,}; findings: {len(findings)}")


def _show_estimate(result: Estimate) -> None:
    table = Table("model", "rows", "prompt tokens", "output tokens", "cost", "prices of")
    low, high = result.cost_low.amount, result.cost.amount
    table.add_row(
        escape(result.model),
        f"{result.rows:,}",
        f"{result.prompt_tokens:,}",
        between(f"{result.output_tokens_low:,}", f"{result.output_tokens:,}"),
        between(dollars(low), dollars(high)) if low is not None and high is not None else "unknown",
        result.cost.rates_as_of or "-",
    )
    screen.print(table)
    screen.print(escape(result.basis))
