"""Buckets and objects as the JSON API shows them, and what a client may say of them."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from airflow_gemini_batch.testing.gcs.errors import StorageError

if TYPE_CHECKING:
    from airflow_gemini_batch.testing.gcs.records import Bucket, StoredObject

OBJECT_FIELDS = frozenset(
    {
        "acl",
        "cacheControl",
        "contentDisposition",
        "contentEncoding",
        "contentLanguage",
        "contentType",
        "contexts",
        "customTime",
        "eventBasedHold",
        "metadata",
        "retention",
        "storageClass",
        "temporaryHold",
    }
)
_BUCKET_OWN = frozenset(
    {
        "id",
        "etag",
        "kind",
        "locationType",
        "metageneration",
        "name",
        "projectNumber",
        "selfLink",
        "timeCreated",
        "updated",
    }
)
_DUAL_REGIONS = frozenset({"ASIA1", "EUR4", "EUR5", "EUR7", "EUR8", "NAM4"})


def json_object(body: bytes) -> dict[str, Any]:
    """Parse a request body; an empty one stands for ``{}``.

    :raises StorageError: 400 when it is not a JSON object.
    """
    try:
        value = json.loads(body or b"{}")
    except ValueError as error:
        raise StorageError(400, "parseError", f"The request body is not JSON: {error}") from None
    if not isinstance(value, dict):
        raise StorageError(400, "parseError", "The request body is not a JSON object")
    return value


def object_fields(resource: dict[str, Any]) -> dict[str, Any]:
    """Pick from a request body what a client may set of an object; the rest is ignored."""
    return {key: value for key, value in resource.items() if key in OBJECT_FIELDS and value is not None}


def bucket_fields(resource: dict[str, Any]) -> dict[str, Any]:
    """Pick from a request body what a client may set of a bucket; most is stored without any effect."""
    return {key: value for key, value in resource.items() if key not in _BUCKET_OWN}


def merged(fields: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """Apply a PATCH: maps are merged key by key, None removes a key, anything else replaces it."""
    result = dict(fields)
    for key, value in changes.items():
        if value is None:
            result.pop(key, None)
        elif isinstance(value, dict):
            result[key] = merged(result.get(key) or {}, value)
        else:
            result[key] = value
    return result


def bucket_resource(bucket: Bucket, base_url: str) -> dict[str, Any]:
    """``storage#bucket``; numbers are text, as in all of this API."""
    return {
        "storageClass": "STANDARD",
        **bucket.fields,
        "kind": "storage#bucket",
        "id": bucket.name,
        "name": bucket.name,
        "selfLink": f"{base_url}/storage/v1/b/{bucket.name}",
        "projectNumber": "0",
        "locationType": _location_type(bucket.fields["location"]),
        "metageneration": str(bucket.metageneration),
        "timeCreated": bucket.created,
        "updated": bucket.updated,
        "etag": etag(0, bucket.metageneration),
    }


def object_resource(stored: StoredObject, base_url: str) -> dict[str, Any]:
    """``storage#object``."""
    content, (bucket, name) = stored.content, stored.key
    path = f"storage/v1/b/{bucket}/o/{quote(name, safe='')}"
    resource = {
        "storageClass": "STANDARD",
        **stored.fields,
        "kind": "storage#object",
        "id": f"{bucket}/{name}/{stored.generation}",
        "bucket": bucket,
        "name": name,
        "selfLink": f"{base_url}/{path}",
        "mediaLink": f"{base_url}/download/{path}?generation={stored.generation}&alt=media",
        "generation": str(stored.generation),
        "metageneration": str(stored.metageneration),
        "size": str(content.size),
        "crc32c": content.crc32c,
        "timeCreated": stored.created,
        "timeFinalized": stored.created,
        "timeStorageClassUpdated": stored.created,
        "updated": stored.updated,
        "etag": etag(stored.generation, stored.metageneration),
    }
    if content.md5 is not None:
        resource["md5Hash"] = content.md5
    if content.components is not None:
        resource["componentCount"] = content.components
    return resource


def etag(generation: int, metageneration: int) -> str:
    """Make an opaque tag that changes with the content and with the metadata."""
    return base64.b64encode(f"{generation}/{metageneration}".encode()).decode()


def _location_type(location: str) -> str:
    if "-" in location:
        return "region"
    return "dual-region" if location in _DUAL_REGIONS else "multi-region"
