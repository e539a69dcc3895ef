"""Files of jobs as tables with a line in each row: BigQuery loads them from the bucket, no row passes through here.

A line is loaded as text and read as JSON by the statement that stages it. To a load job, one odd line, or a number with
more digits than FLOAT64 has, would be a reason to refuse the whole file.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from airflow_gemini_batch.core.addresses import BigQueryAddress
from airflow_gemini_batch.core.fingerprints import asked_model
from airflow_gemini_batch.core.landing import LandingPlan
from airflow_gemini_batch.core.manifest import Manifest
from airflow_gemini_batch.core.models import short_model_name
from airflow_gemini_batch.exceptions import InvalidRequestError
from airflow_gemini_batch.storage.cloud_storage import CloudStorage
from airflow_gemini_batch.storage.land.round_files import answer_files, request_files
from airflow_gemini_batch.storage.land.staging_table import make_anew

if TYPE_CHECKING:
    from collections.abc import Iterator

    from google.cloud.bigquery import Client
    from google.cloud.storage import Blob

LINE = "line"
"""The one column, of type STRING."""

# No line of JSON holds this character, so a line is one field.
_SEPARATOR = "\x01"
_LOAD_TIMEOUT = 3600.0


@dataclass(frozen=True, slots=True)
class LineTable:
    """Lines of one submission: its requests, or the answers of one of its jobs.

    :param files: the ``gs://`` addresses.
    :param written: when the last of the files was, in ISO 8601; the time of rows that do not tell theirs.
    :param submission: identity of the submission.
    :param job: the job that answered; of requests the one that they were sent with last.
    :param round: that job's number among those of its submission, from 0.
    :param model: what stands for the model in fingerprints; of answers its plain name.
    """

    table: BigQueryAddress
    files: Sequence[str]
    written: str
    submission: str
    job: str
    round: int
    model: str


def request_lines(
    plan: LandingPlan, manifests: Sequence[Manifest], storage: CloudStorage, staging: BigQueryAddress
) -> list[LineTable]:
    """Return the tables for the requests of some manifests, one for each; nothing is loaded yet.

    :param staging: the tables' names begin with this one's.
    """
    found = []
    for place, manifest in enumerate(manifests):
        if blobs := request_files(manifest, storage):
            table = staging.with_table(f"{staging.table}_requests_{place}")
            last = len(manifest.rounds) - 1
            model = asked_model(manifest.model, plan.model_parameters)
            found.append(_line_table(table, blobs, manifest, last, model))
    return found


def answer_lines(
    manifests: Sequence[Manifest], storage: CloudStorage, staging: BigQueryAddress
) -> list[LineTable]:
    """Return the tables for the answers of some manifests, one for each round with some; nothing is loaded yet.

    Raises :class:`~airflow_gemini_batch.exceptions.OutputNotReadyError` for answers that are gone.
    """
    found = []
    for place, manifest in enumerate(manifests):
        for number, one in enumerate(manifest.rounds):
            if blobs := answer_files(one, storage):
                table = staging.with_table(f"{staging.table}_answers_{place}_{number}")
                found.append(_line_table(table, blobs, manifest, number, short_model_name(manifest.model)))
    return found


def load_lines(tables: Sequence[LineTable], client: Client) -> None:
    """Load the files, all at the same time, into tables that are made anew and expire after a day.

    Raises :class:`~airflow_gemini_batch.exceptions.InvalidRequestError` when BigQuery may not or can't read them.
    """
    from google.cloud.bigquery import LoadJobConfig, SchemaField, SourceFormat, WriteDisposition

    schema = [SchemaField(LINE, "STRING")]
    jobs = []
    for one in tables:
        make_anew(client, one.table, schema)
        config = LoadJobConfig(
            schema=schema,
            source_format=SourceFormat.CSV,
            field_delimiter=_SEPARATOR,
            quote_character="",
            ignore_unknown_values=True,
            write_disposition=WriteDisposition.WRITE_TRUNCATE,
        )
        with _reading(one):
            jobs.append(client.load_table_from_uri(one.files, one.table.dotted, job_config=config))
    for one, job in zip(tables, jobs, strict=True):
        with _reading(one):
            job.result(timeout=_LOAD_TIMEOUT)


@contextmanager
def _reading(lines: LineTable) -> Iterator[None]:
    from google.api_core.exceptions import BadRequest, Forbidden, NotFound

    try:
        yield
    except (BadRequest, Forbidden, NotFound) as error:
        bucket = lines.files[0].removeprefix("gs://").partition("/")[0]
        raise InvalidRequestError(
            f"BigQuery did not load the files of the batch job {lines.job} from gs://{bucket}: {error.message}\n"
            "The account of the BigQuery connection needs roles/storage.objectViewer on the bucket, and the target's "
            "dataset has to be where the bucket is, or in a multi-region that it may be loaded into. Nothing was "
            "landed, and the answers stay where they are"
        ) from None


def _line_table(
    table: BigQueryAddress, blobs: Sequence[Blob], manifest: Manifest, round_: int, model: str
) -> LineTable:
    return LineTable(
        table,
        [f"gs://{blob.bucket.name}/{blob.name}" for blob in blobs],
        max(blob.time_created for blob in blobs).isoformat(),
        manifest.identity,
        manifest.rounds[round_].job_name,
        round_,
        model,
    )
