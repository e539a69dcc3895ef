"""The provider's metadata, as Airflow reads it."""

from __future__ import annotations

from typing import Any

_PACKAGE = "airflow_gemini_batch"
_INTEGRATION = "Gemini batch"


def get_provider_info() -> dict[str, Any]:
    """Return the provider's metadata.

    https://airflow.apache.org/docs/apache-airflow-providers/howto/create-custom-providers.html
    """
    from airflow_gemini_batch import __version__
    from airflow_gemini_batch.hooks.connection_form import BEHAVIOUR, conn_fields

    return {
        # The distribution's name, with hyphens: `airflow providers list` fails otherwise.
        "package-name": "airflow-gemini-batch",
        "name": _INTEGRATION,
        "description": "Gemini and embedding batch jobs on Vertex AI: from rows to typed columns, each job paid once.",
        "versions": [__version__],
        "integrations": [
            {
                "integration-name": _INTEGRATION,
                "external-doc-url": "https://cloud.google.com/vertex-ai/generative-ai/docs/multimodal/batch-prediction-gemini",
                "tags": ["gcp", "ai"],
            }
        ],
        "operators": [
            _modules(
                "operators.gemini",
                "operators.embeddings",
                "operators.preflight",
                "operators.canary",
                "operators.canary_rows",
                "operators.rollback",
            )
        ],
        "sensors": [_modules("sensors.job", "sensors.output")],
        "hooks": [_modules("hooks.gemini_batch")],
        "triggers": [_modules("triggers.gemini_batch", "triggers.jobs_ended", "triggers.readiness")],
        "task-decorators": [
            {"name": "gemini_batch", "class-name": f"{_PACKAGE}.decorators.gemini_batch.gemini_batch_task"}
        ],
        "notifications": [f"{_PACKAGE}.notifications.summary.SummaryNotifier"],
        "config": {
            "gemini_batch": {
                "description": "Gemini and embedding batch jobs on Vertex AI.",
                "options": {
                    "opentelemetry": {
                        "description": (
                            "Whether submit tasks record a span for each job and gen_ai.client.token.usage, by way "
                            "of the OpenTelemetry SDK that the process has set up. Airflow's own metrics need no "
                            "option of this section."
                        ),
                        "version_added": __version__,
                        "type": "boolean",
                        "example": "True",
                        "default": "False",
                    },
                    "price_table": {
                        "description": (
                            "CSV file with prices that replace and extend those of the package: columns model, input, "
                            "output (US dollars per million tokens in batch) and as_of, and optional ones such as "
                            "valid_from and retires: see the package's prices.csv."
                        ),
                        "version_added": __version__,
                        "type": "string",
                        "example": "/opt/airflow/prices.csv",
                        "default": "",
                    },
                },
            }
        },
        "extra-links": [
            f"{_PACKAGE}.operators.links.BatchJobLink",
            f"{_PACKAGE}.operators.links.FollowUpJobLink",
            f"{_PACKAGE}.operators.links.TargetLink",
            f"{_PACKAGE}.operators.links.FailedRowsLink",
        ],
        "connection-types": [
            {
                "connection-type": "gemini_batch",
                "hook-class-name": f"{_PACKAGE}.hooks.gemini_batch.GeminiBatchHook",
                "hook-name": "Gemini batch (Vertex AI)",
                "ui-field-behaviour": BEHAVIOUR,
                "conn-fields": conn_fields(),
            }
        ],
    }


def _modules(*names: str) -> dict[str, Any]:
    return {
        "integration-name": _INTEGRATION,
        "python-modules": [f"{_PACKAGE}.{name}" for name in names],
    }
