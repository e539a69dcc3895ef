"""Addresses other than Google's own: what they may look like, and which credentials may be sent there."""

from __future__ import annotations

import os
import re

from airflow_gemini_batch.exceptions import InvalidRequestError

VERTEX_VARIABLE = "GOOGLE_VERTEX_BASE_URL"
"""The variable that google-genai itself reads."""

# Google's libraries read them when a client is made. The last leads Cloud Storage elsewhere as well.
_EMULATORS = ("STORAGE_EMULATOR_HOST", "BIGQUERY_EMULATOR_HOST")
_OVERRIDE = "API_ENDPOINT_OVERRIDE"

# Scheme, host, port and path prefix, nothing else. Segments that begin with a dot would climb in the path.
_URL = re.compile(
    r"(?P<scheme>https?)://(?P<host>[a-z0-9](?:[a-z0-9.-]{0,251}[a-z0-9])?|\[[0-9a-f:]{2,45}\])"
    r"(?P<port>:[0-9]{1,5})?(?P<path>(?:/[a-z0-9_~-][a-z0-9._~-]*)*)/?",
    re.IGNORECASE | re.ASCII,
)


def checked_url(url: str, name: str) -> str:
    """Return the base address of a service: scheme, host, port and path prefix, without a trailing slash.

    :param name: what the address is called where it comes from.

    Raises :class:`~airflow_gemini_batch.exceptions.InvalidRequestError` for anything more, such as a user name, a query
    or a fragment, which could lead a request to another host or path than the one that people read.
    """
    match = _URL.fullmatch(url)
    if match is None:
        raise InvalidRequestError(
            f"{name}: expected https://HOST, with a port and a path prefix if need be and nothing else, got "
            f"{url!a:.200}"
        )
    return f"{match['scheme'].lower()}://{match['host'].lower()}{match['port'] or ''}{match['path']}"


def check_endpoints(vertex: str | None, vertex_name: str, *, anonymous: bool, connection: str) -> None:
    """Refuse addresses that a connection's credentials must not be sent to; to be called before a token is fetched.

    Real credentials go to Google, or over https to the address of Vertex AI that is set. Anonymous ones go to local
    servers, for all services together: otherwise rows of one would end up with Google.

    :param vertex: checked base address of Vertex AI, if it is not the location's own.
    :param vertex_name: what that is called where it comes from.
    :param connection: the Airflow connection, for messages.

    Raises :class:`~airflow_gemini_batch.exceptions.InvalidRequestError` that names the variables.
    """
    emulated = [name for name in _EMULATORS if os.environ.get(name)]
    if anonymous:
        there = [*emulated, *([vertex_name] if vertex else [])]
        absent = [name for name in _EMULATORS if name not in emulated] + ([] if vertex else [VERTEX_VARIABLE])
        if there and absent:
            raise InvalidRequestError(
                f"{' and '.join(there)} {_is(there)} set, but {' and '.join(absent)} {_is(absent)} not set, so "
                f"requests of the anonymous connection {connection!r} would go partly to local servers and partly to "
                "Google. Set all of them, or none"
            )
        return
    unsafe = [*emulated, *([_OVERRIDE] if _is_http(os.environ.get(_OVERRIDE, "")) else [])]
    if unsafe:
        raise InvalidRequestError(
            f"{' and '.join(unsafe)} {_is(unsafe)} set, so the credentials of the connection {connection!r} would be "
            "sent to another server than Google's. Unset the variables. For local servers, give the connection the "
            "extra is_anonymous"
        )
    if vertex and _is_http(vertex):
        raise InvalidRequestError(
            f"{vertex_name}: {vertex} is not https, so the credentials of the connection {connection!r} would be sent "
            "unencrypted. Give an https address. For a local server, give the connection the extra is_anonymous"
        )


def _is_http(url: str) -> bool:
    return bool(url) and not url.lower().startswith("https://")


def _is(names: list[str]) -> str:
    return "are" if len(names) > 1 else "is"
