"""The page in a real browser, in a frame as Airflow's, under its own Content-Security-Policy."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from airflow_gemini_batch.operators.links import FollowUpJobLink
from tests.page.stored import CONSOLE, JOB, manifest, store
from tests.support.hostile_page import BROWSER, browser

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(BROWSER is None, reason="needs chromium"),
]
HOSTILE = '"><img src=x onerror="parent.taken = 1"><script>parent.taken = 1</script>'

# Airflow 3.1 allows its frame no more than this. What a link of the page leads to is only noted.
_AIRFLOW = """<!doctype html><html class="dark"><body><script>
const pause = () => new Promise(done => setTimeout(done, 300));
const followed = [];
HTMLAnchorElement.prototype.click = function () { followed.push([this.href, this.target, this.rel]); };
const frame = document.createElement("iframe");
frame.setAttribute("sandbox", "allow-scripts allow-same-origin allow-forms");
frame.style = "width: 336px; height: 600px; border: 0";
frame.onload = async () => {
  frame.onload = null;
  const inside = frame.contentDocument;
  const back = () => frame.contentWindow.getComputedStyle(inside.body).backgroundColor;
  await pause();
  const dark = back();
  document.documentElement.className = "light";
  await pause();
  for (const link of inside.querySelectorAll("a[target]")) {
    link.dispatchEvent(new MouseEvent("click", {bubbles: true, cancelable: true}));
  }
  await pause();
  const found = {
    dark, light: back(), followed, taken: window.taken ?? null, bars: inside.querySelectorAll("svg rect").length,
    images: inside.images.length, address: frame.contentWindow.location.pathname,
    overflow: inside.documentElement.scrollWidth - inside.documentElement.clientWidth,
  };
  await fetch("/found", {method: "POST", body: JSON.stringify(found)});
};
frame.src = "ADDRESS";
document.body.append(frame);
</script>"""


@pytest.fixture
def look(viewer) -> Iterator[Any]:
    """Return a function that opens a page of the plugin in a frame, and returns what is there."""
    import uvicorn
    from starlette.responses import HTMLResponse

    app, heard, found = viewer.app, threading.Event(), {}

    async def airflow(request: Any) -> HTMLResponse:
        page = HTMLResponse(_AIRFLOW.replace("ADDRESS", request.query_params["address"]))
        page.set_cookie("_token", viewer.cookies["_token"], httponly=True, samesite="lax")
        return page

    async def take(request: Any) -> HTMLResponse:
        found.update(json.loads(await request.body()))
        heard.set()
        return HTMLResponse()

    app.add_route("/", airflow)
    app.add_route("/found", take, methods=["POST"])
    with socket.create_server(("127.0.0.1", 0)) as listening:
        server = uvicorn.Server(uvicorn.Config(app, log_config=None))
        thread = threading.Thread(target=lambda: asyncio.run(server.serve([listening])))
        thread.start()

        def look(address: str) -> dict[str, Any]:
            with browser(f"http://127.0.0.1:{listening.getsockname()[1]}/?address={address}"):
                assert heard.wait(60), "the page did not report"
            return found

        yield look
        server.should_exit = True
        thread.join()


def test_page_has_its_style_and_its_links_and_runs_nothing_of_others(look):
    store(result=manifest())
    store(HOSTILE, HOSTILE, HOSTILE, result=manifest(model=HOSTILE), others={FollowUpJobLink.key: HOSTILE})
    store("long" * 50, "long" * 50, "long" * 50, map_index=3, state="failed")
    found = look("/gemini-batch/")
    assert (found["taken"], found["images"]) == (None, 0)
    # The style is there, and follows Airflow's theme when a user changes it.
    assert (found["dark"], found["light"]) == ("rgb(17, 17, 19)", "rgb(255, 255, 255)")
    assert found["bars"] == 3
    assert found["overflow"] == 0
    # All links are followed by Airflow's page: the frame may not, and stays where it is.
    targets = {target for _, target, _ in found["followed"]}
    assert targets == {"_top", "_blank"}
    assert [CONSOLE, "_blank", "noopener noreferrer"] in found["followed"]
    assert any(url.endswith("/dags/shop/runs/manual__1/tasks/submit") for url, _, _ in found["followed"])
    assert found["address"] == "/gemini-batch/"


def test_tab_shows_a_long_summary_without_breaking_the_frame(look):
    second = {**manifest()["rounds"][0], "job_name": JOB.replace("123", "4" * 60)}
    result = manifest(rounds=[*manifest()["rounds"], second])
    store(result=result, others={"summary": f"{HOSTILE}\n{'long ' * 200}"})
    found = look("/gemini-batch/dags/shop/runs/manual__1/tasks/submit/{MAP_INDEX}")
    assert (found["taken"], found["images"], found["overflow"]) == (None, 0, 0)
    assert [target for _, target, _ in found["followed"]] == ["_blank", "_blank"]
