"""Reading the body of a create call: what can be said about a job without looking at any data."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from airflow_gemini_batch.core.addresses import BigQueryAddress, GcsAddress
from airflow_gemini_batch.core.model_families import GEMINI_EMBEDDING, TEXT_EMBEDDING
from airflow_gemini_batch.testing.vertex_ai.errors import CallError
from airflow_gemini_batch.testing.vertex_ai.jobs.job import NEW_DATASET, JobRequest
from airflow_gemini_batch.testing.vertex_ai.jobs.models import Model, parse_model
from airflow_gemini_batch.testing.vertex_ai.readings import Readings
from airflow_gemini_batch.testing.vertex_ai.wire.labels import label_error
from airflow_gemini_batch.testing.vertex_ai.wire.messages import message, snake_case
from airflow_gemini_batch.testing.vertex_ai.wire.proto_json import WireError, read

_LONGEST_NAME = 128
_ROOT = "batch_prediction_job"
_PROJECT = re.compile(r"bq://[a-z][a-z0-9-]{4,28}[a-z0-9]")


@dataclass(frozen=True, slots=True)
class Caller:
    """Where a call is addressed: the project by both its names, and the location.

    :param tuned_models: numbers of the project's tuned models.
    """

    project: str
    project_number: str
    location: str
    tuned_models: Collection[str] = ()

    @property
    def projects(self) -> frozenset[str]:
        """Id and number."""
        return frozenset({self.project, self.project_number})


def read_create(value: object, caller: Caller, readings: Readings) -> JobRequest:
    """Check the JSON of a create call.

    :param readings: what is refused where the service's behaviour is not settled.

    Raises :class:`~airflow_gemini_batch.testing.vertex_ai.errors.CallError`, nearly always ``INVALID_ARGUMENT``.
    """
    resource = message("BatchPredictionJob")
    try:
        body = read(value, resource, _ROOT)
    except WireError as error:
        raise CallError("INVALID_ARGUMENT", str(error), details=[_bad_request(str(error))]) from error
    # What only the service sets may be sent back, and is dropped without a word.
    body = {name: inner for name, inner in body.items() if not resource.fields[name].read_only}
    _check_name(body.get("displayName", ""))
    if fault := label_error(body.get("labels", {}), longest=64):
        raise CallError("INVALID_ARGUMENT", fault)
    if not (model_name := body.get("model")):
        raise _required("model")
    model = parse_model(
        model_name, projects=caller.projects, location=caller.location, tuned=caller.tuned_models
    )
    body["model"] = model.resource
    sources = _sources(body)
    destination = _destination(body)
    _check_family(model, sources, destination)
    _check_parameters(body, model)
    _check_account_and_key(body, caller.location)
    _check_readings(body, sources, readings)
    return JobRequest(caller.location, model, sources, destination, body)


def _check_name(name: str) -> None:
    if not name:
        raise _required("display_name")
    if len(name) > _LONGEST_NAME:
        raise CallError(
            "INVALID_ARGUMENT",
            f"The display name has {len(name)} characters. At most {_LONGEST_NAME} are allowed.",
        )


def _sources(body: dict[str, Any]) -> tuple[GcsAddress, ...] | BigQueryAddress:
    config = _config(body, "inputConfig", "instancesFormat", jsonl="gcsSource", bigquery="bigquerySource")
    if "bigquerySource" in config:
        return _table(config["bigquerySource"].get("inputUri", ""), "input_config.bigquery_source.input_uri")
    field = "input_config.gcs_source.uris"
    uris = config["gcsSource"].get("uris")
    if not uris:
        raise _required(field)
    return tuple(_object(uri, field) for uri in uris)


def _destination(body: dict[str, Any]) -> GcsAddress | BigQueryAddress:
    config = _config(
        body, "outputConfig", "predictionsFormat", jsonl="gcsDestination", bigquery="bigqueryDestination"
    )
    if "bigqueryDestination" in config:
        field = "output_config.bigquery_destination.output_uri"
        uri = config["bigqueryDestination"].get("outputUri", "")
        if _PROJECT.fullmatch(uri):
            return BigQueryAddress(uri.removeprefix("bq://"), NEW_DATASET)
        return _bigquery(uri, field)
    field = "output_config.gcs_destination.output_uri_prefix"
    uri = config["gcsDestination"].get("outputUriPrefix", "")
    if "*" in uri:
        raise CallError("INVALID_ARGUMENT", f"{field}: '{uri}' must not contain wildcards.")
    return _gcs(uri, field)


def _config(body: dict[str, Any], name: str, format_name: str, **places: str) -> dict[str, Any]:
    """Return one of the two configs, when its format is known and fits the place that is given.

    :param places: the field of the place that each format needs.
    """
    at = snake_case(name)
    config: dict[str, Any] | None = body.get(name)
    if config is None:
        raise _required(at)
    form = config.get(format_name)
    if form is None:
        raise _required(f"{at}.{snake_case(format_name)}")
    if form not in places:
        raise CallError(
            "INVALID_ARGUMENT",
            f"{at}.{snake_case(format_name)}: '{form}' is not supported. Use {' or '.join(places)}.",
        )
    if places[form] not in config:
        raise CallError(
            "INVALID_ARGUMENT",
            f"{at}.{snake_case(format_name)}: '{form}' needs {at}.{snake_case(places[form])} to be set.",
        )
    return config


def _table(uri: str, field: str) -> BigQueryAddress:
    address = _bigquery(uri, field)
    if not address.is_table:
        raise CallError(
            "INVALID_ARGUMENT", f"{field}: '{uri}' names no table. Use bq://project.dataset.table."
        )
    return address


def _object(uri: str, field: str) -> GcsAddress:
    address = _gcs(uri, field)
    if not address.path or address.path.endswith("/"):
        raise CallError("INVALID_ARGUMENT", f"{field}: '{uri}' names no object.")
    return address


def _bigquery(uri: str, field: str) -> BigQueryAddress:
    try:
        return BigQueryAddress.parse(uri)
    except ValueError as error:
        raise CallError("INVALID_ARGUMENT", f"{field}: {error}") from error


def _gcs(uri: str, field: str) -> GcsAddress:
    try:
        return GcsAddress.parse(uri)
    except ValueError as error:
        raise CallError("INVALID_ARGUMENT", f"{field}: {error}") from error


def _check_family(model: Model, *places: object) -> None:
    if model.family is GEMINI_EMBEDDING and any(isinstance(place, BigQueryAddress) for place in places):
        raise CallError(
            "INVALID_ARGUMENT",
            f"Model {model.short_name} supports jsonl files on Cloud Storage only, not BigQuery.",
        )


def _check_parameters(body: dict[str, Any], model: Model) -> None:
    parameters = body.get("modelParameters")
    if parameters is None:
        return
    if not isinstance(parameters, dict):
        raise CallError("INVALID_ARGUMENT", "model_parameters must be a JSON object.")
    if model.family is not TEXT_EMBEDDING or "outputDimensionality" not in parameters:
        return
    dimensions = parameters["outputDimensionality"]
    if not str(dimensions).isdigit() or not 1 <= int(dimensions) <= model.dimensions:
        raise CallError(
            "INVALID_ARGUMENT",
            f"model_parameters.outputDimensionality: {dimensions!r} is not a number from 1 to {model.dimensions}.",
        )


_KEY = re.compile(r"projects/[^/]+/locations/([^/]+)/keyRings/[^/]+/cryptoKeys/[^/]+")
_ACCOUNT = re.compile(r"[^@\s/]+@[^@\s/]+\.gserviceaccount\.com")


def _check_account_and_key(body: dict[str, Any], location: str) -> None:
    account = body.get("serviceAccount", "")
    if account and not _ACCOUNT.fullmatch(account):
        raise CallError(
            "INVALID_ARGUMENT", f"service_account: '{account}' is not the email of a service account."
        )
    if "encryptionSpec" not in body:
        return
    name = body["encryptionSpec"].get("kmsKeyName", "")
    key = _KEY.fullmatch(name)
    if not key:
        raise CallError(
            "INVALID_ARGUMENT", f"encryption_spec.kms_key_name: '{name}' is not the name of a key."
        )
    if key[1] != location:
        raise CallError(
            "INVALID_ARGUMENT",
            f"encryption_spec.kms_key_name: the key '{name}' is in '{key[1]}'. It must be in the same region as the "
            f"resource, '{location}'.",
        )


def _check_readings(body: dict[str, Any], sources: object, readings: Readings) -> None:
    if readings.account_and_key == "refused" and (body.get("serviceAccount") or "encryptionSpec" in body):
        raise CallError(
            "INVALID_ARGUMENT", "Custom service accounts and CMEK are not supported in batch prediction."
        )
    several = isinstance(sources, tuple) and (len(sources) > 1 or sources[0].has_wildcard)
    if several and not readings.several_files:
        raise CallError("INVALID_ARGUMENT", "input_config.gcs_source.uris: name one JSONL file.")


def _required(field: str) -> CallError:
    return CallError(
        "INVALID_ARGUMENT", f"List of found errors:\t1.Field: {field}; Message: Required field is not set.\t"
    )


def _bad_request(message: str) -> dict[str, Any]:
    return {
        "@type": "type.googleapis.com/google.rpc.BadRequest",
        "fieldViolations": [{"field": _ROOT, "description": message}],
    }
