"""Which answer belongs to which request, by content: never by position, and whatever was repeated."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

import orjson

from airflow_gemini_batch.core.responses import RowResult, Tally

# Fields that Vertex AI takes as one object and echoes as a list.
_LISTS = frozenset({"contents", "parts", "tools", "safetySettings"})


def request_digest(request: Any) -> bytes:
    """Digest of a request that stays the same when the service echoes it in its own spelling.

    Vertex AI writes fields in camelCase, in another order, with explicit nulls, and lists for single objects.
    """
    return hashlib.blake2b(
        orjson.dumps(_canonical(request), option=orjson.OPT_SORT_KEYS), digest_size=16
    ).digest()


def _canonical(value: Any) -> Any:
    if isinstance(value, Mapping):
        fields = {}
        for key, content in value.items():
            if content is not None:
                name = re.sub(r"_([a-z0-9])", lambda match: match[1].upper(), key)
                content = _canonical(content)
                fields[name] = [content] if name in _LISTS and not isinstance(content, list) else content
        return fields
    if isinstance(value, list):
        return [_canonical(item) for item in value]
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value


class Ledger:
    """The requests of a job, and the rows that came back."""

    def __init__(self, asked: Iterable[bytes]) -> None:
        """Take the digests of the requests; equal requests are counted."""
        self._asked = Counter(asked)
        self._rows: dict[bytes, list[RowResult]] = {}

    @property
    def requests(self) -> int:
        """Number of requests."""
        return self._asked.total()

    def add(self, digest: bytes, result: RowResult) -> None:
        """Take one row."""
        self._rows.setdefault(digest, []).append(result)

    def tally(self) -> Tally:
        """Sort the rows: one outcome for each request, what was repeated and what nobody asked for apart.

        Of several rows for one request a good one counts.
        """
        tally = Tally()
        for digest, results in self._rows.items():
            asked = self._asked[digest]
            if not asked:
                tally.unknown += len(results)
                continue
            results = sorted(results, key=lambda result: not result.outcome.answered)
            for result in results[:asked]:
                tally.add(result)
            tally.duplicates += len(results[asked:])
        if tally.unknown > tally.rows:
            tally = self._tally_by_number()
        tally.complete(self.requests)
        return tally

    def _tally_by_number(self) -> Tally:
        """Count the rows without telling them apart, for an echo that is not understood."""
        tally = Tally()
        for results in self._rows.values():
            for result in results:
                tally.add(result)
        return tally
