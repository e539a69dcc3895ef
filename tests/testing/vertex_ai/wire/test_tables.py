"""Where the server's table of request fields differs from those of others, and why.

The server reads Google's description of the REST API; the package's checks have a table of their own; google-genai and
the proto types of google-cloud-aiplatform are written by others. A field that one of them knows and another does not is
a mistake of one of them, unless there is a reason.
"""

from __future__ import annotations

import typing
from collections.abc import Iterator
from enum import Enum
from fnmatch import fnmatchcase
from importlib.metadata import version
from typing import Any

import pydantic
import pytest
from google.genai import types

from airflow_gemini_batch.requests.validation import fields as preflight
from airflow_gemini_batch.requests.validation import proto_json
from airflow_gemini_batch.testing.vertex_ai.wire.messages import ONE_OF, Message, message, snake_case

# Each release knows more fields.
needs_newer_genai = pytest.mark.skipif(
    tuple(map(int, version("google-genai").split(".")[:2])) < (2, 34), reason="needs google-genai 2.34"
)

# The fields of a message by name: those of the message inside, the values of an enum, or nothing.
Tree = dict[str, "Tree"]


def _server(of: Message, above: tuple[Message, ...] = ()) -> Tree:
    above = (*above, of)
    return {
        name: _server(field.message, above)
        if field.message and field.message not in above
        else {f"={value}": {} for value in field.values}
        for name, field in of
    }


def _preflight(of: proto_json.Message, above: tuple[proto_json.Message, ...] = ()) -> Tree:
    above = (*above, of)
    tree: Tree = {}
    for name, kind in of.fields.items():
        while isinstance(kind, proto_json.Repeated | proto_json.MapOf):
            kind = kind.of
        if isinstance(kind, proto_json.Choice):
            tree[name] = {f"={value}": {} for value in kind.values}
        else:
            tree[name] = (
                _preflight(kind, above) if isinstance(kind, proto_json.Message) and kind not in above else {}
            )
    return tree


def _genai(of: type[pydantic.BaseModel], above: tuple[type, ...] = ()) -> Tree:
    above = (*above, of)
    tree: Tree = {}
    for name, field in of.model_fields.items():
        inner = next(_classes(field.annotation), None)
        if inner in above or inner is None:
            tree[field.alias or name] = {}
        elif issubclass(inner, Enum):
            tree[field.alias or name] = {f"={value.value}": {} for value in inner}
        else:
            tree[field.alias or name] = _genai(inner, above)
    return tree


def _classes(annotation: Any) -> Iterator[Any]:
    if isinstance(annotation, type) and issubclass(annotation, pydantic.BaseModel | Enum):
        yield annotation
    for inner in typing.get_args(annotation):
        yield from _classes(inner)


def _lacking(one: Tree, other: Tree, at: str = "") -> set[str]:
    """The paths of ``one`` that ``other`` lacks, without what is below them."""
    found: set[str] = set()
    for name, inner in one.items():
        path = f"{at}.{name}" if at else name
        if name not in other:
            found.add(path)
        elif inner and other[name]:
            found |= _lacking(inner, other[name], path)
    return found


SERVER = _server(message("GenerateContentRequest"))
PREFLIGHT = _preflight(preflight.GENERATE_CONTENT_REQUEST)
GENAI: Tree = {
    # As the client puts the request together.
    **{name: {} for name in ("model", "labels", "cachedContent")},
    "contents": _genai(types.Content),
    "systemInstruction": _genai(types.Content),
    "tools": _genai(types.Tool),
    "toolConfig": _genai(types.ToolConfig),
    "safetySettings": _genai(types.SafetySetting),
    "modelArmorConfig": _genai(types.ModelArmorConfig),
    "generationConfig": _genai(types.GenerationConfig),
}
for _tree in (SERVER, PREFLIGHT, GENAI):
    # The same as contents.
    _tree["systemInstruction"] = {}

BETA = "The document of v1 does not have it, only that of v1beta1."
DEVELOPER = "It belongs to the Gemini Developer API; google-genai refuses it for Vertex AI."
LIVE = "It belongs to the Live API, or stands in answers only."
UNDESCRIBED = "google-genai sends it, but no document of Vertex AI's API describes it."
UNKNOWN = "It is newer than the table of the checks, which let pass what they do not know, with a warning."
VALUES = "A text in the document, with its values in the description."

NOT_IN_PREFLIGHT = {
    "contents.parts.audioTranscription": UNKNOWN,
    "contents.parts.codeExecutionResult.id": UNKNOWN,
    "contents.parts.executableCode.id": UNKNOWN,
    "contents.parts.functionCall.partialArgs": UNKNOWN,
    "contents.parts.functionResponse.scheduling": UNKNOWN,
    "contents.parts.speechMetadata": UNKNOWN,
    "continuationToken": "It continues an answer that a stream broke off; a batch job has no streams.",
    "generationConfig.audioTranscriptionConfig": UNKNOWN,
    "generationConfig.responseFormat": UNKNOWN,
    "generationConfig.translationConfig": UNKNOWN,
    "outputConfig": UNKNOWN,
    "tools.computerUse.*": UNKNOWN,
    "tools.exaAiSearch": UNKNOWN,
    "tools.functionDeclarations.behavior": LIVE,
    "tools.googleMaps.groundingTypes": UNKNOWN,
    "tools.googleSearch.searchTypes": UNKNOWN,
    "tools.parallelAiSearch": UNKNOWN,
}
ONLY_IN_PREFLIGHT = {
    "generationConfig.modelConfig": BETA,
    "tools.enterpriseWebSearch.timeRangeFilter": "Batch jobs were seen to take it in googleSearch only.",
}
NOT_IN_GENAI = {
    "continuationToken": "The client has no parameter for it.",
    "outputConfig": "The client has no parameter for it.",
    "generationConfig.audioTranscriptionConfig.sourceText": "It is newer than the client.",
    "generationConfig.imageConfig": "The client takes it beside the fields of GenerationConfig.",
}
ONLY_IN_GENAI = {
    "contents.parts.audioTranscription.*": LIVE,
    "contents.parts.functionResponse.parts.mediaProcessing": BETA,
    "contents.parts.functionResponse.willContinue": LIVE,
    "contents.parts.mediaProcessing": BETA,
    "contents.parts.mediaResolution.numTokens": UNDESCRIBED,
    "contents.parts.partMetadata": DEVELOPER,
    "contents.parts.toolCall": DEVELOPER,
    "contents.parts.toolResponse": DEVELOPER,
    "generationConfig.enableEnhancedCivicAnswers": DEVELOPER,
    "generationConfig.modelSelectionConfig": UNDESCRIBED,
    "generationConfig.responseFormat.*.aspectRatio.=*": VALUES,
    "generationConfig.speechConfig.*replicatedVoiceConfig.consentAudio": UNDESCRIBED,
    "generationConfig.speechConfig.*replicatedVoiceConfig.voiceConsentSignature": UNDESCRIBED,
    "toolConfig.includeServerSideToolInvocations": DEVELOPER,
    "tools.fileSearch": DEVELOPER,
    "tools.googleMaps.authConfig": UNDESCRIBED,
    "tools.mcpServers": UNDESCRIBED,
    "tools.retrieval.externalApi.authConfig.apiKey": UNDESCRIBED,
    "tools.retrieval.vertexRagStore.*": BETA,
}


@pytest.mark.parametrize(
    ("one", "other", "reasons"),
    [
        pytest.param(SERVER, PREFLIGHT, NOT_IN_PREFLIGHT, id="not in preflight"),
        pytest.param(PREFLIGHT, SERVER, ONLY_IN_PREFLIGHT, id="only in preflight"),
        pytest.param(SERVER, GENAI, NOT_IN_GENAI, id="not in google-genai", marks=needs_newer_genai),
        pytest.param(GENAI, SERVER, ONLY_IN_GENAI, id="only in google-genai"),
    ],
)
def test_each_difference_has_a_reason(one: Tree, other: Tree, reasons: dict[str, str]) -> None:
    found = _lacking(one, other)
    assert {path for path in found if not any(fnmatchcase(path, known) for known in reasons)} == set()


def test_the_walk_sees_differences() -> None:
    one: Tree = {"a": {"b": {}, "c": {"=X": {}, "=Y": {}}}, "d": {"e": {}}, "f": {}}
    assert _lacking(one, {"a": {"c": {"=X": {}}}, "f": {"g": {}}}) == {"a.b", "a.c.=Y", "d"}
    assert SERVER["generationConfig"]["responseSchema"]["type"]["=OBJECT"] == {}
    assert GENAI["contents"]["parts"]["fileData"]["fileUri"] == {}


# Names of messages that differ between the document and the proto types.
_PROTO_NAMES = {
    "GenerationConfigRoutingConfig": "RoutingConfig",
    "BatchPredictionJobInputConfig": "InputConfig",
    "BatchPredictionJobOutputConfig": "OutputConfig",
}


def test_fields_of_which_one_may_be_set_are_those_of_the_proto_types() -> None:
    from google.cloud.aiplatform_v1.types import batch_prediction_job, prediction_service

    found: dict[str, set[str]] = {}

    def walk(descriptor: Any) -> None:
        if descriptor.name in found:
            return
        groups = [{field.name for field in group.fields} for group in descriptor.oneofs]
        found[descriptor.name] = next((group for group in groups if len(group) > 1), set())
        for field in descriptor.fields:
            if field.message_type:
                walk(field.message_type)

    for kind in (prediction_service.GenerateContentRequest, batch_prediction_job.BatchPredictionJob):
        walk(kind.pb(kind()).DESCRIPTOR)
    for name, members in ONE_OF.items():
        assert set(map(snake_case, members)) == found[_PROTO_NAMES.get(name, name)], name
    known = {_PROTO_NAMES.get(name, name) for name in ONE_OF}
    assert {name for name, members in found.items() if members} - known == OTHER_ONEOFS


# Of explanations and of models with containers, which no Gemini model has; of values of JSON; of what only answers
# hold; and of settings of RAG stores.
OTHER_ONEOFS = {
    "Examples",
    "ExplanationParameters",
    "Filter",
    "OutputInfo",
    "OutputMetadata",
    "PartialArg",
    "Probe",
    "Ranking",
    "SmoothGradConfig",
    "Value",
}
