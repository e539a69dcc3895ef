from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from airflow.plugins_manager import AirflowPlugin

from tests.page.stored import empty_database


@pytest.fixture
def auth_manager() -> Iterator[Any]:
    """Airflow's simple auth manager, and an empty database."""
    if not hasattr(AirflowPlugin, "external_views"):
        pytest.skip("Airflow before 3.1 shows no page")
    from airflow.api_fastapi import app

    empty_database()
    manager = app.create_auth_manager()
    manager.init()
    yield manager
    app.purge_cached_app()


@pytest.fixture
def client(auth_manager) -> Iterator[Any]:
    """A client of an application that the page is mounted in, as Airflow mounts it; nobody is logged in."""
    from fastapi import FastAPI
    from starlette.testclient import TestClient

    from airflow_gemini_batch.page.plugin import GeminiBatchPlugin

    outer = FastAPI()
    for mounted in GeminiBatchPlugin.fastapi_apps:
        outer.mount(mounted["url_prefix"], mounted["app"])
    with TestClient(outer) as client:
        yield client


@pytest.fixture
def viewer(client, auth_manager) -> Any:
    """The client of somebody who may read everything."""
    from airflow.api_fastapi.auth.managers.simple.user import SimpleAuthManagerUser

    client.cookies["_token"] = auth_manager.generate_jwt(SimpleAuthManagerUser(username="eve", role="VIEWER"))
    return client
