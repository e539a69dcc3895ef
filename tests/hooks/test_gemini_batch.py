"""GeminiBatchHook: from an Airflow connection to clients."""

from __future__ import annotations

import json
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from airflow_gemini_batch.core.addresses import parse_address
from airflow_gemini_batch.exceptions import InvalidRequestError
from airflow_gemini_batch.hooks.gemini_batch import GeminiBatchHook
from airflow_gemini_batch.testing.stack import LocalStack
from airflow_gemini_batch.vertex import rest
from airflow_gemini_batch.vertex.resource import VertexJobName

PLACE = {"project": "demo-project", "location": "us-central1"}


@pytest.fixture
def connection(monkeypatch):
    """Make the connection ``books`` and return its id."""
    for variable in ("GOOGLE_VERTEX_BASE_URL", "GOOGLE_CLOUD_PROJECT", "GOOGLE_APPLICATION_CREDENTIALS"):
        monkeypatch.delenv(variable, raising=False)

    def connection(conn_type: str = "google_cloud_platform", **extra: Any) -> str:
        monkeypatch.setenv("AIRFLOW_CONN_BOOKS", json.dumps({"conn_type": conn_type, "extra": extra}))
        return "books"

    return connection


@pytest.fixture(scope="module")
def key() -> dict[str, str]:
    """A service account's key; nobody knows the account, and nobody is asked."""
    private = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    pem = private.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return {
        "type": "service_account",
        "project_id": "project-of-the-key",
        "private_key_id": "1",
        "private_key": pem.decode(),
        "client_email": "books@project-of-the-key.iam.gserviceaccount.com",
        "client_id": "1",
        "token_uri": "http://127.0.0.1:9/token",
    }


@pytest.fixture
def key_file(key, tmp_path):
    path = tmp_path / "key.json"
    path.write_text(json.dumps(key))
    return str(path)


def test_project_is_the_argument_before_the_connection_s(connection):
    conn = connection(is_anonymous=True, project="of-the-connection")
    assert GeminiBatchHook(conn, project_id="of-the-task").project_id == "of-the-task"
    assert GeminiBatchHook(conn).project_id == "of-the-connection"


def test_project_is_the_connection_s_before_the_key_s(connection, key):
    text = json.dumps(key)
    assert GeminiBatchHook(connection(keyfile_dict=text, project="of-the-connection")).project_id == (
        "of-the-connection"
    )
    assert GeminiBatchHook(connection(keyfile_dict=text)).project_id == "project-of-the-key"


def test_project_is_the_environment_s_where_nothing_else_names_one(connection, key_file, monkeypatch):
    conn = connection()
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", key_file)
    assert GeminiBatchHook(conn).project_id == "project-of-the-key"
    monkeypatch.setenv("GOOGLE_CLOUD_PROJECT", "of-the-environment")
    assert GeminiBatchHook(conn).project_id == "of-the-environment"
    assert GeminiBatchHook(connection(project="of-the-connection")).project_id == "of-the-connection"


def test_missing_project_is_named_with_the_way_out(connection):
    hook = GeminiBatchHook(connection(is_anonymous=True, location="us-central1"))
    with pytest.raises(InvalidRequestError, match="Give project_id, or set it in the connection 'books'"):
        hook.get_conn()


def test_location_is_the_argument_before_the_connection_s(connection):
    conn = connection(is_anonymous=True, **PLACE)
    assert GeminiBatchHook(conn, location="europe-west4").location == "europe-west4"
    assert GeminiBatchHook(conn).location == "us-central1"


def test_missing_location_is_named_with_the_way_out(connection):
    hook = GeminiBatchHook(connection(is_anonymous=True, project="demo-project"))
    with pytest.raises(
        InvalidRequestError, match=r"no location is set. Give location .* the connection 'books' as"
    ):
        hook.get_conn()


def test_fields_in_the_old_spelling_are_read_as_well(connection):
    prefix = "extra__google_cloud_platform__"
    conn = connection(
        **{f"{prefix}is_anonymous": True, f"{prefix}project": "shop-one", f"{prefix}location": "eu"}
    )
    hook = GeminiBatchHook(conn)
    assert (hook.project_id, hook.location) == ("shop-one", "eu")


def test_connection_of_our_own_type_works_as_well(connection):
    hook = GeminiBatchHook(connection("gemini_batch", is_anonymous=True, **PLACE))
    client = hook.get_conn()
    assert (client.project, client.location) == ("demo-project", "us-central1")


def test_address_is_the_connection_s_before_the_environment_s(connection, monkeypatch):
    plain = connection(is_anonymous=True)
    assert GeminiBatchHook(plain).base_url is None
    monkeypatch.setenv("GOOGLE_VERTEX_BASE_URL", "http://127.0.0.1:1/")
    assert GeminiBatchHook(plain).base_url == "http://127.0.0.1:1"
    conn = connection(is_anonymous=True, vertex_base_url="http://127.0.0.1:2/")
    assert GeminiBatchHook(conn).base_url == "http://127.0.0.1:2"


def test_address_is_the_location_s_own_where_nothing_else_is_said(connection, mocker):
    address = mocker.spy(rest, "service_url")
    GeminiBatchHook(connection(is_anonymous=True, **PLACE)).get_conn()
    assert address.spy_return == "https://us-central1-aiplatform.googleapis.com"


def test_key_in_the_connection_gives_the_credentials(connection, key):
    hook = GeminiBatchHook(connection(keyfile_dict=json.dumps(key), **PLACE))
    assert hook.credentials.service_account_email == key["client_email"]
    assert "https://www.googleapis.com/auth/cloud-platform" in hook.credentials.scopes


def test_key_file_gives_the_credentials(connection, key, key_file):
    hook = GeminiBatchHook(connection(key_path=key_file, **PLACE))
    assert hook.credentials.service_account_email == key["client_email"]


@pytest.mark.parametrize(
    ("chain", "target", "delegates"),
    [
        pytest.param("last@p.iam.gserviceaccount.com", "last@p.iam.gserviceaccount.com", [], id="one"),
        pytest.param(
            ["first@p.iam.gserviceaccount.com", "last@p.iam.gserviceaccount.com"],
            "last@p.iam.gserviceaccount.com",
            ["first@p.iam.gserviceaccount.com"],
            id="chain",
        ),
    ],
)
@pytest.mark.parametrize("where", ["argument", "connection"])
def test_impersonated_account_is_the_one_that_asks(connection, key, where, chain, target, delegates):
    text = json.dumps(key)
    if where == "argument":
        hook = GeminiBatchHook(connection(keyfile_dict=text), impersonation_chain=chain)
    else:
        written = chain if isinstance(chain, str) else ",".join(chain)
        hook = GeminiBatchHook(connection(keyfile_dict=text, impersonation_chain=written))
    assert hook.credentials.service_account_email == target
    assert list(hook.credentials._delegates or []) == delegates


def test_anonymous_connection_asks_nobody_for_a_token(connection):
    hook = GeminiBatchHook(connection(is_anonymous=True, **PLACE))
    assert hook.credentials.valid
    assert hook.credentials.token


def test_client_of_a_job_stands_where_the_job_is(connection):
    hook = GeminiBatchHook(connection(is_anonymous=True, **PLACE))
    name = VertexJobName("another-project", "europe-west4", "42")
    for client in (hook.get_conn(name), hook.get_async_conn(name)):
        assert (client.project, client.location) == ("another-project", "europe-west4")
    assert hook.get_conn(name) is hook.get_conn(name)
    assert hook.get_conn(name) is not hook.get_conn()


def test_client_of_a_job_needs_no_place_in_the_connection(connection):
    # A trigger knows the job's name and the connection's id, nothing else.
    hook = GeminiBatchHook(connection(is_anonymous=True))
    assert hook.get_async_conn(VertexJobName("demo-project", "us-central1", "42")).location == "us-central1"


def test_store_reads_files_and_tables(gemini_batch_stack: LocalStack, bucket):
    store = GeminiBatchHook().store
    assert store.files.prediction_folders(parse_address(f"gs://{bucket}/out")) == []
    assert store.tables.find(parse_address("bq://demo-project.no_such_dataset.t")) is None


def test_connection_that_works_says_what_it_can_do(gemini_batch_stack):
    assert GeminiBatchHook().test_connection() == (
        True,
        "Tried to list the batch jobs of the project demo-project in us-central1: it works",
    )


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        pytest.param({"project": "demo-project"}, "InvalidRequestError: no location", id="no-location"),
        pytest.param({"location": "us-central1"}, "InvalidRequestError: no project", id="no-project"),
        pytest.param(
            {"project": "another-project", "location": "us-central1"},
            "VertexApiError: listing the jobs of another-project in us-central1: Vertex AI answered 403",
            id="no-right",
        ),
        pytest.param(
            {**PLACE, "vertex_base_url": "http://127.0.0.1:9"}, "no answer from Vertex AI", id="nobody-there"
        ),
    ],
)
def test_connection_that_does_not_work_says_why(connection, gemini_batch_stack, extra, message):
    works, said = GeminiBatchHook(connection(is_anonymous=True, **extra)).test_connection()
    assert not works
    assert message in said


def test_connection_that_does_not_exist_says_so(gemini_batch_stack):
    works, said = GeminiBatchHook("no_such_connection").test_connection()
    assert not works
    assert "no_such_connection" in said


def test_key_that_is_none_says_so(connection):
    works, said = GeminiBatchHook(connection(keyfile_dict="{no json", **PLACE)).test_connection()
    assert not works
    assert "JSON" in said
