"""Request files with the real client, against the local server."""

from __future__ import annotations

import hashlib
import logging
import os
import resource
import tempfile

import pytest

from airflow_gemini_batch.core.addresses import GcsAddress
from airflow_gemini_batch.exceptions import InvalidRequestError
from airflow_gemini_batch.requests.files.shards import RequestFiles
from tests.support.requests_data import storage_client

LOG = logging.getLogger("request-files")


@pytest.fixture
def files(gemini_batch_stack):
    return storage_client(gemini_batch_stack)


@pytest.fixture
def folder(bucket):
    return GcsAddress(bucket, "requests")


@pytest.fixture
def upload(files, folder):
    """Upload lines and return the content of each file by its address."""

    def upload(lines, *, max_rows=1000, max_bytes=10_000, at_once=1000):
        with RequestFiles(max_rows=max_rows, max_bytes=max_bytes) as spooled:
            spooled.write_all(lines, at_once)
            uris = spooled.upload(files, folder, LOG)
        return {
            uri: files.bucket(folder.bucket).blob(uri.split("/", 3)[3]).download_as_bytes() for uri in uris
        }

    return upload


def lines(count: int, size: int = 10) -> list[bytes]:
    return [f"{number:0{size - 1}}\n".encode() for number in range(count)]


def test_file_is_named_by_its_content(upload, folder) -> None:
    content = b"".join(lines(5))
    assert upload(lines(5)) == {f"{folder}/{hashlib.sha256(content).hexdigest()[:20]}.jsonl": content}


def test_no_lines_are_no_file(upload) -> None:
    assert upload([]) == {}


@pytest.mark.parametrize(
    ("count", "limits", "rows"),
    [
        pytest.param(10, {"max_rows": 10}, [10], id="just-enough-rows"),
        pytest.param(11, {"max_rows": 10}, [10, 1], id="a-row-too-many"),
        pytest.param(25, {"max_rows": 10}, [10, 10, 5], id="several-files"),
        pytest.param(3, {"max_rows": 1}, [1, 1, 1], id="one-row-each"),
        pytest.param(10, {"max_bytes": 100}, [10], id="just-enough-bytes"),
        pytest.param(10, {"max_bytes": 99}, [9, 1], id="a-byte-too-many"),
        pytest.param(10, {"max_bytes": 35, "max_rows": 2}, [2] * 5, id="rows-before-bytes"),
        pytest.param(10, {"max_bytes": 35, "max_rows": 7}, [3, 3, 3, 1], id="bytes-before-rows"),
    ],
)
@pytest.mark.parametrize("at_once", [1, 30, 10_000])
def test_files_are_cut_at_the_limits(upload, count, limits, rows, at_once) -> None:
    found = upload(lines(count), at_once=at_once, **limits)
    assert [content.count(b"\n") for content in found.values()] == rows
    assert b"".join(found.values()) == b"".join(lines(count))


def test_line_larger_than_a_file_is_refused(upload) -> None:
    with pytest.raises(
        InvalidRequestError, match="a request of 101 bytes is larger than a file of requests may be"
    ):
        upload([*lines(3), b"x" * 100 + b"\n"], max_bytes=100)


def test_line_of_20_megabytes_is_written(upload) -> None:
    big = b'{"key":"1","request":"' + b"x" * 20_000_000 + b'"}\n'
    (content,) = upload([b"{}\n", big, b"{}\n"], max_bytes=30_000_000).values()
    assert content == b"{}\n" + big + b"{}\n"


def test_lines_can_be_read_again() -> None:
    with RequestFiles(max_rows=10, max_bytes=1000) as spooled:
        spooled.write(lines(25))
        assert list(spooled) == lines(25)
        assert len(spooled) == 25


def test_same_lines_are_the_same_object(upload, files, folder) -> None:
    (uri,) = upload(lines(5))
    first = files.bucket(folder.bucket).get_blob(uri.split("/", 3)[3])
    assert list(upload(lines(5))) == [uri]
    again = files.bucket(folder.bucket).get_blob(first.name)
    assert again.generation == first.generation


def test_rival_that_was_quicker_is_no_fault(upload, files, folder, mocker) -> None:
    (uri,) = upload(lines(5))
    bucket = type(files.bucket(folder.bucket))
    look, looks = bucket.get_blob, []

    def late(self, name):
        looks.append(name)
        return None if len(looks) == 1 else look(self, name)

    mocker.patch.object(bucket, "get_blob", late)
    assert list(upload(lines(5))) == [uri]
    assert len(looks) == 2


def test_object_that_somebody_has_overwritten_is_not_taken(upload, files, folder) -> None:
    (uri,) = upload(lines(5))
    files.bucket(folder.bucket).blob(uri.split("/", 3)[3]).upload_from_string(b"other")
    with pytest.raises(InvalidRequestError, match="somebody has overwritten it"):
        upload(lines(5))


def test_bucket_that_does_not_exist_is_named(files) -> None:
    with RequestFiles(max_rows=10, max_bytes=100) as spooled:
        spooled.write(lines(1))
        with pytest.raises(
            InvalidRequestError, match="gs://no-such-bucket-anywhere/a: the bucket does not exist"
        ):
            spooled.upload(files, GcsAddress("no-such-bucket-anywhere", "a"), LOG)


def test_requests_on_disk_have_no_name(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with RequestFiles(max_rows=10, max_bytes=100) as spooled:
        spooled.write(lines(3))
        assert list(spooled) == lines(3)
        assert not list(tmp_path.iterdir())


def test_jobs_may_be_more_than_files_that_can_be_open(upload) -> None:
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)
    open_now = len(os.listdir("/proc/self/fd"))
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(open_now + 150, limit[0]), limit[1]))
    try:
        assert len(upload(lines(250), max_rows=1)) == 250
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limit)
