"""The fields of a GenerateContentRequest, of an EmbedContentRequest, and of the messages inside them.

A test compares them with the types of the installed Google libraries.
"""

from __future__ import annotations

from collections.abc import Mapping

from airflow_gemini_batch.requests.validation.proto_json import (
    FieldType,
    MapOf,
    Message,
    Repeated,
    Scalar,
    choice,
)

PART_DATA = (
    "text",
    "inlineData",
    "fileData",
    "functionCall",
    "functionResponse",
    "executableCode",
    "codeExecutionResult",
)
"""What a part may be; exactly one of them."""
PART_NOTES = frozenset(
    {
        "thought",
        "thoughtSignature",
        "videoMetadata",
        "mediaResolution",
        "speechMetadata",
        "audioTranscription",
    }
)
"""What a part may hold beside that."""

# Each enum with its values; of the closed ones no others are to be expected.
_CLOSED = frozenset({"Type"})
_ENUMS = {
    "Type": "TYPE_UNSPECIFIED STRING NUMBER INTEGER BOOLEAN ARRAY OBJECT NULL",
    "Language": "LANGUAGE_UNSPECIFIED PYTHON",
    "Outcome": "OUTCOME_UNSPECIFIED OUTCOME_OK OUTCOME_FAILED OUTCOME_DEADLINE_EXCEEDED",
    "Mode": "MODE_UNSPECIFIED AUTO ANY NONE VALIDATED",
    "Modality": "MODALITY_UNSPECIFIED TEXT IMAGE AUDIO VIDEO",
    "MediaResolution": "MEDIA_RESOLUTION_UNSPECIFIED MEDIA_RESOLUTION_LOW MEDIA_RESOLUTION_MEDIUM "
    "MEDIA_RESOLUTION_HIGH",
    "ThinkingLevel": "THINKING_LEVEL_UNSPECIFIED MINIMAL LOW MEDIUM HIGH",
    "HarmCategory": "HARM_CATEGORY_UNSPECIFIED HARM_CATEGORY_HATE_SPEECH HARM_CATEGORY_DANGEROUS_CONTENT "
    "HARM_CATEGORY_HARASSMENT HARM_CATEGORY_SEXUALLY_EXPLICIT HARM_CATEGORY_CIVIC_INTEGRITY "
    "HARM_CATEGORY_JAILBREAK HARM_CATEGORY_IMAGE_HATE HARM_CATEGORY_IMAGE_DANGEROUS_CONTENT "
    "HARM_CATEGORY_IMAGE_HARASSMENT HARM_CATEGORY_IMAGE_SEXUALLY_EXPLICIT",
    "HarmBlockThreshold": "HARM_BLOCK_THRESHOLD_UNSPECIFIED BLOCK_LOW_AND_ABOVE BLOCK_MEDIUM_AND_ABOVE "
    "BLOCK_ONLY_HIGH BLOCK_NONE OFF",
    "HarmBlockMethod": "HARM_BLOCK_METHOD_UNSPECIFIED SEVERITY PROBABILITY",
}

# The fields of each message by their type: a scalar, an enum or a message; X[] is a list and {X} a map from strings.
_FIELDS: Mapping[str, Mapping[str, str]] = {
    "Schema": {
        "Type": "type",
        "BOOL": "nullable",
        "STRING": "format title description pattern ref",
        "STRING[]": "enum propertyOrdering required",
        "VALUE": "default example additionalProperties",
        "INT64": "minItems maxItems minProperties maxProperties minLength maxLength",
        "FLOAT": "minimum maximum",
        "Schema": "items",
        "Schema[]": "anyOf",
        "{Schema}": "properties defs",
    },
    "Blob": {"STRING": "mimeType displayName", "BYTES": "data"},
    "File": {"STRING": "mimeType fileUri displayName"},
    "FunctionCall": {"STRING": "id name", "STRUCT": "args", "BOOL": "willContinue", "VALUE": "partialArgs"},
    "FunctionResponse": {
        "STRING": "id name scheduling",
        "STRUCT": "response",
        "FunctionResponsePart[]": "parts",
    },
    "FunctionResponsePart": {"Blob": "inlineData", "File": "fileData"},
    "ExecutableCode": {"Language": "language", "STRING": "id code"},
    "CodeExecutionResult": {"Outcome": "outcome", "STRING": "id output"},
    "VideoMetadata": {"DURATION": "startOffset endOffset", "FLOAT": "fps"},
    "Part": {
        "STRING": "text",
        "Blob": "inlineData",
        "File": "fileData",
        "FunctionCall": "functionCall",
        "FunctionResponse": "functionResponse",
        "ExecutableCode": "executableCode",
        "CodeExecutionResult": "codeExecutionResult",
        "VideoMetadata": "videoMetadata",
        "VALUE": "mediaResolution speechMetadata audioTranscription",
        "BOOL": "thought",
        "BYTES": "thoughtSignature",
    },
    "Content": {"STRING": "role", "Part[]": "parts"},
    "FunctionDeclaration": {
        "STRING": "name description behavior",
        "Schema": "parameters response",
        "VALUE": "parametersJsonSchema responseJsonSchema",
    },
    "Empty": {},
    "GoogleSearch": {
        "STRING[]": "excludeDomains",
        "STRING": "blockingConfidence",
        "STRUCT": "timeRangeFilter searchTypes",
    },
    "EnterpriseWebSearch": {"STRING[]": "excludeDomains", "STRING": "blockingConfidence"},
    "GoogleMaps": {"BOOL": "enableWidget", "VALUE": "groundingTypes"},
    "ComputerUse": {
        "STRING": "environment",
        "STRING[]": "excludedPredefinedFunctions disabledSafetyPolicies",
        "BOOL": "enablePromptInjectionDetection",
    },
    "Tool": {
        "FunctionDeclaration[]": "functionDeclarations",
        "STRUCT": "retrieval googleSearchRetrieval parallelAiSearch exaAiSearch",
        "GoogleSearch": "googleSearch",
        "EnterpriseWebSearch": "enterpriseWebSearch",
        "GoogleMaps": "googleMaps",
        "Empty": "codeExecution urlContext",
        "ComputerUse": "computerUse",
    },
    "FunctionCallingConfig": {
        "Mode": "mode",
        "STRING[]": "allowedFunctionNames",
        "BOOL": "streamFunctionCallArguments",
    },
    "LatLng": {"FLOAT": "latitude longitude"},
    "RetrievalConfig": {"LatLng": "latLng", "STRING": "languageCode"},
    "ToolConfig": {"FunctionCallingConfig": "functionCallingConfig", "RetrievalConfig": "retrievalConfig"},
    "SafetySetting": {
        "HarmCategory": "category",
        "HarmBlockThreshold": "threshold",
        "HarmBlockMethod": "method",
    },
    "ThinkingConfig": {
        "BOOL": "includeThoughts",
        "INT32": "thinkingBudget",
        "ThinkingLevel": "thinkingLevel",
    },
    "GenerationConfig": {
        "FLOAT": "temperature topP topK presencePenalty frequencyPenalty",
        "INT32": "candidateCount maxOutputTokens logprobs seed",
        "BOOL": "responseLogprobs audioTimestamp enableAffectiveDialog",
        "STRUCT": "routingConfig speechConfig modelConfig imageConfig translationConfig audioTranscriptionConfig",
        "STRING[]": "stopSequences",
        "STRING": "responseMimeType",
        "Schema": "responseSchema",
        "VALUE": "responseJsonSchema responseFormat",
        "Modality[]": "responseModalities",
        "MediaResolution": "mediaResolution",
        "ThinkingConfig": "thinkingConfig",
    },
    "ModelArmorConfig": {"STRING": "promptTemplateName responseTemplateName"},
    "GenerateContentRequest": {
        "STRING": "model cachedContent",
        "Content[]": "contents",
        "Content": "systemInstruction",
        "Tool[]": "tools",
        "ToolConfig": "toolConfig",
        "{STRING}": "labels",
        "SafetySetting[]": "safetySettings",
        "ModelArmorConfig": "modelArmorConfig",
        "GenerationConfig": "generationConfig",
    },
    "EmbedContentConfig": {
        "INT32": "outputDimensionality",
        "STRING": "taskType title",
        "BOOL": "autoTruncate documentOcr audioTrackExtraction",
    },
    "EmbedContentRequest": {
        "INT32": "outputDimensionality",
        "STRING": "model taskType title",
        "BOOL": "autoTruncate",
        "Content": "content",
        "EmbedContentConfig": "embedContentConfig",
    },
}

_ONEOFS = {"Part": (frozenset(PART_DATA),)}
_MESSAGES = {name: Message({}, _ONEOFS.get(name, ())) for name in _FIELDS}
MESSAGES: Mapping[str, Message] = _MESSAGES
"""All messages by their names."""


def _type(name: str) -> FieldType:
    if name.endswith("[]"):
        return Repeated(_type(name[:-2]))
    if name.startswith("{"):
        return MapOf(_type(name[1:-1]))
    if name in _ENUMS:
        return choice(name, _ENUMS[name], closed=name in _CLOSED)
    return _MESSAGES[name] if name in _MESSAGES else Scalar[name]


for _name, _fields in _FIELDS.items():
    for _kind, _names in _fields.items():
        for _field in _names.split():
            _MESSAGES[_name].add(_field, _type(_kind))

GENERATE_CONTENT_REQUEST = _MESSAGES["GenerateContentRequest"]
EMBED_CONTENT_REQUEST = _MESSAGES["EmbedContentRequest"]
