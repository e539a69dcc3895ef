"""Questions about what comes back for a row: keys, labels, failures, vectors."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from airflow_gemini_batch.outputs.matching import request_digest
from tests.live.probes import COLOURS, FIELD, PROBES, SHORT, SIBLINGS
from tests.live.questions import Answer, NotAnsweredError, question
from tests.live.seen import Seen

KEYS = "Keys and what else is sent beside a request"
ROWS = "Rows that fail, and answers"
VECTORS = "Embeddings"

_BY_DIGEST = "answers are matched by a digest of the request, which comes back too"


def _shown(value: object) -> str:
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= 200 else f"{text[:200]}…"


def _echo(line: Mapping[str, Any], name: str) -> Answer:
    if name in line:
        return Answer("echoed", f"`{name}` is {_shown(line[name])}")
    return Answer("dropped", f"the line holds {', '.join(sorted(line))}")


@question(
    "generation-key",
    KEYS,
    "Does a top-level `key` come back with a generation request in a file?",
    source="one project's live run; the documentation shows `key` for gemini-embedding only",
    believed="echoed",
    readings={"echoed": "answers are matched by the key", "dropped": _BY_DIGEST},
    jobs=("generation_files",),
)
def generation_key(seen: Seen) -> Answer:
    return _echo(seen.line("generation_files", "plain"), "key")


@question(
    "generation-siblings",
    KEYS,
    "Do other fields beside `request` come back, an object among them?",
    source="inference from the key",
    believed="echoed",
    readings={
        "echoed": "they are ignored",
        "dropped": "the same: the package sends nothing there but what it can do without",
    },
    jobs=("generation_files",),
)
def generation_siblings(seen: Seen) -> Answer:
    return _echo(seen.line("generation_files", "plain"), "note")


def _kept(line: Mapping[str, Any], *names: str) -> Answer:
    found = {name: line[name] for name in names if name in line}
    if not found:
        raise NotAnsweredError("nothing beside the request came back")
    changed = {name: value for name, value in found.items() if value != SIBLINGS[name]}
    return Answer("changed" if changed else "kept", _shown(found))


_COERCION = {
    "kept": "keys come back as they were sent",
    "changed": "the same: a key is sent in a form that reads as nothing but a text",
}


@question(
    "number-like-texts",
    KEYS,
    'Does a text beside `request` that looks like a number in all lines ("000000", "1e5", 23 digits) come back as a '
    "number?",
    source="one report: keys came back as `0` and `100000.0`",
    believed="changed",
    readings=_COERCION,
    jobs=("generation_files",),
)
def number_like_texts(seen: Seen) -> Answer:
    return _kept(seen.line("generation_files", "plain"), "zeros", "exponent", "digits")


@question(
    "other-typed-texts",
    KEYS,
    'Does a text beside `request` that looks like a boolean or a time ("true", "2026-11-22 10:00:00") come back as it '
    "was?",
    source="inference: an importer that guesses numbers may guess these",
    readings=_COERCION,
    jobs=("generation_files",),
)
def other_typed_texts(seen: Seen) -> Answer:
    return _kept(seen.line("generation_files", "plain"), "truth", "moment")


@question(
    "mixed-texts",
    KEYS,
    'Is "000000" kept when another line holds a text that is not a number in the same place?',
    source="inference: a type that is guessed over all lines would then be a text",
    readings=_COERCION,
    jobs=("generation_files",),
)
def mixed_texts(seen: Seen) -> Answer:
    line = seen.line("generation_files", "plain")
    if "mixed" not in line:
        raise NotAnsweredError("nothing beside the request came back")
    return Answer("kept" if line["mixed"] == "000000" else "changed", f"`mixed` is {_shown(line['mixed'])}")


@question(
    "request-labels",
    KEYS,
    "Do `request.labels` come back inside the request?",
    source="two projects read them from the output",
    believed="echoed",
    readings={"echoed": "they are left out when requests are compared", "dropped": _BY_DIGEST},
    jobs=("generation_files",),
)
def request_labels(seen: Seen) -> Answer:
    return _echo(seen.line("generation_files", "plain")["request"], "labels")


@question(
    "table-columns",
    KEYS,
    "Do the columns of a request table beside `request` come back, NULL as NULL?",
    source="the documentation",
    believed="echoed",
    readings={
        "echoed": "rows are matched by the key's columns",
        "dropped": "landing fails and names the missing column; the answers stay in the output table: report it",
    },
    jobs=("generation_table",),
)
def table_columns(seen: Seen) -> Answer:
    row = seen.row("plain")
    found = {name: row[name] for name in ("book_id", "edition", "remark") if name in row}
    return Answer("echoed" if found else "dropped", _shown(found or sorted(row)))


@question(
    "echoed-request",
    KEYS,
    "Is the request that comes back the one that was sent, apart from spelling, order and explicit nulls?",
    source="rows of several projects",
    believed="the same",
    readings={
        "the same": "rows without a key are matched by the request's digest",
        "another": "rows without a key count as missing, and are asked once more",
    },
    jobs=("generation_files",),
)
def echoed_request(seen: Seen) -> Answer:
    sent = next(iter(PROBES["generation_files"].files[0]))["request"]
    came = seen.line("generation_files", "plain")["request"]
    same = request_digest(sent) == request_digest(came)
    return Answer("the same" if same else "another", f"it came back as {_shown(came)}")


def _empty(line: Mapping[str, Any], is_sql_null: bool | None = None) -> Answer:
    if "response" not in line or is_sql_null:
        return Answer("absent", "no `response`" if is_sql_null is None else "`response` is NULL")
    response = line["response"]
    response = json.loads(response) if isinstance(response, str) else response
    reading = "null" if response is None else "empty" if response == {} else ""
    return Answer(reading, f"`response` is {_shown(response)}")


_FAILED = {
    "empty": "the row's outcome follows from its status",
    "null": "the same",
    "absent": "the same",
}


@question(
    "failed-response-in-files",
    ROWS,
    "What is the `response` of a failed row in a file?",
    source="the documentation shows an empty object; failed rows with content were reported",
    believed="empty",
    readings=_FAILED,
    jobs=("generation_files",),
)
def failed_response_in_files(seen: Seen) -> Answer:
    return _empty(seen.line("generation_files", "wrong_role"))


@question(
    "failed-response-in-tables",
    ROWS,
    "What is the `response` of a failed row in a table: an empty object, a JSON null, or NULL?",
    source="not documented",
    readings=_FAILED,
    jobs=("generation_table",),
)
def failed_response_in_tables(seen: Seen) -> Answer:
    row = seen.row("wrong_role")
    return _empty(row, bool(row["is_sql_null"]))


@question(
    "wrong-role-status",
    ROWS,
    "Does `status` hold the code 400 for a request with a role that does not exist?",
    source="the documentation's own example",
    believed="400",
    readings={
        "400": "the row is rejected and not sent again",
        "another": "the row is judged by the code and message that are there; without any it is sent again once",
    },
    jobs=("generation_files",),
)
def wrong_role_status(seen: Seen) -> Answer:
    status = seen.line("generation_files", "wrong_role").get("status", "")
    text = status if isinstance(status, str) else json.dumps(status)
    return Answer("400" if '"code": 400' in text or '"code":400' in text else "another", _shown(status))


@question(
    "output-columns",
    ROWS,
    "Does an output table have `response` (JSON), `status` (STRING) and `processed_time` (TIMESTAMP)?",
    source="the documentation for the first two; the third is inference",
    believed="all",
    readings={
        "all": "the time of an answer is that of its row",
        "fewer": "without `processed_time` the time of an answer is when its table was made",
    },
    jobs=("generation_table",),
)
def output_columns(seen: Seen) -> Answer:
    types = seen.column_types()
    expected = {"response": "JSON", "status": "STRING", "processed_time": "TIMESTAMP"}
    return Answer("all" if expected.items() <= types.items() else "fewer", _shown(types))


@question(
    "response-json-schema",
    ROWS,
    "Is `responseJsonSchema` obeyed in a batch?",
    source="one report: ignored in 502 of 502 answers, on the Developer API",
    believed="ignored",
    readings={
        "obeyed": "a request with it is warned about without need",
        "ignored": "preflight warns; the package itself sends `responseSchema`",
    },
    jobs=("generation_files",),
)
def response_json_schema(seen: Seen) -> Answer:
    line = seen.line("generation_files", "schema")
    try:
        text = "".join(part["text"] for part in line["response"]["candidates"][0]["content"]["parts"])
    except (KeyError, IndexError, TypeError):
        raise NotAnsweredError(f"the row has no text: {_shown(line.get('status'))}") from None
    try:
        answer = json.loads(text)
    except ValueError:
        answer = None
    obeyed = isinstance(answer, dict) and answer.get(FIELD) in COLOURS
    return Answer("obeyed" if obeyed else "ignored", f"the answer is {_shown(text)}")


@question(
    "model-version",
    ROWS,
    "Is the `modelVersion` of an answer the name of the model that was asked for?",
    source="rows of several projects; retired models are answered by others",
    believed="the same",
    readings={
        "the same": "the answer is priced as that model's",
        "another": "it is priced as the model that it names, and counted in `other_models`",
    },
    jobs=("generation_files",),
)
def model_version(seen: Seen) -> Answer:
    version = (seen.line("generation_files", "plain").get("response") or {}).get("modelVersion")
    asked = seen.place.settings.model
    return Answer("the same" if version == asked else "another", f"asked {asked}, answered {version}")


def _length(line: Mapping[str, Any]) -> int:
    response = line.get("response") or {}
    embedding = response.get("embedding") or (response.get("embeddings") or [{}])[0]
    values: list[float] = embedding.get("values") or []
    if not values:
        raise NotAnsweredError(f"the row has no vector: {_shown(line.get('status') or response)}")
    return len(values)


def _forms(seen: Seen, model: str) -> Answer:
    lengths: dict[str, object] = {}
    for form in ("nested", "flat"):
        for tag in ("plain", form):
            try:
                lengths[tag] = _length(seen.line(f"{model}_{form}", tag))
            except NotAnsweredError as error:
                lengths.setdefault(tag, str(error))
    if not any(isinstance(length, int) for length in lengths.values()):
        raise NotAnsweredError("; ".join(map(str, lengths.values())))
    nested, flat = lengths["nested"] == SHORT, lengths["flat"] == SHORT
    reading = {
        (True, True): "both",
        (True, False): "nested",
        (False, True): "flat",
        (False, False): "neither",
    }
    return Answer(reading[nested, flat], f"{SHORT} asked for; lengths {_shown(lengths)}")


_FORMS = {
    "nested": "vectors come back in the length that is asked for, with the form `nested`",
    "flat": "they do with the form `flat`; with `nested` longer ones are cut and normalised again",
    "both": "either form will do",
    "neither": "longer vectors are cut and normalised again",
}
_FORMS_TEXT = (
    "Where does a request of {} say the length of its vector: in `embed_content_config`, or beside `content`?"
)


@question(
    "embedding-form-001",
    VECTORS,
    _FORMS_TEXT.format("gemini-embedding-001"),
    source="the documentation shows the first; another library sends the second; one user got full-length vectors",
    believed="nested",
    readings=_FORMS,
    jobs=("embedding_001_nested", "embedding_001_flat"),
)
def embedding_form_001(seen: Seen) -> Answer:
    return _forms(seen, "embedding_001")


@question(
    "embedding-form-2",
    VECTORS,
    _FORMS_TEXT.format("gemini-embedding-2"),
    source="as for gemini-embedding-001",
    believed="nested",
    readings=_FORMS,
    jobs=("embedding_2_nested", "embedding_2_flat"),
)
def embedding_form_2(seen: Seen) -> Answer:
    return _forms(seen, "embedding_2")


@question(
    "embedding-usage",
    VECTORS,
    "How does a gemini-embedding answer tell its tokens, and that a text was cut?",
    source="the documentation shows `tokenCount`; `usageMetadata` and `truncated` stand in the API's description",
    believed="tokenCount",
    readings={
        "tokenCount": "tokens are counted; whether a text was cut is not known, and `truncated` stays empty",
        "usageMetadata": "tokens are counted, and `truncated` is filled",
    },
    jobs=("embedding_001_nested",),
)
def embedding_usage(seen: Seen) -> Answer:
    response = seen.line("embedding_001_nested", "long").get("response") or {}
    fields = {name: value for name, value in response.items() if not name.startswith("embedding")}
    reading = next((name for name in ("usageMetadata", "tokenCount") if name in fields), "")
    return Answer(reading, f"for a text above the limit: {_shown(fields)}")


@question(
    "embedding-number-like-texts",
    VECTORS,
    'Does a text beside a gemini-embedding request that looks like a number in all lines ("000000") come back as one?',
    source="one report, as for generation",
    believed="changed",
    readings=_COERCION,
    jobs=("embedding_001_nested",),
)
def embedding_number_like_texts(seen: Seen) -> Answer:
    return _kept(seen.line("embedding_001_nested", "plain"), "zeros")


@question(
    "text-embedding-key",
    VECTORS,
    "Does a `key` beside the `content` of a text-embedding model come back?",
    source="several projects: it is dropped",
    believed="dropped",
    readings={"echoed": "it is ignored", "dropped": "rows are matched by text, task type and title"},
    jobs=("text_embedding",),
)
def text_embedding_key(seen: Seen) -> Answer:
    line = seen.line("text_embedding", "plain")
    return _echo(
        {**line.get("instance", {}), **{name: line[name] for name in line if name != "instance"}}, "key"
    )


@question(
    "text-embedding-length",
    VECTORS,
    "Is the job's `modelParameters.outputDimensionality`, as a text, obeyed by a text-embedding model?",
    source="the documentation",
    believed="obeyed",
    readings={
        "obeyed": "vectors come as asked for",
        "ignored": "longer vectors are cut and normalised again",
    },
    jobs=("text_embedding",),
)
def text_embedding_length(seen: Seen) -> Answer:
    line = seen.line("text_embedding", "plain")
    try:
        length = len(line["predictions"][0]["embeddings"]["values"])
    except (KeyError, IndexError, TypeError):
        raise NotAnsweredError(f"the row has no vector: {_shown(line)}") from None
    return Answer("obeyed" if length == SHORT else "ignored", f"{SHORT} asked for; {length} came")
