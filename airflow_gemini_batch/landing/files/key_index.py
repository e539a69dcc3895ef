"""Finding the key of an answer: what its line has, if it came back as it was sent, else that of its request."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Mapping
from functools import cached_property
from typing import Any

from airflow_gemini_batch.core.jsonl import tolerant_object
from airflow_gemini_batch.core.keys import is_sent_key, text_of_key
from airflow_gemini_batch.exceptions import InvalidRequestError
from airflow_gemini_batch.outputs.matching import line_identity, request_digest


class KeyIndex:
    """The keys of requests by what the service gives back of them, on disk.

    The request files are read when the first answer comes that needs it.

    :param request_lines: reads the lines of the request files.
    """

    def __init__(self, request_lines: Callable[[], Iterator[bytes]]) -> None:
        self._request_lines = request_lines

    def key_of(self, answer: Mapping[str, Any]) -> str | None:
        """Return the key of an answer's line, ``None`` if it belongs to no request.

        An answer whose key does not tell its request is matched by its content. Of requests with equal content, each is
        given once.
        """
        key = answer.get("key")
        if is_sent_key(key):
            return text_of_key(key)
        if identity := line_identity(answer):
            rows = self._bare_keys.execute("SELECT key FROM keys WHERE id = ?", [identity]).fetchmany(2)
            if len(rows) == 1:
                return str(rows[0][0])
        return self._take(request_digest(answer.get("request")))

    def _take(self, digest: bytes) -> str | None:
        row = self._digests.execute("SELECT rowid, key FROM keys WHERE id = ? LIMIT 1", [digest]).fetchone()
        if row is None:
            return None
        self._digests.execute("DELETE FROM keys WHERE rowid = ?", [row[0]])
        return str(row[1])

    @cached_property
    def _bare_keys(self) -> sqlite3.Connection:
        return _keys((line_identity({**request, "key": key}), key) for key, request in self._requests())

    @cached_property
    def _digests(self) -> sqlite3.Connection:
        return _keys((request_digest(request.get("request")), key) for key, request in self._requests())

    def _requests(self) -> Iterator[tuple[str, Mapping[str, Any]]]:
        for line in self._request_lines():
            if request := tolerant_object(line):
                yield _key(request), request


def _keys(pairs: Iterator[tuple[str | bytes | None, str]]) -> sqlite3.Connection:
    # Without a name it lies in a temporary file, which goes with the connection.
    database = sqlite3.connect("")
    database.execute("CREATE TABLE keys (id, key TEXT)")
    database.executemany("INSERT INTO keys VALUES (?, ?)", pairs)
    database.execute("CREATE INDEX by_id ON keys (id)")
    return database


def _key(request: Mapping[str, Any]) -> str:
    key = request.get("key")
    if key is None:
        raise InvalidRequestError(
            'the answers have no key, and neither have the requests: give each line a "key" beside its "request"'
        )
    return text_of_key(key)
