"""One line of a request file → its key and its fingerprint."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from airflow_gemini_batch.core.defaults import LONGEST_ROW
from airflow_gemini_batch.core.fingerprints import fingerprints_of
from airflow_gemini_batch.core.jsonl import tolerant_object
from airflow_gemini_batch.core.keys import KEY_AFTER, KEY_BEFORE, is_sent_key, key_values, text_of_key
from airflow_gemini_batch.core.model_families import GEMINI_EMBEDDING, GENERATE_CONTENT, ModelFamily
from airflow_gemini_batch.exceptions import InvalidRequestError
from airflow_gemini_batch.outputs.matching import content_id, line_identity, request_digest
from airflow_gemini_batch.requests.lines import fingerprint_of_line

# A line as requests.lines.request_line writes it, which most are: the request in it is as it was filled. A key with a
# quote or a backslash is read by itself.
_OWN = rb'\{"key":"%b([^"\\\n]*)%b","request":(\{.*\})\}' % (KEY_BEFORE.encode(), KEY_AFTER.encode())
_own_line = re.compile(_OWN).fullmatch
_own_lines = re.compile(rb"(?m)^%b\n" % _OWN).findall


class RequestRows(NamedTuple):
    """What a landing needs to know of some requests.

    :param columns: labels, fingerprints, and the columns of the key. A label is the key as it stands in the line; of a
        family that returns no keys a digest of the content, which equal requests share. By column, since a million rows
        are as many objects for the garbage collector.
    :param unreadable: lines that can't be read.
    """

    columns: Sequence[Sequence[str]]
    unreadable: int = 0


RequestContent = tuple[str | None, ...]
"""What an answer is matched with whose key did not come back as it was sent: label, digest and bare key of
:class:`.AnswerIdentity`, and the columns of the key."""


class RequestReader:
    """Reads the lines of request files.

    DuckDB takes twice as long for it: it has to have the lines in files, and its SHA-256 does not use the processor's.

    :param model: as in the manifest; part of the fingerprints.
    :param key: the key's columns.
    """

    def __init__(self, model: str, key: Sequence[str], family: ModelFamily = GENERATE_CONTENT) -> None:
        self._model = model
        self._key = key
        self._family = family

    def read(self, lines: bytes) -> RequestRows:
        """Read some lines, each of them whole.

        Raises :class:`~airflow_gemini_batch.exceptions.InvalidRequestError` for a request without a key, or with
        the key of other columns.
        """
        if len(lines) <= LONGEST_ROW and self._may_be_own(lines):
            own = _own_lines(lines)
            if len(own) == lines.count(b"\n") and lines.endswith(b"\n"):
                return RequestRows(self._columns_of(own))
        rows = [self._row(line) for line in map(bytes.strip, lines.split(b"\n")) if line]
        found = list(filter(None, rows))
        return RequestRows(list(zip(*found, strict=True)), len(rows) - len(found))

    def _row(self, line: bytes) -> tuple[str, ...] | None:
        """Return the row of a line, ``None`` for one that can't be read."""
        if len(line) > LONGEST_ROW:
            return None
        if self._may_be_own(line) and (own := _own_line(line)):
            return tuple(value for (value,) in self._columns_of([own.groups()]))
        if (content := self._object(line)) is None:
            return None
        key = content["key"]
        label = _label(key) if self._family.returns_keys else content_id(content, self._family)
        return (label, fingerprint_of_line(self._model, content), *self._key_values(text_of_key(key)))

    def _may_be_own(self, lines: bytes) -> bool:
        # BigQuery exports whole numbers as strings.
        return self._family is GENERATE_CONTENT or (
            self._family is GEMINI_EMBEDDING and b'"output_dimensionality":"' not in lines
        )

    def _columns_of(self, lines: Sequence[tuple[bytes, ...]]) -> Sequence[Sequence[str]]:
        """Return the columns of lines of our own, cut to key and request."""
        keys = b"\n".join([key for key, _ in lines]).decode(errors="replace").split("\n")
        labels = [f"{KEY_BEFORE}{key}{KEY_AFTER}" for key in keys]
        columns = [keys] if len(self._key) == 1 else zip(*map(self._key_values, keys), strict=True)
        return [labels, fingerprints_of(self._model, [request for _, request in lines]), *columns]

    def content(self, line: bytes) -> RequestContent | None:
        """Return what a line asks; ``None`` for a line that can't be read.

        Raises what :meth:`read` raises.
        """
        if (content := self._object(line)) is None:
            return None
        key = content["key"]
        text = text_of_key(key)
        bare_key = line_identity({**content, "key": text})
        digest = request_digest(content.get("request")).hex()
        return (_label(key), digest, bare_key, *self._key_values(text))

    def _object(self, line: bytes) -> Mapping[str, Any] | None:
        """Return a line that holds a request, which has a key then."""
        content, main = tolerant_object(line), self._family.main_column
        if content is None or not (
            main in content if self._family.is_flat else isinstance(content.get(main), dict)
        ):
            return None
        if content.get("key") is None:
            kind = "Embedding" if self._family.embeds else "Gemini"
            raise InvalidRequestError(
                f'a request has no key, so its answer belongs to no row: give each line a "key" beside its "{main}", '
                f'as in {{"key": "42", "{main}": …}}, or build the requests with Build{kind}RequestsOperator. '
                f"The request is {line[:200].decode(errors='replace')}"
            )
        return content

    def _key_values(self, key: str) -> Sequence[str]:
        if len(self._key) == 1:
            return (key,)
        try:
            return tuple(key_values(key, self._key).values())
        except ValueError as error:
            raise InvalidRequestError(
                f"{error}: give the same key as where the requests were built"
            ) from None


def _label(key: Any) -> str:
    return key if is_sent_key(key) else text_of_key(key)
