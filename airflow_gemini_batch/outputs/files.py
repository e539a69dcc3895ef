"""Requests and answers in JSON Lines files on Cloud Storage."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Any, NamedTuple

from airflow_gemini_batch.core.addresses import GcsAddress
from airflow_gemini_batch.gcp.objects import StorageObjects
from airflow_gemini_batch.outputs.classify import Outcome, RowResult, Tally, decoded
from airflow_gemini_batch.outputs.decoder import read_answer
from airflow_gemini_batch.outputs.matching import (
    RequestId,
    RequestMatcher,
    line_id,
    line_identity,
    read_identity,
)
from airflow_gemini_batch.outputs.rows import classify_output, row_usage
from airflow_gemini_batch.outputs.summary import OutputSummary, hint_when_forbidden
from airflow_gemini_batch.outputs.usage import ModelUsage, Usage, UsageByModel, add_usage, merge_usage

if TYPE_CHECKING:
    from google.cloud.storage import Blob, Client

# Keys come back for a whole job or not at all, so its first rows are enough; some of them may be broken.
_ROWS_THAT_TELL = 20

_GOOD = RowResult(Outcome.OK)


class _OutputRow(NamedTuple):
    """One line of an output file.

    :param key: as :func:`line_identity` returns it.
    """

    key: str | None
    result: RowResult
    usage: ModelUsage


class _Counts(NamedTuple):
    """What the rows of one file add up to."""

    tally: Tally
    usage: UsageByModel


class CloudStorage(StorageObjects):
    """The files of batch jobs: requests, and what came back for them.

    :param client: of ``google-cloud-storage``.
    """

    def __init__(self, client: Client) -> None:
        super().__init__(client)
        self._counts: dict[str, _Counts] = {}

    def tally(self, folder: GcsAddress) -> Tally | None:
        """Sort the rows of a job's output folder; returns None if it holds no prediction files."""
        blobs = self.prediction_files(folder)
        if not blobs:
            return None
        tally = Tally()
        for blob in blobs:
            tally.merge(self._counted(blob).tally)
        return tally

    def usage(self, folder: GcsAddress) -> UsageByModel:
        """Add up the tokens of a job's output folder; its files are not read again after :meth:`tally`."""
        return merge_usage(*(self._counted(blob).usage for blob in self.prediction_files(folder)))

    def _counted(self, blob: Blob) -> _Counts:
        if blob.id not in self._counts:
            tally, usage = Tally(), UsageByModel()
            for line in self._lines(blob):
                row = _read_row(line)
                tally.add(row.result)
                add_usage(usage, *row.usage)
            self._counts[blob.id] = _Counts(tally, usage)
        return self._counts[blob.id]

    def summarize(self, folder: GcsAddress, sources: Sequence[GcsAddress]) -> OutputSummary | None:
        """Sort the rows of a job's output folder by the requests in its source files.

        Returns None if the folder holds no prediction files. Rows are matched by their key if the service returns it
        and no two requests share one, otherwise by the digest of their request. Memory grows by one entry a request.
        """
        files = self.prediction_files(folder)
        if not files:
            return None
        requests = list(self.objects(sources))
        by_key = self._holds_keys(files)
        matcher = RequestMatcher(self._ids(requests, by_key=by_key))
        if by_key and matcher.has_repeats:
            by_key = False
            matcher = RequestMatcher(self._ids(requests, by_key=by_key))
        usage: UsageByModel = {}
        for line in self.lines(files):
            row = _read_row(line)
            id_ = row.key if by_key and row.key else line_id(_object(line), by_key=by_key)
            matcher.add(id_, row.result)
            add_usage(usage, *row.usage)
        tally, to_retry = matcher.close()
        write_follow_up = (
            None if to_retry is None else partial(self._write_follow_up, requests, to_retry, by_key)
        )
        return OutputSummary(tally, write_follow_up, usage.copy)

    def _holds_keys(self, files: Sequence[Blob]) -> bool:
        rows = islice(filter(None, map(_object, self.lines(files))), _ROWS_THAT_TELL)
        return any(map(line_identity, rows))

    def _ids(self, requests: Sequence[Blob], *, by_key: bool) -> Iterator[RequestId]:
        return (_request_id(line, by_key=by_key) for line in self.lines(requests))

    def _write_follow_up(
        self, requests: Sequence[Blob], to_retry: Mapping[RequestId, int], by_key: bool, address: GcsAddress
    ) -> None:
        """Copy the lines of these requests to a new file, as many of each as ``to_retry`` says."""
        left, open_ = dict(to_retry), sum(to_retry.values())
        # Uploaded as a whole: a file that was cut off would be a job for some of them.
        with tempfile.TemporaryFile() as file:
            for line in self.lines(requests):
                if not open_:
                    break
                id_ = _request_id(line, by_key=by_key)
                if left.get(id_):
                    left[id_] -= 1
                    open_ -= 1
                    file.write(line + b"\n")
            with hint_when_forbidden(address):
                self._client.bucket(address.bucket).blob(address.path).upload_from_file(file, rewind=True)


def _request_id(line: bytes, *, by_key: bool) -> RequestId:
    key = read_identity(line) if by_key else None
    return key or line_id(_object(line), by_key=by_key)


def _read_row(line: bytes) -> _OutputRow:
    if answer := read_answer(line):
        return _OutputRow(answer.identity, _GOOD, answer.usage)
    row = _object(line)
    if row is None:
        # A line that can't be read is a row that can't be used, not a reason to lose the others.
        message = f"the output line is not a JSON object: {line[:100]!r}"
        return _OutputRow(None, RowResult(Outcome.RETRYABLE, message), ModelUsage("", Usage()))
    return _OutputRow(line_identity(row), classify_output(row), row_usage(row))


def _object(line: bytes) -> Mapping[str, Any] | None:
    row = decoded(line)
    return row if isinstance(row, Mapping) else None
