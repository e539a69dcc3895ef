"""Project, location and job id: the texts that the addresses of Google's services are made of.

A host is made of the location, and a token is sent to it. So all three are matched whole, in ASCII, against what Google
allows, before anything is made of them.
"""

from __future__ import annotations

import re

# https://cloud.google.com/resource-manager/docs/creating-managing-projects, domain-scoped ids (example.com:shop)
# included, or the project's number, which services answer with.
PROJECT = re.compile(
    r"(?:[a-z0-9-]{1,63}(?:\.[a-z0-9-]{1,63}){1,8}:)?[a-z][a-z0-9-]{4,28}[a-z0-9]|[0-9]{1,20}"
)
# us-central1, africa-south1, u-france-east1; global, us, eu: https://cloud.google.com/vertex-ai/docs/general/locations
_LOCATION = re.compile(r"[a-z]{1,20}(?:-[a-z]{1,20}){0,2}[0-9]{0,2}")
# https://cloud.google.com/kms/docs/getting-resource-ids
_KMS_KEY = re.compile(
    rf"projects/({PROJECT.pattern})/locations/({_LOCATION.pattern})/keyRings/([\w-]{{1,63}})/cryptoKeys/([\w-]{{1,63}})",
    re.ASCII,
)
# https://cloud.google.com/iam/docs/service-account-types, those of domain-scoped projects included.
_SERVICE_ACCOUNT = re.compile(r"[a-z0-9][a-z0-9-]{0,62}@[a-z0-9][a-z0-9.-]{0,200}\.gserviceaccount\.com")
_JOB_ID = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")


def checked_project(project: object, name: str = "project_id") -> str:
    """Return a project's id or number as text; raises :class:`ValueError` for another text.

    :param name: what the value is called where it comes from.
    """
    if isinstance(project, int) and not isinstance(project, bool):
        project = str(project)  # a project's number, from a template that renders native objects
    return _checked(PROJECT, project, name, "the id or number of a Google Cloud project")


def checked_location(location: object, name: str = "location") -> str:
    """Return a location; raises :class:`ValueError` for another text.

    :param name: what the value is called where it comes from.
    """
    return _checked(_LOCATION, location, name, "a location such as us-central1, eu or global")


def checked_job_id(job_id: object, name: str = "job id") -> str:
    """Return a job's id; raises :class:`ValueError` for another text.

    :param name: what the value is called where it comes from.
    """
    return _checked(_JOB_ID, job_id, name, "the id of a batch job, in small letters, digits, - and _")


def checked_kms_key(key: object, name: str = "kms_key_name") -> str:
    """Return the resource name of an encryption key; raises :class:`ValueError` for another text.

    :param name: what the value is called where it comes from.
    """
    return _checked(_KMS_KEY, key, name, "projects/P/locations/L/keyRings/R/cryptoKeys/K")


def location_of_kms_key(key: str) -> str:
    """Return where an encryption key is."""
    return key.split("/")[3]


def checked_service_account(account: object, name: str = "service_account") -> str:
    """Return the address of a service account; raises :class:`ValueError` for another text.

    :param name: what the value is called where it comes from.
    """
    return _checked(
        _SERVICE_ACCOUNT, account, name, "the address of a service account, NAME@….gserviceaccount.com"
    )


def may_be_same_project(one: str, other: str) -> bool:
    """Whether two projects can be the same one: an id and a number cannot be compared."""
    return one == other or one.isdigit() is not other.isdigit()


def _checked(pattern: re.Pattern[str], value: object, name: str, expected: str) -> str:
    if not isinstance(value, str) or not pattern.fullmatch(value):
        raise ValueError(f"{name}: expected {expected}, got {value!a:.200}")
    return value
