"""From the files of a manifest's rounds to Parquet files on the worker's disk, in constant memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from airflow_gemini_batch.core.addresses import GcsAddress, parse_address
from airflow_gemini_batch.core.columns import TOKEN_COLUMNS
from airflow_gemini_batch.core.fingerprints import model_key
from airflow_gemini_batch.exceptions import InvalidRequestError, OutputNotReadyError, SourceNotReadyError
from airflow_gemini_batch.gcp.objects import StorageObjects
from airflow_gemini_batch.jobs.manifest import Manifest, Round
from airflow_gemini_batch.landing.files.answer_reader import AnswerReader, Facts
from airflow_gemini_batch.landing.files.database import ParquetFile, read_in_batches
from airflow_gemini_batch.landing.files.embedding_reader import EmbeddingReader
from airflow_gemini_batch.landing.files.request_reader import RequestReader, request_content
from airflow_gemini_batch.landing.plan import LandingPlan

if TYPE_CHECKING:
    import pyarrow as pa
    from google.cloud.storage import Blob

    from airflow_gemini_batch.landing.files.vectors import VectorFile

REQUESTS, ANSWERS, DIGESTS = "requests.parquet", "answers.parquet", "digests.parquet"


@dataclass(slots=True)
class Unreadable:
    """Numbers of lines that could not be read."""

    requests: int = 0
    answers: int = 0


def spool(
    plan: LandingPlan,
    manifests: Sequence[Manifest],
    storage: StorageObjects,
    folder: Path,
    vectors: VectorFile | None = None,
) -> Unreadable:
    """Write what the files of some manifests hold into a folder, as three Parquet files.

    - :data:`REQUESTS`: ``manifest`` (its index, from 0), ``written`` (when the file was), ``label``, ``fingerprint``,
      ``key_0``, ``key_1``, …
    - :data:`ANSWERS`: ``manifest``, ``round``, ``written``, and an :class:`.AnswerRow` whose values are ``value_0``, …
    - :data:`DIGESTS`: ``manifest``, and a :class:`.RequestContent`: the requests of manifests with answers whose key
      did not come back as it was sent.

    :param vectors: where vectors are kept; the rows have their digests.

    Raises :class:`~airflow_gemini_batch.exceptions.InvalidRequestError` for requests without a key, and
    :class:`~airflow_gemini_batch.exceptions.OutputNotReadyError` for answers that are gone.
    """
    unreadable = Unreadable()
    request_schema, answer_schema, digest_schema = _schemas(plan)
    with (
        ParquetFile(folder / REQUESTS, request_schema) as requests,
        ParquetFile(folder / ANSWERS, answer_schema) as answers,
        ParquetFile(folder / DIGESTS, digest_schema) as digests,
    ):
        for index, manifest in enumerate(manifests):
            sources = request_files(manifest, storage)
            model = model_key(manifest.model, plan.model_parameters)
            read_request = RequestReader(model, plan.key, plan.family).read
            reader = EmbeddingReader(plan, manifest.model, vectors.add) if vectors else AnswerReader(plan)
            for blob in sources:
                for keyed, skipped in read_in_batches(storage.lines([blob]), read_request):
                    requests.write((index, blob.time_created), [row.cells for row in keyed])
                    unreadable.requests += skipped
            keyless = False
            for number, round_ in enumerate(manifest.rounds):
                for blob in answer_files(round_, storage):
                    for rows, skipped in read_in_batches(storage.lines([blob]), reader.read):
                        constants = (index, number, blob.time_created)
                        answers.write(constants, [row.cells for row in rows])
                        unreadable.answers += skipped
                        keyless = keyless or any(row.label is None for row in rows)
            if keyless:
                for pairs, _ in read_in_batches(storage.lines(sources), request_content):
                    digests.write((index,), pairs)
    return unreadable


def _schemas(plan: LandingPlan) -> tuple[pa.Schema, pa.Schema, pa.Schema]:
    """Return the columns of :data:`REQUESTS`, :data:`ANSWERS` and :data:`DIGESTS`."""
    import pyarrow as pa

    def typed(kind: pa.DataType, *names: str) -> list[tuple[str, pa.DataType]]:
        return [(name, kind) for name in names]

    text, whole, written = pa.string(), pa.int64(), ("written", pa.timestamp("us", "UTC"))
    kinds = {"INT64": whole, "FLOAT64": pa.float64(), "BOOL": pa.bool_()}
    values = [
        (f"value_{index}", pa.list_(kind) if column.repeated else kind)
        for index, column in enumerate(plan.columns)
        for kind in [kinds.get(column.type, text)]
    ]
    keys = [f"key_{index}" for index in range(len(plan.key))]
    requests = [("manifest", whole), written, *typed(text, "label", "fingerprint", *keys)]
    answers = [
        *typed(whole, "manifest", "round"),
        written,
        *typed(text, "label", "digest", "outcome"),
        ("code", whole),
        ("message", text),
        *values,
        *((name, whole if name in TOKEN_COLUMNS else text) for name in Facts._fields),
        ("shortened", pa.bool_()),
        ("bare_key", text),
    ]
    digests = [("manifest", whole), *typed(text, "label", "digest", "bare_key")]
    return pa.schema(requests), pa.schema(answers), pa.schema(digests)


def request_files(manifest: Manifest, storage: StorageObjects) -> list[Blob]:
    """Return the files of all requests: those of the first round, of which later rounds repeat some.

    Raises :class:`~airflow_gemini_batch.exceptions.SourceNotReadyError` when one is gone.
    """
    sources = [_file_address(source) for round_ in manifest.rounds[:1] for source in round_.source]
    try:
        return list(storage.objects(sources))
    except SourceNotReadyError as error:
        raise SourceNotReadyError(
            f"the requests are gone, and with them the keys of the answers: {error}. Nothing was landed. Restore the "
            "file (soft delete keeps it for seven days, unless the bucket says otherwise), or run the build task alone "
            "again: the same rows make the same file"
        ) from error


def answer_files(round_: Round, storage: StorageObjects) -> list[Blob]:
    """Return the files with a round's answers; none for a round that ended without any.

    Raises :class:`~airflow_gemini_batch.exceptions.OutputNotReadyError` when there were answers and the files are gone.
    """
    if not round_.output:
        return []
    files = storage.prediction_files(_file_address(round_.output))
    if not files and round_.had_answers:
        raise OutputNotReadyError(
            f"the answers of the batch job {round_.job_name} are gone: {round_.output} holds no prediction files, and "
            "did when the job ended. Nothing was landed. Restore the files (soft delete keeps them for seven days, "
            "unless the bucket says otherwise), or set force_rerun=True on the submit task to pay for a new job"
        )
    return files


def _file_address(uri: str) -> GcsAddress:
    address = parse_address(uri)
    if not isinstance(address, GcsAddress):
        raise InvalidRequestError(
            f"{address} is a table, and answers in tables land in tables: give a bq:// target"
        )
    return address
