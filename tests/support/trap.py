"""An address on this machine where nothing may arrive."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
from collections.abc import Iterator

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa


class Trap:
    """A server that takes note of every connection, before any byte or handshake.

    :param answer: sent to those who speak plain HTTP; nothing by default.
    """

    def __init__(self, answer: bytes = b"") -> None:
        self.heard: list[bytes] = []
        self._answer = answer
        self._server = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._server.getsockname()[1]}"
        threading.Thread(target=self._serve, daemon=True).start()

    def close(self) -> None:
        self._server.close()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._server.accept()
            except OSError:
                return
            with connection, contextlib.suppress(OSError):
                connection.settimeout(5)
                self.heard.append(b"")
                self.heard[-1] = connection.recv(65536)
                connection.sendall(self._answer)
                connection.shutdown(socket.SHUT_WR)
                while connection.recv(65536):
                    pass


@contextlib.contextmanager
def trap(answer: bytes = b"") -> Iterator[Trap]:
    opened = Trap(answer)
    yield opened
    opened.close()


def http_answer(status: str, body: bytes = b"", **headers: str) -> bytes:
    """Return an answer as it goes over the wire."""
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", "Connection: close"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode() + body


def service_account(token_uri: str) -> str:
    """Return the key of a service account that nobody knows; its token is asked for at ``token_uri``."""
    pem = rsa.generate_private_key(public_exponent=65537, key_size=2048).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return json.dumps(
        {
            "type": "service_account",
            "project_id": "project-of-the-key",
            "private_key_id": "1",
            "private_key": pem.decode(),
            "client_email": "books@project-of-the-key.iam.gserviceaccount.com",
            "client_id": "1",
            "token_uri": token_uri,
        }
    )
