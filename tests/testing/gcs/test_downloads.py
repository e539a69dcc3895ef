from __future__ import annotations

import gzip
import os
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from google.cloud import storage

    from tests.testing.gcs.conftest import Http

CONTENT = bytes(range(100))


@pytest.fixture
def media(bucket: storage.Bucket) -> str:
    """Path of an object of 100 different bytes."""
    bucket.blob("a/b").upload_from_string(CONTENT)
    return f"/storage/v1/b/{bucket.name}/o/a%2Fb?alt=media"


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ("bytes=0-0", CONTENT[:1]),
        ("bytes=10-19", CONTENT[10:20]),
        ("bytes=90-", CONTENT[90:]),
        ("bytes=90-1000", CONTENT[90:]),
        ("bytes=-10", CONTENT[-10:]),
        ("bytes=-1000", CONTENT),
    ],
)
def test_range_is_cut_out(http: Http, media: str, asked: str, expected: bytes) -> None:
    answer = http.get(media, headers={"Range": asked})
    first = CONTENT.index(expected)
    assert (answer.status_code, answer.content) == (206, expected)
    assert answer.headers["Content-Range"] == f"bytes {first}-{first + len(expected) - 1}/100"
    assert answer.headers["Content-Length"] == str(len(expected))


@pytest.mark.parametrize("asked", ["bytes=20-10", "bytes=-", "lines=1-2", "bytes=0-1,5-6"])
def test_range_that_makes_no_sense_is_ignored(http: Http, media: str, asked: str) -> None:
    answer = http.get(media, headers={"Range": asked})
    assert (answer.status_code, answer.content) == (200, CONTENT)


@pytest.mark.parametrize("asked", ["bytes=100-", "bytes=200-300", "bytes=-0"])
def test_range_behind_the_end_is_not_satisfiable(http: Http, media: str, asked: str) -> None:
    answer = http.get(media, headers={"Range": asked})
    assert answer.status_code == 416
    assert answer.headers["Content-Range"] == "bytes */100"
    assert answer.json()["error"]["errors"][0]["reason"] == "requestedRangeNotSatisfiable"


def test_all_paths_of_an_object_lead_to_its_content(http: Http, media: str, bucket: storage.Bucket) -> None:
    paths = [media, f"/download{media}", f"/{bucket.name}/a/b", f"/{bucket.name}/a%2Fb"]
    for path in paths:
        assert http.get(path).content == CONTENT
        head = http.head(path)
        assert (head.status_code, head.headers["Content-Length"], head.content) == (200, "100", b"")


def test_headers_describe_the_object(http: Http, bucket: storage.Bucket) -> None:
    blob = bucket.blob("a")
    blob.cache_control = "no-store"
    blob.upload_from_string(CONTENT, content_type="text/csv; charset=utf-8")
    headers = http.get(f"/{bucket.name}/a").headers
    assert headers["Content-Type"] == "text/csv; charset=utf-8"
    assert headers["Cache-Control"] == "no-store"
    assert headers["X-Goog-Generation"] == str(blob.generation)
    assert headers["X-Goog-Hash"] == f"crc32c={blob.crc32c},md5={blob.md5_hash}"
    assert headers["X-Goog-Stored-Content-Length"] == "100"
    assert headers["ETag"] == f'"{blob.etag}"'
    assert parsedate_to_datetime(headers["Last-Modified"]) == blob.updated.replace(microsecond=0)


def test_gzip_encoded_content_is_unpacked_by_the_client(http: Http, bucket: storage.Bucket) -> None:
    packed = gzip.compress(CONTENT)
    blob = bucket.blob("a")
    blob.content_encoding = "gzip"
    blob.upload_from_string(packed)
    assert blob.download_as_bytes() == CONTENT
    assert blob.download_as_bytes(raw_download=True) == packed
    assert http.get(f"/{bucket.name}/a").headers["X-Goog-Stored-Content-Encoding"] == "gzip"


def test_empty_object_is_downloaded(bucket: storage.Bucket) -> None:
    bucket.blob("empty").upload_from_string(b"")
    assert bucket.blob("empty").download_as_bytes() == b""


def test_client_reads_in_chunks(bucket: storage.Bucket) -> None:
    content = os.urandom(700_000)
    bucket.blob("a").upload_from_string(content)
    with bucket.blob("a").open("rb", chunk_size=256 * 1024) as reader:
        reader.seek(100)
        assert reader.read() == content[100:]
    assert bucket.blob("a").download_as_bytes(start=5, end=9) == content[5:10]


def test_download_is_not_disturbed_by_overwrite_and_delete(http: Http, bucket: storage.Bucket) -> None:
    content = os.urandom(20_000_000)
    bucket.blob("a").upload_from_string(content)
    with http.get(f"/{bucket.name}/a", stream=True) as answer:
        pieces = answer.iter_content(1_000_000)
        received = next(pieces)
        bucket.blob("a").upload_from_string("new")
        bucket.blob("a").delete()
        assert received + b"".join(pieces) == content
