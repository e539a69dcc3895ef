"""Model names as the API takes them, and the family of request rows that a model reads."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass
from difflib import get_close_matches

from airflow_gemini_batch.core.model_families import GENERATE_CONTENT, ModelFamily, family_of
from airflow_gemini_batch.testing.vertex_ai.errors import CallError

_NAME = r"[a-z0-9][a-z0-9.-]{0,126}[a-z0-9]"
_VERSION = r"(?:@[A-Za-z0-9._-]+)?"
_PUBLISHER_MODEL = re.compile(
    rf"(?:projects/(?P<project>[^/]+)/locations/(?P<location>[^/]+)/)?"
    rf"publishers/(?P<publisher>[a-z0-9-]+)/models/(?P<name>{_NAME}){_VERSION}"
)
_TUNED_MODEL = re.compile(
    rf"projects/(?P<project>[^/]+)/locations/(?P<location>[^/]+)/models/(?P<name>\d+){_VERSION}"
)


# How Google names its models. New ones come every month, so there is no list of them: a word that is none of these is
# taken for new, unless it looks like one of these that is misspelt.
_GEMINI = re.compile(r"gemini-[1-9](?:\.\d)?-([a-z]+(?:-[a-z0-9]+)*)|gemini-(flash|flash-lite|pro)-latest")
_WORDS = frozenset(
    {"flash", "lite", "pro", "ultra", "image", "tts", "audio", "live", "thinking", "preview", "exp", "latest"}
    | {"hydrogen", "neon", "argon", "carbon", "cyber"}
)
_LIKENESS = 0.75
_EMBEDDING = re.compile(
    r"gemini-embedding-(\d{3}|[2-9](-preview)?)|text-(multilingual-)?embedding-\d{3}"
    r"|textembedding-gecko(-multilingual)?"
)
_MULTI_REGIONS = frozenset({"global", "us", "eu"})
# Models that are served in regions only (True), or in the multi-regions only (False).
_REGIONAL = ((re.compile(r"gemini-embedding-001"), True), (re.compile(r"gemini-embedding-2.*"), False))


@dataclass(frozen=True, slots=True)
class Model:
    """A model that a job may name.

    :param resource: the name as the job carries it.
    :param short_name: what ``modelVersion`` and the filter ``model_display_name`` show.
    :param tuned: a model of the caller's own project.
    """

    resource: str
    short_name: str
    family: ModelFamily
    tuned: bool = False

    @property
    def dimensions(self) -> int:
        """Length of the model's vectors unless a shorter one is asked for."""
        return self.family.dimensions


def is_served(name: str) -> bool:
    """Tell whether Google could have a model of that name."""
    if not (gemini := _GEMINI.fullmatch(name)):
        return _EMBEDDING.fullmatch(name) is not None
    return all(
        word.isdigit() or word in _WORDS or not get_close_matches(word, _WORDS, cutoff=_LIKENESS)
        for word in (gemini[1] or gemini[2]).split("-")
    )


def parse_model(
    resource: str, *, projects: frozenset[str], location: str, tuned: Collection[str] = ()
) -> Model:
    """Read the ``model`` of a job, as the service does.

    An endpoint is not a model: neither the API's reference nor Google's pages name one.

    :param projects: id and number of the caller's project.
    :param location: the job's location; ``global`` takes no tuned models.
    :param tuned: numbers of the tuned models that exist.

    Raises :class:`~airflow_gemini_batch.testing.vertex_ai.errors.CallError`.
    """
    if match := _PUBLISHER_MODEL.fullmatch(resource):
        _check_owner(match, resource, projects, location)
        name, publisher = match["name"], match["publisher"]
        if publisher != "google":
            raise CallError("INVALID_ARGUMENT", f"Do not support publisher model {name}")
        if is_served(name) and (family := family_of(name)):
            _check_location(name, location)
            return Model(f"publishers/google/models/{resource.rpartition('/')[2]}", name, family)
        raise CallError("NOT_FOUND", f"The PublisherModel {name} does not exist.")
    if match := _TUNED_MODEL.fullmatch(resource):
        _check_owner(match, resource, projects, location)
        if location == "global":
            raise CallError(
                "INVALID_ARGUMENT", f"Tuned model {resource} can't be used at the global endpoint."
            )
        if match["name"] not in tuned:
            raise CallError("NOT_FOUND", f"The Model does not exist: {resource}")
        return Model(resource, resource.rpartition("/")[2], GENERATE_CONTENT, tuned=True)
    raise CallError("INVALID_ARGUMENT", f"Invalid model resource name: {resource}")


def _check_location(name: str, location: str) -> None:
    regional = location not in _MULTI_REGIONS
    if any(pattern.fullmatch(name) and regional is not wanted for pattern, wanted in _REGIONAL):
        raise CallError("INVALID_ARGUMENT", f"Model {name} is not supported in location {location}.")


def _check_owner(match: re.Match[str], resource: str, projects: frozenset[str], location: str) -> None:
    if match["project"] is None:
        return
    if match["project"] not in projects:
        raise CallError(
            "PERMISSION_DENIED", f"Permission denied on resource {resource} (or it may not exist)."
        )
    if match["location"] != location:
        raise CallError(
            "INVALID_ARGUMENT",
            f"The model {resource} is in location {match['location']}. "
            f"It must be in the same location as the job, {location}.",
        )
