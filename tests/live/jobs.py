"""Submit the probes with the package's own client, wait for them, and remove them."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

from airflow_gemini_batch.core.model_families import family_of
from airflow_gemini_batch.costs.estimate import Estimate
from airflow_gemini_batch.costs.prices import PriceTable, dollars
from airflow_gemini_batch.costs.request_size import estimate_sources
from airflow_gemini_batch.exceptions import GeminiBatchError, JobServiceError
from airflow_gemini_batch.jobs.client import JobQuery
from airflow_gemini_batch.jobs.identity import RoundId, TaskRun, identity
from airflow_gemini_batch.jobs.state import BatchJob, Stage
from airflow_gemini_batch.jobs.submission import Submission
from airflow_gemini_batch.jobs.submit_once import submit_once
from airflow_gemini_batch.vertex.client import BatchJobClient
from tests.live.place import Place
from tests.live.probes import GENERATION, PROBES, TABLE_COLUMNS, Probe, lines_of
from tests.live.seen import Ran

log = logging.getLogger("tests.live")

RUN_LABEL = "live_suite"
# A hyphen in the key of a label, as a filter may read it as a minus sign.
HYPHEN_LABEL = "live-suite"

_CANCEL_WAIT = 120.0
# Text-embedding models are billed by the character: USD 0.02 a million at batch prices, which is 0.08 a million tokens
# of four characters. The package lists no such price, as it counts tokens.
_PRICES = "model,input,output,as_of\ntext-embedding-005,0.08,0,2026-11\n"


def write_requests(place: Place, names: Iterable[str]) -> dict[str, Submission]:
    """Write the requests of the probes, and return what is to be submitted."""
    return {name: _submission(place, name, PROBES[name]) for name in names}


def _submission(place: Place, name: str, probe: Probe) -> Submission:
    model = place.settings.model if probe.model == GENERATION else probe.model
    family = family_of(model)
    assert family is not None, model
    destination: Any = place.folder.child(f"{name}/out")
    if probe.rows:
        from google.cloud.bigquery import LoadJobConfig, SchemaField

        table, destination = place.table(f"{name}_in"), place.table(f"{name}_out")
        schema = [SchemaField(column, kind) for column, kind in TABLE_COLUMNS.items()]
        config = LoadJobConfig(schema=schema)
        place.bigquery.load_table_from_json(list(probe.rows), table.dotted, job_config=config).result()
        requests = [str(table)]
        if probe.into_existing:
            destination = table
    else:
        requests = [
            str(place.upload(f"{name}/in/{number}.jsonl", iter(lines_of(file))))
            for number, file in enumerate(probe.files)
        ]
        if probe.pattern:
            requests = [str(place.folder.child(f"{name}/in/*.jsonl"))]
        if probe.source:
            requests = [probe.source.format(run=place.run)]
    return Submission.checked(
        model=model,
        requests=requests,
        destination=str(destination),
        name=f"live {name}",
        labels={RUN_LABEL: place.run, HYPHEN_LABEL: place.run},
        model_parameters=probe.parameters,
        family=family,
    )


def check_cost(place: Place, submissions: Mapping[str, Submission], more: Iterable[Estimate] = ()) -> str:
    """Return what the probes cost at most, as text.

    Raises :class:`SystemExit` when that is more than the settings allow, or when a model has no price.
    """
    estimates = [*more]
    for name, submission in submissions.items():
        if PROBES[name].source:
            continue
        location = PROBES[name].location or place.settings.location
        estimates.append(
            estimate_sources(
                place.hook.store,
                submission.requests,
                submission.model,
                submission.family,
                _prices(location),
                on=datetime.now(UTC).date(),
            )
        )
    unpriced = {estimate.model for estimate in estimates if estimate.cost.amount is None}
    if unpriced:
        raise SystemExit(f"No price is known for {', '.join(sorted(unpriced))}; nothing was submitted.")
    amount = sum(estimate.cost.amount or 0 for estimate in estimates)
    if amount > place.settings.max_usd:
        raise SystemExit(
            f"The jobs may cost {dollars(amount)}, more than {dollars(place.settings.max_usd)}; nothing was submitted."
        )
    rows = sum(estimate.rows for estimate in estimates)
    return f"at most {dollars(amount)} for {rows} rows in {len(estimates)} jobs, by the package's own price table"


def _prices(location: str) -> PriceTable:
    from airflow_gemini_batch.costs.prices import read_prices

    table = PriceTable.load(location=location)
    own = read_prices(_PRICES, "tests/live/jobs.py")
    return PriceTable({**own.rates, **table.rates}, table.lifecycles, location)


class Jobs:
    """The jobs of a run."""

    def __init__(self, place: Place) -> None:
        self._place = place
        self.ran: dict[str, Ran] = {}
        self.appeared_after: float | None = None

    def submit(self, submissions: Mapping[str, Submission]) -> None:
        """Create a job for each submission; one that is refused is an answer too."""
        for name, submission in submissions.items():
            probe = PROBES[name]
            client = self._place.vertex(probe.location)
            own = RoundId(identity(TaskRun("live_suite", self._place.run, name), submission.fingerprint([])))
            ran = self.ran[name] = Ran(probe)
            try:
                ran.job = submit_once(
                    client, own.identity, lambda attempt, s=submission, r=own: s.request(r, attempt, {}), log
                ).job
            except GeminiBatchError as error:
                ran.refused = str(error)
                continue
            if self.appeared_after is None and not probe.location:
                self._time_the_list(ran.job)
            if probe.cancelled:
                client.cancel(ran.job.name)

    def _time_the_list(self, job: BatchJob) -> None:
        """Look for a new job in the list until it is there."""
        client = self._place.vertex()
        query = JobQuery(labels={RUN_LABEL: self._place.run})
        start = time.monotonic()
        while (passed := time.monotonic() - start) < self._place.settings.settle:
            if any(one.name.job_id == job.name.job_id for one in client.list(query)):
                self.appeared_after = passed
                return
            time.sleep(min(1.0, self._place.settings.poll))

    def wait(self) -> None:
        """Look at the jobs until all have ended or time is up; the rest is cancelled."""
        deadline = time.monotonic() + self._place.settings.wait
        while self._look() and time.monotonic() < deadline:
            time.sleep(self._place.settings.poll)
        self._cancel_all()

    def _look(self) -> list[Ran]:
        """Look at the jobs that had not ended, and return those that have not."""
        waiting = []
        for name, ran in self.ran.items():
            if ran.job is None or ran.job.state.stage.ended:
                continue
            try:
                ran.job = self._place.vertex(ran.probe.location).get(ran.job.name)
            except JobServiceError as error:
                log.warning("%s: %s", name, error)
            if not ran.states or ran.states[-1] != ran.job.state.short:
                ran.states.append(ran.job.state.short)
                log.info("%s: %s", name, ran.job.state.short)
            if not ran.job.state.stage.ended:
                waiting.append(ran)
        return waiting

    def _cancel_all(self) -> None:
        for ran in self.ran.values():
            if ran.job:
                _cancel(self._place.vertex(ran.probe.location), ran.job)

    def remove(self) -> list[str]:
        """Cancel and delete all jobs of the run, the pipeline's too; returns what is left and why."""
        left = []
        for location in sorted({ran.probe.location for ran in self.ran.values()} | {""}):
            client = self._place.vertex(location)
            jobs = {
                ran.job.name.job_id: ran.job
                for ran in self.ran.values()
                if ran.job and ran.probe.location == location
            }
            try:
                # The list holds what no probe has made, and may hide what one has.
                jobs |= {
                    job.name.job_id: job for job in client.list(JobQuery(labels={RUN_LABEL: self._place.run}))
                }
            except JobServiceError as error:
                left.append(f"jobs with the label {RUN_LABEL}={self._place.run}: {error}")
            left += self._removed(client, list(jobs.values()))
        return left

    def _removed(self, client: BatchJobClient, jobs: list[BatchJob]) -> list[str]:
        """Delete jobs once they have ended, and return those that are left."""
        left = []
        deadline = time.monotonic() + _CANCEL_WAIT
        for job in jobs:
            try:
                _cancel(client, job)
                while client.get(job.name).state.stage.waits and time.monotonic() < deadline:
                    time.sleep(min(5.0, self._place.settings.poll))
                client.delete(job.name)
            except JobServiceError as error:
                left.append(f"{job}: {error}")
        return left


def _cancel(client: BatchJobClient, job: BatchJob) -> None:
    """Cancel a job unless it has ended; it may end at this moment, and then it can't be cancelled."""
    if job.state.stage in (Stage.QUEUED, Stage.RUNNING):
        try:
            client.cancel(job.name)
        except JobServiceError as error:
            log.warning("%s", error)
