"""Lead the clients of one process to the local servers, also those that no variable leads, and let none escape.

Variables lead google-cloud-storage, google-cloud-bigquery, gcsfs and google-genai. The rest is led here, by replacing
single functions of the libraries for as long as a test runs. Whatever would still ask a host of Google's fails at
once with :class:`HostRefusedError`.
"""

from __future__ import annotations

import importlib
import json
import os
import socket
from collections.abc import Callable
from typing import Any

from airflow_gemini_batch.testing.bigquery.server import let_gcloud_aio_find_it

Replace = Callable[[Any, str, Any], None]

_GOOGLE = ("googleapis.com", "google.com", "google.internal", "googleusercontent.com")
# Paths of the APIs that googleapiclient reaches by description.
_DESCRIBED = {"bigquery": "bigquery/v2/", "storage": "storage/v1/"}


class HostRefusedError(RuntimeError):
    """A client asked for a host of Google's while the local servers stand in for them; retrying cannot help."""


def lead_clients(environment: dict[str, str], replace: Replace) -> None:
    """Lead the clients of this process to the servers.

    :param environment: what :meth:`~airflow_gemini_batch.testing.LocalStack.environment` gives; it is set already.
    :param replace: takes an object, the name of an attribute and its new value, and undoes it when the test ends, as
        pytest's ``monkeypatch.setattr`` does.
    """
    _lead_default_credentials(environment["GOOGLE_CLOUD_PROJECT"], replace)
    _lead_genai(environment, replace)
    _lead_described_clients(environment, replace)
    _lead_bigquery_reads(replace)
    if (gcloud_aio := _module("gcloud.aio.bigquery.bigquery")) is not None:
        replace(gcloud_aio, "init_api_root", gcloud_aio.init_api_root)  # put back when the test ends
        let_gcloud_aio_find_it()
    _refuse_hosts(replace)


def _module(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError:
        return None


def _lead_default_credentials(project: str, replace: Replace) -> None:
    """Give a token of no worth to clients that ask for the machine's own credentials, such as ``genai.Client()``."""
    import google.auth
    from google.oauth2.credentials import Credentials

    def default(*_arguments: Any, **_options: Any) -> tuple[Any, str]:
        return Credentials(token="local"), project  # noqa: S106

    replace(google.auth, "default", default)


def _lead_genai(environment: dict[str, str], replace: Replace) -> None:
    """Give ``genai.Client()`` project and location, which it drops when its address comes from a variable."""
    from google.genai import Client

    original = Client.__init__

    def make(client: Any, **options: Any) -> None:
        flags = ("GOOGLE_GENAI_USE_VERTEXAI", "GOOGLE_GENAI_USE_ENTERPRISE")
        asked = any(os.environ.get(flag, "").lower() in ("true", "1") for flag in flags)
        if "vertexai" not in options and "enterprise" not in options and asked:
            options["vertexai"] = True
        if options.get("vertexai") or options.get("enterprise"):
            for name in ("project", "location"):
                options[name] = options.get(name) or environment[f"GOOGLE_CLOUD_{name.upper()}"]
        original(client, **options)

    replace(Client, "__init__", make)


def _lead_described_clients(environment: dict[str, str], replace: Replace) -> None:
    """Lead clients that googleapiclient makes, such as the one of ``BigQueryHook.get_records``."""
    discovery = _module("googleapiclient.discovery")
    if discovery is None:
        return
    original = discovery.build_from_document
    servers = {
        "bigquery": environment["BIGQUERY_EMULATOR_HOST"],
        "storage": environment["STORAGE_EMULATOR_HOST"],
    }

    def build_from_document(service: Any, *arguments: Any, **options: Any) -> Any:
        described = json.loads(service) if isinstance(service, (str, bytes)) else service
        name = described.get("name", "")
        if name in servers:
            options["client_options"] = {"api_endpoint": f"{servers[name]}/{_DESCRIBED[name]}"}
        return original(service, *arguments, **options)

    replace(discovery, "build_from_document", build_from_document)


def _lead_bigquery_reads(replace: Replace) -> None:
    """Let google-cloud-bigquery read rows over REST, not through the Storage API, which is gRPC only."""
    from google.cloud.bigquery import Client

    replace(Client, "_ensure_bqstorage_client", lambda *_arguments, **_options: None)


def _refuse_hosts(replace: Replace) -> None:
    look_up = socket.getaddrinfo

    def getaddrinfo(host: Any, *arguments: Any, **options: Any) -> Any:
        _check(host.decode() if isinstance(host, bytes) else str(host))
        return look_up(host, *arguments, **options)

    replace(socket, "getaddrinfo", getaddrinfo)
    for name in ("google.api_core.grpc_helpers", "google.api_core.grpc_helpers_async"):
        if (helpers := _module(name)) is not None:
            replace(helpers, "create_channel", _refusing(helpers.create_channel))


def _refusing(create_channel: Callable[..., Any]) -> Callable[..., Any]:
    def create(target: str, *arguments: Any, **options: Any) -> Any:
        _check(target.rpartition(":")[0] or target)
        return create_channel(target, *arguments, **options)

    return create


def _check(host: str) -> None:
    name = host.rstrip(".").lower()
    if name.endswith(tuple(f".{domain}" for domain in _GOOGLE)) or name in _GOOGLE:
        raise HostRefusedError(
            f"A client asked for {host}, and this test runs on the local servers. Give the client the address of a "
            "server: client_options={'api_endpoint': gemini_batch_stack.vertex.url}, or .bigquery.url or .storage.url, "
            "with transport='rest' where it would use gRPC. docs/local-stack.md lists which clients need it."
        )
