from __future__ import annotations

import base64
import hashlib
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import google_crc32c
import pytest
from google.api_core.exceptions import BadRequest, GoogleAPICallError, NotFound, PreconditionFailed

if TYPE_CHECKING:
    from google.cloud import storage

    from tests.testing.gcs.conftest import Http

AWKWARD_NAMES = [
    "plain.txt",
    "/leading/slash",
    "a//b/",
    "a/../../../etc/passwd",
    "...",
    "o/compose",
    "b/rewriteTo/b/c/o/d",
    "100%25 %2F? #{x}&y=1+2.txt",
    "grüße/東京/🚀.jsonl",
    "quote'\"\\<>|:*",
    "n" * 1024,
]


def upload(bucket: storage.Bucket, name: str, content: str | bytes = "x") -> storage.Blob:
    blob = bucket.blob(name)
    blob.upload_from_string(content)
    return blob


@pytest.mark.parametrize("name", AWKWARD_NAMES)
def test_any_name_is_stored_under_itself(bucket: storage.Bucket, name: str) -> None:
    upload(bucket, name, name.encode())
    (listed,) = bucket.list_blobs()
    assert listed.name == name
    assert bucket.get_blob(name).download_as_bytes() == name.encode()
    bucket.copy_blob(bucket.blob(name), bucket, "copy")
    assert bucket.blob("copy").download_as_bytes() == name.encode()
    bucket.delete_blob(name)
    assert bucket.get_blob(name) is None


@pytest.mark.parametrize("name", ["", ".", "..", "two\nlines", "é" * 513])
def test_illegal_name_is_refused(http: Http, bucket: storage.Bucket, name: str) -> None:
    answer = http.post(
        f"/upload/storage/v1/b/{bucket.name}/o", params={"name": name, "uploadType": "media"}, data=b"x"
    )
    assert answer.status_code == 400
    assert "Invalid object name" in answer.json()["error"]["message"]


def test_name_can_be_the_folder_of_another(bucket: storage.Bucket) -> None:
    for name in ("a", "a/", "a/b"):
        upload(bucket, name, name)
    assert [bucket.blob(name).download_as_text() for name in ("a", "a/", "a/b")] == ["a", "a/", "a/b"]


def test_resource_tells_size_checksums_and_times(bucket: storage.Bucket, http: Http) -> None:
    content = b"content" * 1000
    upload(bucket, "a/b", content)
    resource = http.get(f"/storage/v1/b/{bucket.name}/o/a%2Fb").json()
    crc32c = google_crc32c.value(content).to_bytes(4, "big")
    assert resource["size"] == "7000"
    assert resource["md5Hash"] == base64.b64encode(hashlib.md5(content).digest()).decode()
    assert resource["crc32c"] == base64.b64encode(crc32c).decode()
    assert resource["metageneration"] == "1"
    assert resource["id"] == f"{bucket.name}/a/b/{resource['generation']}"
    assert resource["timeCreated"] == resource["updated"]
    assert http.get(resource["mediaLink"]).content == content
    assert http.get(resource["selfLink"]).json() == resource


def test_generations_increase_also_after_a_delete(bucket: storage.Bucket) -> None:
    generations = []
    for _ in range(5):
        generations.append(upload(bucket, "a").generation)
        bucket.delete_blob("a")
        generations.append(upload(bucket, "b").generation)
    assert generations == sorted(set(generations))


def test_metadata_is_patched_key_by_key(bucket: storage.Bucket) -> None:
    blob = bucket.blob("a")
    blob.metadata = {"keep": "1", "drop": "2"}
    blob.content_encoding = "identity"
    blob.upload_from_string("x", content_type="text/csv")
    before, etag = blob.generation, blob.etag
    blob.metadata = {"keep": "1", "drop": None, "new": "3"}
    blob.cache_control = "no-store"
    blob.patch()
    found = bucket.get_blob("a")
    assert found.metadata == {"keep": "1", "new": "3"}
    assert (found.content_type, found.cache_control) == ("text/csv", "no-store")
    assert (found.generation, found.metageneration) == (before, 2)
    assert found.etag != etag


def test_update_replaces_the_metadata(bucket: storage.Bucket, http: Http) -> None:
    upload(bucket, "a")
    path = f"/storage/v1/b/{bucket.name}/o/a"
    http.patch(path, json={"metadata": {"old": "1"}, "cacheControl": "no-store"})
    resource = http.put(path, json={"metadata": {"new": "2"}, "size": "99"}).json()
    assert resource["metadata"] == {"new": "2"}
    assert "cacheControl" not in resource
    assert (resource["size"], resource["metageneration"]) == ("1", "3")


@pytest.mark.parametrize("method", ["copy", "rewrite"])
def test_copy_takes_content_and_metadata(client: storage.Client, bucket: storage.Bucket, method: str) -> None:
    other = client.create_bucket(f"{bucket.name}-other")
    source = bucket.blob("a/b")
    source.metadata = {"owner": "me"}
    source.upload_from_string("content", content_type="text/csv")
    target = other.blob("c d")
    if method == "copy":
        bucket.copy_blob(source, other, "c d")
    else:
        assert target.rewrite(source) == (None, 7, 7)
    source.delete()
    target.reload()
    assert target.download_as_bytes() == b"content"
    assert (target.content_type, target.metadata) == ("text/csv", {"owner": "me"})
    assert target.generation > source.generation


def test_copy_with_metadata_replaces_that_of_the_source(bucket: storage.Bucket) -> None:
    source = bucket.blob("a")
    source.metadata = {"owner": "me"}
    source.upload_from_string("x", content_type="text/csv")
    target = bucket.blob("b")
    target.metadata = {"owner": "you"}
    target.content_type = "text/plain"
    target.rewrite(source)
    target.reload()
    assert (target.content_type, target.metadata) == ("text/plain", {"owner": "you"})


def test_object_can_be_copied_onto_itself(bucket: storage.Bucket) -> None:
    blob = upload(bucket, "a", "content")
    copy = bucket.copy_blob(blob, bucket, "a")
    assert copy.generation > blob.generation
    assert bucket.blob("a").download_as_bytes() == b"content"


def test_move_leaves_nothing_behind(bucket: storage.Bucket, http: Http) -> None:
    upload(bucket, "from/here", "content")
    answer = http.post(f"/storage/v1/b/{bucket.name}/o/from%2Fhere/moveTo/o/to%2Fthere")
    assert answer.json()["name"] == "to/there"
    assert [blob.name for blob in bucket.list_blobs()] == ["to/there"]
    assert bucket.blob("to/there").download_as_bytes() == b"content"
    assert http.post(f"/storage/v1/b/{bucket.name}/o/to%2Fthere/moveTo/o/to%2Fthere").status_code == 400


def test_compose_concatenates(bucket: storage.Bucket) -> None:
    parts = [upload(bucket, f"part-{number}", f"{number};" * 1000) for number in range(3)]
    whole = bucket.blob("whole")
    whole.content_type = "text/csv"
    whole.compose([*parts, parts[0]])
    whole.reload()
    content = whole.download_as_bytes()
    assert content == b"".join(f"{number};".encode() * 1000 for number in (0, 1, 2, 0))
    assert (whole.component_count, whole.md5_hash, whole.content_type) == (4, None, "text/csv")
    assert whole.crc32c == base64.b64encode(google_crc32c.value(content).to_bytes(4, "big")).decode()


def test_compose_refuses_too_many_and_missing_sources(bucket: storage.Bucket) -> None:
    part = upload(bucket, "part")
    with pytest.raises(BadRequest, match="32"):
        bucket.blob("whole").compose([part] * 33)
    with pytest.raises(NotFound, match="absent"):
        bucket.blob("whole").compose([part, bucket.blob("absent")])
    assert not bucket.blob("whole").exists()


def test_exactly_one_of_many_writers_creates_an_object(bucket: storage.Bucket) -> None:
    def create(number: int) -> int | None:
        try:
            bucket.blob("lock").upload_from_string(str(number), if_generation_match=0)
        except PreconditionFailed:
            return None
        return number

    with ThreadPoolExecutor(20) as pool:
        winners = [number for number in pool.map(create, range(20)) if number is not None]
    assert [bucket.blob("lock").download_as_text()] == [str(number) for number in winners]


def test_no_update_is_lost_between_writers_that_check(bucket: storage.Bucket) -> None:
    upload(bucket, "counter", "0")

    def increment(_: int) -> None:
        while True:
            seen = bucket.get_blob("counter")
            try:
                count = int(seen.download_as_text(if_generation_match=seen.generation))
                bucket.blob("counter").upload_from_string(str(count + 1), if_generation_match=seen.generation)
            except (PreconditionFailed, NotFound):
                continue
            return

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(increment, range(12)))
    assert bucket.blob("counter").download_as_text() == "12"


CONDITIONS = [
    ({"ifGenerationMatch": 0}, 0),
    ({"ifGenerationMatch": 1}, 1),
    ({"ifGenerationMatch": 2}, 0),
    ({"ifGenerationNotMatch": 0}, 1),
    ({"ifGenerationNotMatch": 1}, 0),
    ({"ifMetagenerationMatch": 1}, 1),
    ({"ifMetagenerationMatch": 2}, 0),
    ({"ifMetagenerationNotMatch": 1}, 0),
    ({"ifGenerationMatch": 1, "ifMetagenerationMatch": 1}, 1),
    ({"ifGenerationMatch": 1, "ifMetagenerationMatch": 2}, 0),
]
"""Conditions on an existing object, where 1 stands for its generation and 2 for another; does it hold?"""


@pytest.mark.parametrize(
    "operation", ["upload", "copy", "move", "compose", "patch", "delete", "get", "media"]
)
@pytest.mark.parametrize(("conditions", "holds"), CONDITIONS)
def test_operation_happens_only_under_its_conditions(
    bucket: storage.Bucket, http: Http, operation: str, conditions: dict[str, int], holds: int
) -> None:
    upload(bucket, "source", "new")
    generation = upload(bucket, "a", "old").generation
    asked = {key: value * generation if "ifGeneration" in key else value for key, value in conditions.items()}
    one = f"/storage/v1/b/{bucket.name}/o"
    answer = {
        "upload": lambda: http.post(f"/upload{one}", params={"name": "a", **asked}, data=b"new"),
        "copy": lambda: http.post(f"{one}/source/copyTo/b/{bucket.name}/o/a", params=asked),
        "move": lambda: http.post(f"{one}/source/moveTo/o/a", params=asked),
        "compose": lambda: http.post(
            f"{one}/a/compose", params=asked, json={"sourceObjects": [{"name": "source"}]}
        ),
        "patch": lambda: http.patch(f"{one}/a", params=asked, json={"metadata": {"new": "1"}}),
        "delete": lambda: http.delete(f"{one}/a", params=asked),
        "get": lambda: http.get(f"{one}/a", params=asked),
        "media": lambda: http.get(f"{one}/a", params={"alt": "media", **asked}),
    }[operation]()
    if holds:
        assert answer.ok, answer.text
    elif operation in ("get", "media") and any("NotMatch" in key for key in conditions):
        assert (answer.status_code, answer.content) == (304, b"")
    else:
        assert answer.status_code == 412
        assert answer.json()["error"]["errors"][0]["reason"] == "conditionNotMet"
    changed = not (found := bucket.get_blob("a")) or found.generation != generation or found.metadata
    assert bool(changed) == bool(holds and operation not in ("get", "media"))


@pytest.mark.parametrize("operation", ["rewrite", "compose"])
def test_conditions_on_the_source_are_held_against_the_source(bucket: storage.Bucket, operation: str) -> None:
    source, target = upload(bucket, "source"), upload(bucket, "target", "old")

    def act(generation: int) -> None:
        if operation == "rewrite":
            target.rewrite(source, if_source_generation_match=generation)
        else:
            target.compose([source], if_source_generation_match=[generation])

    with pytest.raises(PreconditionFailed):
        act(target.generation)
    assert target.download_as_bytes() == b"old"
    act(source.generation)
    assert bucket.blob("target").download_as_bytes() == b"x"


def test_zero_as_a_number_in_a_body_is_a_condition_too(bucket: storage.Bucket, http: Http) -> None:
    upload(bucket, "source")
    source = {"name": "source", "objectPreconditions": {"ifGenerationMatch": 0}}
    answer = http.post(f"/storage/v1/b/{bucket.name}/o/a/compose", json={"sourceObjects": [source]})
    assert answer.status_code == 412


@pytest.mark.parametrize("operation", ["get", "delete", "download", "patch", "copy"])
def test_missing_object_or_old_generation_is_not_found(bucket: storage.Bucket, operation: str) -> None:
    old = upload(bucket, "overwritten")
    upload(bucket, "overwritten", "newer")
    for blob in (bucket.blob("absent"), bucket.blob("overwritten", generation=old.generation)):
        act = {
            "get": blob.reload,
            "delete": blob.delete,
            "download": blob.download_as_bytes,
            "patch": blob.patch,
            "copy": lambda blob=blob: bucket.blob("target").rewrite(blob),
        }[operation]
        with pytest.raises(NotFound):
            act()
    assert bucket.blob("overwritten").download_as_bytes() == b"newer"


def test_condition_that_is_no_number_is_refused(bucket: storage.Bucket, http: Http) -> None:
    answer = http.delete(f"/storage/v1/b/{bucket.name}/o/a", params={"ifGenerationMatch": "one"})
    assert answer.status_code == 400
    assert "ifGenerationMatch" in answer.json()["error"]["message"]


def test_batch_answers_each_of_its_requests(client: storage.Client, bucket: storage.Bucket) -> None:
    for name in ("a", "b/ü?.txt", "c"):
        upload(bucket, name)
    with client.batch(raise_exception=False) as batch:
        bucket.delete_blob("a")
        bucket.delete_blob("absent")
        bucket.delete_blob("b/ü?.txt")
        blob = bucket.blob("c")
        blob.metadata = {"key": "value"}
        blob.patch()
    assert [answer.status_code for answer in batch._responses] == [204, 404, 204, 200]
    assert [blob.name for blob in bucket.list_blobs()] == ["c"]
    assert bucket.get_blob("c").metadata == {"key": "value"}


def test_batch_raises_the_refusal_of_a_part(client: storage.Client, bucket: storage.Bucket) -> None:
    with pytest.raises(GoogleAPICallError, match="absent"), client.batch():
        bucket.delete_blob("absent")
