from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import pytest

from airflow_gemini_batch.testing.gcs.errors import StorageError
from airflow_gemini_batch.testing.gcs.listing import ListQuery, glob_pattern

if TYPE_CHECKING:
    from google.cloud import storage

    from tests.testing.gcs.conftest import Http

NAMES = ["a", "a/", "a/1.csv", "a/2.json", "a/b/3.csv", "b.csv", "c/4.csv", "d", "ä/5.csv", "🚀"]


@dataclass(frozen=True)
class Entry:
    name: str


def listed(query: ListQuery) -> tuple[list[str], list[str]]:
    """All pages of a listing of NAMES: objects and prefixes."""
    items: list[str] = []
    prefixes: list[str] = []
    for _ in range(2 * len(NAMES)):
        page = query.page(Entry(name) for name in NAMES if name >= query.first_name)
        assert len(page.items) + len(page.prefixes) <= query.limit + query.trailing_delimiter
        items += [item.name for item in page.items]
        prefixes += page.prefixes
        if page.next_token is None:
            return items, prefixes
        query = replace(query, token=page.next_token)
    pytest.fail("the pages do not end")


@pytest.mark.parametrize("limit", [1, 2, 3, 1000])
@pytest.mark.parametrize(
    ("query", "items", "prefixes"),
    [
        ({}, NAMES, []),
        ({"prefix": "a"}, ["a", "a/", "a/1.csv", "a/2.json", "a/b/3.csv"], []),
        ({"prefix": "x"}, [], []),
        ({"delimiter": "/"}, ["a", "b.csv", "d", "🚀"], ["a/", "c/", "ä/"]),
        ({"delimiter": "/", "prefix": "a/"}, ["a/", "a/1.csv", "a/2.json"], ["a/b/"]),
        ({"delimiter": "/", "prefix": "a"}, ["a"], ["a/"]),
        ({"delimiter": ".csv"}, ["a", "a/", "a/2.json", "d", "🚀"],
         ["a/1.csv", "a/b/3.csv", "b.csv", "c/4.csv", "ä/5.csv"]),
        ({"delimiter": "/", "trailing_delimiter": True}, ["a", "a/", "b.csv", "d", "🚀"], ["a/", "c/", "ä/"]),
        ({"start_offset": "a/2.json", "end_offset": "c/4.csv"}, ["a/2.json", "a/b/3.csv", "b.csv"], []),
        ({"start_offset": "d"}, ["d", "ä/5.csv", "🚀"], []),
        ({"prefix": "a/", "start_offset": "A"}, ["a/", "a/1.csv", "a/2.json", "a/b/3.csv"], []),
        ({"prefix": "a/", "start_offset": "b"}, [], []),
        ({"glob": "**.csv"}, ["a/1.csv", "a/b/3.csv", "b.csv", "c/4.csv", "ä/5.csv"], []),
        ({"glob": "*/*.csv", "prefix": "a"}, ["a/1.csv"], []),
        ({"glob": "*.csv", "delimiter": "/"}, ["b.csv"], []),
    ],
)  # fmt: skip
def test_listing_selects_whatever_the_page_size(
    query: dict[str, Any], items: list[str], prefixes: list[str], limit: int
) -> None:
    assert listed(ListQuery(**query, limit=limit)) == (items, prefixes)


@pytest.mark.parametrize(
    ("glob", "matching", "others"),
    [
        ("*.csv", ["a.csv", ".csv"], ["a/b.csv", "a.csv.gz"]),
        ("**/*.csv", ["a.csv", "a/b.csv", "a/b/c.csv"], ["a.json"]),
        ("a/**", ["a/", "a/b/c"], ["a", "b/a/"]),
        ("a/**/z", ["a/z", "a/b/c/z"], ["az", "a/bz"]),
        ("a**z", ["az", "a/b/z"], ["a"]),
        ("?.c[a-t]v", ["a.csv"], ["ab.csv", "/.csv", "a.czv"]),
        ("[!ab]*", ["c", "cab"], ["a", "bc", "/"]),
        ("{a,b/*}.{csv,json}", ["a.csv", "b/x.json"], ["b.csv", "{a}.csv"]),
        (r"\*.txt", ["*.txt"], ["a.txt"]),
        ("a,b(c)+.^$|", ["a,b(c)+.^$|"], ["a"]),
    ],
)
def test_glob_matches(glob: str, matching: list[str], others: list[str]) -> None:
    pattern = glob_pattern(glob)
    assert [name for name in matching + others if pattern.fullmatch(name)] == matching


@pytest.mark.parametrize("glob", ["{a,b", "[z-a]"])
def test_broken_glob_is_refused(glob: str) -> None:
    with pytest.raises(StorageError, match="matchGlob"):
        glob_pattern(glob)


def test_client_walks_through_pages_in_byte_order(bucket: storage.Bucket) -> None:
    for name in reversed(NAMES):
        bucket.blob(name).upload_from_string("")
    pages = [[blob.name for blob in page] for page in bucket.list_blobs(page_size=3).pages]
    assert pages == [NAMES[:3], NAMES[3:6], NAMES[6:9], NAMES[9:]]


def test_client_sees_folders_and_offsets(bucket: storage.Bucket) -> None:
    for name in NAMES:
        bucket.blob(name).upload_from_string("")
    folders = bucket.list_blobs(delimiter="/", start_offset="b", end_offset="🚀", page_size=2)
    assert ([blob.name for blob in folders], folders.prefixes) == (["b.csv", "d"], {"c/", "ä/"})
    matched = bucket.list_blobs(match_glob="**.json", max_results=5)
    assert [blob.name for blob in matched] == ["a/2.json"]


def test_objects_of_another_bucket_are_not_listed(client: storage.Client, bucket: storage.Bucket) -> None:
    other = client.create_bucket(f"{bucket.name}-other")
    other.blob("elsewhere").upload_from_string("")
    assert list(bucket.list_blobs()) == []


@pytest.mark.parametrize("params", [{"pageToken": "?"}, {"pageToken": "YWJj"}, {"maxResults": "0"}])
def test_senseless_listing_is_refused(http: Http, bucket: storage.Bucket, params: dict[str, str]) -> None:
    answer = http.get(f"/storage/v1/b/{bucket.name}/o", params=params)
    assert answer.status_code == 400
    assert next(iter(params)) in answer.json()["error"]["message"]
