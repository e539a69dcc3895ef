"""What users give for the parts of a request → its JSON: texts, dicts, and objects of ``google.genai.types``."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from airflow_gemini_batch.core.plain import is_model, plain
from airflow_gemini_batch.core.response_schema import response_schema_of
from airflow_gemini_batch.core.values import text_of
from airflow_gemini_batch.requests.validation.fields import PART_DATA
from airflow_gemini_batch.requests.validation.proto_json import snake_case

_SCALARS = (str, int, float, bool, type(None))
_PART_FIELDS = frozenset((*PART_DATA, *map(snake_case, PART_DATA)))
# Parts of a request that google-genai keeps in its GenerateContentConfig.
_BESIDE = ("systemInstruction", "tools", "toolConfig", "safetySettings", "modelArmorConfig")
_NOT_OF_A_ROW = (
    "labels",
    "cachedContent",
    "httpOptions",
    "automaticFunctionCalling",
    "shouldReturnHttpResponse",
)
_HOW = "Give JSON types, or objects of google.genai.types"


class RequestParts(NamedTuple):
    """The parts of a request that all rows share, as JSON; what is not given is ``None`` or empty.

    :param beside: ``toolConfig`` and ``modelArmorConfig``.
    """

    system_instruction: dict[str, Any] | None = None
    generation_config: Mapping[str, Any] = {}
    safety_settings: Sequence[Any] = ()
    tools: Sequence[Any] = ()
    beside: Mapping[str, Any] = {}

    @property
    def instruction_characters(self) -> int:
        """How many characters the texts of the system instruction have."""
        parts = self.system_instruction["parts"] if self.system_instruction else []
        return sum(len(part["text"]) for part in parts if isinstance(part.get("text"), str))


def request_parts(
    *,
    system_instruction: Any = None,
    generation_config: Any = None,
    safety_settings: Any = None,
    tools: Any = None,
) -> RequestParts:
    """Read what a user gives for the parts of a request.

    :param system_instruction: a text, a ``Content``, a ``Part``, or a list of texts and parts.
    :param generation_config: a ``GenerationConfig``, or google-genai's ``GenerateContentConfig``, which may hold the
        system instruction, tools and safety settings as well.
    :param safety_settings: a ``SafetySetting``, or a list of them.
    :param tools: a ``Tool``, or a list of them.

    All may be dicts with the same content. Raises :class:`ValueError` that names the parameter.
    """
    config = _config(generation_config)
    given = {
        "systemInstruction": system_instruction,
        "tools": _listed(tools, "tools"),
        "safetySettings": _listed(safety_settings, "safety_settings"),
    }
    beside = {name: config.pop(name) for name in _BESIDE if name in config}
    for name in ("systemInstruction", "tools", "safetySettings"):
        if beside.get(name) and given[name]:
            raise ValueError(f"{snake_case(name)} is given twice: as a parameter, and in generation_config")
        given[name] = beside.pop(name, None) or given[name]
    return RequestParts(
        _content(given["systemInstruction"]),
        config,
        _listed(given["safetySettings"], "safety_settings"),
        _listed(given["tools"], "tools"),
        beside,
    )


def as_json(value: Any, name: str) -> Any:
    """Return a value as JSON types: also of objects that :func:`.plain` reads; bytes become base64.

    :param name: of the parameter, for the :class:`ValueError` that another object raises.
    """
    return _checked(plain(value), name)


def _checked(value: Any, name: str) -> Any:
    if isinstance(value, _SCALARS):
        return value
    if isinstance(value, dict):
        return {str(key): _checked(inner, f"{name}.{key}") for key, inner in value.items()}
    if isinstance(value, list):
        return [_checked(inner, f"{name}[{place}]") for place, inner in enumerate(value)]
    if isinstance(value, bytes):
        return b64encode(value).decode()
    if callable(value):
        raise ValueError(f"{name}: a batch job can't call {value!r:.100}. Declare the function: {_HOW}")
    raise ValueError(f"{name}: can't send a {type(value).__name__}, {value!r:.100}. {_HOW}")


def _config(config: Any) -> dict[str, Any]:
    if not config:
        return {}
    if is_model(config):
        fields = type(config).model_fields
        # One by one: a response schema may be a class, which is not JSON.
        config = {fields[name].alias or _camel(name): getattr(config, name) for name in fields}
        config = {name: value for name, value in config.items() if value is not None}
    if not isinstance(config, Mapping):
        raise ValueError(f"generation_config: expected a dict, got {_shown(config)}")
    result: dict[str, Any] = {}
    for name, value in config.items():
        if _camel(str(name)) in _NOT_OF_A_ROW:
            raise ValueError(
                f"generation_config.{name} has no place in the requests of a batch job: leave it out"
            )
        field = _camel(str(name)) if _camel(str(name)) in _BESIDE else str(name)
        if _camel(field) == "responseSchema":
            value = _schema(value)
        result[field] = value if field in _BESIDE else as_json(value, f"generation_config.{name}")
    for name in ("toolConfig", "modelArmorConfig"):
        if name in result:
            result[name] = as_json(result[name], snake_case(name))
    return result


def _schema(schema: Any) -> Any:
    """Return a schema that is JSON as it is, and another one as :func:`.response_schema_of` writes it."""
    try:
        return as_json(schema, "response_schema")
    except ValueError:
        return response_schema_of(schema)


def _camel(name: str) -> str:
    first, *others = name.split("_")
    return first + "".join(other.capitalize() for other in others)


def _listed(value: Any, name: str) -> list[Any]:
    if value is None or value == "":
        return []
    content = as_json(value, name)
    listed = content if isinstance(content, list) else [content]
    for one in listed:
        if not isinstance(one, Mapping):
            raise ValueError(f"{name}: expected a list of dicts, got {_shown(one)}")
    return listed


def _content(value: Any) -> dict[str, Any] | None:
    """Return the ``Content`` of a system instruction, ``None`` for nothing."""
    name = "system_instruction"
    content = as_json(value, name)
    if content is None or content == "" or content == []:
        return None
    if isinstance(content, Mapping) and "parts" in content:
        parts = content["parts"]
        return {**content, "parts": parts if isinstance(parts, list) else [parts]}
    if (
        isinstance(content, list)
        and len(content) == 1
        and isinstance(content[0], Mapping)
        and "parts" in content[0]
    ):
        return _content(content[0])
    return {"parts": [_part(one) for one in (content if isinstance(content, list) else [content])]}


def _part(part: Any) -> dict[str, Any]:
    if isinstance(part, Mapping) and part.keys() & _PART_FIELDS:
        return dict(part)
    if isinstance(part, (str, int, float)):  # rendering may have made a number of a text
        return {"text": text_of(part)}
    raise ValueError(
        f"system_instruction: expected a text, a Content with parts, or a list of texts and parts, got {_shown(part)}"
    )


def _shown(value: Any) -> str:
    kind = "a text" if isinstance(value, str) else f"a {type(value).__name__}"
    native = ". A template gives a text, unless the DAG has render_template_as_native_obj=True"
    return f"{kind}, {value!r:.100}{native if isinstance(value, str) else ''}"
