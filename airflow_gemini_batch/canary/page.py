"""The page of a canary, and where it is written."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from airflow_gemini_batch.canary.report import CanaryReport
from airflow_gemini_batch.canary.text import facts, field_facts, headline, nulls, sentence
from airflow_gemini_batch.canary.verdict import Verdict
from airflow_gemini_batch.core.addresses import GcsAddress
from airflow_gemini_batch.core.html import Cell, cards, charts_grid, document, table, text
from airflow_gemini_batch.exceptions import InvalidRequestError, as_invalid_request

if TYPE_CHECKING:
    from google.cloud import storage

_CALL_TIMEOUT = 60.0

_FIELDS = (
    Cell("field"),
    Cell("type"),
    Cell("agreement", "number"),
    Cell("null, old → new", "number"),
    Cell("golden", "number"),
    Cell("what else", "long"),
)
_DIFFERENCES = (Cell("key"), Cell("field"), Cell("old", "long"), Cell("new", "long"))
_CATEGORIES = (Cell("value", "long"), Cell("old", "number"), Cell("new", "number"))


def page(report: CanaryReport, verdict: Verdict, target: str) -> str:
    """Return the page, which needs no network and no other file. Without matplotlib it has no charts.

    :param target: whose answers are compared, for the heading.
    """
    return document(
        f"Canary of {target}",
        [
            f"<h1>{text(headline(report, verdict))}</h1><p>{text(target)}</p>",
            f'<p class="soft">Question {text(report.question)}</p>',
            *(f'<p class="bad">{text(sentence(reason))}</p>' for reason in verdict.reasons),
            *cards(facts(report)),
            *_charts(report),
            *table("Fields", _FIELDS, _fields(report) if report.agreement.of else ()),
            *_categories(report),
            *table(
                "Some rows that differ",
                _DIFFERENCES,
                (
                    (Cell(one.key), Cell(one.field), Cell(one.old, "long"), Cell(one.new, "long"))
                    for one in report.differences
                ),
            ),
        ],
    )


def _charts(report: CanaryReport) -> Iterator[str]:
    if find_spec("matplotlib") is None:
        yield '<p class="soft">Charts need matplotlib: pip install &#x27;airflow-gemini-batch[report]&#x27;</p>'
        return
    from airflow_gemini_batch.canary.charts import charts

    yield from charts_grid("Old and new", dict(charts(report)))


def _fields(report: CanaryReport) -> Iterator[Sequence[Cell]]:
    for field in report.fields:
        yield (
            Cell(field.name),
            Cell(field.type),
            Cell(str(field.agreement), "number"),
            Cell(nulls(field), "number"),
            Cell(str(field.golden) if field.golden else "", "number"),
            Cell("; ".join(field_facts(field)), "long"),
        )


def _categories(report: CanaryReport) -> Iterator[str]:
    for field in report.fields:
        rows = ((Cell(one.value, "long"), _number(one.old), _number(one.new)) for one in field.categories)
        yield from table(f"{field.name}: how often", _CATEGORIES, rows)


def _number(count: int) -> Cell:
    return Cell(f"{count:,}", "number")


def write_page(content: str, folder: str, name: str, client: storage.Client) -> str:
    """Write a page to a folder, and return where it is. A page of the same name is replaced.

    :param folder: ``gs://…`` or a local path.
    :param client: of ``google-cloud-storage``; asked for ``gs://`` addresses only.

    Raises :class:`.InvalidRequestError` for another kind of folder or one that can't be written to, and what the client
    raises.
    """
    if "://" not in folder:
        path = Path(folder) / name
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content, encoding="utf-8")
        except OSError as error:
            raise InvalidRequestError(f"could not write {path}: {error.strerror or error}") from None
        return str(path)
    with as_invalid_request("report_folder"):
        address = GcsAddress.parse(folder).child(name)
    blob = client.bucket(address.bucket).blob(address.path)
    blob.upload_from_string(content, content_type="text/html; charset=utf-8", timeout=_CALL_TIMEOUT)
    return str(address)
