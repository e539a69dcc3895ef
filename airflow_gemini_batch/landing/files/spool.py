"""From files on Cloud Storage to Parquet files on the worker's disk, in constant memory."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from airflow_gemini_batch.core.columns import TOKEN_COLUMNS
from airflow_gemini_batch.core.fingerprints import model_key
from airflow_gemini_batch.core.response_schema import AnswerColumn
from airflow_gemini_batch.gcp.objects import StorageObjects
from airflow_gemini_batch.jobs.manifest import Manifest
from airflow_gemini_batch.landing.files.answer_reader import AnswerReader, AnswerRow, Facts
from airflow_gemini_batch.landing.files.embedding_reader import EmbeddingReader, TextRequestReader
from airflow_gemini_batch.landing.files.inputs import answer_files, request_files
from airflow_gemini_batch.landing.files.parquet import ParquetFile, read_in_batches
from airflow_gemini_batch.landing.files.request_reader import RequestReader, RequestRow, line_digest
from airflow_gemini_batch.landing.plan import LandingPlan

if TYPE_CHECKING:
    import pyarrow as pa

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
    - :data:`DIGESTS`: ``manifest``, ``label``, ``digest``: the requests of manifests with answers that came back
      without a key.

    :param vectors: where vectors are kept; the rows have their digests.

    Raises :class:`~airflow_gemini_batch.exceptions.InvalidRequestError` for requests without a key, and
    :class:`~airflow_gemini_batch.exceptions.OutputNotReadyError` for answers that are gone.
    """
    unreadable = Unreadable()
    with (
        ParquetFile(folder / REQUESTS, _request_schema(plan)) as requests,
        ParquetFile(folder / ANSWERS, _answer_schema(plan)) as answers,
        ParquetFile(folder / DIGESTS, _digest_schema()) as digests,
    ):
        for index, manifest in enumerate(manifests):
            sources = request_files(manifest, storage)
            read_request, read_answer = _readers(plan, manifest, vectors)
            for blob in sources:
                for keyed, skipped in read_in_batches(storage.lines([blob]), read_request):
                    requests.write((index, blob.time_created), [row.cells for row in keyed])
                    unreadable.requests += skipped
            keyless = False
            for number, round_ in enumerate(manifest.rounds):
                for blob in answer_files(round_, storage):
                    for rows, skipped in read_in_batches(storage.lines([blob]), read_answer):
                        constants = (index, number, blob.time_created)
                        answers.write(constants, [row.cells for row in rows])
                        unreadable.answers += skipped
                        keyless = keyless or any(row.label is None for row in rows)
            if keyless:
                for pairs, _ in read_in_batches(storage.lines(sources), line_digest):
                    digests.write((index,), pairs)
    return unreadable


def _readers(
    plan: LandingPlan, manifest: Manifest, vectors: VectorFile | None
) -> tuple[Callable[[bytes], RequestRow | None], Callable[[bytes], AnswerRow | None]]:
    """Return what reads the lines of a manifest's requests, and those of its answers."""
    model = model_key(manifest.model, plan.model_parameters)
    request_reader = (
        RequestReader(model, plan.key)
        if plan.family.returns_keys
        else TextRequestReader(model, plan.key, plan.family)
    )
    answer_reader = EmbeddingReader(plan, manifest.model, vectors.add) if vectors else AnswerReader(plan)
    return request_reader.read, answer_reader.read


def _request_schema(plan: LandingPlan) -> pa.Schema:
    import pyarrow as pa

    texts = ["label", "fingerprint", *(f"key_{index}" for index in range(len(plan.key)))]
    return pa.schema([("manifest", pa.int64()), _written(), *((name, pa.string()) for name in texts)])


def _digest_schema() -> pa.Schema:
    import pyarrow as pa

    return pa.schema([("manifest", pa.int64()), ("label", pa.string()), ("digest", pa.string())])


def _answer_schema(plan: LandingPlan) -> pa.Schema:
    import pyarrow as pa

    return pa.schema(
        [
            ("manifest", pa.int64()),
            ("round", pa.int64()),
            _written(),
            ("label", pa.string()),
            ("digest", pa.string()),
            ("outcome", pa.string()),
            ("code", pa.int64()),
            ("message", pa.string()),
            *((f"value_{index}", _arrow_type(column)) for index, column in enumerate(plan.columns)),
            *((name, pa.int64() if name in TOKEN_COLUMNS else pa.string()) for name in Facts._fields),
            ("shortened", pa.bool_()),
        ]
    )


def _written() -> pa.Field:
    import pyarrow as pa

    return pa.field("written", pa.timestamp("us", "UTC"))


def _arrow_type(column: AnswerColumn) -> pa.DataType:
    import pyarrow as pa

    plain = {"INT64": pa.int64(), "FLOAT64": pa.float64(), "BOOL": pa.bool_()}.get(column.type, pa.string())
    return pa.list_(plain) if column.repeated else plain
