"""Response schemas: from what a user writes to the form that batch requests take, and to columns.

Vertex AI's controlled generation reads a part of OpenAPI 3.0, in batch more strictly than online: types in capitals, no
references, no free keys. https://cloud.google.com/vertex-ai/generative-ai/docs/multimodal/control-generated-output
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

_KEPT = ("description", "minimum", "maximum", "minItems", "maxItems", "format")
_COLUMN_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,299}")
_COLUMN_TYPES = {"STRING": "STRING", "INTEGER": "INT64", "NUMBER": "FLOAT64", "BOOLEAN": "BOOL"}
_TEXT_COLUMN = "answer"
_JSON = (str, int, float, list, Mapping, type(None))


@dataclass(frozen=True, slots=True)
class AnswerColumn:
    """A column of answers.

    :param type: BigQuery's: ``STRING``, ``INT64``, ``FLOAT64``, ``BOOL``, or ``JSON`` for what is nested.
    :param repeated: whether it holds a list of these.
    :param path: name of the answer's field; ``None`` for the answer as a whole.
    """

    name: str
    type: str
    repeated: bool = False
    path: str | None = None


def response_schema_of(schema: Any) -> dict[str, Any] | None:
    """Return a schema as a batch request takes it, None if no schema is given.

    :param schema: a Pydantic model, a dataclass or typed dict, a dict of names and Python types
        (``{"genre": str, "tags": list[str]}``), JSON Schema, or OpenAPI as Vertex AI reads it.

    Raises :class:`ValueError` that names the field which can't be expressed.
    """
    if schema is None:
        return None
    content = _as_json_schema(schema)
    definitions = {**(content.get("$defs") or {}), **(content.get("definitions") or {})}
    return _translated(content, definitions, "response_schema", ())


def answer_columns(
    schema: Mapping[str, Any] | None, text_column: str = _TEXT_COLUMN
) -> tuple[AnswerColumn, ...]:
    """Return the columns that answers of a schema land in; without a schema, the text in one column.

    :param schema: as :func:`response_schema_of` returns it. Each property of an object is a column; lists of
        plain values are repeated columns; what is nested deeper is JSON.

    Raises :class:`ValueError` for a property whose name can be no column.
    """
    if schema is None:
        return (AnswerColumn(text_column, "STRING"),)
    if schema.get("type") != "OBJECT":
        return (_column(text_column, schema, None),)
    for name in schema["properties"]:
        if not _COLUMN_NAME.fullmatch(name):
            raise ValueError(
                f"response_schema: the field {name!r} can't be a column: letters, digits and _ are allowed"
            )
    return tuple(_column(name, inner, name) for name, inner in schema["properties"].items())


def _column(name: str, schema: Mapping[str, Any], path: str | None) -> AnswerColumn:
    items = schema["items"] if schema.get("type") == "ARRAY" else {}
    item = _COLUMN_TYPES.get(items.get("type", ""))
    if item and not items.get("nullable"):  # BigQuery's arrays hold no NULL
        return AnswerColumn(name, item, repeated=True, path=path)
    return AnswerColumn(name, _COLUMN_TYPES.get(schema.get("type", ""), "JSON"), path=path)


def _as_json_schema(schema: Any) -> dict[str, Any]:
    # What stands in a JSON schema is JSON; what stands in a dict of types is a type.
    if isinstance(schema, Mapping) and not (
        schema and all(isinstance(key, str) and not isinstance(schema[key], _JSON) for key in schema)
    ):
        return dict(schema)
    from pydantic import TypeAdapter, create_model
    from pydantic.errors import PydanticUserError

    try:
        if isinstance(schema, Mapping):
            if hidden := [name for name in schema if name.startswith("_")]:
                # Pydantic would leave it out without a word.
                raise ValueError(f"response_schema: the field {hidden[0]!r} may not begin with _: rename it")
            fields: dict[str, Any] = {name: (kind, ...) for name, kind in schema.items()}
            schema = create_model("Answer", **fields)
        return TypeAdapter(schema).json_schema()
    except (PydanticUserError, TypeError) as error:
        raise ValueError(
            "response_schema has to be a Pydantic model, a dataclass, a dict of names and types, or a JSON schema, "
            f"got {schema!r:.200}: {error}"
        ) from None


def _translated(
    schema: Mapping[str, Any], definitions: Mapping[str, Any], at: str, seen: tuple[str, ...]
) -> dict[str, Any]:
    if reference := schema.get("$ref"):
        name = str(reference).rpartition("/")[2]
        if name in seen:
            raise ValueError(f"{at}: {name} contains itself, which batch answers can't express")
        if name not in definitions:
            raise ValueError(f"{at}: there is no definition of {reference}")
        beside = {key: value for key, value in schema.items() if key != "$ref"}
        return _translated({**definitions[name], **beside}, definitions, at, (*seen, name))
    if len(schema.get("allOf") or ()) == 1:
        beside = {key: value for key, value in schema.items() if key != "allOf"}
        return _translated({**schema["allOf"][0], **beside}, definitions, at, seen)

    kind, nullable = _type_of(schema)
    options = list(schema.get("anyOf") or schema.get("oneOf") or ())
    if any(option.get("type") == "null" for option in options):
        nullable = True
        options = [option for option in options if option.get("type") != "null"]
    kept = {name: schema[name] for name in _KEPT if name in schema}
    if nullable:
        kept["nullable"] = True
    if len(options) == 1:
        return {**_translated(options[0], definitions, at, seen), **kept}
    if options:
        return {**kept, "anyOf": [_translated(option, definitions, at, seen) for option in options]}
    return {**_typed(schema, kind, definitions, at, seen), **kept}


def _type_of(schema: Mapping[str, Any]) -> tuple[str, bool]:
    kinds = schema.get("type") or ""
    listed = [kinds] if isinstance(kinds, str) else list(kinds)
    plain = [kind for kind in listed if kind.lower() != "null"]
    nullable = bool(schema.get("nullable")) or len(plain) < len(listed)
    return (plain[0].upper() if plain else ""), nullable


def _typed(
    schema: Mapping[str, Any], kind: str, definitions: Mapping[str, Any], at: str, seen: tuple[str, ...]
) -> dict[str, Any]:
    values = list(schema["enum"]) if "enum" in schema else [schema["const"]] if "const" in schema else []
    if values and not kind:
        kind = "STRING" if all(isinstance(value, str) for value in values) else "INTEGER"
    if kind == "OBJECT" or "properties" in schema:
        properties = schema.get("properties")
        if not properties:
            raise ValueError(
                f"{at}: an object has to name its fields; for keys that are not known before, use a list of objects "
                "with a name and a value"
            )
        fields = {
            name: _translated(inner, definitions, f"{at}.{name}", seen) for name, inner in properties.items()
        }
        required = [name for name in schema.get("required") or () if name in fields]
        translated = {"type": "OBJECT", "properties": fields, "propertyOrdering": list(fields)}
        return {**translated, "required": required} if required else translated
    if kind == "ARRAY":
        if not isinstance(schema.get("items"), Mapping):
            raise ValueError(f"{at}: a list needs the type of its items, such as list[str]")
        return {"type": kind, "items": _translated(schema["items"], definitions, f"{at}[]", seen)}
    if kind not in _COLUMN_TYPES:
        raise ValueError(
            f"{at}: the type {schema.get('type')!r} can't be expressed; use text, numbers, true or false, "
            "lists, or objects with named fields"
        )
    if values and kind == "STRING":
        return {"type": kind, "enum": [str(value) for value in values]}
    if values and kind in ("INTEGER", "NUMBER"):
        # The service knows enumerations of text only.
        return {"type": kind, "minimum": min(values), "maximum": max(values)}
    return {"type": kind}
