"""Refuse every name look-up and connection that leaves this machine.

Imported by Python itself in the processes that tests start with this folder on their PYTHONPATH, and by
conftest.py in the test process. Attempts are written down in the file GUARD_REPORT, because a client may swallow
the error.
"""

from __future__ import annotations

import ipaddress
import os
import socket
import sys

_LOCAL_NAMES = {"localhost", "ip6-localhost", socket.gethostname(), "", None}


def _is_local(host: object) -> bool:
    if isinstance(host, bytes):
        host = host.decode()
    if host in _LOCAL_NAMES:
        return True
    try:
        address = ipaddress.ip_address(str(host).partition("%")[0])
    except ValueError:
        return False
    return address.is_loopback or address.is_unspecified


def _refuse(event: str, arguments: tuple[object, ...]) -> None:
    if event in ("socket.getaddrinfo", "socket.gethostbyname"):
        host = arguments[0]
    elif event == "socket.connect":
        address = arguments[1]
        if not isinstance(address, tuple):  # a Unix socket
            return
        host = address[0]
    else:
        return
    if not _is_local(host):
        with open(os.environ["GUARD_REPORT"], "a") as report:
            print(host, "by", " ".join(sys.argv), file=report)
        raise OSError(f"tests must not reach {host}: only this machine")


sys.addaudithook(_refuse)
