"""Addresses other than Google's own, and which credentials may be sent there."""

from __future__ import annotations

import pytest

from airflow_gemini_batch.exceptions import InvalidRequestError
from airflow_gemini_batch.gcp.endpoints import check_endpoints, checked_url

STORAGE, BIGQUERY, VERTEX = "STORAGE_EMULATOR_HOST", "BIGQUERY_EMULATOR_HOST", "GOOGLE_VERTEX_BASE_URL"
LOCAL = "http://127.0.0.1:1"


@pytest.mark.parametrize(
    ("url", "kept"),
    [
        ("https://vertex.example", "https://vertex.example"),
        ("https://vertex.example/", "https://vertex.example"),
        ("HTTPS://Vertex.Example:8443/Prefix/v/", "https://vertex.example:8443/Prefix/v"),
        ("http://127.0.0.1:8080", "http://127.0.0.1:8080"),
        ("http://[::1]:8080", "http://[::1]:8080"),
        (
            "https://us-central1-aiplatform-x.p.googleapis.com",
            "https://us-central1-aiplatform-x.p.googleapis.com",
        ),
    ],
)
def test_base_address_is_scheme_host_port_and_prefix(url: str, kept: str) -> None:
    assert checked_url(url, "vertex_base_url") == kept


@pytest.mark.parametrize(
    "url",
    [
        "vertex.example",
        "//vertex.example",
        "ftp://vertex.example",
        "file:///etc/passwd",
        "https://",
        "https:///path",
        "https://user:password@vertex.example",
        "https://vertex.example@evil.example",
        "https://vertex.example\\@evil.example",
        "https://vertex.example?x=1",
        "https://vertex.example/#x",
        "https://vertex.example/../x",
        "https://vertex.example//x",
        "https://vertex.example/%2e%2e/x",
        "https://vertex.example:port",
        "https://vertex.example\n",
        "https://vertex.example\t.evil.example",
        "https://vertex\u3002example",
        "http\u017f://vertex.example",
        " https://vertex.example",
    ],
)
def test_anything_more_than_a_base_address_is_refused(url: str) -> None:
    with pytest.raises(InvalidRequestError, match=r"^vertex_base_url: expected https://HOST") as refused:
        checked_url(url, "vertex_base_url")
    assert str(refused.value).isprintable()


def check(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], vertex: str | None, anonymous: bool
) -> str:
    """Return the refusal, empty where there is none."""
    for name in (STORAGE, BIGQUERY, VERTEX, "API_ENDPOINT_OVERRIDE"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    try:
        check_endpoints(vertex, VERTEX, anonymous=anonymous, connection="books")
    except InvalidRequestError as refused:
        return str(refused)
    return ""


@pytest.mark.parametrize(
    ("variables", "vertex", "named"),
    [
        pytest.param({STORAGE: LOCAL}, None, STORAGE, id="storage"),
        pytest.param({STORAGE: "https://storage.example"}, None, STORAGE, id="storage-https"),
        pytest.param({STORAGE: "localhost:9000"}, None, STORAGE, id="storage-without-a-scheme"),
        pytest.param({BIGQUERY: LOCAL}, None, BIGQUERY, id="bigquery"),
        pytest.param({STORAGE: LOCAL, BIGQUERY: LOCAL}, LOCAL, f"{STORAGE} and {BIGQUERY} are set", id="all"),
        pytest.param({"API_ENDPOINT_OVERRIDE": LOCAL}, None, "API_ENDPOINT_OVERRIDE", id="override"),
        pytest.param({}, LOCAL, f"{VERTEX}: {LOCAL} is not https", id="vertex"),
    ],
)
def test_real_credentials_go_nowhere_else(monkeypatch, variables, vertex, named) -> None:
    refusal = check(monkeypatch, variables, vertex, anonymous=False)
    assert refusal.startswith(named)
    assert "the connection 'books'" in refusal


@pytest.mark.parametrize("vertex", [None, "https://us-central1-aiplatform-x.p.googleapis.com"])
def test_real_credentials_go_to_google_or_a_private_endpoint_over_https(monkeypatch, vertex) -> None:
    assert (
        check(monkeypatch, {"API_ENDPOINT_OVERRIDE": "https://storage.example"}, vertex, anonymous=False)
        == ""
    )


@pytest.mark.parametrize(
    ("variables", "vertex", "there", "absent"),
    [
        pytest.param({STORAGE: LOCAL}, None, f"{STORAGE} is", f"{BIGQUERY} and {VERTEX} are", id="storage"),
        pytest.param(
            {BIGQUERY: LOCAL}, LOCAL, f"{BIGQUERY} and {VERTEX} are", f"{STORAGE} is", id="no-storage"
        ),
        pytest.param({}, LOCAL, f"{VERTEX} is", f"{STORAGE} and {BIGQUERY} are", id="vertex"),
        pytest.param(
            {STORAGE: "", BIGQUERY: LOCAL}, None, f"{BIGQUERY} is", f"{STORAGE} and {VERTEX} are", id="empty"
        ),
    ],
)
def test_anonymous_credentials_go_to_local_servers_altogether(
    monkeypatch, variables, vertex, there, absent
) -> None:
    refusal = check(monkeypatch, variables, vertex, anonymous=True)
    assert refusal.startswith(f"{there} set, but {absent} not set")


@pytest.mark.parametrize(("variables", "vertex"), [({}, None), ({STORAGE: LOCAL, BIGQUERY: LOCAL}, LOCAL)])
def test_anonymous_credentials_take_all_or_none(monkeypatch, variables, vertex) -> None:
    assert check(monkeypatch, variables, vertex, anonymous=True) == ""
