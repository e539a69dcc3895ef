"""Tables and parameters as the analyzer takes them, out of GoogleSQL's names of types."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from tests.googlesql.language import language

Columns = Mapping[str, Any]
"""Types of a table's columns by name, such as ``ARRAY<STRUCT<`a` INT64>>``."""

_TOKENS = re.compile(r"`[^`]*`|[A-Za-z0-9_]+|[<>,]")
_KINDS = {"FLOAT64": "DOUBLE"}


def type_proto(kind: str | Any) -> Any:
    """Return the ``TypeProto`` of a type, which may be one already."""
    return _type(_TOKENS.findall(kind)) if isinstance(kind, str) else kind


def _type(tokens: list[str]) -> Any:
    from zetasql.wasi._pb2.zetasql.public import type_pb2

    kind = tokens.pop(0)
    if kind == "ARRAY":
        found = type_pb2.TypeProto(type_kind=type_pb2.TYPE_ARRAY)
        tokens.pop(0)
        found.array_type.element_type.CopyFrom(_type(tokens))
        tokens.pop(0)
    elif kind == "STRUCT":
        found = type_pb2.TypeProto(type_kind=type_pb2.TYPE_STRUCT)
        while tokens.pop(0) != ">":
            field = found.struct_type.field.add(field_name=tokens.pop(0).strip("`"))
            field.field_type.CopyFrom(_type(tokens))
    else:
        found = type_pb2.TypeProto(type_kind=type_pb2.TypeKind.Value(f"TYPE_{_KINDS.get(kind, kind)}"))
    return found


def catalog(tables: Mapping[str, Columns], *, nested: bool = False) -> Any:
    """Return the ``SimpleCatalogProto`` of tables.

    :param nested: whether a name of three parts is a path of three identifiers, not one identifier with dots.
    """
    from zetasql.wasi._pb2.zetasql.proto import simple_catalog_pb2

    found = simple_catalog_pb2.SimpleCatalogProto(name="bigquery")
    found.builtin_function_options.language_options.CopyFrom(language())
    folders = {"": found}
    for name, columns in tables.items():
        *path, last = name.split(".") if nested else [name]
        folder, place = found, ""
        for part in path:
            folder, place = folders[place], f"{place}.{part}"
            folder = folders[place] = folders.get(place) or folder.catalog.add(name=part)
        table = folder.table.add(name=last)
        for column, kind in columns.items():
            table.column.add(name=column).type.CopyFrom(type_proto(kind))
    return found


def options(parameters: Columns) -> Any:
    """Return the ``AnalyzerOptionsProto`` of BigQuery.

    :param parameters: types of a statement's parameters.
    """
    from zetasql.wasi._pb2.zetasql.proto import options_pb2
    from zetasql.wasi._pb2.zetasql.public import options_pb2 as public

    found = options_pb2.AnalyzerOptionsProto(
        language_options=language(),
        default_timezone="UTC",
        error_message_mode=public.ERROR_MESSAGE_ONE_LINE,
    )
    for name, kind in parameters.items():
        found.query_parameters.add(name=name).type.CopyFrom(type_proto(kind))
    return found


def parameter_types(config: Mapping[str, Any]) -> dict[str, str]:
    """Return the types of a query's parameters.

    :param config: of a job, as the REST API has it.
    """
    given = config.get("query", {}).get("queryParameters", ())
    return {one["name"]: _rest_parameter_type(one["parameterType"]) for one in given}


def _rest_parameter_type(kind: Mapping[str, Any]) -> str:
    if kind["type"] == "ARRAY":
        return f"ARRAY<{_rest_parameter_type(kind['arrayType'])}>"
    return str(kind["type"])
