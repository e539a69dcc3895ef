"""The fields of a GenerateContentRequest and of the messages inside it."""

from __future__ import annotations

from airflow_gemini_batch.requests.validation.proto_json import (
    FieldType,
    MapOf,
    Message,
    Repeated,
    Scalar,
    choice,
)


def _each(names: str, kind: FieldType) -> dict[str, FieldType]:
    return dict.fromkeys(names.split(), kind)


_STRING = Scalar.STRING
_BOOL = Scalar.BOOL
_INT = Scalar.INT32
_FLOAT = Scalar.FLOAT

SCHEMA = Message(
    {
        "type": choice("Type", "TYPE_UNSPECIFIED STRING NUMBER INTEGER BOOLEAN ARRAY OBJECT NULL"),
        "nullable": _BOOL,
        **_each("format title description pattern ref", _STRING),
        **_each("enum propertyOrdering required", Repeated(_STRING)),
        **_each("default example additionalProperties", Scalar.VALUE),
        **_each("minItems maxItems minProperties maxProperties minLength maxLength", Scalar.INT64),
        **_each("minimum maximum", _FLOAT),
    }
)
_recursive: dict[str, FieldType] = {
    "items": SCHEMA,
    "properties": MapOf(SCHEMA),
    "anyOf": Repeated(SCHEMA),
    "defs": MapOf(SCHEMA),
}
for _name, _kind in _recursive.items():
    SCHEMA.add(_name, _kind)

_BLOB = Message({"mimeType": _STRING, "data": Scalar.BYTES, "displayName": _STRING})
_FILE = Message(_each("mimeType fileUri displayName", _STRING))
# What a part may be; exactly one of them.
PART_DATA = (
    "text",
    "inlineData",
    "fileData",
    "functionCall",
    "functionResponse",
    "executableCode",
    "codeExecutionResult",
)
PART = Message(
    {
        "text": _STRING,
        "inlineData": _BLOB,
        "fileData": _FILE,
        "functionCall": Message(
            {"id": _STRING, "name": _STRING, "args": Scalar.STRUCT, "willContinue": _BOOL}
        ),
        "functionResponse": Message(
            {
                "id": _STRING,
                "name": _STRING,
                "response": Scalar.STRUCT,
                "parts": Repeated(Message({"inlineData": _BLOB, "fileData": _FILE})),
            }
        ),
        "executableCode": Message(
            {"language": choice("Language", "LANGUAGE_UNSPECIFIED PYTHON"), "code": _STRING}
        ),
        "codeExecutionResult": Message(
            {
                "outcome": choice(
                    "Outcome", "OUTCOME_UNSPECIFIED OUTCOME_OK OUTCOME_FAILED OUTCOME_DEADLINE_EXCEEDED"
                ),
                "output": _STRING,
            }
        ),
        "videoMetadata": Message(
            {"startOffset": Scalar.DURATION, "endOffset": Scalar.DURATION, "fps": _FLOAT}
        ),
        "mediaResolution": Scalar.VALUE,
        "thought": _BOOL,
        "thoughtSignature": Scalar.BYTES,
    },
    oneofs=(frozenset(PART_DATA),),
)
CONTENT = Message({"role": _STRING, "parts": Repeated(PART)})

_NOTHING = Message({})
_WEB_SEARCH = Message(
    {"excludeDomains": Repeated(_STRING), "blockingConfidence": _STRING, "timeRangeFilter": Scalar.STRUCT}
)
TOOL = Message(
    {
        "functionDeclarations": Repeated(
            Message(
                {
                    **_each("name description", _STRING),
                    **_each("parameters response", SCHEMA),
                    **_each("parametersJsonSchema responseJsonSchema", Scalar.VALUE),
                }
            )
        ),
        "retrieval": Scalar.STRUCT,
        "googleSearch": _WEB_SEARCH,
        "googleSearchRetrieval": Scalar.STRUCT,
        "googleMaps": Message({"enableWidget": _BOOL}),
        "enterpriseWebSearch": _WEB_SEARCH,
        "codeExecution": _NOTHING,
        "urlContext": _NOTHING,
        "computerUse": Message({"environment": _STRING, "excludedPredefinedFunctions": Repeated(_STRING)}),
    }
)
_TOOL_CONFIG = Message(
    {
        "functionCallingConfig": Message(
            {
                "mode": choice("Mode", "MODE_UNSPECIFIED AUTO ANY NONE VALIDATED"),
                "allowedFunctionNames": Repeated(_STRING),
                "streamFunctionCallArguments": _BOOL,
            }
        ),
        "retrievalConfig": Message(
            {"latLng": Message({"latitude": _FLOAT, "longitude": _FLOAT}), "languageCode": _STRING}
        ),
    }
)

_SAFETY_SETTING = Message(
    {
        "category": choice(
            "HarmCategory",
            "HARM_CATEGORY_UNSPECIFIED HARM_CATEGORY_HATE_SPEECH HARM_CATEGORY_DANGEROUS_CONTENT "
            "HARM_CATEGORY_HARASSMENT HARM_CATEGORY_SEXUALLY_EXPLICIT HARM_CATEGORY_CIVIC_INTEGRITY "
            "HARM_CATEGORY_JAILBREAK HARM_CATEGORY_IMAGE_HATE HARM_CATEGORY_IMAGE_DANGEROUS_CONTENT "
            "HARM_CATEGORY_IMAGE_HARASSMENT HARM_CATEGORY_IMAGE_SEXUALLY_EXPLICIT",
        ),
        "threshold": choice(
            "HarmBlockThreshold",
            "HARM_BLOCK_THRESHOLD_UNSPECIFIED BLOCK_LOW_AND_ABOVE BLOCK_MEDIUM_AND_ABOVE BLOCK_ONLY_HIGH "
            "BLOCK_NONE OFF",
        ),
        "method": choice("HarmBlockMethod", "HARM_BLOCK_METHOD_UNSPECIFIED SEVERITY PROBABILITY"),
    }
)

GENERATION_CONFIG = Message(
    {
        **_each("temperature topP topK presencePenalty frequencyPenalty", _FLOAT),
        **_each("candidateCount maxOutputTokens logprobs seed", _INT),
        **_each("responseLogprobs audioTimestamp enableAffectiveDialog", _BOOL),
        **_each("routingConfig speechConfig modelConfig imageConfig", Scalar.STRUCT),
        "stopSequences": Repeated(_STRING),
        "responseMimeType": _STRING,
        "responseSchema": SCHEMA,
        "responseJsonSchema": Scalar.VALUE,
        "responseModalities": Repeated(choice("Modality", "MODALITY_UNSPECIFIED TEXT IMAGE AUDIO VIDEO")),
        "mediaResolution": choice(
            "MediaResolution",
            "MEDIA_RESOLUTION_UNSPECIFIED MEDIA_RESOLUTION_LOW MEDIA_RESOLUTION_MEDIUM MEDIA_RESOLUTION_HIGH",
        ),
        "thinkingConfig": Message(
            {
                "includeThoughts": _BOOL,
                "thinkingBudget": _INT,
                "thinkingLevel": choice(
                    "ThinkingLevel", "THINKING_LEVEL_UNSPECIFIED MINIMAL LOW MEDIUM HIGH"
                ),
            }
        ),
    }
)

GENERATE_CONTENT_REQUEST = Message(
    {
        "model": _STRING,
        "contents": Repeated(CONTENT),
        "systemInstruction": CONTENT,
        "cachedContent": _STRING,
        "tools": Repeated(TOOL),
        "toolConfig": _TOOL_CONFIG,
        "labels": MapOf(_STRING),
        "safetySettings": Repeated(_SAFETY_SETTING),
        "modelArmorConfig": Message({"promptTemplateName": _STRING, "responseTemplateName": _STRING}),
        "generationConfig": GENERATION_CONFIG,
    }
)
