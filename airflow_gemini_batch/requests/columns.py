"""Some rows at a time, by column: their values as texts, in arrays that C++ works on while other threads run Python.

Arrays are pyarrow's, of strings; NULL stands for NULL.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from types import NoneType
from typing import TYPE_CHECKING, Any

import orjson

from airflow_gemini_batch.core.fingerprints import ESCAPED_SEPARATORS
from airflow_gemini_batch.core.values import is_null, text_of

if TYPE_CHECKING:
    import pyarrow as pa

Batch = Any
"""Rows with their values: a ``pyarrow.RecordBatch``, or a sequence of mappings, of which one may lack a column."""

_DELETE = "\x7f"  # stands in JSON as it is, and hardly ever in a text


def rows_of(batch: Batch) -> Iterable[Mapping[str, Any]]:
    """Return rows as mappings."""
    if isinstance(batch, Sequence):
        return batch
    values = zip(*(column.to_pylist() for column in batch.columns), strict=True)
    return (dict(zip(batch.schema.names, row, strict=True)) for row in values)


def texts_of(batch: Batch, columns: Iterable[str]) -> pa.RecordBatch:
    """Return columns of rows as texts; one that is not there is NULL.

    Raises :class:`UnicodeEncodeError` for a lone surrogate.
    """
    import pyarrow as pa

    # A table without columns has no rows either.
    names = list(dict.fromkeys(columns)) or [""]
    if isinstance(batch, Sequence):
        return pa.record_batch([_texts([row.get(name) for row in batch]) for name in names], names)
    there = batch.schema.names
    nothing = pa.nulls(batch.num_rows, pa.string())
    return pa.record_batch([_cast(batch[name]) if name in there else nothing for name in names], names)


def _cast(values: pa.Array) -> pa.Array:
    import pyarrow as pa
    from pyarrow import types

    kind = values.type.value_type if types.is_dictionary(values.type) else values.type
    texts = (types.is_string, types.is_large_string, types.is_string_view)
    # pyarrow spells these as BigQuery does.
    if any(is_kind(kind) for is_kind in (*texts, types.is_integer, types.is_boolean)):
        return values.cast(pa.string())
    return _texts(values.to_pylist())


def _texts(values: Sequence[Any]) -> pa.Array:
    import pyarrow as pa

    if not set(map(type, values)) <= {str, NoneType}:
        values = [None if is_null(value) else text_of(value) for value in values]
    return pa.array(values, pa.string())


def key_texts(rows: pa.RecordBatch, key: Sequence[str]) -> pa.Array:
    """Return keys as :func:`~airflow_gemini_batch.core.keys.key_text` writes them, NULL where a column is."""
    import pyarrow.compute as pc

    if len(key) == 1:
        return rows[key[0]]
    parts: list[str | pa.Array] = ["["]
    for column in key:
        parts += ['"', escaped(rows[column]), '"', ","]
    keys = joined([*parts[:-1], "]"], len(rows))
    for separator, spelled in ESCAPED_SEPARATORS:
        keys = pc.replace_substring(keys, separator, spelled)
    return keys


def joined(parts: Sequence[str | pa.Array], rows: int) -> pa.Array:
    """Return texts put together row by row, NULL where a part is.

    :param parts: those that are texts are the same in all rows.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    if all(isinstance(part, str) for part in parts):
        return pa.repeat("".join(map(str, parts)), rows)
    return pc.binary_join_element_wise(*parts, "")


def escaped(texts: pa.Array) -> pa.Array:
    """Return texts as they stand between the quotes of a JSON string."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc

    _, offsets, content = texts.buffers()
    if not len(texts) or content is None:
        return texts
    begin, end = np.frombuffer(offsets, np.int32)[[texts.offset, texts.offset + len(texts)]]
    used = np.frombuffer(content, np.uint8)[begin:end]
    if not ((used < ord(" ")) | (used == ord('"')) | (used == ord("\\"))).any():
        return texts
    # All in one text, since it takes a third of the time of one after the other.
    whole = texts.fill_null("")
    all_rows = pa.array([0, len(texts)], pa.int32())
    text = pc.binary_join(pa.ListArray.from_arrays(all_rows, whole), _DELETE)[0].as_py()
    if text.count(_DELETE) < len(texts):
        spelled = pc.split_pattern(pa.array([orjson.dumps(text)[1:-1].decode()]), _DELETE).flatten()
    else:
        spelled = pa.array([orjson.dumps(each)[1:-1].decode() for each in whole.to_pylist()])
    return pc.if_else(texts.is_valid(), spelled, None) if texts.null_count else spelled
