"""The messages of Vertex AI's API, as Google describes them in the discovery document of its REST API.

The document comes with google-api-python-client, which Airflow's Google provider depends on. So the server knows what
the installed release of Google's library knows, and shares no table with the checks of the package.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from typing import Any, Literal

import orjson

_PREFIX = "GoogleCloudAiplatformV1"
# By what a field's "format" says, or else its "type"; the names are those of error messages.
_KINDS = {
    "string": "TYPE_STRING",
    "boolean": "TYPE_BOOL",
    "int32": "TYPE_INT32",
    "int64": "TYPE_INT64",
    "float": "TYPE_FLOAT",
    "double": "TYPE_DOUBLE",
    "byte": "TYPE_BYTES",
    "google-duration": "type.googleapis.com/google.protobuf.Duration",
    "google-datetime": "type.googleapis.com/google.protobuf.Timestamp",
    "any": "type.googleapis.com/google.protobuf.Value",
    "object": "type.googleapis.com/google.protobuf.Struct",
    "array": "type.googleapis.com/google.protobuf.ListValue",
}
# What a REST document leaves out: the fields of which only one may be set.
ONE_OF: Mapping[str, tuple[str, ...]] = {
    "Part": (
        "text",
        "inlineData",
        "fileData",
        "functionCall",
        "functionResponse",
        "executableCode",
        "codeExecutionResult",
    ),
    "FunctionResponsePart": ("inlineData", "fileData"),
    "Retrieval": ("vertexAiSearch", "vertexRagStore"),
    "GenerationConfigRoutingConfig": ("autoMode", "manualMode"),
    "VoiceConfig": ("prebuiltVoiceConfig", "replicatedVoiceConfig"),
    "BatchPredictionJobInputConfig": ("gcsSource", "bigquerySource", "vertexMultimodalDatasetSource"),
    "BatchPredictionJobOutputConfig": (
        "gcsDestination",
        "bigqueryDestination",
        "vertexMultimodalDatasetDestination",
    ),
}
# And fields that it leaves out: the model, which stands in the address of an online call, and what live batch jobs were
# seen to take.
_LEFT_OUT = {"GenerateContentRequest": {"model": "string"}, "ToolGoogleSearch": {"timeRangeFilter": "object"}}


@dataclass(slots=True, eq=False)
class Message:
    """A message; its fields by their camelCase names. It may hold itself.

    :param spellings: camelCase and snake_case names → the camelCase ones.
    :param one_of: names of which at most one may be set.
    """

    name: str
    fields: dict[str, Field] = field(default_factory=dict)
    spellings: dict[str, str] = field(default_factory=dict)
    one_of: tuple[str, ...] = ()

    def __iter__(self) -> Iterator[tuple[str, Field]]:
        return iter(self.fields.items())


@dataclass(frozen=True, slots=True)
class Field:
    """A field of a message.

    :param kind: what error messages call its type.
    :param message: the message that it holds, if it holds one.
    :param values: the names that an enum knows; empty for other fields.
    :param limits: the lowest and the highest number that its description allows.
    """

    kind: str
    shape: Literal["one", "list", "map"] = "one"
    message: Message | None = None
    values: frozenset[str] = frozenset()
    required: bool = False
    read_only: bool = False
    limits: tuple[float, float] | None = None


@cache
def message(name: str) -> Message:
    """Return a message of the API by its short name, such as ``GenerateContentRequest``."""
    return _Reader(_schemas()).message(_PREFIX + name)


@cache
def _schemas() -> dict[str, Any]:
    document = files("googleapiclient") / "discovery_cache" / "documents" / "aiplatform.v1.json"
    schemas: dict[str, Any] = orjson.loads(document.read_bytes())["schemas"]
    return schemas


class _Reader:
    def __init__(self, schemas: Mapping[str, Any]) -> None:
        self._schemas = schemas
        self._known: dict[str, Message] = {}

    def message(self, schema: str) -> Message:
        if schema in self._known:
            return self._known[schema]
        short = schema.removeprefix(_PREFIX)
        found = self._known[schema] = Message(short, one_of=ONE_OF.get(short, ()))
        fields = {
            name: self._field(told) for name, told in self._schemas[schema].get("properties", {}).items()
        }
        for beside, kind in _LEFT_OUT.get(found.name, {}).items():
            fields.setdefault(beside, Field(_KINDS[kind]))
        found.fields.update(fields)
        for spelled in fields:
            found.spellings |= {spelled: spelled, snake_case(spelled): spelled}
        return found

    def _field(self, told: Mapping[str, Any]) -> Field:
        shape: Literal["one", "list", "map"] = "one"
        inner = told
        if told.get("type") == "array" and told["items"].get("type") != "any":
            shape, inner = "list", told["items"]
        elif told.get("type") == "object" and told["additionalProperties"].get("type") != "any":
            shape, inner = "map", told["additionalProperties"]
        text = told.get("description", "")
        held = self.message(inner["$ref"]) if "$ref" in inner else None
        return Field(
            kind=held.name if held else _KINDS[inner.get("format") or inner["type"]],
            shape=shape,
            message=held,
            values=frozenset(inner.get("enum", ())),
            required=text.startswith("Required."),
            read_only=told.get("readOnly", False),
            limits=_limits(text),
        )


def _limits(text: str) -> tuple[float, float] | None:
    # "The valid range is (0.0, 2.0]." The lower end is allowed in fact: a temperature of 0 is in Google's own samples.
    found = re.search(r"range (?:is|from) [\[(](-?[\d.]+), (-?[\d.]+)[\])]", text)
    return (float(found[1]), float(found[2])) if found else None


@cache
def snake_case(name: str) -> str:
    """``fileUri`` → ``file_uri``."""
    return re.sub(r"[A-Z]", lambda match: "_" + match[0].lower(), name)
