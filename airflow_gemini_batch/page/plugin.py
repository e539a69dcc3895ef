"""The plugin that shows the page of batch jobs in Airflow 3.1 and later; in earlier releases it adds nothing.

Every process of Airflow imports this module, so it loads nothing else: the page is made where it is first asked for.
"""

from __future__ import annotations

from typing import Any

from airflow.plugins_manager import AirflowPlugin

PREFIX = "gemini-batch"
"""First part of the addresses of all pages, below that of Airflow."""

# Airflow 3.0 and 2 have no views of this kind.
_HAS_VIEWS = hasattr(AirflowPlugin, "external_views")


class LazyPage:
    """The ASGI application of the page, which is made with the first request."""

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer a request."""
        from airflow_gemini_batch.page.app import page_app

        await page_app()(scope, receive, send)


class GeminiBatchPlugin(AirflowPlugin):
    """A page of all batch jobs in the menu *Browse*, and a tab for each task instance.

    The addresses are relative, so that they are right below any ``[api] base_url``. Airflow writes the names of a task
    instance into that of the tab, and leaves ``{MAP_INDEX}`` as it is when the task is not mapped.
    """

    name = "gemini_batch"
    if _HAS_VIEWS:
        fastapi_apps: list[Any] = [{"name": "Batch jobs", "url_prefix": f"/{PREFIX}", "app": LazyPage()}]
        external_views: list[Any] = [
            {
                "name": "Batch jobs",
                "href": f"{PREFIX}/",
                "url_route": PREFIX,
                "destination": "nav",
                "category": "browse",
            },
            {
                "name": "Batch job",
                "href": f"{PREFIX}/dags/{{DAG_ID}}/runs/{{RUN_ID}}/tasks/{{TASK_ID}}/{{MAP_INDEX}}",
                "url_route": f"{PREFIX}-job",
                "destination": "task_instance",
            },
        ]
