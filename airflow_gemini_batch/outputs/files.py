"""Requests and answers in JSON Lines files on Cloud Storage."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING, NamedTuple

from airflow_gemini_batch.core.addresses import GcsAddress
from airflow_gemini_batch.core.log import ShownLog
from airflow_gemini_batch.core.progress import Progress
from airflow_gemini_batch.core.threads import in_two_threads
from airflow_gemini_batch.disk.private_folder import private_folder
from airflow_gemini_batch.gcp.objects import StorageObjects
from airflow_gemini_batch.gcp.pieces import IsOdd, Piece
from airflow_gemini_batch.outputs.classify import Tally
from airflow_gemini_batch.outputs.line_sql import database_of_lines
from airflow_gemini_batch.outputs.matched_lines import CountedLines, RequestLines, chosen_lines, matched
from airflow_gemini_batch.outputs.summary import OutputSummary, hint_when_forbidden
from airflow_gemini_batch.outputs.usage import UsageByModel, merge_usage

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection
    from google.cloud.storage import Blob, Client

_log = ShownLog(logging.getLogger(__name__))

_Lines = CountedLines | RequestLines


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
        for counts in self._counted(blobs):
            tally.merge(counts.tally)
        return tally

    def usage(self, folder: GcsAddress) -> UsageByModel:
        """Add up the tokens of a job's output folder; its files are not read again after :meth:`tally`."""
        return merge_usage(*(counts.usage for counts in self._counted(self.prediction_files(folder))))

    def _counted(self, blobs: Sequence[Blob]) -> list[_Counts]:
        if new := [blob for blob in blobs if blob.id not in self._counts]:
            with self._reading() as reading:
                for blob in new:
                    answers = reading.answers([blob])
                    self._counts[blob.id] = _Counts(answers.tally(), answers.usage())
        return [self._counts[blob.id] for blob in blobs]

    def summarize(self, folder: GcsAddress, sources: Sequence[GcsAddress]) -> OutputSummary | None:
        """Sort the rows of a job's output folder by the requests in its source files.

        Returns None if the folder holds no prediction files. Rows are matched by their key if the service returns it
        and no two requests share one, otherwise by the digest of their request.
        """
        files = self.prediction_files(folder)
        if not files:
            return None
        requests = list(self.objects(sources))
        with (
            self._reading() as reading,
            ThreadPoolExecutor(1, "requests") as background,
            closing(reading),
        ):
            # Nearly all rows have a key, and hardly any two requests share one.
            coming = background.submit(reading.requests, requests, by_key=True)
            answers = reading.answers(files)
            found, asked = answers.found(), coming.result()
            by_key = found.keys > 0 and not asked.has_repeats
            if not by_key:
                asked = reading.requests(requests, by_key=False)
                if found.keys and found.labels:
                    answers = reading.answers(files, by_content=True)
            usage = answers.usage()
            tally, to_retry = matched(reading.database, answers, asked, by_key=by_key)
        write_follow_up = None if to_retry is None else partial(self._write_follow_up, requests, to_retry)
        return OutputSummary(tally, write_follow_up, usage.copy)

    @contextmanager
    def _reading(self) -> Iterator[_Reading]:
        progress = Progress(_log, "reading what came back")
        with private_folder("answers") as folder, database_of_lines(folder) as database:
            yield _Reading(self, folder, database, progress)

    def _write_follow_up(self, requests: Sequence[Blob], to_retry: bytearray, address: GcsAddress) -> None:
        # Uploaded as a whole: a file that was cut off would be a job for some of them.
        with tempfile.TemporaryFile() as file, private_folder("requests") as folder:
            for line in chosen_lines(self.pieces(requests, folder), to_retry):
                file.write(line + b"\n")
            with hint_when_forbidden(address):
                self._client.bucket(address.bucket).blob(address.path).upload_from_file(file, rewind=True)


@dataclass(frozen=True, slots=True)
class _Reading:
    """Files on their way into a database.

    :param folder: of this user alone.
    """

    storage: StorageObjects
    folder: Path
    database: DuckDBPyConnection
    progress: Progress
    _closed: Event = field(default_factory=Event)

    def close(self) -> None:
        """Let what is read in the background end: a task that fails, or is killed, does not wait for it."""
        self._closed.set()

    def answers(self, files: Sequence[Blob], *, by_content: bool = False) -> CountedLines:
        """Read output files."""
        lines = CountedLines(self.database, self.folder, by_content=by_content)
        in_two_threads(partial(self._read, lines), self._pieces(files, lines.is_odd), "answers")
        return lines

    def requests(self, files: Sequence[Blob], *, by_key: bool) -> RequestLines:
        """Read request files."""
        # A thread of its own needs a connection of its own.
        lines = RequestLines(self.database.cursor(), by_key=by_key)
        for piece in self._pieces(files):
            self._read(lines, piece)
            if self._closed.is_set():
                break
        return lines

    def _pieces(self, files: Sequence[Blob], is_odd: IsOdd = lambda _: False) -> Iterator[Piece]:
        return self.storage.pieces(files, Path(tempfile.mkdtemp(dir=self.folder)), is_odd)

    def _read(self, lines: _Lines, piece: Piece) -> None:
        with piece:
            self.progress.add(lines.add(piece), piece.size)
