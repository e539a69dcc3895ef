"""Finding the full key of an answer whose line does not have it."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Mapping
from functools import cached_property
from typing import Any

from airflow_gemini_batch.core.jsonl import tolerant_object
from airflow_gemini_batch.core.keys import KEY_LABEL, key_label
from airflow_gemini_batch.core.values import text_of
from airflow_gemini_batch.exceptions import InvalidRequestError
from airflow_gemini_batch.outputs.matching import line_key, request_digest


class KeyIndex:
    """The keys of requests by what the service gives back of them, on disk.

    The request files are read when the first answer comes that needs it.

    :param request_lines: reads the lines of the request files.
    """

    def __init__(self, request_lines: Callable[[], Iterator[bytes]]) -> None:
        self._request_lines = request_lines

    def key_of(self, answer: Mapping[str, Any]) -> str | None:
        """Return the key of an answer's line, ``None`` if it belongs to no request.

        An answer without any key is matched by its content. Of requests with equal content, each is given once.
        """
        if (key := answer.get("key")) is not None:
            return text_of(key)
        label = line_key(answer)
        if label is None:
            return self._take(request_digest(answer.get("request")))
        if label == key_label(label):  # as most are, it is the key itself
            return label
        row = self._labels.execute("SELECT key FROM keys WHERE id = ?", [label]).fetchone()
        return row[0] if row else None

    def _take(self, digest: bytes) -> str | None:
        row = self._digests.execute("SELECT rowid, key FROM keys WHERE id = ? LIMIT 1", [digest]).fetchone()
        if row is None:
            return None
        self._digests.execute("DELETE FROM keys WHERE rowid = ?", [row[0]])
        return str(row[1])

    @cached_property
    def _labels(self) -> sqlite3.Connection:
        return _keys((line_key(request), request) for request in self._requests())

    @cached_property
    def _digests(self) -> sqlite3.Connection:
        return _keys((request_digest(request.get("request")), request) for request in self._requests())

    def _requests(self) -> Iterator[Mapping[str, Any]]:
        for line in self._request_lines():
            if request := tolerant_object(line):
                yield request


def _keys(requests: Iterator[tuple[Any, Mapping[str, Any]]]) -> sqlite3.Connection:
    # Without a name it lies in a temporary file, which goes with the connection.
    database = sqlite3.connect("")
    database.execute("CREATE TABLE keys (id, key TEXT)")
    database.executemany(
        "INSERT INTO keys VALUES (?, ?)", ((id_, _key(request)) for id_, request in requests)
    )
    database.execute("CREATE INDEX by_id ON keys (id)")
    return database


def _key(request: Mapping[str, Any]) -> str:
    key = request.get("key")
    if key is None:
        raise InvalidRequestError(
            f'the answers have no key, and neither have the requests: give each line a "key" beside its "request" '
            f"(or the label {KEY_LABEL} within)"
        )
    return text_of(key)
