"""The table of fields held against the types of the installed Google libraries: each difference has a reason."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from typing import Any

import pytest

from airflow_gemini_batch.requests.validation.fields import MESSAGES
from airflow_gemini_batch.requests.validation.proto_json import Choice, Message, Repeated, snake_case

pytestmark = pytest.mark.slow  # importing Google's types takes seconds
genai = pytest.importorskip("google.genai.types")

# Our name of a message, where Google's libraries call it otherwise.
GENAI = {"File": "FileData", "Empty": "UrlContext"}
PROTO = {
    "File": "FileData",
    "GoogleSearch": "Tool.GoogleSearch",
    "ThinkingConfig": "GenerationConfig.ThinkingConfig",
}
PROTO |= {"ComputerUse": "Tool.ComputerUse", "GoogleMaps": "GoogleMaps", "Empty": "UrlContext"}

# Fields of Google's types that the table leaves out, so that a request with one is warned of.
LEFT_OUT = {
    "Part.toolCall": "of the Developer API; no description of Vertex AI's API has it",
    "Part.toolResponse": "likewise",
    "Part.mediaProcessing": "of v1beta1 only",
    "GoogleMaps.authConfig": "no description of Vertex AI's API has it",
    "GenerationConfig.modelSelectionConfig": "the library sends it as modelConfig",
    "EmbedContentConfig.httpOptions": "for the library's own calls",
    "EmbedContentConfig.mimeType": "only of the Developer API, though the library does not say so",
    "EmbedContentRequest.title": "in embedContentConfig, as the batch documentation shows it",
    "EmbedContentRequest.taskType": "likewise",
    "EmbedContentRequest.outputDimensionality": "likewise",
    "EmbedContentRequest.autoTruncate": "likewise",
    "EmbedContentConfig.documentOcr": "of files, which batch jobs do not embed",
    "EmbedContentConfig.audioTrackExtraction": "of files, which batch jobs do not embed",
}
NOT_OF_VERTEX = "not supported in Vertex AI"

# Fields of the table that no type has.
OURS = {
    "GenerationConfig.modelConfig": "of v1beta1, which the documentation names",
    "GenerationConfig.imageConfig": "of v1; google-genai has it beside its GenerationConfig",
}


def _camel(name: str) -> str:
    first, *others = name.strip("_").split("_")
    return first + "".join(other.capitalize() for other in others)


def _genai_fields(name: str) -> dict[str, str]:
    model = getattr(genai, GENAI.get(name, name), None)
    if model is None:
        return {}
    return {_camel(field): info.description or "" for field, info in model.model_fields.items()}


def _proto_fields(name: str) -> set[str]:
    try:
        found: Any = importlib.import_module("google.cloud.aiplatform_v1.types")
    except ImportError:
        return set()
    for part in PROTO.get(name, name).split("."):
        found = getattr(found, part, None)
        if found is None:
            return set()
    return {_camel(field) for field in found.meta.fields}


@pytest.mark.parametrize("name", [name for name in MESSAGES if name != "Empty"])
def test_no_field_of_googles_types_is_forgotten(name: str) -> None:
    table = MESSAGES[name].fields.keys()
    forgotten = {
        field
        for field, description in _genai_fields(name).items()
        if field not in table and NOT_OF_VERTEX not in description
    }
    forgotten |= _proto_fields(name) - table
    assert {f"{name}.{field}" for field in forgotten} - LEFT_OUT.keys() == set()


@pytest.mark.parametrize("name", MESSAGES)
def test_no_field_is_invented(name: str) -> None:
    theirs = _genai_fields(name).keys() | _proto_fields(name)
    if theirs:  # not all messages have a class of their own
        invented = {f"{name}.{field}" for field in MESSAGES[name].fields.keys() - theirs}
        assert invented - OURS.keys() == set()


def _enums(message: Message) -> Iterator[Choice]:
    for kind in message.fields.values():
        inner = kind.of if isinstance(kind, Repeated) else kind
        if isinstance(inner, Choice):
            yield inner


ENUMS = {enum.name: enum for message in MESSAGES.values() for enum in _enums(message)}


@pytest.mark.parametrize("name", ENUMS)
def test_no_value_of_googles_enums_is_forgotten(name: str) -> None:
    theirs = getattr(genai, {"Mode": "FunctionCallingConfigMode"}.get(name, name))
    assert {member.value for member in theirs} - ENUMS[name].values == set()


def test_names_are_spelled_as_google_does() -> None:
    for message in MESSAGES.values():
        for field in message.fields:
            assert _camel(snake_case(field)) == field
