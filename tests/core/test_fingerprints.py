from __future__ import annotations

import hashlib

import orjson

from airflow_gemini_batch.core.fingerprints import DIGEST_LENGTH, fingerprint_of, model_key

MODEL = "gemini-2.5-flash"


def test_fingerprint_is_what_sql_computes() -> None:
    assert fingerprint_of(MODEL, b'{"a":1}') == hashlib.sha256(b'gemini-2.5-flash\n{"a":1}').hexdigest()[:32]
    assert len(fingerprint_of(MODEL, b"")) == DIGEST_LENGTH


def test_line_separators_count_as_bigquery_spells_them() -> None:
    text = "a\u2028b\u2029\\u2028"
    assert fingerprint_of(MODEL, orjson.dumps(text)) == fingerprint_of(MODEL, rb'"a\u2028b\u2029\\u2028"')


def test_plain_and_resource_name_are_the_same_model() -> None:
    assert fingerprint_of(f"publishers/google/models/{MODEL}", b"{}") == fingerprint_of(MODEL, b"{}")


def test_model_and_request_tell_apart() -> None:
    found = {
        fingerprint_of(model, request) for model in (MODEL, "gemini-3.8-flash") for request in (b"1", b"2")
    }
    assert len(found) == 4


def test_parameters_of_the_job_count_in_whatever_order() -> None:
    asked = model_key(f"publishers/google/models/{MODEL}", {"b": "2", "a": "1"})
    assert asked == model_key(MODEL, {"a": "1", "b": "2"}) == f"{MODEL} a=1 b=2"
    assert fingerprint_of(asked, b"{}") != fingerprint_of(MODEL, b"{}")
    assert model_key(MODEL, {}) == MODEL
