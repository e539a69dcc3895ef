"""Which objects of a bucket a list request asks for: prefixes, folders, globs and pages."""

from __future__ import annotations

import base64
import binascii
import re
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Generic, Protocol, Self, TypeVar

from airflow_gemini_batch.testing.gcs.conditions import integer
from airflow_gemini_batch.testing.gcs.errors import StorageError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

PAGE_LIMIT = 1000


class Named(Protocol):
    """Anything that has an object's name."""

    @property
    def name(self) -> str:
        """The object's full name within its bucket."""
        ...


T = TypeVar("T", bound=Named)


@dataclass
class Page(Generic[T]):
    """One page: the objects, the common prefixes ("folders"), and the token of the next page or None."""

    items: list[T] = field(default_factory=list)
    prefixes: list[str] = field(default_factory=list)
    next_token: str | None = None


@dataclass(frozen=True)
class ListQuery:
    """A list request, see ``objects.list`` of the Cloud Storage JSON API.

    :param start_offset: smallest name listed, inclusive.
    :param end_offset: names from here on are left out.
    :param glob: ``matchGlob``; ``*`` stays within one folder, ``**`` does not.
    :param limit: at most this many objects and prefixes together.
    :param token: ``next_token`` of the page before.
    """

    prefix: str = ""
    delimiter: str = ""
    start_offset: str = ""
    end_offset: str = ""
    glob: str = ""
    trailing_delimiter: bool = False
    limit: int = PAGE_LIMIT
    token: str = ""

    @classmethod
    def from_query(cls, query: Mapping[str, str]) -> Self:
        """Read the parameters of a request.

        :raises StorageError: 400 for a ``maxResults`` that is not a positive number.
        """
        limit = integer(query, "maxResults")
        if limit is not None and limit < 1:
            raise StorageError.invalid(f"Invalid value for maxResults: {limit}, it must be at least 1")
        return cls(
            prefix=query.get("prefix", ""),
            delimiter=query.get("delimiter", ""),
            start_offset=query.get("startOffset", ""),
            end_offset=query.get("endOffset", ""),
            glob=query.get("matchGlob", ""),
            trailing_delimiter=query.get("includeTrailingDelimiter", "").lower() == "true",
            limit=min(limit or PAGE_LIMIT, PAGE_LIMIT),
            token=query.get("pageToken", ""),
        )

    @cached_property
    def first_name(self) -> str:
        """No name before this one can be in the page, so the store need not read it."""
        return max(self.prefix, self.start_offset, self._last_listed[1])

    def page(self, objects: Iterable[T]) -> Page[T]:
        """Select and fold one page.

        :param objects: in the order of their names, from :attr:`first_name` on; read only as far as needed.
        :raises StorageError: 400 for a page token that is not ours and for a glob that is not well formed.
        """
        page: Page[T] = Page()
        newest: tuple[str, str] | None = None
        for candidate in objects:
            name = candidate.name
            if not name.startswith(self.prefix) or (self.end_offset and name >= self.end_offset):
                break
            folder = self._folder(name)
            if self._was_listed(name) or not self._matches(name):
                continue
            is_listed = folder is None or (self.trailing_delimiter and name == folder)
            unseen = folder is not None and ("prefix", folder) != newest
            if not is_listed and not unseen:
                continue
            if newest is not None and len(page.items) + len(page.prefixes) >= self.limit:
                page.next_token = _encoded(*newest)
                break
            if folder is not None and unseen:
                page.prefixes.append(folder)
            if is_listed:
                page.items.append(candidate)
            newest = ("object", name) if folder is None else ("prefix", folder)
        return page

    def _folder(self, name: str) -> str | None:
        """Find the common prefix that stands for ``name`` in a listing by folders; None: it stands alone."""
        if not self.delimiter:
            return None
        end = name.find(self.delimiter, len(self.prefix))
        return None if end < 0 else name[: end + len(self.delimiter)]

    def _was_listed(self, name: str) -> bool:
        kind, last = self._last_listed
        return bool(last) and (name.startswith(last) if kind == "prefix" else name <= last)

    def _matches(self, name: str) -> bool:
        return self._pattern is None or self._pattern.fullmatch(name) is not None

    @cached_property
    def _pattern(self) -> re.Pattern[str] | None:
        return glob_pattern(self.glob) if self.glob else None

    @cached_property
    def _last_listed(self) -> tuple[str, str]:
        return _decoded(self.token) if self.token else ("object", "")


def glob_pattern(glob: str) -> re.Pattern[str]:
    r"""Translate a ``matchGlob``: ``*``, ``**``, ``?``, ``[a-z]``, ``[!a-z]``, ``{one,two}`` and ``\``.

    :raises StorageError: 400 when brackets or braces do not pair up.
    """
    pattern, depth = "", 0
    for part in _GLOB_PARTS.findall(glob):
        if part in _GLOB_WILDCARDS:
            pattern += _GLOB_WILDCARDS[part]
        elif part[0] == "[" and len(part) > 1:
            inside = re.sub(r"([\\\[&~|])", r"\\\1", part[1:-1])
            pattern += "[^/" + inside[1:] + "]" if inside[0] in "!^" else "[" + inside + "]"
        elif part == "{":
            pattern, depth = pattern + "(?:", depth + 1
        elif part == "}" and depth:
            pattern, depth = pattern + ")", depth - 1
        elif part == "," and depth:
            pattern += "|"
        else:
            pattern += re.escape(part[-1])
    try:
        return re.compile(pattern, re.DOTALL)
    except re.error as error:
        raise StorageError.invalid(f"Invalid matchGlob {glob!r}: {error}") from None


# As a whole segment "**" also stands for no folder at all, so that "**/x" finds an "x" at the top.
_GLOB_PARTS = re.compile(r"(?<![^/])\*\*/|\*\*|\[[!^]?\]?[^\]]*\]|\\.|.", re.DOTALL)
_GLOB_WILDCARDS = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}


def _encoded(kind: str, name: str) -> str:
    return base64.urlsafe_b64encode(f"{kind}:{name}".encode()).decode()


def _decoded(token: str) -> tuple[str, str]:
    try:
        kind, _, name = base64.urlsafe_b64decode(token).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        kind, name = "", ""
    if kind not in ("object", "prefix"):
        raise StorageError.invalid(f"Invalid pageToken {token!r}: it did not come from a list response")
    return kind, name
