"""What was seen: the jobs of a run, what became of them, and the rows that they wrote."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from airflow_gemini_batch.core.addresses import BigQueryAddress
from airflow_gemini_batch.gcp.lines import iter_lines
from airflow_gemini_batch.gcp.objects import StorageObjects
from airflow_gemini_batch.jobs.state import BatchJob, Stage
from tests.live.night import Night
from tests.live.place import Place
from tests.live.probes import Probe
from tests.live.questions import NotAnsweredError


@dataclass(slots=True)
class Ran:
    """What became of a probe.

    :param job: as it was seen last; None when the create call was refused.
    :param refused: the message of a create call that was refused.
    :param states: the states that were seen, in their order.
    """

    probe: Probe
    job: BatchJob | None = None
    refused: str = ""
    states: list[str] = field(default_factory=list)

    @property
    def failure(self) -> str:
        """The code and message of a job that failed; empty for another one."""
        if self.job is None or self.job.state.stage is not Stage.FAILED:
            return ""
        return str(self.job.error or f"{self.job.state.short}, without an error")


class Seen:
    """What the questions may look at.

    :param jobs: by name of the probe.
    :param appeared_after: seconds until the first new job was in a list by its label; None if it never was.
    """

    def __init__(
        self, place: Place, jobs: Mapping[str, Ran], night: Night | None, appeared_after: float | None
    ) -> None:
        self.place = place
        self._jobs = jobs
        self._night = night
        self.appeared_after = appeared_after

    @property
    def night(self) -> Night:
        """The small pipeline; raises :class:`NotAnsweredError` if it was not played to its end."""
        if self._night is None:
            raise NotAnsweredError("the pipeline did not run")
        return self._night

    def ran(self, probe: str) -> Ran:
        """Return what became of a job; raises :class:`NotAnsweredError` when it has not ended."""
        if probe not in self._jobs:
            raise NotAnsweredError(f"the job {probe} was not submitted")
        ran = self._jobs[probe]
        if ran.job is not None and not ran.job.state.stage.ended:
            raise NotAnsweredError(f"the job {probe} was {ran.job.state.short} when time was up")
        return ran

    def finished(self, probe: str) -> BatchJob:
        """Return a job with a result; raises :class:`NotAnsweredError` with the reason when there is none."""
        ran = self.ran(probe)
        if ran.job is None or ran.job.state.stage is not Stage.SUCCEEDED:
            raise NotAnsweredError(f"the job {probe} has no result: {ran.refused or ran.failure}")
        return ran.job

    def lines(self, probe: str) -> list[dict[str, Any]]:
        """Return the lines that a job wrote."""
        output = self.finished(probe).output
        objects = StorageObjects(self.place.storage)
        lines = []
        for blob in objects.prediction_files(output):  # type: ignore[arg-type]
            with blob.open("rb") as stream:
                lines += [json.loads(line) for line in iter_lines(stream)]
        if not lines:
            raise NotAnsweredError(f"the job {probe} wrote no lines")
        return lines

    def line(self, probe: str, tag: str) -> dict[str, Any]:
        """Return the line that answers one request."""
        return _with_tag(self.lines(probe), tag, f"the output of {probe}")

    @cached_property
    def _table(self) -> list[dict[str, Any]]:
        output = self.finished("generation_table").output
        assert isinstance(output, BigQueryAddress)
        statement = f"SELECT *, response IS NULL AS is_sql_null FROM {output.sql}"
        return [dict(row) for row in self.place.bigquery.query_and_wait(statement)]

    def row(self, tag: str) -> dict[str, Any]:
        """Return the row of ``generation_table``'s output that answers one request, and ``is_sql_null``."""
        return _with_tag(self._table, tag, "the output of generation_table")

    def column_types(self) -> dict[str, str]:
        """Return the columns of ``generation_table``'s output."""
        output = self.finished("generation_table").output
        assert isinstance(output, BigQueryAddress)
        return {
            column.name: column.field_type for column in self.place.bigquery.get_table(output.dotted).schema
        }


def _with_tag(rows: list[dict[str, Any]], tag: str, where: str) -> dict[str, Any]:
    for row in rows:
        # In the request, or beside it for a model whose row is the request.
        asked = {name: row[name] for name in ("request", "instance") if name in row}
        if f"{tag}: " in json.dumps(asked, default=str):
            return row
    raise NotAnsweredError(f"no row of {where} holds the request {tag}")
