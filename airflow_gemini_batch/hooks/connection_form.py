"""The form of a connection in Airflow's page.

Airflow 3.2 and later read it from the provider's metadata, earlier releases from the hook.
"""

from __future__ import annotations

from typing import Any

FIELDS = {
    "project": "Project id",
    "location": "Location, such as us-central1",
    "key_path": "Key file path",
    "keyfile_dict": "Key file JSON",
    "impersonation_chain": "Service account to impersonate (or a chain, with commas)",
    "quota_project_id": "Project whose quota all calls count against",
    "user_project": "Project that pays for buckets whose readers pay",
    "vertex_base_url": "Address of Vertex AI, for private endpoints",
}
"""Labels of the extras by their names."""

SECRET_FIELDS = frozenset({"keyfile_dict"})

BEHAVIOUR: dict[str, Any] = {
    "hidden-fields": ["host", "schema", "login", "password", "port"],
    "relabeling": {},
    "placeholders": {},
}
"""What the form does with the fields that every connection has, as the metadata writes it."""


def conn_fields() -> dict[str, Any]:
    """Return the fields as the provider's metadata describes them."""

    def schema(name: str) -> dict[str, Any]:
        format_ = {"format": "password"} if name in SECRET_FIELDS else {}
        return {"type": ["string", "null"], **format_}

    return {name: {"label": label, "schema": schema(name)} for name, label in FIELDS.items()}


def widgets() -> dict[str, Any]:
    """Return the fields as WTForms has them, for ``BaseHook.get_connection_form_widgets``."""
    from flask_appbuilder.fieldwidgets import BS3PasswordFieldWidget, BS3TextFieldWidget
    from wtforms import PasswordField, StringField

    return {
        name: PasswordField(label, widget=BS3PasswordFieldWidget())
        if name in SECRET_FIELDS
        else StringField(label, widget=BS3TextFieldWidget())
        for name, label in FIELDS.items()
    }


def behaviour() -> dict[str, Any]:
    """Return :data:`BEHAVIOUR` for ``BaseHook.get_ui_field_behaviour``, which writes the names with underscores."""
    return {name.replace("-", "_"): value for name, value in BEHAVIOUR.items()}
