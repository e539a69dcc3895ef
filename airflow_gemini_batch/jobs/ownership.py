"""Whether a job that carries a submission's label is that submission's job.

Anybody who may create jobs in the project can write the label, by accident too: a job that is copied in the console
keeps its labels. So what the job reads, with which model and where it writes is compared before it is taken over or
cancelled.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from airflow_gemini_batch.core.addresses import Address, BigQueryAddress, GcsAddress, parse_address
from airflow_gemini_batch.core.models import is_model
from airflow_gemini_batch.core.places import may_be_same_project
from airflow_gemini_batch.exceptions import SourceNotReadyError
from airflow_gemini_batch.jobs.identity import RoundId
from airflow_gemini_batch.jobs.state import BatchJob
from airflow_gemini_batch.jobs.submission import Submission, output_address

Versions = Callable[[Sequence[Address]], Sequence[str]]


def differences(submission: Submission, round_: RoundId, versions: Versions, job: BatchJob) -> list[str]:
    """Return in what a job differs from the one that a round of a submission creates; empty for its own job.

    What the service does not say of a job is a difference.

    :param versions: reads the files that addresses match, with their versions; used for patterns only, since the same
        files have the same identity, listed or by pattern.
    """
    found: list[str] = []
    if not is_model(job.model, submission.model):
        found.append(_difference("model", submission.model, job.model))
    requests = submission.requests_of(round_)
    if not _same(job.requests, requests) and not _are_same_files(job.requests, requests, versions):
        found.append(_difference("requests", ", ".join(map(str, requests)), ", ".join(job.requests)))
    destination = output_address(
        submission.requests[0],
        submission.destination,
        round_.identity,
        0,
        follow_up=round_.number > 0,
    )
    if not _is_destination(job.destination, destination, round_):
        found.append(_difference("destination", str(destination), job.destination))
    for field, asked, has in (
        ("model_parameters", dict(submission.model_parameters), dict(job.model_parameters)),
        ("kms_key_name", submission.kms_key_name, job.kms_key_name),
        ("service_account", submission.service_account, job.service_account),
    ):
        if has != asked:
            found.append(_difference(field, str(asked or "nothing"), str(has or "")))
    if not _is_round(job, round_):
        expected = ", ".join(f"{key}={value}" for key, value in round_.labels.items())
        found.append(_difference("labels", expected, ", ".join(f"{k}={v}" for k, v in job.labels.items())))
    return found


def _difference(field: str, expected: str, found: str) -> str:
    # What somebody else has written may hold line breaks and escape sequences.
    return f"{field}: expected {expected}, found {ascii(found)[1:-1] or 'nothing'}"


def _same(found: Sequence[str], expected: Sequence[Address]) -> bool:
    return (
        len(found) == len(expected)
        and all(any(_is_address(text, address) for text in found) for address in expected)
        and all(any(_is_address(text, address) for address in expected) for text in found)
    )


def _are_same_files(found: Sequence[str], expected: Sequence[Address], versions: Versions) -> bool:
    try:
        addresses = [GcsAddress.parse(text) for text in found]
    except ValueError:
        return False
    files = [address for address in expected if isinstance(address, GcsAddress)]
    if {one.bucket for one in addresses} != {one.bucket for one in files}:
        return False  # nothing is read where somebody else may have led us
    if not any(one.has_wildcard for one in (*addresses, *files)):
        return False
    try:
        return sorted(versions(addresses)) == sorted(versions(files))
    except SourceNotReadyError:
        return False


def _is_destination(found: str, expected: Address, round_: RoundId) -> bool:
    if _is_address(found, expected):
        return True
    # Where the name is ours, later jobs of the round have their number behind it.
    first, own, number = found.rstrip("/").rpartition(round_.identity[:12])
    return bool(own) and re.fullmatch(r"_[0-9]+", number) is not None and _is_address(first + own, expected)


def _is_address(found: str, expected: Address) -> bool:
    try:
        address = parse_address(found)
    except ValueError:
        return False
    if isinstance(address, BigQueryAddress) and isinstance(expected, BigQueryAddress):
        # The service may name a project by its number.
        return (address.dataset, address.table) == (
            expected.dataset,
            expected.table,
        ) and may_be_same_project(address.project, expected.project)
    if isinstance(address, GcsAddress) and isinstance(expected, GcsAddress):
        return (address.bucket, address.path.rstrip("/")) == (expected.bucket, expected.path.rstrip("/"))
    return False


def _is_round(job: BatchJob, round_: RoundId) -> bool:
    try:
        return RoundId.of(job) == round_
    except ValueError:
        return False
