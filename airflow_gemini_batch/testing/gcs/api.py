"""The JSON API of Cloud Storage: buckets, objects, and where uploads, downloads and batches go."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from aiohttp import web

from airflow_gemini_batch.testing.gate import base_url, path_within
from airflow_gemini_batch.testing.gcs.batch import batch
from airflow_gemini_batch.testing.gcs.conditions import Preconditions, integer
from airflow_gemini_batch.testing.gcs.downloads import download
from airflow_gemini_batch.testing.gcs.errors import StorageError
from airflow_gemini_batch.testing.gcs.listing import ListQuery
from airflow_gemini_batch.testing.gcs.records import ObjectKey
from airflow_gemini_batch.testing.gcs.resources import (
    OBJECT_FIELDS,
    bucket_fields,
    bucket_resource,
    json_object,
    merged,
    object_fields,
    object_resource,
)
from airflow_gemini_batch.testing.gcs.store import Source
from airflow_gemini_batch.testing.gcs.uploads import Uploads

if TYPE_CHECKING:
    from aiohttp.typedefs import Handler

    from airflow_gemini_batch.testing.gcs.records import StoredObject
    from airflow_gemini_batch.testing.gcs.store import ObjectStore

_BUCKET = "/storage/v1/b/{bucket}"
_OBJECT = _BUCKET + "/o/{object:[^/]+}"
_TARGET = "/b/{to_bucket}/o/{to_object:[^/]+}"


class StorageApi:
    """The requests of the JSON API, each turned into a call of the store outside the event loop."""

    def __init__(self, store: ObjectStore, default_location: str) -> None:
        self._store = store
        self._default_location = default_location

    def routes(self) -> list[web.RouteDef]:
        """List what is served; the last one is the XML API's path of an object."""
        upload = Uploads(self._store).handle
        return [
            web.get("/storage/v1/b", self._list_buckets),
            web.post("/storage/v1/b", self._create_bucket),
            web.get(_BUCKET, self._get_bucket),
            web.patch(_BUCKET, self._change_bucket),
            web.put(_BUCKET, self._change_bucket),
            web.delete(_BUCKET, self._delete_bucket),
            web.get(_BUCKET + "/iam/testPermissions", self._test_permissions),
            web.get(_BUCKET + "/acl", self._bucket_acl),
            web.get(_BUCKET + "/o", self._list_objects),
            web.get(_OBJECT, self._get_object),
            web.patch(_OBJECT, self._change_object),
            web.put(_OBJECT, self._change_object),
            web.delete(_OBJECT, self._delete_object),
            web.get(_OBJECT + "/acl", self._object_acl),
            web.post(_OBJECT + "/compose", self._compose),
            web.post(_OBJECT + "/copyTo" + _TARGET, self._copy),
            web.post(_OBJECT + "/rewriteTo" + _TARGET, self._rewrite),
            web.post(_OBJECT + "/moveTo/o/{to_object:[^/]+}", self._move),
            web.post("/upload" + _BUCKET + "/o", upload),
            web.put("/upload" + _BUCKET + "/o", upload),
            web.delete("/upload" + _BUCKET + "/o", upload),
            web.post("/batch/storage/v1", batch),
            web.get("/download" + _OBJECT, self._download),
            web.get("/{bucket}/{object:.+}", self._download),
        ]

    async def _list_buckets(self, request: web.Request) -> web.Response:
        buckets = await asyncio.to_thread(self._store.buckets, request.query.get("prefix", ""))
        items = [bucket_resource(bucket, base_url(request)) for bucket in buckets]
        return web.json_response({"kind": "storage#buckets", "items": items})

    async def _create_bucket(self, request: web.Request) -> web.Response:
        body = json_object(await request.read())
        fields = bucket_fields(body)
        fields["location"] = str(fields.get("location") or self._default_location).upper()
        bucket = await asyncio.to_thread(self._store.create_bucket, str(body.get("name", "")), fields)
        return web.json_response(bucket_resource(bucket, base_url(request)))

    async def _get_bucket(self, request: web.Request) -> web.Response:
        bucket = await asyncio.to_thread(self._store.bucket, request.match_info["bucket"])
        return web.json_response(bucket_resource(bucket, base_url(request)))

    async def _change_bucket(self, request: web.Request) -> web.Response:
        """PATCH merges the properties, PUT replaces them."""
        changes = bucket_fields(json_object(await request.read()))
        bucket = await asyncio.to_thread(
            self._store.change_bucket,
            request.match_info["bucket"],
            lambda old: merged(old if request.method == "PATCH" else {}, changes),
            Preconditions.from_query(request.query),
        )
        return web.json_response(bucket_resource(bucket, base_url(request)))

    async def _delete_bucket(self, request: web.Request) -> web.Response:
        conditions = Preconditions.from_query(request.query)
        await asyncio.to_thread(self._store.delete_bucket, request.match_info["bucket"], conditions)
        return web.Response(status=204)

    async def _test_permissions(self, request: web.Request) -> web.Response:
        """Grant what is asked for: nobody is asked for credentials here."""
        await asyncio.to_thread(self._store.bucket, request.match_info["bucket"])
        permissions = request.query.getall("permissions", [])
        return web.json_response({"kind": "storage#testIamPermissionsResponse", "permissions": permissions})

    async def _bucket_acl(self, request: web.Request) -> web.Response:
        """Show the entries that a client has set; they let nobody in or out."""
        bucket = await asyncio.to_thread(self._store.bucket, request.match_info["bucket"])
        return web.json_response(
            {"kind": "storage#bucketAccessControls", "items": bucket.fields.get("acl") or []}
        )

    async def _object_acl(self, request: web.Request) -> web.Response:
        stored = await asyncio.to_thread(self._store.get, _source(request))
        return web.json_response(
            {"kind": "storage#objectAccessControls", "items": stored.fields.get("acl") or []}
        )

    async def _list_objects(self, request: web.Request) -> web.Response:
        query = ListQuery.from_query(request.query)
        page = await asyncio.to_thread(self._store.list_objects, request.match_info["bucket"], query)
        answer: dict[str, Any] = {
            "kind": "storage#objects",
            "items": [object_resource(stored, base_url(request)) for stored in page.items],
            "prefixes": page.prefixes,
            "nextPageToken": page.next_token,
        }
        return web.json_response({key: value for key, value in answer.items() if value})

    async def _get_object(self, request: web.Request) -> web.StreamResponse:
        if request.query.get("alt") == "media":
            return await self._download(request)
        return _shown(await asyncio.to_thread(self._store.get, _source(request)), request)

    async def _download(self, request: web.Request) -> web.StreamResponse:
        return await download(self._store, _key(request), request)

    async def _change_object(self, request: web.Request) -> web.Response:
        """PATCH merges the properties, PUT replaces them."""
        body = json_object(await request.read())
        changes = {key: value for key, value in body.items() if key in OBJECT_FIELDS}
        stored = await asyncio.to_thread(
            self._store.change_object,
            _source(request),
            lambda old: merged(old if request.method == "PATCH" else {}, changes),
        )
        return _shown(stored, request)

    async def _delete_object(self, request: web.Request) -> web.Response:
        await asyncio.to_thread(self._store.delete, _source(request))
        return web.Response(status=204)

    async def _compose(self, request: web.Request) -> web.Response:
        body = json_object(await request.read())
        target = _key(request)
        sources = [
            Source(
                ObjectKey(target.bucket, str(source.get("name", ""))),
                integer(source, "generation"),
                Preconditions.from_query(source.get("objectPreconditions", {})),
            )
            for source in body.get("sourceObjects", [])
        ]
        stored = await asyncio.to_thread(
            self._store.compose,
            target,
            sources,
            object_fields(body.get("destination", {})),
            Preconditions.from_query(request.query),
        )
        return _shown(stored, request)

    async def _copy(self, request: web.Request) -> web.Response:
        return _shown(await self._copied(request, request.match_info["to_bucket"]), request)

    async def _rewrite(self, request: web.Request) -> web.Response:
        """Copy in one call, whatever the size: a client never has to come back with a rewrite token."""
        stored = await self._copied(request, request.match_info["to_bucket"])
        size = str(stored.content.size)
        answer = {
            "kind": "storage#rewriteResponse",
            "done": True,
            "objectSize": size,
            "totalBytesRewritten": size,
            "resource": object_resource(stored, base_url(request)),
        }
        return web.json_response(answer)

    async def _move(self, request: web.Request) -> web.Response:
        return _shown(await self._copied(request, request.match_info["bucket"], move=True), request)

    async def _copied(self, request: web.Request, to_bucket: str, *, move: bool = False) -> StoredObject:
        return await asyncio.to_thread(
            self._store.copy,
            Source(
                _key(request),
                integer(request.query, "sourceGeneration"),
                Preconditions.from_query(request.query, "ifSource"),
            ),
            ObjectKey(to_bucket, request.match_info["to_object"]),
            object_fields(json_object(await request.read())),
            Preconditions.from_query(request.query),
            move=move,
        )


@web.middleware
async def in_google_envelope(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Answer every refusal, unknown paths included, the way that the clients read errors."""
    try:
        return await handler(request)
    except StorageError as error:
        refusal = error
    except (web.HTTPNotFound, web.HTTPMethodNotAllowed) as error:
        path = path_within(request)
        message = f"The local Cloud Storage server does not serve {request.method} {path}: {error.reason}"
        refusal = StorageError(error.status, "notImplemented", message)
    if refusal.status == 304:
        return web.Response(status=304)
    return web.json_response(refusal.envelope(), status=refusal.status, headers=refusal.headers)


def _key(request: web.Request) -> ObjectKey:
    return ObjectKey(request.match_info["bucket"], request.match_info["object"])


def _source(request: web.Request) -> Source:
    generation = integer(request.query, "generation")
    return Source(_key(request), generation, Preconditions.from_query(request.query))


def _shown(stored: StoredObject, request: web.Request) -> web.Response:
    return web.json_response(object_resource(stored, base_url(request)))
