"""The sizes of a Parquet file's pages, read from their headers: what a few bytes of the file become in memory.

The file's footer has sums only, and may say anything. A header is a Thrift structure in the compact
protocol; all of it is skipped but the sizes.

https://parquet.apache.org/docs/file-format/data-pages/
https://github.com/apache/thrift/blob/master/doc/specs/thrift-compact-protocol.md
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import BinaryIO, NamedTuple

# Most headers are some dozen bytes; statistics can make one longer. Parquet's own readers stop at 16 MB.
_FIRST_WINDOW = 4096
_LONGEST_HEADER = 16 * 2**20

# Numbers of fields of PageHeader, and of the fields in it that count values, for each kind of page.
_UNPACKED, _PACKED = 2, 3
_DATA, _DICTIONARY, _DATA_V2 = 5, 7, 8
_VALUES = 1

_TRUE, _FALSE, _BYTE, _DOUBLE, _BINARY, _LIST, _SET, _MAP, _STRUCT = 1, 2, 3, 7, 8, 9, 10, 11, 12
_INTEGERS = (4, 5, 6)


class Page(NamedTuple):
    """A page of one column.

    :param size: bytes when it is unpacked.
    :param values: how many it has, one for each row unless the column holds lists.
    """

    size: int
    values: int
    is_dictionary: bool


def pages(stream: BinaryIO, start: int, end: int) -> Iterator[Page]:
    """Yield the pages between two offsets of a file; raises :class:`ValueError` for what is not a page."""
    while start < end:
        fields, length = _header(stream, start)
        size, packed, values = fields.get(_UNPACKED), fields.get(_PACKED), 0
        for kind in (_DATA, _DICTIONARY, _DATA_V2):
            if isinstance(of_kind := fields.get(kind), dict):
                values = of_kind.get(_VALUES, 0)
        if not isinstance(size, int) or not isinstance(packed, int) or not isinstance(values, int):
            raise ValueError(f"there is no page at byte {start}")
        if size < 0 or packed < 0 or values < 0:
            raise ValueError(f"the page at byte {start} has a negative size")
        yield Page(size, values, _DICTIONARY in fields)
        start += length + packed


def _header(stream: BinaryIO, start: int) -> tuple[dict[int, object], int]:
    """Return the fields of the header at an offset by their numbers, and its length."""
    window = _FIRST_WINDOW
    while True:
        stream.seek(start)
        content = stream.read(window)
        reader = _Compact(content)
        try:
            return reader.structure(), reader.position
        except RecursionError:
            raise ValueError(f"there is no page at byte {start}") from None
        except IndexError:
            if len(content) < window or window >= _LONGEST_HEADER:
                raise ValueError(f"the page at byte {start} is cut off") from None
            window *= 16


class _Compact:
    """Reads Thrift's compact protocol; raises :class:`IndexError` at the end of the bytes."""

    def __init__(self, content: bytes) -> None:
        self._content = content
        self.position = 0

    def structure(self) -> dict[int, object]:
        fields: dict[int, object] = {}
        number = 0
        while head := self._byte():
            number = number + (head >> 4) if head >> 4 else self._signed()
            fields[number] = self._value(head & 15)
        return fields

    def _value(self, kind: int, *, in_list: bool = False) -> object:
        if kind in (_TRUE, _FALSE):
            return self._byte() if in_list else kind
        if kind in _INTEGERS:
            return self._signed()
        if kind == _STRUCT:
            return self.structure()
        if kind in (_LIST, _SET):
            head = self._byte()
            self._values(head >> 4 if head >> 4 < 15 else self._unsigned(), head & 15)
        elif kind == _MAP:
            if size := self._unsigned():
                kinds = self._byte()
                self._values(size, kinds >> 4, kinds & 15)
        elif kind in (_BYTE, _DOUBLE, _BINARY):
            self._skip({_BYTE: 1, _DOUBLE: 8}.get(kind) or self._unsigned())
        else:
            raise IndexError
        return None

    def _values(self, count: int, *kinds: int) -> None:
        # Each takes a byte at least.
        for _ in range(min(count, len(self._content))):
            for kind in kinds:
                self._value(kind, in_list=True)

    def _byte(self) -> int:
        self.position += 1
        return self._content[self.position - 1]

    def _skip(self, size: int) -> None:
        self.position += size
        if self.position > len(self._content):
            raise IndexError

    def _unsigned(self) -> int:
        number = shift = 0
        while (byte := self._byte()) & 0x80:
            number |= (byte & 0x7F) << shift
            shift += 7
        return number | byte << shift

    def _signed(self) -> int:
        number = self._unsigned()
        return number >> 1 ^ -(number & 1)
