"""The parameters of a submit task, checked, and the create call that each of its rounds becomes."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self, TypeVar

from airflow_gemini_batch.core.addresses import (
    LONGEST_TABLE_NAME,
    PARTITION_MARK,
    Address,
    BigQueryAddress,
    GcsAddress,
    parse_address,
)
from airflow_gemini_batch.core.labels import checked_labels, target_labels
from airflow_gemini_batch.core.model_families import GENERATE_CONTENT, ModelFamily
from airflow_gemini_batch.core.models import model_resource_name, short_model_name
from airflow_gemini_batch.core.places import checked_kms_key, checked_service_account
from airflow_gemini_batch.exceptions import InvalidRequestError
from airflow_gemini_batch.jobs.identity import RoundId, content, display_name, fingerprint

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class JobRequest:
    """The content of one create call.

    :param model: full resource name.
    :param requests: one BigQuery table, or one or more Cloud Storage objects or patterns.
    :param destination: a prefix on Cloud Storage or a BigQuery table that does not exist yet.
    :param kms_key_name: key that encrypts what the job keeps; empty for Google's own.
    :param service_account: that the job runs as; empty for Vertex AI's service agent.
    """

    model: str
    requests: tuple[Address, ...]
    destination: Address
    display_name: str
    labels: Mapping[str, str]
    model_parameters: Mapping[str, Any]
    kms_key_name: str = ""
    service_account: str = ""


@dataclass(frozen=True, slots=True)
class Submission:
    """What a task submits.

    :param model: full resource name.
    :param destination: ``None`` for a new folder or table beside the requests.
    :param name: readable part of the job's display name.
    :param labels: the user's own.
    :param kms_key_name: see :class:`JobRequest`, as ``service_account``.
    :param target: the enriched table or file that the answers are for.
    :param question: id of what the rows are asked, for the manifest.
    """

    model: str
    requests: tuple[Address, ...]
    destination: Address | None
    name: str
    labels: Mapping[str, str]
    model_parameters: Mapping[str, Any]
    family: ModelFamily = GENERATE_CONTENT
    target: str | None = None
    kms_key_name: str = ""
    service_account: str = ""
    question: str | None = None

    @classmethod
    def checked(
        cls,
        *,
        model: str,
        requests: str | Sequence[str],
        destination: str | None,
        name: str,
        labels: Mapping[str, str] | None,
        model_parameters: Mapping[str, Any] | None,
        family: ModelFamily = GENERATE_CONTENT,
        follow_ups: bool = False,
        target: str | None = None,
        kms_key_name: str | None = None,
        service_account: str | None = None,
        question: str | None = None,
    ) -> Self:
        """Read a task's parameters after rendering.

        :param family: of the model; decides the format of the job's rows.
        :param follow_ups: whether there may be follow-up jobs, whose requests need an address as well.

        Raises :class:`~airflow_gemini_batch.exceptions.InvalidRequestError` that lists all errors.
        """
        errors: list[str] = []

        def checked(check: Callable[[], T], fallback: T) -> T:
            try:
                return check()
            except ValueError as error:
                errors.append(str(error))
                return fallback

        submission = cls(
            model=checked(lambda: model_resource_name(model), ""),
            requests=checked(lambda: parse_requests(requests), ()),
            destination=checked(lambda: parse_destination(destination), None),
            name=name,
            labels=checked(lambda: checked_labels(labels), {}),
            model_parameters=checked(lambda: _checked_parameters(model_parameters), {}),
            family=family,
            target=target or None,
            kms_key_name=checked(lambda: checked_kms_key(kms_key_name) if kms_key_name else "", ""),
            service_account=checked(
                lambda: checked_service_account(service_account) if service_account else "", ""
            ),
            question=question or None,
        )
        if not errors:
            checked(submission._check_format, None)
            checked(lambda: submission._check_patterns(follow_ups=follow_ups), None)
        if errors:
            raise InvalidRequestError("\n".join(errors))
        return submission

    def _check_format(self) -> None:
        """Refuse tables where the model takes only files."""
        addresses = (*self.requests, self.destination)
        tables = [str(address) for address in addresses if isinstance(address, BigQueryAddress)]
        if tables and not self.family.takes_tables:
            raise ValueError(
                f"{short_model_name(self.model)} reads and writes only files, not {' or '.join(tables)}. "
                "Give gs:// addresses. BuildEmbeddingRequestsOperator exports the rows of a table to files"
            )

    def _check_patterns(self, *, follow_ups: bool) -> None:
        """Refuse a pattern that matches what this task writes: the next try would read it as requests."""
        output = output_address(self.requests[0], self.destination, "0" * 32, 0)
        if not isinstance(output, GcsAddress):
            return
        file = output.child("prediction-model-X/predictions.jsonl")
        for address in self.requests:
            if _matches(address, file):
                raise ValueError(
                    f"requests {address} would match the job's own output below {output}. Give a destination "
                    "outside the pattern, or a narrower pattern"
                )
        if follow_ups:
            follow_up_address(self.requests, self.destination, RoundId("0" * 32, 1))

    def fingerprint(self, versions: Sequence[str]) -> str:
        """Digest of what is submitted; see :func:`airflow_gemini_batch.jobs.identity.fingerprint`."""
        return fingerprint(
            model=self.model,
            model_parameters=self.model_parameters,
            source_versions=versions,
            kms_key_name=self.kms_key_name,
            service_account=self.service_account,
            destination=str(self.destination or ""),
        )

    def content(self, versions: Sequence[str]) -> str:
        """Digest of what is asked; see :func:`airflow_gemini_batch.jobs.identity.content`."""
        return content(model=self.model, model_parameters=self.model_parameters, source_versions=versions)

    def requests_of(self, round_: RoundId) -> tuple[Address, ...]:
        """Return the addresses of the requests of a round."""
        if round_.number:
            return (follow_up_address(self.requests, self.destination, round_),)
        return self.requests

    def request(self, round_: RoundId, attempt: int, labels: Mapping[str, str]) -> JobRequest:
        """Return the create call of a round.

        :param attempt: number of earlier jobs with this identity.
        :param labels: labels of the job besides the user's and those of the round.
        """
        follow_up = round_.number > 0
        name = f"{self.name} rerun {round_.number}" if follow_up else self.name
        return JobRequest(
            model=self.model,
            requests=self.requests_of(round_),
            destination=output_address(
                self.requests[0], self.destination, round_.identity, attempt, follow_up=follow_up
            ),
            display_name=display_name(name, round_.identity),
            labels={**self.labels, **labels, **target_labels(self.target), **round_.labels},
            model_parameters=self.model_parameters,
            kms_key_name=self.kms_key_name,
            service_account=self.service_account,
        )


def parse_requests(requests: str | Sequence[str]) -> tuple[Address, ...]:
    """Read the addresses of requests; raises :class:`ValueError` that says what is wrong and what is right."""
    if isinstance(requests, str) and requests.startswith("["):
        raise ValueError(
            f"requests {requests!r} is a list that a template turned into text. Pass the task's .output, or set "
            "render_template_as_native_obj=True on the DAG"
        )
    if requests and not isinstance(requests, (str, Sequence)):
        raise ValueError(f"requests: expected an address or a list of addresses, got {requests!r}")
    uris = [requests] if isinstance(requests, str) else list(requests or ())
    if not any(uris):
        raise ValueError("requests is empty. Give a gs:// file, several of them, or a bq:// table")
    addresses = tuple(parse_address(uri) for uri in uris)
    tables = [address for address in addresses if isinstance(address, BigQueryAddress)]
    if tables and len(addresses) > 1:
        mixed = len(tables) < len(addresses)
        raise ValueError(
            f"requests {uris} "
            + ("mixes BigQuery and Cloud Storage" if mixed else "names several tables")
            + ". One job reads one bq:// table, or any number of gs:// files"
        )
    for address in addresses:
        if isinstance(address, BigQueryAddress) and not address.is_table:
            raise ValueError(f"requests {address} is a dataset. Name the table as well")
        if isinstance(address, BigQueryAddress) and PARTITION_MARK in address.table:
            raise ValueError(
                f"requests {address} is a partition. Write its rows to a table of their own first"
            )
        if isinstance(address, GcsAddress) and (not address.path or address.path.endswith("/")):
            raise ValueError(
                f"requests {address} is a folder. Name a file, or a pattern such as {address.child('*.jsonl')}"
            )
    return addresses


def parse_destination(destination: str | None) -> Address | None:
    """Read the address of the output; returns ``None`` for "beside the requests"; raises :class:`ValueError`."""
    if not destination:
        return None
    address = parse_address(destination)
    if isinstance(address, GcsAddress) and address.has_wildcard:
        raise ValueError(f"destination {address} is a pattern. Give a prefix: a folder of its own")
    if isinstance(address, BigQueryAddress) and PARTITION_MARK in address.table:
        raise ValueError(f"destination {address} is a partition. A job writes only to a new table")
    return address


def output_address(
    requests: Address, destination: Address | None, identity: str, attempt: int, *, follow_up: bool = False
) -> Address:
    """Return the address of one job's output, which no other job is ever given.

    A table or a Cloud Storage prefix that the user names is taken as it is, since other tasks may count on
    the name (below a prefix the service makes a folder for each job); a follow-up, which can't write to the same
    table, gets one beside it. A dataset, or no destination at all, gets a new table or folder.

    :param attempt: number of earlier jobs with this identity.
    :param follow_up: whether the job is a follow-up.
    """
    name = f"{identity[:12]}_{attempt}" if attempt else identity[:12]
    if isinstance(destination, GcsAddress):
        return destination
    if isinstance(destination, BigQueryAddress):
        if not destination.is_table:
            return destination.with_table(f"predictions_{name}")
        return _beside(destination, f"_rerun_{name}") if follow_up else destination
    if isinstance(requests, GcsAddress):
        return GcsAddress(requests.bucket, requests.folder).child(f"predictions/{name}")
    return _beside(requests, f"_predictions_{name}")


def follow_up_address(requests: Sequence[Address], destination: Address | None, round_: RoundId) -> Address:
    """Return the address of the requests of a follow-up.

    It is beside the requests, or beside the output where a pattern of the requests would match that.
    Raises :class:`ValueError` when the patterns match both.
    """
    first = requests[0]
    if isinstance(first, BigQueryAddress):
        return _beside(first, f"_rerun_{round_.short_name}")
    for folder in (
        GcsAddress(first.bucket, first.folder),
        output_address(first, destination, round_.root, 0),
    ):
        if isinstance(folder, GcsAddress):
            file = folder.child(f"reruns/{round_.short_name}.jsonl")
            if not any(_matches(address, file) for address in requests):
                return file
    raise ValueError(
        f"requests {first} would match the requests of a follow-up job below "
        f"{GcsAddress(first.bucket, first.folder)}. Give a destination outside the pattern, a narrower pattern, or "
        "max_row_retries=0"
    )


def _matches(address: Address, file: GcsAddress) -> bool:
    return isinstance(address, GcsAddress) and address.bucket == file.bucket and address.matches(file.path)


def _beside(table: BigQueryAddress, suffix: str) -> BigQueryAddress:
    return table.with_table(f"{table.table[: LONGEST_TABLE_NAME - len(suffix)]}{suffix}")


def _checked_parameters(parameters: Mapping[str, Any] | None) -> dict[str, Any]:
    if parameters and not isinstance(parameters, Mapping):
        raise ValueError(f"model_parameters: expected a dict, got {parameters!r}")
    checked = dict(parameters or {})
    try:
        json.dumps(checked)
    except TypeError as error:
        raise ValueError(f"model_parameters cannot be sent as JSON: {error}") from None
    return checked
