"""The pages over a database of Airflow: who sees them, and what they show."""

from __future__ import annotations

import re
from datetime import timedelta

import pytest

from airflow_gemini_batch.operators.links import FollowUpJobLink
from tests.page.stored import CONSOLE, JOB, manifest, store

JOBS = "/gemini-batch/"
TASK = "/gemini-batch/dags/shop/runs/manual__1/tasks/submit/{MAP_INDEX}"
PAGES = [JOBS, TASK, "/gemini-batch/page.css", "/gemini-batch/page.js"]
HOSTILE = "<img src=x onerror=alert(1)>\"'&"


def text(response) -> str:
    """Return what people read of a page that was given."""
    assert response.status_code == 200, response.text
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", response.text))


@pytest.mark.parametrize("page", PAGES)
def test_nobody_sees_a_page_without_a_login(client, page):
    store(result=manifest())
    assert client.get(page).status_code == 401
    client.cookies["_token"] = "made.up.token"
    answer = client.get(page)
    assert answer.status_code in (401, 403)
    assert "gemini-3.8" not in answer.text


@pytest.mark.parametrize("page", PAGES)
def test_user_without_a_right_to_read_sees_nothing(viewer, auth_manager, monkeypatch, page):
    store(result=manifest())
    monkeypatch.setattr(auth_manager, "is_authorized_dag", lambda **_: False)
    answer = viewer.get(page)
    assert answer.status_code == 403
    assert "gemini-3.8" not in answer.text


def test_user_sees_the_dags_that_he_may_read(viewer, auth_manager, monkeypatch):
    store(result=manifest(model="mine"))
    store("other", result=manifest(model="theirs"))
    monkeypatch.setattr(
        auth_manager,
        "is_authorized_dag",
        lambda *, details=None, **_: details is None or details.id in (None, "shop"),
    )
    jobs = text(viewer.get(JOBS))
    assert "mine" in jobs
    assert "theirs" not in jobs
    assert "$0.1234" in jobs
    assert "$0.2468" not in jobs
    assert viewer.get(TASK).status_code == 200
    assert viewer.get(TASK.replace("shop", "other")).status_code == 403


@pytest.mark.parametrize("page", [*PAGES, "/gemini-batch/nothing"])
@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
def test_pages_can_only_be_read(viewer, page, method):
    assert viewer.request(method, page).status_code in (404, 405)


@pytest.mark.parametrize("page", [*PAGES, "/gemini-batch/nothing", "/gemini-batch/openapi.json"])
def test_pages_load_nothing_of_others_and_are_shown_in_airflow_only(viewer, page):
    answer = viewer.get(page)
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'self'" in policy
    assert "unsafe" not in policy
    assert answer.headers["cache-control"] == "no-store"
    sources = re.findall(r"(?:src|href)=[\"']([^\"']*)", answer.text) if "<html" in answer.text else []
    assert [one for one in sources if one.startswith("http") and not one.startswith(CONSOLE[:33])] == []
    assert re.findall(r"<style|style=|<script>|\son\w+=", answer.text) == []


@pytest.mark.parametrize("is_text", [False, True], ids=["as-workers-store-it", "as-text"])
def test_job_that_has_ended_is_shown_with_its_numbers(viewer, is_text):
    import json

    result = manifest()
    store(result=json.dumps(result) if is_text else result)
    page = viewer.get(JOBS)
    shown = text(page)
    for part in (
        "submit shop manual__1",
        "success Vertex AI: SUCCEEDED",
        "gemini-3.8-flash",
        "1,200 ok, 3 rejected",
        "50,000 prompt, 7,000 output",
        "$0.1234",
        "queued 12 min, ran 41 min",
    ):
        assert part in shown
    assert f'href="{CONSOLE}"' in page.text
    assert 'href="/dags/shop/runs/manual__1/tasks/submit"' in page.text


def test_links_stand_below_airflows_base_address(viewer, monkeypatch):
    monkeypatch.setenv("AIRFLOW__API__BASE_URL", "https://airflow.example.com/team/")
    store(result=manifest())
    page = viewer.get(JOBS).text
    assert 'href="/team/dags/shop/runs/manual__1/tasks/submit"' in page
    assert 'href="/team/gemini-batch/page.css"' in page


def test_mapped_tasks_are_shown_one_by_one(viewer):
    for index in range(3):
        store(map_index=index, result=manifest(model=f"model-{index}"))
    page = viewer.get(JOBS).text
    assert sorted(re.findall(r"submit \[(\d)\]", page)) == ["0", "1", "2"]
    assert 'href="/dags/shop/runs/manual__1/tasks/submit/mapped/2"' in page
    assert "model-2" in text(viewer.get(TASK.replace("{MAP_INDEX}", "2")))


def test_follow_ups_are_shown_with_their_job(viewer):
    first = manifest()["rounds"][0]
    second = {**first, "job_name": JOB.replace("123", "456"), "state": "JOB_STATE_CANCELLED"}
    store(result=manifest(rounds=[first, second]))
    page = viewer.get(JOBS)
    assert "queued 24 min, ran 82 min, with 1 follow-up" in text(page)
    assert "Vertex AI: CANCELLED" in text(page)
    assert f'href="{CONSOLE.replace("123", "456")}"' in page.text


@pytest.mark.parametrize("state", ["deferred", "running", "up_for_retry", "failed", None])
def test_what_is_not_known_of_a_job_is_unknown(viewer, state):
    store(state=state, others={FollowUpJobLink.key: CONSOLE.replace("123", "456")})
    page = viewer.get(JOBS)
    shown = text(page)
    later = "unknown unknown" if state == "failed" else "not yet not yet"
    assert f"{state or 'cleared'} Vertex AI: unknown unknown unknown {later} unknown" in shown
    assert f'href="{CONSOLE.replace("123", "456")}"' in page.text


@pytest.mark.parametrize(
    ("days", "models"),
    [("1", {"new"}), ("7", {"new", "old"}), ("", {"new", "old"}), ("30", {"new", "old", "older"})]
    + [(odd, {"new", "old"}) for odd in ("31", "-1", "x", "1e9", "<b>")],
)
def test_page_is_about_the_chosen_days(viewer, days, models):
    for model, age in (("new", 0), ("old", 3), ("older", 20), ("ancient", 90)):
        store(run_id=model, result=manifest(model=f"{model}-model"), age=timedelta(days=age))
    shown = text(viewer.get(JOBS, params={"days": days}))
    assert set(re.findall(r"(\w+)-model", shown)) == models


def test_job_under_way_is_shown_however_old_it_is(viewer):
    store(run_id="new", result=manifest())
    store(run_id="old", state="deferred", age=timedelta(days=90))
    shown = text(viewer.get(JOBS, params={"days": "1"}))
    assert shown.index("shop old") < shown.index("shop new")


def test_page_says_when_it_does_not_show_all(viewer, monkeypatch):
    from airflow_gemini_batch.page import app

    monkeypatch.setattr(app, "MOST_TASKS", 2)
    for number in range(3):
        assert "there are more" not in text(viewer.get(JOBS))
        store(run_id=f"run{number}", result=manifest(), age=timedelta(minutes=9 - number))
    shown = text(viewer.get(JOBS))
    assert "Only the newest 2 task instances are shown and counted; there are more." in shown
    assert re.findall(r"shop (run\d)", shown) == ["run2", "run1"]


def test_page_without_any_job_says_so(viewer):
    store(url=None, result="something else")
    assert "has submitted a batch job in this time" in text(viewer.get(JOBS))
    assert "has not submitted a batch job" in text(viewer.get(TASK))


def test_tab_shows_what_the_task_tells(viewer):
    store(url=None, others={"summary": "39 rows landed"})
    assert "39 rows landed" in text(viewer.get(TASK))
    store(task_id="b", result=manifest(), others={"summary": f"{HOSTILE} line\n  more"})
    page = viewer.get(TASK.replace("submit", "b")).text
    assert "line\n  more</pre>" in page
    assert "<img" not in page
    assert "$0.1234 at batch rates of 2026-11" in text(viewer.get(TASK.replace("submit", "b")))


@pytest.mark.parametrize("run_id", ["manual__2026-01-01T00:00:00+00:00", "a/b", "ä b"])
@pytest.mark.parametrize("is_quoted", [True, False])
def test_tab_is_found_by_names_that_need_quotes(viewer, run_id, is_quoted):
    from urllib.parse import quote

    store(run_id=run_id, result=manifest())
    # Airflow 3.1 puts names into the address as they are.
    address = TASK.replace("manual__1", quote(run_id, safe="") if is_quoted else run_id)
    assert "gemini-3.8-flash" in text(viewer.get(address))


def test_nothing_is_shown_unescaped(viewer):
    store(
        HOSTILE,
        HOSTILE,
        HOSTILE,
        state="failed",
        result=manifest(model=HOSTILE, counts={HOSTILE: 1}),
        others={FollowUpJobLink.key: HOSTILE},
    )
    store(HOSTILE, "b", HOSTILE, state=HOSTILE[:20], url="javascript:alert(1)")
    store(HOSTILE, "c", HOSTILE, url=f"{CONSOLE}{HOSTILE}")
    page = viewer.get(JOBS).text
    assert page.count("&lt;img src=x onerror=alert(1)&gt;&#34;&#39;&amp;") >= 5
    assert "<img" not in page
    assert "javascript:" not in page
    answer = viewer.get("/gemini-batch/dags/shop/runs/<b>/tasks/<i>/<u>")
    assert "<b>" not in answer.text


@pytest.mark.parametrize(
    "result",
    [
        "text",
        [1],
        {"version": 99},
        manifest(counts={"ok": "1"}),
        manifest(counts={"ok": -1}),
        manifest(counts={"ok": 10**400}),
        manifest(cost={"amount": "9"}),
        manifest(cost={"amount": 1e400}),
        manifest(cost=[1]),
        manifest(cost={"amount": 1, "unpriced": [1]}),
        manifest(usage={"m": {"prompt_tokens": 10**400}}),
        manifest(rounds=[{**manifest()["rounds"][0], "job_name": "javascript:alert(1)"}]),
        manifest(rounds=[{**manifest()["rounds"][0], "counts": {"ok": "many"}}]),
        manifest(
            rounds=[
                {**manifest()["rounds"][0], "times": {"created": "2026-01-01", "ended": "0001-01-01T00:00Z"}}
            ]
        ),
    ],
)
def test_result_that_somebody_has_made_up_does_not_break_the_page(viewer, result):
    store(result=result)
    store(run_id="good", result=manifest())
    shown = text(viewer.get(JOBS))
    assert "manual__1 success Vertex AI: unknown" in shown
    assert "good success Vertex AI: SUCCEEDED" in shown
    assert "Without the cost of 1 ended task instance" in shown
    assert text(viewer.get(TASK))
