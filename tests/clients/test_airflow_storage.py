"""Airflow's own Cloud Storage operators, sensors and transfers, as they are, on the local servers."""

from __future__ import annotations

import datetime as dt
import gzip
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from airflow.providers.google.cloud.operators import gcs as operators
from airflow.providers.google.cloud.sensors import gcs as sensors
from airflow.providers.google.cloud.transfers.gcs_to_gcs import GCSToGCSOperator
from airflow.providers.google.cloud.transfers.gcs_to_local import GCSToLocalFilesystemOperator
from airflow.providers.google.cloud.transfers.local_to_gcs import LocalFilesystemToGCSOperator
from google.auth.credentials import AnonymousCredentials
from google.cloud import storage

from airflow_gemini_batch.testing import PROJECT
from tests.clients.run import DAY, execute

if TYPE_CHECKING:
    from airflow_gemini_batch.testing import LocalStack

pytestmark = pytest.mark.filterwarnings("ignore")
QUICK = {"timeout": 5, "poke_interval": 0.1}


class Place:
    """A bucket with the objects ``in/a.txt`` and ``in/b.txt``, an empty one, and a folder on disk."""

    def __init__(self, bucket: str, folder: Path) -> None:
        self.client = storage.Client(project=PROJECT, credentials=AnonymousCredentials())
        self.bucket, self.other, self.folder = bucket, f"{bucket}-2", folder
        self.client.create_bucket(self.other)
        for name in ("a", "b"):
            self.client.bucket(bucket).blob(f"in/{name}.txt").upload_from_string(name)
        (folder / "local.txt").write_text("local")

    def names(self, bucket: str | None = None) -> list[str]:
        return sorted(blob.name for blob in self.client.list_blobs(bucket or self.bucket))

    def text(self, name: str, bucket: str | None = None) -> str:
        return str(self.client.bucket(bucket or self.bucket).blob(name).download_as_text())


@pytest.fixture
def place(gemini_batch_stack: LocalStack, bucket: str, tmp_path: Path) -> Place:
    return Place(bucket, tmp_path)


def _equal(found: Any, expected: Any) -> None:
    assert found == expected


def _nothing(_place: Place, _result: Any) -> None:
    pass


def _script(place: Place, text: str) -> list[str]:
    script = place.folder / "transform.py"
    script.write_text(text)
    return ["python3", str(script)]


_UPPER = "import sys; open(sys.argv[2], 'w').write(open(sys.argv[1]).read().upper())"
_IN = ["in/a.txt", "in/b.txt"]

CASES: dict[str, tuple[Callable[[Place], Any], Callable[[Place, Any], None]]] = {
    "GCSCreateBucketOperator": (
        lambda p: operators.GCSCreateBucketOperator(
            task_id="t", bucket_name=f"{p.bucket}-3", project_id=PROJECT
        ),
        lambda p, _: _equal(p.client.bucket(f"{p.bucket}-3").exists(), True),
    ),
    "GCSDeleteBucketOperator": (
        lambda p: operators.GCSDeleteBucketOperator(task_id="t", bucket_name=p.bucket, force=True),
        lambda p, _: _equal(p.client.bucket(p.bucket).exists(), False),
    ),
    "GCSListObjectsOperator": (
        lambda p: operators.GCSListObjectsOperator(task_id="t", bucket=p.bucket, prefix="in/"),
        lambda _, names: _equal(names, _IN),
    ),
    "GCSListObjectsOperator(match_glob)": (
        lambda p: operators.GCSListObjectsOperator(task_id="t", bucket=p.bucket, match_glob="**/b.*"),
        lambda _, names: _equal(names, ["in/b.txt"]),
    ),
    "GCSDeleteObjectsOperator(objects)": (
        lambda p: operators.GCSDeleteObjectsOperator(task_id="t", bucket_name=p.bucket, objects=["in/a.txt"]),
        lambda p, _: _equal(p.names(), ["in/b.txt"]),
    ),
    "GCSDeleteObjectsOperator(prefix)": (
        lambda p: operators.GCSDeleteObjectsOperator(task_id="t", bucket_name=p.bucket, prefix="in/"),
        lambda p, _: _equal(p.names(), []),
    ),
    "GCSBucketCreateAclEntryOperator": (
        lambda p: operators.GCSBucketCreateAclEntryOperator(
            task_id="t", bucket=p.bucket, entity="allUsers", role="READER"
        ),
        lambda p, _: _equal(list(p.client.bucket(p.bucket).acl), [{"entity": "allUsers", "role": "READER"}]),
    ),
    "GCSObjectCreateAclEntryOperator": (
        lambda p: operators.GCSObjectCreateAclEntryOperator(
            task_id="t", bucket=p.bucket, object_name="in/a.txt", entity="allUsers", role="READER"
        ),
        lambda p, _: _equal(
            list(p.client.bucket(p.bucket).blob("in/a.txt").acl), [{"entity": "allUsers", "role": "READER"}]
        ),
    ),
    "GCSFileTransformOperator": (
        lambda p: operators.GCSFileTransformOperator(
            task_id="t",
            source_bucket=p.bucket,
            source_object="in/a.txt",
            destination_object="out/a.txt",
            transform_script=_script(p, _UPPER),
        ),
        lambda p, _: _equal(p.text("out/a.txt"), "A"),
    ),
    "GCSTimeSpanFileTransformOperator": (
        lambda p: operators.GCSTimeSpanFileTransformOperator(
            task_id="t",
            source_bucket=p.bucket,
            source_prefix="in/",
            source_gcp_conn_id="google_cloud_default",
            destination_bucket=p.other,
            destination_prefix="out/",
            destination_gcp_conn_id="google_cloud_default",
            transform_script=_script(
                p, "import pathlib, sys; pathlib.Path(sys.argv[2], 'all').write_text(sys.argv[3])"
            ),
        ),
        _nothing,
    ),
    "GCSSynchronizeBucketsOperator": (
        lambda p: operators.GCSSynchronizeBucketsOperator(
            task_id="t", source_bucket=p.bucket, destination_bucket=p.other
        ),
        lambda p, _: _equal(p.names(p.other), _IN),
    ),
    "GCSObjectExistenceSensor": (
        lambda p: sensors.GCSObjectExistenceSensor(task_id="t", bucket=p.bucket, object="in/a.txt", **QUICK),
        _nothing,
    ),
    "GCSObjectExistenceSensor(deferrable=True)": (
        lambda p: sensors.GCSObjectExistenceSensor(
            task_id="t", bucket=p.bucket, object="in/a.txt", deferrable=True, **QUICK
        ),
        _nothing,
    ),
    "GCSObjectUpdateSensor": (
        lambda p: sensors.GCSObjectUpdateSensor(
            task_id="t",
            bucket=p.bucket,
            object="in/a.txt",
            ts_func=lambda _: DAY - dt.timedelta(days=900),
            **QUICK,
        ),
        _nothing,
    ),
    "GCSObjectsWithPrefixExistenceSensor": (
        lambda p: sensors.GCSObjectsWithPrefixExistenceSensor(
            task_id="t", bucket=p.bucket, prefix="in/", **QUICK
        ),
        lambda _, names: _equal(names, _IN),
    ),
    "GCSObjectsWithPrefixExistenceSensor(deferrable=True)": (
        lambda p: sensors.GCSObjectsWithPrefixExistenceSensor(
            task_id="t", bucket=p.bucket, prefix="in/", deferrable=True, **QUICK
        ),
        lambda _, names: _equal(sorted(names), _IN),
    ),
    "GCSUploadSessionCompleteSensor": (
        lambda p: sensors.GCSUploadSessionCompleteSensor(
            task_id="t", bucket=p.bucket, prefix="in/", inactivity_period=0.2, min_objects=2, **QUICK
        ),
        _nothing,
    ),
    "GCSToGCSOperator(one object)": (
        lambda p: GCSToGCSOperator(
            task_id="t",
            source_bucket=p.bucket,
            source_object="in/a.txt",
            destination_bucket=p.other,
            destination_object="copied.txt",
        ),
        lambda p, _: _equal(p.text("copied.txt", p.other), "a"),
    ),
    "GCSToGCSOperator(move a folder)": (
        lambda p: GCSToGCSOperator(
            task_id="t",
            source_bucket=p.bucket,
            source_object="in/",
            destination_bucket=p.other,
            destination_object="moved/",
            move_object=True,
        ),
        lambda p, _: _equal((p.names(), p.names(p.other)), ([], ["moved/a.txt", "moved/b.txt"])),
    ),
    "GCSToLocalFilesystemOperator": (
        lambda p: GCSToLocalFilesystemOperator(
            task_id="t", bucket=p.bucket, object_name="in/a.txt", filename=str(p.folder / "down.txt")
        ),
        lambda p, _: _equal((p.folder / "down.txt").read_text(), "a"),
    ),
    "LocalFilesystemToGCSOperator": (
        lambda p: LocalFilesystemToGCSOperator(
            task_id="t", src=str(p.folder / "local.txt"), dst="up/", bucket=p.bucket
        ),
        lambda p, _: _equal(p.text("up/local.txt"), "local"),
    ),
    "LocalFilesystemToGCSOperator(gzip)": (
        lambda p: LocalFilesystemToGCSOperator(
            task_id="t", src=str(p.folder / "local.txt"), dst="up.txt", bucket=p.bucket, gzip=True
        ),
        lambda p, _: _equal(
            gzip.decompress(p.client.bucket(p.bucket).blob("up.txt").download_as_bytes()), b"local"
        ),
    ),
}


@pytest.mark.parametrize("call", CASES)
def test_operator(place: Place, call: str) -> None:
    make, check = CASES[call]
    check(place, execute(make(place)))
