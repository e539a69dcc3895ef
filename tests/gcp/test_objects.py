"""Objects are read a chunk at a time, whatever the release of the library writes at once."""

from __future__ import annotations

from typing import Any

import pytest
from google.cloud.storage import Blob

from airflow_gemini_batch.core.addresses import GcsAddress
from airflow_gemini_batch.gcp.objects import StorageObjects
from tests.support.requests_data import storage_client

LINES = [f"line {number} 😀".encode() for number in range(2000)]


class EarlierBlob(Blob):
    """As of a release whose downloads have no ``single_shot_download``: they come in many small parts."""

    def download_to_file(  # type: ignore[override]
        self, file_obj: Any, start: int, end: int, if_generation_match: int, checksum: None
    ) -> None:
        content = self.download_as_bytes(start=start, end=end, if_generation_match=if_generation_match)
        file_obj.write(b"given up")
        file_obj.seek(0)
        for place in range(0, len(content), 100):
            file_obj.write(content[place : place + 100])


@pytest.mark.parametrize("kind", [Blob, EarlierBlob])
def test_lines_of_an_object(gemini_batch_stack, bucket, kind) -> None:
    client = storage_client(gemini_batch_stack)
    client.bucket(bucket).blob("lines.txt").upload_from_string(b"\n".join(LINES))
    objects = StorageObjects(client)
    (blob,) = objects.objects([GcsAddress(bucket, "lines.txt")])
    blob.__class__ = kind
    assert b"".join(objects.chunks([blob])).split(b"\n") == LINES
