"""Local files that several writers, and other users of the machine, work on."""

from __future__ import annotations

import json
import os
import threading
from pathlib import Path

import pytest

from airflow_gemini_batch.disk.whole_file import ReplacedMeanwhileError, WholeFile

LARGE = 200_000


@pytest.fixture
def new(tmp_path):
    """A file with the content that is to be."""
    path = tmp_path / "new"
    path.write_bytes(b"new")
    return path


@pytest.fixture
def target(tmp_path):
    folder = tmp_path / "folder"
    folder.mkdir()
    return folder / "books.jsonl"


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_file_is_made_with_its_folder(tmp_path, new):
    target = tmp_path / "a" / "b" / "books.jsonl"
    WholeFile(target).put(new, "")
    assert target.read_bytes() == b"new"
    assert names(target.parent) == ["books.jsonl"]


@pytest.mark.parametrize("there", [True, False])
def test_writers_of_one_process_leave_no_mixed_file(target, tmp_path, there):
    """Threads share the process id, as pods on one disk do."""
    if there:
        target.write_bytes(b"old")
    for number in range(10):
        contents = [f"{writer}{number}".encode() * LARGE for writer in "abcd"]
        gate = threading.Barrier(len(contents))
        lost = []

        def write(content, gate=gate, lost=lost):
            file = tmp_path / content[:2].decode()
            file.write_bytes(content)
            version = WholeFile(target).fetch(tmp_path / f"old-{content[:2].decode()}")
            gate.wait()
            try:
                WholeFile(target).put(file, version)
            except ReplacedMeanwhileError:
                lost.append(content)

        writers = [threading.Thread(target=write, args=[content]) for content in contents]
        for writer in writers:
            writer.start()
        for writer in writers:
            writer.join()
        assert len(lost) == len(contents) - 1
        (won,) = set(contents) - set(lost)
        assert target.read_bytes() == won
        assert names(target.parent) == ["books.jsonl"]


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda path: path.write_bytes(b"OLD"), id="same-size"),
        pytest.param(lambda path: path.open("ab").write(b"x"), id="appended"),
        pytest.param(Path.unlink, id="gone"),
        pytest.param(lambda path: os.replace(path.with_name("rival"), path), id="replaced"),
    ],
)
def test_file_that_changed_meanwhile_is_not_overwritten(target, new, tmp_path, change):
    target.write_bytes(b"old")
    target.with_name("rival").write_bytes(b"old")
    version = WholeFile(target).fetch(tmp_path / "copy")
    change(target)
    after = target.read_bytes() if target.exists() else None
    with pytest.raises(ReplacedMeanwhileError):
        WholeFile(target).put(new, version)
    assert (target.read_bytes() if target.exists() else None) == after


def test_file_that_appeared_meanwhile_is_not_overwritten(target, new, tmp_path):
    assert WholeFile(target).fetch(tmp_path / "copy") == ""
    target.write_bytes(b"rival")
    with pytest.raises(ReplacedMeanwhileError):
        WholeFile(target).put(new, "")
    assert target.read_bytes() == b"rival"
    assert names(target.parent) == ["books.jsonl"]


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o664])
def test_permissions_are_kept(target, new, tmp_path, mode):
    target.write_bytes(b"old")
    target.chmod(mode)
    WholeFile(target).put(new, WholeFile(target).fetch(tmp_path / "copy"))
    assert target.read_bytes() == b"new"
    assert target.stat().st_mode & 0o777 == mode


@pytest.mark.parametrize(("mask", "mode"), [(0o022, 0o644), (0o077, 0o600)])
def test_new_file_gets_the_permissions_of_the_process(target, new, mask, mode):
    before = os.umask(mask)
    try:
        WholeFile(target).put(new, "")
    finally:
        os.umask(before)
    assert target.stat().st_mode & 0o777 == mode


@pytest.mark.parametrize("there", [True, False])
def test_link_stays_and_leads_to_the_new_content(target, new, tmp_path, there):
    real = tmp_path / "real" / "data.jsonl"
    real.parent.mkdir()
    if there:
        real.write_bytes(b"old")
        real.chmod(0o600)
    target.symlink_to(real)
    WholeFile(target).put(new, WholeFile(target).fetch(tmp_path / "copy"))
    assert target.is_symlink()
    assert real.read_bytes() == b"new"
    assert names(target.parent) == ["books.jsonl"]
    assert names(real.parent) == ["data.jsonl"]


def test_planted_links_are_not_followed(target, new, tmp_path):
    victim = tmp_path / "victim"
    victim.write_bytes(b"precious")
    planted = [f".books.jsonl.{os.getpid()}", f".books.jsonl.{os.getpid()}.gemini-batch", "books.jsonl.tmp"]
    for name in planted:
        target.with_name(name).symlink_to(victim)
    WholeFile(target, old_after=-60).put(new, "")
    assert target.read_bytes() == b"new"
    assert not target.is_symlink()
    assert victim.read_bytes() == b"precious"
    assert set(planted) <= set(names(target.parent))


def test_name_of_the_new_file_is_another_each_time(target, new, tmp_path):
    seen = set()
    for _ in range(5):
        with WholeFile(target).writing() as file:
            file.write(b"x")
            seen.update(name for name in names(target.parent) if name.endswith(".gemini-batch"))
    assert len(seen) == 5


def test_file_that_fails_half_way_leaves_nothing(target):
    def fail():
        with WholeFile(target).writing() as file:
            file.write(b"half")
            raise OSError("no space left on device")

    target.write_bytes(b"old")
    with pytest.raises(OSError, match="no space left"):
        fail()
    assert target.read_bytes() == b"old"
    assert names(target.parent) == ["books.jsonl"]


def test_what_a_killed_writer_left_is_removed_and_what_a_living_one_has_is_not(target, new):
    left = target.with_name(".books.jsonl.0123456789abcdef.gemini-batch")
    left.write_bytes(json.dumps({"isbn": 1}).encode())
    with WholeFile(target).writing() as file:
        file.write(b"living")
        WholeFile(target, old_after=-60).put(new, "")
        assert len(names(target.parent)) == 2
        assert left.name not in names(target.parent)
    assert target.read_bytes() == b"living"


def test_young_leftovers_stay(target, new):
    left = target.with_name(".books.jsonl.0123456789abcdef.gemini-batch")
    left.write_bytes(b"x")
    WholeFile(target).put(new, "")
    assert left.exists()


def test_disk_without_locks_and_links_still_notices_a_lost_race(target, new, tmp_path, mocker):
    mocker.patch("fcntl.flock", side_effect=OSError(95, "not supported"))
    mocker.patch("os.link", side_effect=OSError(95, "not supported"))
    WholeFile(target).put(new, "")
    with pytest.raises(ReplacedMeanwhileError):
        WholeFile(target).put(new, "")
    WholeFile(target).put(new, WholeFile(target).fetch(tmp_path / "copy"))
    assert names(target.parent) == ["books.jsonl"]
