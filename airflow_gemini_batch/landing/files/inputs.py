"""The files of a manifest's rounds: the requests, and the answers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_gemini_batch.core.addresses import GcsAddress, parse_address
from airflow_gemini_batch.exceptions import InvalidRequestError, OutputNotReadyError, SourceNotReadyError
from airflow_gemini_batch.gcp.objects import StorageObjects
from airflow_gemini_batch.jobs.manifest import Manifest, Round

if TYPE_CHECKING:
    from google.cloud.storage import Blob


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
