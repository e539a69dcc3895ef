"""The plugin as Airflow loads it: two views and an application on 3.1 and later, nothing before, and at no cost."""

from __future__ import annotations

import importlib
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from airflow.plugins_manager import AirflowPlugin

from airflow_gemini_batch.page import plugin
from airflow_gemini_batch.page.plugin import PREFIX, GeminiBatchPlugin, LazyPage

ROOT = Path(__file__).parents[2]
HAS_VIEWS = hasattr(AirflowPlugin, "external_views")
needs_views = pytest.mark.skipif(not HAS_VIEWS, reason="Airflow before 3.1 shows no page")


def test_entry_point_leads_to_the_plugin():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    (entry,) = project["entry-points"]["airflow.plugins"].values()
    module, _, name = entry.partition(":")
    assert getattr(importlib.import_module(module), name) is GeminiBatchPlugin
    assert issubclass(GeminiBatchPlugin, AirflowPlugin)


def test_plugin_adds_nothing_where_airflow_has_no_views(monkeypatch):
    if HAS_VIEWS:
        monkeypatch.delattr(AirflowPlugin, "external_views")
    try:
        old = importlib.reload(plugin).GeminiBatchPlugin
        assert [name for name in vars(old) if not name.startswith("__")] == ["name"]
    finally:
        monkeypatch.undo()
        importlib.reload(plugin)


@needs_views
def test_airflow_takes_the_views_and_the_application():
    from airflow.api_fastapi.app import RESERVED_URL_PREFIXES
    from airflow.api_fastapi.core_api.datamodels.plugins import ExternalViewResponse

    views = [ExternalViewResponse.model_validate(view) for view in GeminiBatchPlugin.external_views]
    assert [(view.name, view.destination) for view in views] == [
        ("Batch jobs", "nav"),
        ("Batch job", "task_instance"),
    ]
    # Airflow leaves out the second of two views with one route.
    assert len({view.url_route for view in views}) == 2
    (mounted,) = GeminiBatchPlugin.fastapi_apps
    assert not any(mounted["url_prefix"].startswith(prefix) for prefix in RESERVED_URL_PREFIXES)
    # Relative, so that they are right below any base address.
    assert {view.href.partition("/")[0] for view in views} == {PREFIX}
    assert mounted["url_prefix"] == f"/{PREFIX}"


@needs_views
async def test_page_is_made_with_the_first_request(monkeypatch):
    from airflow_gemini_batch.page import app

    answered = []

    async def page(*arguments):
        answered.append(arguments)

    monkeypatch.setattr(app, "page_app", lambda: page)
    await LazyPage()("scope", "receive", "send")
    assert answered == [("scope", "receive", "send")]


@pytest.mark.slow
def test_plugin_loads_nothing_but_itself():
    code = (
        "import sys, airflow.plugins_manager\n"
        "before = set(sys.modules)\n"
        "import airflow_gemini_batch.page.plugin\n"
        "print(*sorted(set(sys.modules) - before))"
    )
    ran = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, cwd=ROOT)
    loaded = set(ran.stdout.splitlines()[-1].split())
    # The package itself may be there already, for its metadata.
    assert loaded - {"airflow_gemini_batch"} == {
        "airflow_gemini_batch.page",
        "airflow_gemini_batch.page.plugin",
    }
