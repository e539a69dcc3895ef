"""Values of cells, between Python and the evaluator."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, date, datetime, time
from decimal import Decimal
from functools import cache
from typing import Any

from google.cloud.bigquery import SchemaField

from tests.googlesql.catalogs import options, type_proto
from tests.googlesql.service import service

_FROM_TEXT: dict[str, Callable[[str], Any]] = {
    "NUMERIC": Decimal,
    "BIGNUMERIC": Decimal,
    "DATE": date.fromisoformat,
    "TIME": time.fromisoformat,
    "DATETIME": datetime.fromisoformat,
}
_REST_KINDS = {"INT64": "INTEGER", "DOUBLE": "FLOAT", "BOOL": "BOOLEAN", "STRUCT": "RECORD"}


def kind_of(of_type: Any) -> str:
    """Return the name of a type, such as ``DOUBLE`` or ``ARRAY``."""
    from zetasql.wasi._pb2.zetasql.public import type_pb2

    return type_pb2.TypeKind.Name(of_type.type_kind).removeprefix("TYPE_")


def schema_field(name: str, of_type: Any, mode: str = "NULLABLE") -> SchemaField:
    """Return a column as the client of BigQuery has it."""
    kind = kind_of(of_type)
    if kind == "ARRAY":
        return schema_field(name, of_type.array_type.element_type, "REPEATED")
    inner = [schema_field(one.field_name, one.field_type) for one in of_type.struct_type.field]
    return SchemaField(name, _REST_KINDS.get(kind, kind), mode, fields=inner)


def value_proto(value: Any, of_type: Any) -> Any:
    """Return a value, as rows of JSON have it, for the evaluator. A list that is NULL is stored as an empty one."""
    from zetasql.wasi._pb2.zetasql.public.value_pb2 import ValueProto

    found, kind = ValueProto(), kind_of(of_type)
    if kind == "ARRAY":
        element = of_type.array_type.element_type
        found.array_value.element.extend(value_proto(one, element) for one in value or ())
    elif value is None:
        pass
    elif kind == "STRUCT":
        fields = of_type.struct_type.field
        found.struct_value.field.extend(
            value_proto(value.get(one.field_name), one.field_type) for one in fields
        )
    elif kind == "JSON":
        found.json_value = json.dumps(value)
    elif kind == "STRING":
        found.string_value = value
    elif kind == "INT64":
        found.int64_value = int(value)
    elif kind == "DOUBLE":
        found.double_value = float(value)
    elif kind == "BOOL":
        found.bool_value = value
    else:
        return _cast(str(value), kind)
    return found


@cache
def _cast(text: str, kind: str) -> Any:
    given = value_proto(text, type_proto("STRING"))
    return _evaluated(f"CAST(@given AS {kind})", given, "STRING")


def python_value(value: Any, of_type: Any) -> Any:
    """Return a value of the evaluator as the client of BigQuery gives it."""
    kind, held = kind_of(of_type), value.WhichOneof("value")
    if kind == "ARRAY":
        return [python_value(one, of_type.array_type.element_type) for one in value.array_value.element]
    if held is None:
        return None
    if kind == "STRUCT":
        fields = zip(of_type.struct_type.field, value.struct_value.field, strict=True)
        return {one.field_name: python_value(inner, one.field_type) for one, inner in fields}
    if kind == "TIMESTAMP":
        return value.timestamp_value.ToDatetime(tzinfo=UTC)
    if kind == "JSON":
        return json.loads(value.json_value)
    if kind in _FROM_TEXT:
        return _FROM_TEXT[kind](_evaluated("CAST(@given AS STRING)", value, kind).string_value)
    return getattr(value, held)


def _evaluated(expression: str, given: Any, kind: str) -> Any:
    from zetasql.wasi._pb2.zetasql.local_service import local_service_pb2 as messages

    request = messages.EvaluateRequest(sql=expression, options=options({"given": kind}))
    request.params.add(name="given").value.CopyFrom(given)
    return messages.EvaluateResponse.FromString(service().call("Evaluate", request)).value
