"""The fields of a BatchPredictionJob, as v1 and v1beta1 of the API describe it."""

from __future__ import annotations

from airflow_gemini_batch.requests.validation.proto_json import MapOf, Message, Repeated, Scalar

_STRING = Scalar.STRING

_INPUT_CONFIG = Message(
    {
        "instancesFormat": _STRING,
        "gcsSource": Message({"uris": Repeated(_STRING)}),
        "bigquerySource": Message({"inputUri": _STRING}),
        "vertexMultimodalDatasetSource": Message({"datasetName": _STRING}),
    },
    oneofs=(frozenset({"gcsSource", "bigquerySource", "vertexMultimodalDatasetSource"}),),
)

_BIGQUERY_DESTINATION = Message({"outputUri": _STRING})

_OUTPUT_CONFIG = Message(
    {
        "predictionsFormat": _STRING,
        "gcsDestination": Message({"outputUriPrefix": _STRING}),
        "bigqueryDestination": _BIGQUERY_DESTINATION,
        "vertexMultimodalDatasetDestination": Message(
            {"bigqueryDestination": _BIGQUERY_DESTINATION, "displayName": _STRING}
        ),
    },
    oneofs=(frozenset({"gcsDestination", "bigqueryDestination", "vertexMultimodalDatasetDestination"}),),
)

# Set by the service only; a client may send them back, and they are dropped without a word.
OUTPUT_ONLY = frozenset(
    {
        "name",
        "state",
        "error",
        "partialFailures",
        "outputInfo",
        "completionStats",
        "resourcesConsumed",
        "createTime",
        "startTime",
        "endTime",
        "updateTime",
        "satisfiesPzs",
        "satisfiesPzi",
    }
)

# Known to the API, of no effect on a publisher's model.
_FOR_CUSTOM_MODELS = {
    "modelVersionId": _STRING,
    "unmanagedContainerModel": Scalar.STRUCT,
    "instanceConfig": Scalar.STRUCT,
    "dedicatedResources": Scalar.STRUCT,
    "manualBatchTuningParameters": Scalar.STRUCT,
    "generateExplanation": Scalar.BOOL,
    "explanationSpec": Scalar.STRUCT,
    "modelMonitoringConfig": Scalar.STRUCT,
    "disableContainerLogging": Scalar.BOOL,
}

BATCH_PREDICTION_JOB = Message(
    {
        "displayName": _STRING,
        "model": _STRING,
        "inputConfig": _INPUT_CONFIG,
        "outputConfig": _OUTPUT_CONFIG,
        "modelParameters": Scalar.VALUE,
        "labels": MapOf(_STRING),
        "serviceAccount": _STRING,
        "encryptionSpec": Message({"kmsKeyName": _STRING}),
        **_FOR_CUSTOM_MODELS,
        **dict.fromkeys(OUTPUT_ONLY, Scalar.VALUE),
    }
)
