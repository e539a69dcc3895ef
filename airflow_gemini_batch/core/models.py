"""Names of models, in the forms a batch job accepts."""

from __future__ import annotations

import re

from airflow_gemini_batch.core.places import may_be_same_project

_PLAIN = re.compile(r"[a-z0-9][a-z0-9._@-]*")
_PUBLISHER = re.compile(r"publishers/[a-z0-9-]+/models/[A-Za-z0-9._@-]+")
_OWN = re.compile(
    r"projects/[^/\s]+/locations/[a-z0-9-]+/"
    r"(?:models/[^/\s]+|endpoints/[^/\s]+|publishers/[a-z0-9-]+/models/[A-Za-z0-9._@-]+)"
)

# Publisher's or own model, project and location, version.
_NAMED = re.compile(
    r"(?:projects/(?P<project>[^/\s]+)/locations/(?P<location>[a-z0-9-]+)/)?"
    r"(?P<model>(?:publishers/[a-z0-9-]+/)?(?:models|endpoints)/[^/\s@]+)(?:@(?P<version>[^/\s@]+))?"
)


def model_resource_name(model: str) -> str:
    """Return the resource name of ``model``; raises :class:`ValueError` for a text that is not a name.

    A plain name is a Google model: ``gemini-3.8-flash`` becomes ``publishers/google/models/gemini-3.8-flash``.
    Publisher models and tuned ones (``projects/P/locations/L/models/ID``) stay as they are. Which models exist is not
    checked: the list changes monthly, and Vertex AI refuses an unknown one before anything is paid. So does it, by its
    documentation, an endpoint (``…/endpoints/ID``) instead of the tuned model.
    """
    if not isinstance(model, str) or not model:
        raise ValueError(f"model is missing: give a name such as 'gemini-3.8-flash', got {model!r}")
    if _PUBLISHER.fullmatch(model) or _OWN.fullmatch(model):
        return model
    if _PLAIN.fullmatch(model):
        return f"publishers/google/models/{model}"
    for prefix in ("models/", "google/"):
        plain = model.removeprefix(prefix)
        if plain != model and _PLAIN.fullmatch(plain):
            raise ValueError(f"model {model!r} is not a name of Vertex AI: write {plain!r}")
    raise ValueError(
        f"model {model!r} is not a name that a batch job takes: expected a plain name (gemini-3.8-flash), "
        "publishers/PUBLISHER/models/MODEL, or projects/PROJECT/locations/LOCATION/models/ID"
    )


def is_model(found: str, asked: str) -> bool:
    """Whether the model of a job can be the one that was asked for.

    Names are compared by their meaning: a publisher's model may be named with or without project and location, a
    project by its id or its number, and the service may add a version where none was asked for.
    """
    names = (
        f"publishers/google/models/{name}" if _PLAIN.fullmatch(name) else name for name in (found, asked)
    )
    first, second = map(_NAMED.fullmatch, names)
    if first is None or second is None:
        return False
    if first["model"] != second["model"] or second["version"] not in (None, first["version"]):
        return False
    return second["model"].startswith("publishers/") or (
        first["location"] == second["location"]
        and may_be_same_project(first["project"] or "", second["project"] or "")
    )


def is_other_model(version: str, asked: str) -> bool:
    """Whether an answer's ``modelVersion`` names another model than the one that was asked for.

    A number or a date at the end of a name is a version of the same model. Names that can't be compared are not
    different: an empty one, that of a tuned model, and an alias (``…-latest``), which stands for another name.

    :param asked: plain or resource name.
    """
    tuned = "/" in asked and "publishers/" not in asked
    wanted = _without_version(asked)
    if not version or tuned or wanted.endswith("-latest"):
        return False
    return _without_version(version) != wanted


def _without_version(model: str) -> str:
    name = short_model_name(model).lower().partition("@")[0]
    return re.sub(r"-(\d{3}|\d\d-\d{4})\Z", "", name)


def short_model_name(resource_name: str) -> str:
    """Return the last part of a model's resource name, for messages and reports."""
    return resource_name.rpartition("/")[2]
