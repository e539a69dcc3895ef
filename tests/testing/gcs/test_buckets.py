from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from google.api_core.exceptions import BadRequest, Conflict, NotFound, PreconditionFailed

if TYPE_CHECKING:
    from google.cloud import storage

    from tests.testing.gcs.conftest import Http


@pytest.mark.parametrize(
    ("asked", "location", "kind"),
    [
        (None, "US-CENTRAL1", "region"),
        ("europe-west4", "EUROPE-WEST4", "region"),
        ("EU", "EU", "multi-region"),
        ("nam4", "NAM4", "dual-region"),
    ],
)
def test_location_is_the_one_asked_for(
    client: storage.Client, bucket: storage.Bucket, asked: str | None, location: str, kind: str
) -> None:
    name = f"{bucket.name[:50]}-located"
    created = client.create_bucket(name, location=asked)
    found = client.get_bucket(name)
    found.delete()
    assert (created.location, found.location, found.location_type) == (location, location, kind)


def test_existing_bucket_is_a_conflict(client: storage.Client, bucket: storage.Bucket) -> None:
    with pytest.raises(Conflict):
        client.create_bucket(bucket.name)


def test_missing_bucket_is_not_found_and_not_made(client: storage.Client) -> None:
    missing = client.bucket("never-created")
    with pytest.raises(NotFound):
        missing.blob("a").upload_from_string("x")
    with pytest.raises(NotFound):
        list(missing.list_blobs())
    with pytest.raises(NotFound):
        missing.delete()
    assert not missing.exists()


def test_bucket_with_objects_is_not_deleted(bucket: storage.Bucket) -> None:
    bucket.blob("a").upload_from_string("x")
    with pytest.raises(Conflict, match="not empty"):
        bucket.delete()
    bucket.blob("a").delete()
    bucket.delete()
    assert not bucket.exists()


def test_listing_shows_created_buckets_by_prefix(client: storage.Client, bucket: storage.Bucket) -> None:
    assert bucket.name in [found.name for found in client.list_buckets()]
    assert [found.name for found in client.list_buckets(prefix=bucket.name[:20])] == [bucket.name]


def test_changed_properties_are_kept_and_counted(client: storage.Client, bucket: storage.Bucket) -> None:
    bucket.labels = {"team": "data", "stage": "test"}
    bucket.patch()
    bucket.labels = {"team": "data"}
    bucket.patch()
    found = client.get_bucket(bucket.name)
    assert (found.labels, found.metageneration, found.location) == ({"team": "data"}, 3, "US-CENTRAL1")
    with pytest.raises(PreconditionFailed):
        found.patch(if_metageneration_match=1)


@pytest.mark.parametrize("name", ["ab", "Upper", "-dash", "with space", "a" * 64])
def test_illegal_name_is_refused(http: Http, client: storage.Client, name: str) -> None:
    answer = http.post("/storage/v1/b", params={"project": "demo-project"}, json={"name": name})
    assert answer.status_code == 400
    assert name in answer.json()["error"]["message"]
    if name == "ab":
        with pytest.raises(BadRequest):
            client.create_bucket(name)


def test_error_has_googles_envelope(http: Http) -> None:
    answer = http.get("/storage/v1/b/never-created")
    message = "The specified bucket does not exist: never-created"
    assert answer.status_code == 404
    assert answer.json() == {
        "error": {
            "code": 404,
            "message": message,
            "errors": [{"message": message, "domain": "global", "reason": "notFound"}],
        }
    }


def test_unserved_path_says_so(http: Http) -> None:
    answer = http.post("/storage/v1/b/any/acl")
    assert answer.json()["error"]["errors"][0]["reason"] == "notImplemented"
    assert "POST /storage/v1/b/any/acl" in answer.json()["error"]["message"]


def test_every_permission_on_a_bucket_is_granted(client: storage.Client, bucket: storage.Bucket) -> None:
    asked = ["storage.objects.create", "storage.objects.get"]
    assert bucket.test_iam_permissions(asked) == asked
    with pytest.raises(NotFound):
        client.bucket("never-created").test_iam_permissions(asked)
