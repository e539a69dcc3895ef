"""What a web page, another host's name or a process without the address gets from the local servers: nothing."""

from __future__ import annotations

import json
import re
from http.client import HTTPConnection
from typing import NamedTuple
from urllib.parse import urlsplit

import pytest

from airflow_gemini_batch.testing import LOCATION, PROJECT, LocalStack
from airflow_gemini_batch.testing.gate import refusal

TOKEN = "Zm9v-_token"
OWN = {"Host": "127.0.0.1:8080"}


@pytest.mark.parametrize(
    ("headers", "path", "reason"),
    [
        ({}, f"/{TOKEN}/b", None),
        ({"Host": "localhost:8080"}, f"/{TOKEN}", None),
        ({"Host": "LOCALHOST:8080"}, f"/{TOKEN}/", None),
        ({"Host": ""}, f"/{TOKEN}/b", "Host header"),
        ({"Host": "127.0.0.1"}, f"/{TOKEN}/b", "Host header"),
        ({"Host": "127.0.0.1:8081"}, f"/{TOKEN}/b", "Host header"),
        ({"Host": "evil.example:8080"}, f"/{TOKEN}/b", "Host header"),
        ({"Host": "127.0.0.1:8080.evil.example"}, f"/{TOKEN}/b", "Host header"),
        ({"Host": "0.0.0.0:8080"}, f"/{TOKEN}/b", "Host header"),
        ({"Host": "[::1]:8080"}, f"/{TOKEN}/b", "Host header"),
        ({"Origin": "http://127.0.0.1:8080"}, f"/{TOKEN}/b", None),
        ({"Origin": "http://localhost:8080"}, f"/{TOKEN}/b", None),
        ({"Origin": "http://127.0.0.1:8081"}, f"/{TOKEN}/b", "another origin"),
        ({"Origin": "https://127.0.0.1:8080"}, f"/{TOKEN}/b", "another origin"),
        ({"Origin": "null"}, f"/{TOKEN}/b", "another origin"),
        ({"Origin": ""}, f"/{TOKEN}/b", "another origin"),
        ({"Origin": "http://evil.example"}, f"/{TOKEN}/b", "another origin"),
        ({"Sec-Fetch-Site": "none"}, f"/{TOKEN}/b", None),
        ({"Sec-Fetch-Site": "same-origin"}, f"/{TOKEN}/b", None),
        ({"Sec-Fetch-Site": "same-site"}, f"/{TOKEN}/b", "another site"),
        ({"Sec-Fetch-Site": "cross-site"}, f"/{TOKEN}/b", "another site"),
        ({}, "/", "wrong token, or none"),
        ({}, "", "wrong token, or none"),
        ({}, "*", "wrong token, or none"),
        ({}, "/storage/v1/b", "wrong token, or none"),
        ({}, f"/{TOKEN}x/b", "wrong token, or none"),
        ({}, f"/{TOKEN[:-1]}/b", "wrong token, or none"),
        ({}, f"//{TOKEN}/b", "wrong token, or none"),
        ({}, f"/x/{TOKEN}/b", "wrong token, or none"),
        ({}, f"/%5A{TOKEN[1:]}/b", "wrong token, or none"),
        ({}, f"/{TOKEN.lower()}/b", "wrong token, or none"),
        ({}, "/\N{LATIN SMALL LETTER E WITH ACUTE}/b", "wrong token, or none"),
    ],
)
def test_only_the_own_address_is_admitted(headers, path, reason):
    refused = refusal(OWN | headers, path, port=8080, token=TOKEN)
    assert refused is None if reason is None else reason in refused


@pytest.mark.parametrize(
    ("kind", "path", "admitted"),
    [
        ("application/json", "/v1/b", True),
        ("application/json; charset=UTF-8", "/v1/b", True),
        ("multipart/related; boundary=x", "/upload/b", True),
        ("multipart/mixed; boundary=x", "/batch/storage/v1", True),
        ("text/plain", "/upload/storage/v1/b/b/o", True),
        (None, "/upload/storage/v1/b/b/o", True),
        ("text/plain", "/v1/b", False),
        ("TEXT/Plain;application/json", "/v1/b", False),
        (" text/plain ; charset=utf-8", "/v1/b", False),
        ("application/x-www-form-urlencoded", "/v1/b", False),
        ("multipart/form-data; boundary=x", "/v1/b", False),
        ("", "/v1/b", False),
        (None, "/v1/b", False),
        ("text/plain", "/v1/upload/b", False),
    ],
)
def test_bodies_that_a_page_can_send_are_refused(kind, path, admitted):
    headers = OWN if kind is None else OWN | {"Content-Type": kind}
    refused = refusal(headers, f"/{TOKEN}{path}", port=8080, token=TOKEN, has_body=True)
    assert refused is None if admitted else "Send it as application/json" in refused


class Call(NamedTuple):
    server: str
    method: str
    path: str
    body: dict | None = None


JOBS = f"/v1/projects/{PROJECT}/locations/{LOCATION}/batchPredictionJobs"
CALLS = [
    Call("storage", "GET", "/storage/v1/b"),
    Call("storage", "POST", "/storage/v1/b", {"name": "stolen-bucket"}),
    Call("storage", "POST", "/batch/storage/v1", {}),
    Call("storage", "POST", "/upload/storage/v1/b/stolen-bucket/o?uploadType=media&name=a", {}),
    Call("storage", "GET", "/stolen-bucket/a"),
    Call("bigquery", "GET", f"/bigquery/v2/projects/{PROJECT}/datasets"),
    Call("bigquery", "POST", f"/bigquery/v2/projects/{PROJECT}/queries", {"query": "CREATE SCHEMA stolen"}),
    Call("bigquery", "POST", f"/bigquery/v2/projects/{PROJECT}/jobs", {}),
    Call("bigquery", "POST", f"/upload/bigquery/v2/projects/{PROJECT}/jobs?uploadType=resumable", {}),
    Call("bigquery", "GET", "/healthz"),
    Call("vertex", "GET", JOBS),
    Call("vertex", "POST", JOBS, {"displayName": "stolen"}),
    Call("vertex", "POST", f"{JOBS}/1:cancel", {}),
    Call("vertex", "GET", "/local/v1/requests"),
    Call("vertex", "DELETE", "/local/v1/requests"),
    Call("vertex", "GET", "/local/v1/fault-kinds"),
    Call("vertex", "POST", "/local/v1/faults", {"name": "error"}),
    Call("vertex", "DELETE", "/local/v1/faults"),
    Call("vertex", "POST", "/local/v1/jobs:seed", {"count": 3}),
]

# What changes in a good request: headers, and what stands in the place of the token.
ATTACKS = {
    "foreign host": ({"Host": "evil.example"}, None, "Host header"),
    "rebound host": ({"Host": "evil.example:{port}"}, None, "Host header"),
    "foreign origin": ({"Origin": "http://evil.example"}, None, "another origin"),
    "sandboxed page": ({"Origin": "null"}, None, "another origin"),
    "other port": ({"Origin": "http://127.0.0.1:1"}, None, "another origin"),
    "other site": ({"Sec-Fetch-Site": "cross-site"}, None, "another site"),
    "image of a page": ({"Sec-Fetch-Site": "same-site"}, None, "another site"),
    "no token": ({}, "", "wrong token, or none"),
    "wrong token": ({}, "/wrong", "wrong token, or none"),
}


def send(stack: LocalStack, call: Call, headers: dict[str, str], prefix: str | None = None):
    address = urlsplit(getattr(stack, call.server).url)
    headers = {name: value.format(port=address.port) for name, value in headers.items()}
    body = None if call.body is None else json.dumps(call.body)
    connection = HTTPConnection("127.0.0.1", address.port, timeout=10)
    try:
        path = (address.path if prefix is None else prefix) + call.path
        connection.request(call.method, path, body, {"Content-Type": "application/json"} | headers)
        answer = connection.getresponse()
        return answer.status, answer.read().decode(), answer.headers
    finally:
        connection.close()


@pytest.mark.parametrize("attack", ATTACKS)
@pytest.mark.parametrize("call", CALLS, ids=lambda call: f"{call.server}-{call.method}-{call.path}")
def test_nothing_is_answered(local_stack, call, attack):
    headers, prefix, reason = ATTACKS[attack]
    before = local_stack.vertex.requests.counts
    status, text, answered = send(local_stack, call, headers, prefix)
    assert status == 403
    assert reason in json.loads(text)["error"]["message"]
    assert not [name for name in answered if name.lower().startswith("access-control-")]
    assert local_stack.vertex.requests.counts == before


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", ""])
@pytest.mark.parametrize(
    "call",
    [call for call in CALLS if call.body is not None and not call.path.startswith("/upload")],
    ids=lambda call: f"{call.server}-{call.path}",
)
def test_no_body_of_a_page_is_taken(local_stack, call, kind):
    status, text, _ = send(local_stack, call, {"Content-Type": kind})
    assert (status, "application/json" in text) == (403, True)


@pytest.mark.parametrize("server", ["storage", "bigquery", "vertex"])
def test_a_preflight_request_of_a_browser_is_refused(local_stack, server):
    asked = {"Origin": "http://evil.example", "Access-Control-Request-Method": "POST"}
    status, _, answered = send(local_stack, Call(server, "OPTIONS", "/"), asked)
    assert (status, answered.get("Access-Control-Allow-Origin")) == (403, None)


@pytest.mark.parametrize(
    "call",
    [call for call in CALLS if call.method == "GET"],  # the others would change what tests share
    ids=lambda call: f"{call.server}-{call.path}",
)
def test_the_same_request_is_admitted_from_a_process_with_the_address(local_stack, call):
    assert send(local_stack, call, {})[0] != 403


def test_each_server_has_a_token_of_its_own_that_cannot_be_guessed(local_stack):
    tokens = {
        urlsplit(server.url).path
        for server in (local_stack.storage, local_stack.bigquery, local_stack.vertex)
    }
    assert len(tokens) == 3
    assert all(re.fullmatch(r"/[A-Za-z0-9_-]{43}", token) for token in tokens)


@pytest.mark.parametrize("path", ["", "/"])
@pytest.mark.parametrize("server", ["storage", "bigquery", "vertex"])
def test_the_bare_address_is_not_found(local_stack, server, path):
    assert send(local_stack, Call(server, "GET", path), {})[0] == 404


def test_no_token_reaches_the_log_of_calls(local_stack):
    send(local_stack, Call("vertex", "GET", JOBS), {})
    assert local_stack.vertex.requests.calls()[-1]["path"] == JOBS
