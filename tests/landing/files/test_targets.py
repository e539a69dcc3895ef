"""Files that answers land in: what they may hold already, and what they may not."""

from __future__ import annotations

import json

import pyarrow.parquet as pq
import pytest
from google.cloud.storage import Blob

from airflow_gemini_batch.disk.private_folder import PREFIX
from airflow_gemini_batch.disk.whole_file import WholeFile
from airflow_gemini_batch.exceptions import GeminiBatchError, InvalidRequestError
from tests.landing.answer_files import jsonl
from tests.landing.landings import GENRE, genre, good, later, plan_of


@pytest.mark.parametrize("ending", ["parquet", "jsonl"])
def test_new_columns_are_added_and_others_stay(files, tmp_path, ending):
    target = str(tmp_path / f"books.{ending}")
    files.land([("1", genre("novel")), ("2", genre("poems"))], GENRE, target)
    wider = plan_of(
        {"type": "object", "properties": {"Genre": {"type": "string"}, "pages": {"type": "integer"}}}
    )
    narrow = plan_of({"pages": int})
    files.land([("2", later(good('{"Genre": "verse", "pages": 7}')))], wider, target)
    files.land([("1", later(good('{"pages": 9}')))], narrow, target)
    rows = jsonl(target) if ending == "jsonl" else pq.read_table(target).to_pylist()
    assert [(row["isbn"], row["genre"], row["pages"]) for row in rows] == [
        ("1", "novel", 9),
        ("2", "verse", 7),
    ]
    assert list(rows[0])[-1] == "pages"


@pytest.mark.parametrize("ending", ["parquet", "jsonl"])
@pytest.mark.parametrize(
    ("kind", "new", "old", "landing"),
    [
        (int, "1", "STRING", "INT64"),
        (list[str], '["a"]', "STRING", "ARRAY<STRING>"),
        (bool, "true", "STRING", "BOOL"),
    ],
)
def test_changed_type_is_refused_and_nothing_is_written(files, tmp_path, ending, kind, new, old, landing):
    target = tmp_path / f"books.{ending}"
    files.land([("1", genre("novel"))], GENRE, str(target))
    before = target.read_bytes()
    with pytest.raises(
        InvalidRequestError, match=f"'genre' is {old} there, and what lands in it is {landing}"
    ) as refused:
        files.land([("2", good(f'{{"genre": {new}}}'))], plan_of({"genre": kind}), str(target))
    assert str(target) in str(refused.value)
    assert target.read_bytes() == before


def test_other_columns_of_a_target_keep_their_values(files, tmp_path):
    target = tmp_path / "books.jsonl"
    target.write_text('{"isbn":"1","shelf":{"room":[1,null]},"a/b\'c~":"x"}\r\n\r\n{"isbn":"0"}')
    files.land([("1", good("one"))], target=str(target))
    first, second = jsonl(str(target))
    assert (first["isbn"], first["answer"], first["shelf"]) == ("0", None, None)
    assert (second["isbn"], second["answer"], second["shelf"], second["a/b'c~"]) == (
        "1",
        "one",
        {"room": [1, None]},
        "x",
    )


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("books.jsonl", b'{"isbn": 5}', "'isbn' is INT64 there, and what lands in it is STRING"),
        ("books.jsonl", b'{"answer": "a"}', "the key column 'isbn' is missing there"),
        ("books.jsonl", b'{"isbn": "1"', "one of its lines is"),
        (
            "books.jsonl",
            b'{"isbn": "1", "a": 1}\n{"isbn": "2", "A": 1}',
            "two of its fields differ in capitals only",
        ),
        ("books.jsonl", b'{"isbn": "1", "answer": ["a"]}', "'answer' is ARRAY<STRING> there"),
        ("books.jsonl", b'{"isbn": "1", "answer": {"a": 1}}', "'answer' is JSON there"),
        ("books.parquet", b"PAR1 or not", "is not a Parquet file"),
    ],
)
def test_target_that_is_something_else_is_refused(files, tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InvalidRequestError, match=message) as refused:
        files.land([("1", good("one"))], target=str(tmp_path / name))
    assert str(tmp_path / name) in str(refused.value)
    assert (tmp_path / name).read_bytes() == content


@pytest.mark.parametrize("target", ["books.csv", "books", "books.jsonl.gz", "gs://bucket/books.txt"])
def test_target_of_another_kind_is_refused(files, target):
    with pytest.raises(InvalidRequestError, match=r"answers land in a \.parquet or \.jsonl file"):
        files.land([("1", good("one"))], target=target)


def test_target_in_a_bucket_that_is_not_there_is_refused(files):
    with pytest.raises(InvalidRequestError, match="the bucket does not exist"):
        files.land([("1", good("one"))], target="gs://no-such-bucket-anywhere/books.parquet")


@pytest.mark.parametrize("place", ["gs", "local"])
@pytest.mark.parametrize(("rivals", "lands"), [(2, True), (5, False)])
def test_target_written_meanwhile_is_merged_with_again(files, tmp_path, monkeypatch, rivals, lands, place):
    local = tmp_path / "books.jsonl"
    target = str(local) if place == "local" else f"gs://{files.bucket}/books.jsonl"
    left = list(range(rivals))
    upload, put = Blob.upload_from_filename, WholeFile.put

    def rival(name):
        if name == "books.jsonl" and left:
            content = b'{"isbn":"rival %d","answer":"x"}\n' % left.pop()
            local.write_bytes(content) if place == "local" else files.put("books.jsonl", content)

    def upload_after(blob, *arguments, **options):
        rival(blob.name)
        upload(blob, *arguments, **options)

    def put_after(file, *arguments):
        rival(file.path.name)
        put(file, *arguments)

    monkeypatch.setattr(Blob, "upload_from_filename", upload_after)
    monkeypatch.setattr(WholeFile, "put", put_after)
    if not lands:
        with pytest.raises(GeminiBatchError, match="was replaced by another writer 5 times"):
            files.land([("1", good("one"))], target=target)
        return
    files.land([("1", good("one"))], target=target)
    content = local.read_bytes() if place == "local" else files.get("books.jsonl")
    landed = [json.loads(one)["isbn"] for one in content.splitlines()]
    assert landed == ["1", "rival 0"]


@pytest.mark.parametrize("ending", ["parquet", "jsonl"])
def test_local_target_keeps_its_permissions_and_its_link(files, tmp_path, ending):
    real, target = tmp_path / f"real.{ending}", tmp_path / f"books.{ending}"
    target.symlink_to(real)
    files.land([("1", genre("novel"))], GENRE, str(target))
    real.chmod(0o600)
    files.land([("2", genre("poems"))], GENRE, str(target))
    assert target.is_symlink()
    assert real.stat().st_mode & 0o777 == 0o600
    rows = jsonl(str(real)) if ending == "jsonl" else pq.read_table(real).to_pylist()
    assert [row["isbn"] for row in rows] == ["1", "2"]


@pytest.mark.parametrize("ending", ["parquet", "jsonl"])
def test_rows_on_their_way_are_closed_to_others(files, tmp_path, monkeypatch, ending):
    seen = {}

    def looked_at(target, file, generation):
        folder = next(path for path in file.parents if path.name.startswith(PREFIX))
        seen.update({path: oct(path.stat().st_mode) for path in (folder, *folder.rglob("*"))})

    monkeypatch.setattr(WholeFile, "put", looked_at)
    files.land([("1", genre("novel"))], GENRE, str(tmp_path / f"books.{ending}"))
    assert set(seen.values()) == {"0o100600", "0o40700"}
    assert len(seen) > 3
    assert not any(path.exists() for path in seen)
