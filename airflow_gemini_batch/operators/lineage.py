"""What a task has read, written and spent, for OpenLineage.

Airflow's provider of OpenLineage asks operators for it when a task has ended; where it is not installed, nothing here
runs. Datasets are named as the Google provider names them.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow_gemini_batch.core.addresses import BigQueryAddress, parse_address
from airflow_gemini_batch.core.models import short_model_name
from airflow_gemini_batch.exceptions import GeminiBatchError
from airflow_gemini_batch.operators.assets import job_facts

if TYPE_CHECKING:
    from airflow.providers.common.compat.openlineage.facet import ColumnLineageDatasetFacet
    from airflow.providers.openlineage.extractors import OperatorLineage
    from google.cloud.bigquery import Client

    from airflow_gemini_batch.core.model_families import ModelFamily
    from airflow_gemini_batch.jobs.manifest import Manifest
    from airflow_gemini_batch.landing.plan import LandingPlan, LandingReport
    from airflow_gemini_batch.requests.sources import PythonRows, QueryRows, RowSource
    from airflow_gemini_batch.requests.spec import BuildPlan, BuildReport

    Source = RowSource | PythonRows | Callable[[], PythonRows]

MOST_DATASETS = 100
"""Most datasets of a side that an event names: requests may be in 1,000 tables."""

_FACET = "geminiBatch"


@dataclass(frozen=True, slots=True)
class Lineage:
    """What a task has done.

    :param inputs: addresses of what was read.
    :param outputs: rows by the addresses of what was written; ``None`` where the number of one place is not known.
    :param failures: likewise of rows without an answer.
    :param columns: of each column of the outputs, the columns of the inputs that it is made of.
    :param job: what stays the same from run to run: ``models``, ``key``, and the ``question`` where it is known.
    :param run: ``rows`` by outcome (of a build, by what it does with them), ``tokens`` by kind, ``cost_usd`` and
        ``jobs``, as far as there are any.
    :param query: that was read.
    """

    inputs: Sequence[str]
    outputs: Mapping[str, int | None]
    failures: Mapping[str, int] = field(default_factory=dict)
    columns: Mapping[str, Sequence[str]] = field(default_factory=dict)
    job: Mapping[str, Any] = field(default_factory=dict)
    run: Mapping[str, Any] = field(default_factory=dict)
    query: str = ""

    def facets(self) -> OperatorLineage:
        """Return what OpenLineage takes."""
        from airflow.providers.common.compat.openlineage.facet import (
            Dataset,
            OutputDataset,
            OutputStatisticsOutputDatasetFacet,
            SQLJobFacet,
        )
        from airflow.providers.openlineage.extractors import OperatorLineage

        inputs = list(islice(dict.fromkeys(map(dataset_name, self.inputs)), MOST_DATASETS))
        facets = {"columnLineage": self._column_lineage(inputs)} if inputs and self.columns else {}
        outputs = [
            OutputDataset(
                *dataset_name(address),
                facets={} if address in self.failures else facets,
                outputFacets={}
                if rows is None
                else {"outputStatistics": OutputStatisticsOutputDatasetFacet(rowCount=rows)},
            )
            for address, rows in islice({**self.outputs, **self.failures}.items(), MOST_DATASETS)
        ]
        job_facet, run_facet = _facet_classes()
        return OperatorLineage(
            inputs=[Dataset(*name) for name in inputs],
            outputs=outputs,
            job_facets={
                _FACET: job_facet(**self.job),
                **({"sql": SQLJobFacet(query=self.query)} if self.query else {}),
            },
            run_facets={_FACET: run_facet(**self.run)},
        )

    def _column_lineage(self, inputs: Iterable[tuple[str, str]]) -> ColumnLineageDatasetFacet:
        from airflow.providers.common.compat.openlineage.facet import (
            ColumnLineageDatasetFacet,
            Fields,
            InputField,
        )

        return ColumnLineageDatasetFacet(
            fields={
                column: Fields(
                    inputFields=[InputField(*name, field=one) for name in inputs for one in made_of],
                    transformationType="",
                    transformationDescription="",
                )
                for column, made_of in self.columns.items()
            }
        )


@functools.cache
def _facet_classes() -> tuple[Any, Any]:
    """Return the facets of jobs and of runs; attrs and OpenLineage's client come with the provider."""
    from attr import Factory, define
    from openlineage.client.generated.base import JobFacet, RunFacet

    @define
    class GeminiBatchJobFacet(JobFacet):  # type: ignore[misc] # is not installed everywhere
        models: list[str] = Factory(list)
        key: list[str] = Factory(list)
        question: str | None = None

    @define
    class GeminiBatchRunFacet(RunFacet):  # type: ignore[misc]
        rows: dict[str, int] = Factory(dict)
        tokens: dict[str, int] = Factory(dict)
        cost_usd: float | None = None
        jobs: list[str] = Factory(list)

    return GeminiBatchJobFacet, GeminiBatchRunFacet


def dataset_name(place: str) -> tuple[str, str]:
    """Return namespace and name of the dataset that an address or a path is.

    Of a pattern it is the folder. ``bq://p.d.t`` is ``bigquery`` and ``p.d.t``, ``gs://b/x`` is ``gs://b`` and ``x``.
    """
    if "://" not in place:
        return "file", str(Path(place).absolute())
    address = parse_address(place)
    if isinstance(address, BigQueryAddress):
        return "bigquery", address.dotted
    path = address.folder if address.has_wildcard else address.path
    return f"gs://{address.bucket}", path.strip("/") or "/"


def build_lineage(
    plan: BuildPlan, report: BuildReport, source: Source, client: Callable[[], Client]
) -> Lineage:
    """Return what a build has done.

    :param source: what :func:`~airflow_gemini_batch.requests.sources.row_source` gives.
    :param client: makes the client of ``google-cloud-bigquery``, where the rows are those of a query.
    """
    from airflow_gemini_batch.requests.sources import QueryRows

    written = [one for given in report.sources for one in ([given] if isinstance(given, str) else given)]
    in_tables = _are_tables(written)
    question = "".join(
        part if isinstance(part, str) else f"[[ {part.column} ]]" for part in plan.template.prompt.parts
    )
    return Lineage(
        inputs=_read_places(source, client),
        outputs=dict.fromkeys(written, report.requests if len(written) == 1 else None),
        columns={
            **({column: [column] for column in plan.key} if in_tables else {"key": list(plan.key)}),
            (plan.family.main_column if in_tables else "request"): list(plan.template.columns),
        },
        job={"models": [short_model_name(plan.model)], "key": list(plan.key), "question": question},
        run={
            "rows": {
                "read": report.rows,
                "asked": report.requests,
                "done": report.done,
                "failed_before": report.failed_before,
                "dropped": report.dropped,
            }
        },
        query=source.sql if isinstance(source, QueryRows) else "",
    )


def submit_lineage(manifest: Manifest, family: ModelFamily) -> Lineage:
    """Return what the jobs of a submission have done."""
    outputs = {one.output: sum(one.counts.values()) for one in manifest.rounds if one.output}
    return Lineage(
        inputs=manifest.rounds[0].source if manifest.rounds else (),
        outputs=outputs,
        columns={family.answer_column: [family.main_column]}
        if _are_tables(outputs)
        else {"response": ["request"], "key": ["key"]},
        **_spent([manifest], manifest.counts),
    )


def landing_lineage(plan: LandingPlan, report: LandingReport, manifests: Sequence[Manifest]) -> Lineage:
    """Return what a landing has done."""
    answers = [one.output for manifest in manifests for one in manifest.rounds if one.output]
    in_tables = _are_tables(answers)
    came = plan.key if plan.family.returns_keys else [plan.family.main_column]
    keys = {column: [column] if plan.family.returns_keys else came for column in plan.key}
    answer = plan.family.answer_column if in_tables else "response"
    spent = _spent(manifests, report.counts)
    return Lineage(
        inputs=answers,
        outputs={report.target: report.landed},
        failures={report.failed_target: report.failed} if report.failed else {},
        columns={
            **(keys if in_tables else {column: ["key"] for column in plan.key}),
            **{column.name: [answer] for column in plan.columns},
        },
        **{**spent, "job": {**spent["job"], "key": list(plan.key)}},
    )


def _are_tables(places: Iterable[str]) -> bool:
    return any(place.startswith("bq://") for place in places)


def _spent(manifests: Sequence[Manifest], counts: Mapping[Any, int]) -> dict[str, Any]:
    """Return the facts of job and run of some jobs."""
    facts = job_facts(manifests)
    rows = {str(outcome): count for outcome, count in counts.items() if count}
    return {"job": {"models": facts.pop("models")}, "run": {"rows": rows, **facts}}


def _read_places(source: Source, client: Callable[[], Client]) -> list[str]:
    """Return the addresses of what a build has read; none for rows of Python."""
    from airflow_gemini_batch.requests.sources import FileRows, QueryRows, TableRows

    if isinstance(source, TableRows):
        return [str(source.address)]
    if isinstance(source, FileRows):
        return list(map(str, source.paths))
    return _tables_of(source, client()) if isinstance(source, QueryRows) else []


def _tables_of(query: QueryRows, client: Client) -> list[str]:
    """Return the tables that a query reads, as a dry run tells; none if it fails, as the rows have been read."""
    from google.api_core.exceptions import GoogleAPIError
    from google.auth.exceptions import GoogleAuthError

    from airflow_gemini_batch.requests.bigquery.preview import dry_run

    try:
        tables = dry_run(client, query, None).referenced_tables
    except (GoogleAPIError, GoogleAuthError, GeminiBatchError, OSError):
        return []
    return [f"bq://{table.project}.{table.dataset_id}.{table.table_id}" for table in tables]
