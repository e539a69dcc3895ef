from __future__ import annotations

import socket
import subprocess
import sys

import pytest


@pytest.fixture(autouse=True)
def report(monkeypatch, tmp_path):
    path = tmp_path / "escaped.txt"
    monkeypatch.setenv("GUARD_REPORT", str(path))
    return path


def test_refuses_and_reports_a_look_up_of_another_host(report):
    with pytest.raises(OSError, match=r"tests must not reach storage\.googleapis\.com"):
        socket.getaddrinfo("storage.googleapis.com", 443)
    assert report.read_text().startswith("storage.googleapis.com by")


def test_refuses_a_connection_to_an_address_outside_this_machine(report):
    with socket.socket() as outside, pytest.raises(OSError, match="tests must not reach"):
        outside.connect(("192.0.2.1", 80))
    assert report.read_text().startswith("192.0.2.1 by")


@pytest.mark.slow
def test_guards_the_processes_that_tests_start(report):
    code = "import socket; socket.getaddrinfo('example.com', 80)"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "tests must not reach example.com" in ended.stderr
    assert report.read_text().startswith("example.com by")
