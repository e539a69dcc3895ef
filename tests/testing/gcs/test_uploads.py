from __future__ import annotations

import base64
import io
import os
import socket
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest
from google.api_core.exceptions import BadRequest, PreconditionFailed
from google.cloud.storage.exceptions import InvalidResponse

if TYPE_CHECKING:
    from google.cloud import storage

    from airflow_gemini_batch.testing.gcs.server import LocalCloudStorage
    from tests.testing.gcs.conftest import Http

UNIT = 256 * 1024
ENDINGS = [b"", b"\r", b"\n", b"\r\n", b"--==0==", b"\r\n--==0==\r\n", b"--"]


def begin(http: Http, bucket: storage.Bucket, **params: str) -> str:
    """Start a resumable upload of the object "a"; returns its address."""
    answer = http.post(
        f"/upload/storage/v1/b/{bucket.name}/o",
        params={"uploadType": "resumable", "name": "a", **params},
        json={"contentType": "text/csv", "metadata": {"key": "value"}},
    )
    assert answer.status_code == 200, answer.text
    return answer.headers["Location"]


def send(http: Http, location: str, content_range: str, body: bytes = b"") -> tuple[int, str | None]:
    """Send a chunk; returns the status and the Range of what has been received."""
    answer = http.put(location, data=body, headers={"Content-Range": content_range})
    return answer.status_code, answer.headers.get("Range")


def test_media_upload_keeps_type_and_encoding(bucket: storage.Bucket, http: Http) -> None:
    answer = http.post(
        f"/upload/storage/v1/b/{bucket.name}/o",
        params={"uploadType": "media", "name": "a/b", "contentEncoding": "gzip"},
        headers={"Content-Type": "application/jsonl"},
        data=b"content",
    )
    assert answer.json()["contentType"] == "application/jsonl"
    assert answer.json()["contentEncoding"] == "gzip"
    assert answer.json()["size"] == "7"


@pytest.mark.parametrize("line_end", ["\n", "\r\n"])
@pytest.mark.parametrize("ending", ENDINGS)
def test_multipart_content_is_kept_to_the_byte(
    bucket: storage.Bucket, http: Http, line_end: str, ending: bytes
) -> None:
    content = b"first\r\nline" + ending
    head = line_end.join(
        ("--==0==", "Content-Type: application/json", "", '{"name": "a",', '"metadata": {"k": "v"}}', "--==0==",
         "content-type: text/csv", "", "")
    )  # fmt: skip
    answer = http.post(
        f"/upload/storage/v1/b/{bucket.name}/o?uploadType=multipart",
        headers={"Content-Type": 'multipart/related; boundary="==0=="'},
        data=head.encode() + content + f"{line_end}--==0==--{line_end}".encode(),
    )
    assert (answer.json()["contentType"], answer.json()["metadata"]) == ("text/csv", {"k": "v"})
    assert bucket.blob("a").download_as_bytes() == content


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("multipart/related", b"--x\r\n\r\n{}\r\n--x\r\n\r\n\r\n--x--"),
        ("multipart/related; boundary=x", b""),
        ("multipart/related; boundary=x", b"--x\r\n\r\n{\r\n--x\r\n\r\ncontent\r\n--x--"),
        ("multipart/related; boundary=x", b'--x\r\n\r\n{"name": "a"}\r\n--x\r\n\r\ncut off'),
        ("multipart/related; boundary=x", b"--x\r\n\r\n{}\r\n--x\r\n\r\nwithout a name\r\n--x--"),
    ],
)
def test_broken_multipart_upload_is_refused(
    bucket: storage.Bucket, http: Http, content_type: str, body: bytes
) -> None:
    answer = http.post(
        f"/upload/storage/v1/b/{bucket.name}/o?uploadType=multipart",
        headers={"Content-Type": content_type},
        data=body,
    )
    assert answer.status_code == 400
    assert list(bucket.list_blobs()) == []


@pytest.mark.parametrize("size", [0, 1, UNIT, UNIT + 1, 3 * UNIT])
@pytest.mark.parametrize("known", [True, False])
def test_client_uploads_in_chunks(bucket: storage.Bucket, size: int, known: bool) -> None:
    content = os.urandom(size)
    blob = bucket.blob("a", chunk_size=UNIT)
    blob.metadata = {"key": "value"}
    if known:
        blob.upload_from_file(io.BytesIO(content), size=size, content_type="text/csv")
    else:
        with blob.open("wb", content_type="text/csv") as writer:
            writer.write(content)
    found = bucket.get_blob("a")
    assert found.download_as_bytes() == content
    assert (found.size, found.content_type, found.metadata) == (size, "text/csv", {"key": "value"})


def test_state_of_an_upload_can_be_asked_for(bucket: storage.Bucket, http: Http) -> None:
    location = begin(http, bucket)
    content = os.urandom(UNIT + 5)
    assert send(http, location, "bytes */*") == (308, None)
    assert send(http, location, f"bytes 0-{UNIT - 1}/*", content[:UNIT]) == (308, f"bytes=0-{UNIT - 1}")
    assert send(http, location, "bytes */*") == (308, f"bytes=0-{UNIT - 1}")
    assert not bucket.blob("a").exists()
    assert send(http, location, f"bytes {UNIT}-{UNIT + 4}/{UNIT + 5}", content[UNIT:]) == (200, None)
    assert bucket.blob("a").download_as_bytes() == content
    again = http.put(location, headers={"Content-Range": "bytes */*"})
    assert (again.status_code, again.json()["size"]) == (200, str(UNIT + 5))


def test_upload_of_unknown_size_is_closed_by_its_total(bucket: storage.Bucket, http: Http) -> None:
    location = begin(http, bucket)
    send(http, location, f"bytes 0-{UNIT - 1}/*", bytes(UNIT))
    assert send(http, location, f"bytes */{UNIT}")[0] == 200
    assert bucket.get_blob("a").size == UNIT


def test_only_whole_units_of_an_unfinished_chunk_are_kept(bucket: storage.Bucket, http: Http) -> None:
    location = begin(http, bucket)
    kept = send(http, location, f"bytes 0-{UNIT + 9}/*", bytes(UNIT + 10))
    assert kept == (308, f"bytes=0-{UNIT - 1}")


def test_chunk_that_was_sent_before_is_not_appended_twice(bucket: storage.Bucket, http: Http) -> None:
    location = begin(http, bucket)
    content = os.urandom(2 * UNIT)
    send(http, location, f"bytes 0-{UNIT - 1}/*", content[:UNIT])
    assert send(http, location, f"bytes 0-{2 * UNIT - 1}/{2 * UNIT}", content)[0] == 200
    assert bucket.blob("a").download_as_bytes() == content


def test_chunk_that_leaves_a_gap_is_refused(bucket: storage.Bucket, http: Http) -> None:
    location = begin(http, bucket)
    assert send(http, location, f"bytes {UNIT}-{2 * UNIT - 1}/*", bytes(UNIT))[0] == 503
    assert send(http, location, "bytes */*") == (308, None)


def test_upload_goes_on_after_a_dropped_connection(
    server: LocalCloudStorage, bucket: storage.Bucket, http: Http
) -> None:
    location = begin(http, bucket)
    content = os.urandom(4 * UNIT)
    parts = urlsplit(location)
    with socket.create_connection(("127.0.0.1", server.port)) as connection:
        head = (
            f"PUT {parts.path}?{parts.query} HTTP/1.1\r\nHost: {parts.netloc}\r\n"
            f"Content-Length: {len(content)}\r\nContent-Range: bytes 0-{len(content) - 1}/{len(content)}\r\n\r\n"
        )
        connection.sendall(head.encode() + content[: 3 * UNIT])
    status, received = send(http, location, "bytes */*")
    start = int(received.rpartition("-")[2]) + 1 if received else 0
    assert (status, start % UNIT) == (308, 0)
    assert not bucket.blob("a").exists()
    last = send(http, location, f"bytes {start}-{len(content) - 1}/{len(content)}", content[start:])
    assert last[0] == 200
    assert bucket.blob("a").download_as_bytes() == content


def test_whole_content_can_be_sent_without_a_range(bucket: storage.Bucket, http: Http) -> None:
    location = begin(http, bucket)
    send(http, location, f"bytes 0-{UNIT - 1}/*", bytes(UNIT))
    answer = http.put(location, data=b"anew")
    assert (answer.json()["contentType"], answer.json()["metadata"]) == ("text/csv", {"key": "value"})
    assert bucket.blob("a").download_as_bytes() == b"anew"


def test_cancelled_upload_is_gone(bucket: storage.Bucket, http: Http) -> None:
    location = begin(http, bucket)
    assert http.delete(location).status_code == 499
    assert send(http, location, "bytes */*")[0] == 404


def test_conditions_of_a_resumable_upload_hold_at_its_start_and_at_its_end(
    bucket: storage.Bucket, http: Http
) -> None:
    location = begin(http, bucket, ifGenerationMatch="0")
    bucket.blob("a").upload_from_string("faster")
    assert send(http, location, "bytes 0-5/6", b"slower")[0] == 412
    assert send(http, location, "bytes */*")[0] == 404
    assert bucket.blob("a").download_as_bytes() == b"faster"
    with pytest.raises(PreconditionFailed):
        bucket.blob("a", chunk_size=UNIT).upload_from_file(io.BytesIO(b"late"), if_generation_match=0)


@pytest.mark.parametrize("content_range", ["bytes 0-5", "0-5/6", "bytes a-b/c"])
def test_malformed_content_range_is_refused(bucket: storage.Bucket, http: Http, content_range: str) -> None:
    assert send(http, begin(http, bucket), content_range, b"123456")[0] == 400


@pytest.mark.parametrize("checksum", ["crc32c", "md5"])
def test_content_that_fails_its_checksum_is_refused(
    bucket: storage.Bucket, http: Http, checksum: str
) -> None:
    wrong = {"X-Goog-Hash": f"{checksum}={base64.b64encode(b'0000').decode()}"}
    path = f"/upload/storage/v1/b/{bucket.name}/o?uploadType=media&name=a"
    answers = [
        http.post(path, headers=wrong, data=b"content"),
        http.put(begin(http, bucket), headers={"Content-Range": "bytes 0-6/7", **wrong}, data=b"content"),
    ]
    assert [answer.status_code for answer in answers] == [400, 400]
    assert not bucket.blob("a").exists()
    blob = bucket.blob("a")
    blob.md5_hash = base64.b64encode(b"0" * 16).decode()
    with pytest.raises((BadRequest, InvalidResponse), match="md5"):
        blob.upload_from_string("content", checksum=None)


def test_refused_uploads_leave_no_files(
    server: LocalCloudStorage, bucket: storage.Bucket, http: Http
) -> None:
    before = files_in(server)
    path = f"/upload/storage/v1/b/{bucket.name}/o?uploadType=media&name=a"
    http.post(path, headers={"X-Goog-Hash": "md5=AAAA"}, data=b"content")
    http.post(path + "&ifGenerationMatch=7", data=b"content")
    http.delete(begin(http, bucket))
    bucket.blob("a").upload_from_string("once")
    bucket.blob("a").upload_from_string("twice")
    bucket.delete_blob("a")
    assert files_in(server) == before


def files_in(server: LocalCloudStorage) -> set[str]:
    return {str(path) for path in server._folder.rglob("*") if "sqlite" not in path.name}


def test_unknown_kind_of_upload_is_refused(bucket: storage.Bucket, http: Http) -> None:
    answer = http.post(f"/upload/storage/v1/b/{bucket.name}/o?uploadType=carrier-pigeon&name=a")
    assert answer.status_code == 400
    assert "carrier-pigeon" in answer.json()["error"]["message"]
