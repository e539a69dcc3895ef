from __future__ import annotations

from typing import Any

import pytest

from airflow_gemini_batch.requests.validation.proto_json import (
    MapOf,
    Message,
    Repeated,
    Scalar,
    WireError,
    choice,
    read,
    snake_case,
)

INNER = Message({"fileUri": Scalar.STRING})
OUTER = Message(
    {
        "text": Scalar.STRING,
        "number": Scalar.INT32,
        "big": Scalar.INT64,
        "real": Scalar.FLOAT,
        "flag": Scalar.BOOL,
        "raw": Scalar.BYTES,
        "span": Scalar.DURATION,
        "free": Scalar.STRUCT,
        "anything": Scalar.VALUE,
        "colour": choice("Colour", "RED GREEN"),
        "inner": INNER,
        "manyInner": Repeated(INNER),
        "labels": MapOf(Scalar.STRING),
    },
    oneofs=(frozenset({"text", "inner"}),),
)


@pytest.mark.parametrize(
    ("given", "result"),
    [
        ({}, {}),
        ({"text": None}, {}),
        ({"many_inner": {"file_uri": "a"}}, {"manyInner": [{"fileUri": "a"}]}),
        (
            {"manyInner": [{"fileUri": "a"}, {"fileUri": "b"}]},
            {"manyInner": [{"fileUri": "a"}, {"fileUri": "b"}]},
        ),
        ({"number": 2**31 - 1, "big": str(2**63 - 1)}, {"number": 2**31 - 1, "big": str(2**63 - 1)}),
        ({"number": 3.0, "real": 1, "flag": False}, {"number": 3.0, "real": 1, "flag": False}),
        ({"real": "1.5e3"}, {"real": "1.5e3"}),
        ({"raw": "aGVsbG8=", "span": "1.5s"}, {"raw": "aGVsbG8=", "span": "1.5s"}),
        ({"free": {"a_b": None}, "anything": [1]}, {"free": {"a_b": None}, "anything": [1]}),
        ({"labels": {"a_b": "c"}, "colour": "RED"}, {"labels": {"a_b": "c"}, "colour": "RED"}),
    ],
)
def test_reads(given: dict[str, Any], result: dict[str, Any]) -> None:
    assert read(given, OUTER) == result


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ([], "Invalid value at 'job' (message), []"),
        ({"x": 1}, "Unknown name \"x\" at 'job': Cannot find field."),
        ({"inner": {"x": 1}}, "Unknown name \"x\" at 'job.inner': Cannot find field."),
        ({"many_inner": [{}, {"x": 1}]}, "Unknown name \"x\" at 'job.many_inner[1]'"),
        ({"manyInner": {}, "many_inner": {}}, "'job.many_inner', field was set twice"),
        ({"text": "a", "inner": {}}, "Cannot set both 'inner' and 'text'"),
        ({"text": 7}, "Invalid value at 'job.text' (TYPE_STRING), 7"),
        ({"number": 2**31}, "'job.number' (TYPE_INT32), 2147483648"),
        ({"number": 1.5}, "(TYPE_INT32), 1.5"),
        ({"number": True}, "(TYPE_INT32), True"),
        ({"number": "x"}, '(TYPE_INT32), "x"'),
        ({"big": str(2**63)}, "(TYPE_INT64)"),
        ({"real": "warm"}, '(TYPE_FLOAT), "warm"'),
        ({"flag": "yes"}, "(TYPE_BOOL)"),
        ({"raw": "%"}, "(TYPE_BYTES)"),
        ({"span": "1m"}, "Duration"),
        ({"free": []}, "Struct"),
        ({"colour": "BLUE"}, "'job.colour' (Colour), \"BLUE\""),
        ({"labels": []}, "'job.labels' (map), []"),
        ({"labels": {"a": 1}}, "'job.labels[a]' (TYPE_STRING), 1"),
    ],
)
def test_refuses(given: Any, message: str) -> None:
    with pytest.raises(WireError) as refused:
        read(given, OUTER, "job")
    assert message in str(refused.value)


def test_spells_names_with_underscores() -> None:
    assert snake_case("maxOutputTokens") == "max_output_tokens"
