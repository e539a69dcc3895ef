"""One line of a request file → its key and its fingerprint."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import NamedTuple

from airflow_gemini_batch.core.fingerprints import DIGEST_LENGTH, fingerprint_prefix, spelled_as_in_sql
from airflow_gemini_batch.core.jsonl import tolerant_object
from airflow_gemini_batch.core.keys import KEY_LABEL, key_values
from airflow_gemini_batch.core.model_families import GENERATE_CONTENT, ModelFamily
from airflow_gemini_batch.core.values import text_of
from airflow_gemini_batch.exceptions import InvalidRequestError
from airflow_gemini_batch.outputs.matching import content_id, line_key, request_digest
from airflow_gemini_batch.requests.lines import fingerprint_of_line

# A line as requests.lines.request_line writes it, which most are: the request in it is as it was filled.
_KEY = b'{"key":"'
_REQUEST = b'","request":{'
_LABEL = b',"labels":{"%b":"' % KEY_LABEL.encode()
_END = b'"}}}'


class RequestRow(NamedTuple):
    """What a landing needs to know of one request.

    :param label: the key as :func:`.line_key` gives it; of a family that returns no keys a digest of the content,
        which equal requests share.
    :param key: the key's columns.
    """

    label: str
    fingerprint: str
    key: Sequence[str]

    @property
    def cells(self) -> tuple[str, ...]:
        """All of it as one flat row."""
        return (self.label, self.fingerprint, *self.key)


class RequestReader:
    """Reads the lines of request files.

    :param model: as in the manifest; part of the fingerprints.
    :param key: the key's columns.
    """

    def __init__(self, model: str, key: Sequence[str], family: ModelFamily = GENERATE_CONTENT) -> None:
        self._model = model
        self._key = key
        self._family = family
        self._prefix = hashlib.sha256(fingerprint_prefix(model))

    def read(self, line: bytes) -> RequestRow | None:
        """Return the row of a line, ``None`` for a line that can't be read.

        Raises :class:`~airflow_gemini_batch.exceptions.InvalidRequestError` for a request without a key, or with
        the key of other columns.
        """
        return self._read_own(line) or self._read_odd(line)

    def _read_own(self, line: bytes) -> RequestRow | None:
        if not line.startswith(_KEY) or not line.endswith(_END):
            return None
        # Neither of these is within a text, where quotes have a backslash in front.
        start, end = line.find(_REQUEST), line.rfind(_LABEL)
        key, label = line[len(_KEY) : start], line[end + len(_LABEL) : -len(_END)]
        if not 0 < start < end or b"\\" in key or b'"' in key or b'"' in label:
            return None
        digest = self._prefix.copy()
        digest.update(spelled_as_in_sql(line[start + len(_REQUEST) - 1 : end]))
        digest.update(b"}")
        fingerprint = digest.hexdigest()[:DIGEST_LENGTH]
        columns = self._columns(key.decode(errors="replace"))
        return RequestRow(label.decode(errors="replace"), fingerprint, columns)

    def _read_odd(self, line: bytes) -> RequestRow | None:
        content, main = tolerant_object(line), self._family.main_column
        if content is None or not (
            main in content if self._family.is_flat else isinstance(content.get(main), dict)
        ):
            return None
        label = line_key(content) if self._family.returns_keys else content_id(content, self._family)
        key = content.get("key")
        if label is None or key is None:
            kind = "Embedding" if self._family.embeds else "Gemini"
            raise InvalidRequestError(
                f'a request has no key, so its answer belongs to no row: give each line a "key" beside its "{main}", '
                f'as in {{"key": "42", "{main}": …}}, or build the requests with Build{kind}RequestsOperator. '
                f"The request is {line[:200].decode(errors='replace')}"
            )
        return RequestRow(label, fingerprint_of_line(self._model, content), self._columns(text_of(key)))

    def _columns(self, key: str) -> Sequence[str]:
        if len(self._key) == 1:
            return (key,)
        try:
            return tuple(key_values(key, self._key).values())
        except ValueError as error:
            raise InvalidRequestError(
                f"{error}: give the same key as where the requests were built"
            ) from None


def line_digest(line: bytes) -> tuple[str, str] | None:
    """Return the ``label`` and the ``digest`` of a line's request, for answers that come back without a key."""
    content = tolerant_object(line)
    label = line_key(content) if content else None
    return (label, request_digest(content.get("request")).hex()) if content and label else None
