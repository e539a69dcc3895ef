"""The rows whose answers another run has paid for, and has yet to land: an incremental build leaves them out.

A job is labelled with the target of its answers. All jobs of a run count until its answers have landed, which is at
once for all of them: one of several jobs may have ended days before the others.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from functools import cached_property
from typing import TYPE_CHECKING

from airflow_gemini_batch.core.addresses import Address, BigQueryAddress, GcsAddress, parse_address
from airflow_gemini_batch.core.keys import key_text
from airflow_gemini_batch.core.labels import DAG_LABEL, ROOT_LABEL, RUN_LABEL, airflow_labels, target_labels
from airflow_gemini_batch.core.log import Log
from airflow_gemini_batch.core.models import is_model
from airflow_gemini_batch.core.places import may_be_same_project
from airflow_gemini_batch.exceptions import InvalidRequestError, SourceNotReadyError
from airflow_gemini_batch.gcp.objects import StorageObjects
from airflow_gemini_batch.jobs.client import JobClient, JobQuery
from airflow_gemini_batch.jobs.overlap import OLDEST
from airflow_gemini_batch.jobs.polling import utc_now
from airflow_gemini_batch.jobs.state import BatchJob, Stage
from airflow_gemini_batch.landing.files.request_reader import RequestReader
from airflow_gemini_batch.requests.done import read_landed_jobs
from airflow_gemini_batch.requests.spec import BuildPlan

if TYPE_CHECKING:
    from google.cloud import bigquery, storage

TIME_TO_LAND = timedelta(hours=1)
"""How long after the end of its jobs a run is taken to land the answers. Rows that are not landed then are asked
again."""


class RowsUnderWay:
    """What other runs ask for the target of a plan.

    :param dag_id: with ``run_id`` the run that builds; its own jobs are not looked at, so that a cleared run builds
        what it has built before.
    :param landed: gives the names of jobs whose answers have landed once. Those to a later question may have taken
        their place.
    """

    def __init__(
        self,
        client: JobClient,
        plan: BuildPlan,
        *,
        dag_id: str,
        run_id: str,
        storage_client: Callable[[], storage.Client],
        bigquery_client: Callable[[], bigquery.Client],
        log: Log,
        landed: Callable[[], Iterable[str]] = tuple,
    ) -> None:
        self._landed_once = landed
        self._client = client
        self._plan = plan
        self._own = airflow_labels(dag_id, None, run_id)
        self._storage_client = storage_client
        self._bigquery_client = bigquery_client
        self._log = log

    def tables(self, dataset: BigQueryAddress) -> list[BigQueryAddress]:
        """Return the tables of requests that other runs have asked.

        :param dataset: where builds for this target write their requests. A job that reads from elsewhere is not ours,
            whatever its labels say.

        Raises :class:`~airflow_gemini_batch.exceptions.JobServiceError` when the jobs could not be listed.
        """
        return [address for address in self._requests(dataset) if isinstance(address, BigQueryAddress)]

    def rows(self, folder: GcsAddress) -> Iterator[tuple[str, str]]:
        """Yield key, as text, and fingerprint of each request of files that other runs have asked.

        Files that are gone, or not of builds, are logged as a warning: their rows are not known.

        :param folder: as ``dataset`` of :meth:`tables`, which also tells what it raises.
        """
        reader = RequestReader(self._plan.model_key, self._plan.key, self._plan.family)
        for file in self._requests(folder):
            if not isinstance(file, GcsAddress):
                continue
            objects = StorageObjects(self._storage_client())
            try:
                for lines in objects.chunks(objects.objects([file])):
                    for _, fingerprint, *key in zip(*reader.read(lines).columns, strict=True):
                        yield key_text(key), fingerprint
            except (SourceNotReadyError, InvalidRequestError) as error:
                self._log.warning("Rows that another run has asked may be asked again: %s", error)

    def _requests(self, place: Address) -> list[Address]:
        found: dict[str, Address] = {}
        for run, jobs in self._runs().items():
            if not self._is_under_way(jobs):
                continue
            self._log.info(
                "The run %s is under way for the same target: the rows that it asks are left out. Its jobs: %s",
                run[1],
                ", ".join(map(str, jobs)),
            )
            for job in jobs:
                # A follow-up asks a part of what the first job has asked.
                if ROOT_LABEL in job.labels or not is_model(job.model, self._plan.model):
                    continue
                for text in job.requests:
                    if address := _own_address(text, place):
                        found[text] = address
                    else:
                        self._log.warning(
                            "%s reads %s, and builds for this target write to %s: its rows may be asked again",
                            job,
                            text,
                            place,
                        )
        return list(found.values())

    def _runs(self) -> dict[tuple[str, str], list[BatchJob]]:
        """Return the jobs for this target, by DAG and run."""
        labels, now = target_labels(self._plan.target), utc_now()
        runs: defaultdict[tuple[str, str], list[BatchJob]] = defaultdict(list)
        query = JobQuery(labels=labels, created=(now - OLDEST, now + timedelta(days=1)))
        for job in self._client.list(query):
            # A filter that the service did not apply must not hand us the job of another target.
            if labels.items() <= job.labels.items() and not self._own.items() <= job.labels.items():
                runs[job.labels.get(DAG_LABEL, ""), job.labels.get(RUN_LABEL, "")].append(job)
        return runs

    def _is_under_way(self, jobs: Sequence[BatchJob]) -> bool:
        if any(job.state.stage.waits for job in jobs):
            return True
        now = utc_now()
        return any(_ended_lately(job, now) for job in jobs) and not any(
            job.name.job_id in self._landed for job in jobs
        )

    @cached_property
    def _landed(self) -> set[str]:
        """The ids of the jobs whose answers have landed."""
        names = read_landed_jobs(self._plan, self._storage_client, self._bigquery_client)
        return {name.rpartition("/")[2] for name in (*names, *self._landed_once())}


def _ended_lately(job: BatchJob, now: datetime) -> bool:
    return (
        job.state.stage is Stage.SUCCEEDED and job.end_time is not None and job.end_time > now - TIME_TO_LAND
    )


def _own_address(text: str, place: Address) -> Address | None:
    try:
        address = parse_address(text)
    except ValueError:
        return None
    if isinstance(address, BigQueryAddress) and isinstance(place, BigQueryAddress):
        # The service may name a project by its number.
        own = address.dataset == place.dataset and may_be_same_project(address.project, place.project)
        return place.with_table(address.table) if own else None
    if isinstance(address, GcsAddress) and isinstance(place, GcsAddress):
        own = address.bucket == place.bucket and address.path.startswith(place.child("").path)
        return address if own else None
    return None
