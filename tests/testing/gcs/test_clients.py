"""The other clients that must work as they are: Airflow's hooks, gcsfs, ObjectStoragePath."""

from __future__ import annotations

import gzip
import json
import os
from typing import TYPE_CHECKING

import aiohttp
import gcsfs
import pytest
from airflow.providers.google.cloud.hooks.gcs import GCSAsyncHook, GCSHook

try:
    from airflow.sdk import ObjectStoragePath
except ImportError:
    from airflow.io.path import ObjectStoragePath

if TYPE_CHECKING:
    from pathlib import Path

    from google.cloud import storage

    from airflow_gemini_batch.testing.gcs.server import LocalCloudStorage

CONNECTION = "local_storage"


@pytest.fixture(autouse=True)
def environment(server: LocalCloudStorage, monkeypatch: pytest.MonkeyPatch) -> None:
    extra = {"is_anonymous": True, "project": "demo-project"}
    connection = {"conn_type": "google_cloud_platform", "extra": extra}
    monkeypatch.setenv(f"AIRFLOW_CONN_{CONNECTION.upper()}", json.dumps(connection))
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", server.url)


@pytest.fixture
def hook() -> GCSHook:
    return GCSHook(gcp_conn_id=CONNECTION)


def test_hook_creates_lists_and_deletes_a_bucket(hook: GCSHook, bucket: storage.Bucket) -> None:
    name = f"{bucket.name}-hook"
    hook.create_bucket(bucket_name=name, location="EUROPE-WEST4")
    assert hook.get_bucket(name).exists()
    hook.upload(name, "a", data="x")
    hook.delete_bucket(name, force=True)
    assert not hook.get_bucket(name).exists()


def test_hook_uploads_and_downloads(hook: GCSHook, bucket: storage.Bucket, tmp_path: Path) -> None:
    file = tmp_path / "rows.jsonl"
    file.write_bytes(os.urandom(600_000))
    hook.upload(bucket.name, "in/rows.jsonl", filename=str(file), chunk_size=256 * 1024)
    hook.upload(bucket.name, "in/packed.csv", data="a,b", gzip=True)
    assert hook.download(bucket.name, "in/rows.jsonl") == file.read_bytes()
    assert gzip.decompress(hook.download(bucket.name, "in/packed.csv")) == b"a,b"
    assert hook.exists(bucket.name, "in/rows.jsonl")
    assert hook.get_size(bucket.name, "in/rows.jsonl") == 600_000
    assert hook.get_md5hash(bucket.name, "in/rows.jsonl") == bucket.get_blob("in/rows.jsonl").md5_hash


def test_hook_lists_with_prefix_delimiter_glob_and_pages(hook: GCSHook, bucket: storage.Bucket) -> None:
    names = ["a/1.csv", "a/2.json", "a/b/3.csv", "c.csv"]
    for name in names:
        hook.upload(bucket.name, name, data="")
    assert hook.list(bucket.name) == names
    assert hook.list(bucket.name, prefix="a/", max_results=1) == names[:3]
    assert hook.list(bucket.name, match_glob="**/*.csv") == ["a/1.csv", "a/b/3.csv", "c.csv"]
    assert hook.list(bucket.name, delimiter="/") == ["a/"]


def test_hook_copies_composes_and_deletes(hook: GCSHook, bucket: storage.Bucket) -> None:
    hook.upload(bucket.name, "a", data="1")
    hook.rewrite(bucket.name, "a", bucket.name, "b")
    hook.copy(bucket.name, "a", bucket.name, "c")
    hook.compose(bucket.name, ["a", "b", "c"], "all")
    hook.delete(bucket.name, "a")
    assert hook.download(bucket.name, "all") == b"111"
    assert hook.list(bucket.name) == ["all", "b", "c"]


async def test_async_hook_uploads_reads_and_lists(bucket: storage.Bucket) -> None:
    large = os.urandom(6_000_000)
    async with aiohttp.ClientSession() as session:
        client = await GCSAsyncHook(gcp_conn_id=CONNECTION).get_storage_client(session)
        await client.upload(bucket.name, "small/ü.txt", "text", content_type="text/plain")
        await client.upload(bucket.name, "described", b"x", metadata={"metadata": {"key": "value"}})
        await client.upload(bucket.name, "large", large)
        await client.upload(bucket.name, "zipped", "text" * 100, zipped=True)
        await client.copy(bucket.name, "large", bucket.name, new_name="copy")
        await client.compose(bucket.name, "composed", ["small/ü.txt", "described"])
        await client.patch_metadata(bucket.name, "large", {"metadata": {"seen": "yes"}})
        await client.delete(bucket.name, "large")
        assert await client.download(bucket.name, "copy") == large
        assert await client.download(bucket.name, "zipped") == b"text" * 100
        assert await client.download(bucket.name, "composed") == b"textx"
        metadata = await client.download_metadata(bucket.name, "described")
        assert metadata["metadata"] == {"key": "value"}
        folder = client.get_bucket(bucket.name)
        assert await folder.list_blobs(prefix="small/") == ["small/ü.txt"]
        assert await folder.blob_exists("copy")
        assert not await folder.blob_exists("large")
        assert (await folder.get_metadata())["location"] == "US-CENTRAL1"


def test_gcsfs_reads_writes_and_walks(bucket: storage.Bucket) -> None:
    files = gcsfs.GCSFileSystem(token="anon", project="demo-project", skip_instance_cache=True)
    root, large = bucket.name, os.urandom(6_000_000)
    with files.open(f"{root}/x/large.bin", "wb", block_size=1 << 20) as file:
        file.write(large)
    files.pipe(f"{root}/x/small.txt", b"ends with a return\r")
    files.cp(f"{root}/x/small.txt", f"{root}/x/copy.txt")
    files.mv(f"{root}/x/copy.txt", f"{root}/x/moved.txt")
    assert files.cat(f"{root}/x/large.bin") == large
    assert files.cat_file(f"{root}/x/large.bin", start=10, end=20) == large[10:20]
    assert files.cat(f"{root}/x/small.txt") == b"ends with a return\r"
    assert files.find(root) == [f"{root}/x/{name}" for name in ("large.bin", "moved.txt", "small.txt")]
    assert files.ls(root, detail=False) == [f"{root}/x"]
    files.rm(f"{root}/x", recursive=True)
    assert not files.exists(f"{root}/x")
    with pytest.raises(FileNotFoundError):
        files.info(f"{root}/x/small.txt")


def test_gcsfs_creates_only_what_is_not_there(bucket: storage.Bucket) -> None:
    files = gcsfs.GCSFileSystem(token="anon", project="demo-project", skip_instance_cache=True)
    with files.open(f"{bucket.name}/a", "xb") as file:
        file.write(b"first")
    with pytest.raises(FileExistsError), files.open(f"{bucket.name}/a", "xb") as file:
        file.write(b"second")
    assert files.cat(f"{bucket.name}/a") == b"first"


def test_object_storage_path_reads_and_writes(bucket: storage.Bucket) -> None:
    folder = ObjectStoragePath(f"gs://{bucket.name}/in", conn_id=CONNECTION)
    (folder / "rows.jsonl").write_bytes(b"{}\n")
    assert (folder / "rows.jsonl").read_text() == "{}\n"
    assert [path.name for path in folder.iterdir()] == ["rows.jsonl"]
    (folder / "rows.jsonl").unlink()
    assert not (folder / "rows.jsonl").exists()
