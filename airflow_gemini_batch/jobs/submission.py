"""What a task asks for, checked before anything is sent, and the one create call that it becomes."""

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
from airflow_gemini_batch.core.labels import checked_labels
from airflow_gemini_batch.core.model_families import GENERATE_CONTENT, ModelFamily
from airflow_gemini_batch.core.models import model_resource_name, short_model_name
from airflow_gemini_batch.exceptions import InvalidRequestError
from airflow_gemini_batch.jobs import identity as identities
from airflow_gemini_batch.jobs.follow_ups import RoundId

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class JobRequest:
    """The content of one create call.

    :param model: full resource name.
    :param sources: one BigQuery table, or one or more Cloud Storage objects or patterns.
    :param destination: a prefix on Cloud Storage or a BigQuery table that does not exist yet.
    """

    model: str
    sources: tuple[Address, ...]
    destination: Address
    display_name: str
    labels: Mapping[str, str]
    model_parameters: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Submission:
    """What a task asks for.

    :param model: full resource name.
    :param destination: ``None`` for a fresh place beside the source.
    :param name: readable part of the job's display name.
    :param labels: the user's own.
    """

    model: str
    sources: tuple[Address, ...]
    destination: Address | None
    name: str
    labels: Mapping[str, str]
    model_parameters: Mapping[str, Any]
    family: ModelFamily = GENERATE_CONTENT

    @classmethod
    def checked(
        cls,
        *,
        model: str,
        source: str | Sequence[str],
        destination: str | None,
        name: str,
        labels: Mapping[str, str] | None,
        model_parameters: Mapping[str, Any] | None,
        family: ModelFamily = GENERATE_CONTENT,
        follow_ups: bool = False,
    ) -> Self:
        """Read a task's parameters, as they are after rendering.

        :param family: of the model; decides what the rows of the job look like.
        :param follow_ups: whether there may be follow-up jobs, whose requests need a place as well.

        Raises :class:`~airflow_gemini_batch.exceptions.InvalidRequestError` with all that is wrong.
        """
        faults: list[str] = []

        def checked(check: Callable[[], T], fallback: T) -> T:
            try:
                return check()
            except ValueError as error:
                faults.append(str(error))
                return fallback

        submission = cls(
            model=checked(lambda: model_resource_name(model), ""),
            sources=checked(lambda: parse_sources(source), ()),
            destination=checked(lambda: parse_destination(destination), None),
            name=name,
            labels=checked(lambda: checked_labels(labels), {}),
            model_parameters=checked(lambda: _checked_parameters(model_parameters), {}),
            family=family,
        )
        if not faults:
            checked(submission._check_kinds, None)
            checked(lambda: submission._check_apart(follow_ups=follow_ups), None)
        if faults:
            raise InvalidRequestError("\n".join(faults))
        return submission

    def _check_kinds(self) -> None:
        """Refuse tables where the model takes none."""
        tables = [place for place in (*self.sources, self.destination) if isinstance(place, BigQueryAddress)]
        if tables and not self.family.takes_tables:
            raise ValueError(
                f"{short_model_name(self.model)} reads and writes files only, not {' or '.join(map(str, tables))}: "
                "give gs:// addresses. BuildEmbeddingRequestsOperator lets BigQuery write a table's rows to files"
            )

    def _check_apart(self, *, follow_ups: bool) -> None:
        """Refuse a pattern that what we write would match: the next try would read it as requests."""
        place = output_place(self.sources[0], self.destination, "0" * 32, 0)
        if not isinstance(place, GcsAddress):
            return
        file = place.child("prediction-model-X/predictions.jsonl")
        for source in self.sources:
            if _names(source, file):
                raise ValueError(
                    f"source {source} would match the job's own output below {place}: give a destination outside "
                    "the pattern, or a narrower pattern"
                )
        if follow_ups:
            follow_up_address(self.sources, self.destination, RoundId("0" * 32, 1))

    def fingerprint(self, source_versions: Sequence[str]) -> str:
        """Digest of what is asked for; see :func:`airflow_gemini_batch.jobs.identity.fingerprint`."""
        return identities.fingerprint(
            model=self.model,
            model_parameters=self.model_parameters,
            source_versions=source_versions,
            destination=str(self.destination or ""),
        )

    def sources_of(self, one: RoundId) -> tuple[Address, ...]:
        """Return where the requests of a round lie."""
        return (follow_up_address(self.sources, self.destination, one),) if one.number else self.sources

    def request(self, one: RoundId, attempt: int, labels: Mapping[str, str]) -> JobRequest:
        """Return the create call of a round.

        :param attempt: number of earlier jobs with this identity.
        :param labels: what the job is labelled with besides the user's labels and the identity.
        """
        name = f"{self.name} rerun {one.number}" if one.number else self.name
        return JobRequest(
            model=self.model,
            sources=self.sources_of(one),
            destination=output_place(
                self.sources[0], self.destination, one.identity, attempt, follow_up=one.number > 0
            ),
            display_name=identities.display_name(name, one.identity),
            labels={**self.labels, **labels, **one.labels},
            model_parameters=self.model_parameters,
        )


def parse_sources(source: str | Sequence[str]) -> tuple[Address, ...]:
    """Read where the requests lie; raises :class:`ValueError` that says what is wrong and what is right."""
    if isinstance(source, str) and source.startswith("["):
        raise ValueError(
            f"source {source!r} is a list turned into text by a template: pass the task's .output, or set "
            "render_template_as_native_obj=True on the DAG"
        )
    if source and not isinstance(source, (str, Sequence)):
        raise ValueError(f"source has to be an address or a list of addresses, got {source!r}")
    uris = [source] if isinstance(source, str) else list(source or ())
    if not any(uris):
        raise ValueError("source is empty: give a gs:// file, several of them, or a bq:// table")
    sources = tuple(parse_address(uri) for uri in uris)
    tables = [address for address in sources if isinstance(address, BigQueryAddress)]
    if tables and len(sources) > 1:
        mixed = len(tables) < len(sources)
        raise ValueError(
            f"source {uris} "
            + ("mixes BigQuery and Cloud Storage" if mixed else "names several tables")
            + ": one job reads one bq:// table, or any number of gs:// files"
        )
    for address in sources:
        if isinstance(address, BigQueryAddress) and not address.is_table:
            raise ValueError(f"source {address} is a dataset: name the table as well")
        if isinstance(address, BigQueryAddress) and PARTITION_MARK in address.table:
            raise ValueError(f"source {address} is a partition: write its rows to a table of their own first")
        if isinstance(address, GcsAddress) and (not address.path or address.path.endswith("/")):
            raise ValueError(
                f"source {address} is a folder: name a file, or a pattern such as {address.child('*.jsonl')}"
            )
    return sources


def parse_destination(destination: str | None) -> Address | None:
    """Read where the answers go, ``None`` for "beside the source"; raises :class:`ValueError`."""
    if not destination:
        return None
    address = parse_address(destination)
    if isinstance(address, GcsAddress) and address.has_wildcard:
        raise ValueError(f"destination {address} is a pattern: give a prefix, a folder of its own")
    if isinstance(address, BigQueryAddress) and PARTITION_MARK in address.table:
        raise ValueError(f"destination {address} is a partition: a job writes to a new table only")
    return address


def output_place(
    source: Address, destination: Address | None, identity: str, attempt: int, *, follow_up: bool = False
) -> Address:
    """Return the place for one job's output, which no other job is ever given.

    A table or a Cloud Storage prefix that the user names is taken as it is, since other tasks may count on
    the name (below a prefix the service makes a folder for each job); a follow-up, which can't write to the same
    table, gets one beside it. A dataset, or no destination at all, gets a fresh place.

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
    if isinstance(source, GcsAddress):
        return GcsAddress(source.bucket, source.folder).child(f"predictions/{name}")
    return _beside(source, f"_predictions_{name}")


def follow_up_address(sources: Sequence[Address], destination: Address | None, one: RoundId) -> Address:
    """Return the place for the requests of a follow-up: beside the source, or where a pattern names that, the answers.

    Raises :class:`ValueError` when the sources are patterns that name both.
    """
    first = sources[0]
    if isinstance(first, BigQueryAddress):
        return _beside(first, f"_rerun_{one.short_name}")
    for folder in (GcsAddress(first.bucket, first.folder), output_place(first, destination, one.root, 0)):
        if isinstance(folder, GcsAddress):
            place = folder.child(f"reruns/{one.short_name}.jsonl")
            if not any(_names(source, place) for source in sources):
                return place
    raise ValueError(
        f"source {first} would match the requests of a follow-up job below {GcsAddress(first.bucket, first.folder)}: "
        "give a destination outside the pattern, a narrower pattern, or max_row_retries=0"
    )


def _names(source: Address, file: GcsAddress) -> bool:
    return isinstance(source, GcsAddress) and source.bucket == file.bucket and source.matches(file.path)


def _beside(table: BigQueryAddress, suffix: str) -> BigQueryAddress:
    return table.with_table(f"{table.table[: LONGEST_TABLE_NAME - len(suffix)]}{suffix}")


def _checked_parameters(parameters: Mapping[str, Any] | None) -> dict[str, Any]:
    if parameters and not isinstance(parameters, Mapping):
        raise ValueError(f"model_parameters has to be a dict, got {parameters!r}")
    checked = dict(parameters or {})
    try:
        json.dumps(checked)
    except TypeError as error:
        raise ValueError(f"model_parameters can't be sent as JSON: {error}") from None
    return checked
