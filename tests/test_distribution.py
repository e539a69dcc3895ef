"""The wheel and the sdist: what they hold, and what they say of themselves."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from email.message import Message
from email.parser import Parser
from pathlib import Path

import pytest

import airflow_gemini_batch

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not importlib.util.find_spec("hatchling"), reason="hatchling is not installed"),
]

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
NAME = f"airflow_gemini_batch-{airflow_gemini_batch.__version__}"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that both are built in, as pip builds them."""
    folder = tmp_path_factory.mktemp("dist")
    build(ROOT, folder)
    return folder


def build(root: Path, folder: Path) -> None:
    command = [sys.executable, "-m", "hatchling", "build", "--directory", str(folder)]
    subprocess.run(command, cwd=root, check=True, capture_output=True)


@pytest.fixture(scope="module")
def wheel(folder: Path) -> dict[str, bytes]:
    return wheel_in(folder)


@pytest.fixture(scope="module")
def sdist(folder: Path) -> dict[str, bytes]:
    with tarfile.open(folder / f"{NAME}.tar.gz") as archive:
        files = {member.name: archive.extractfile(member) for member in archive}
        return {name.removeprefix(f"{NAME}/"): file.read() for name, file in files.items() if file}


def wheel_in(folder: Path) -> dict[str, bytes]:
    """Return the files of the wheel in a folder, without those that hold digests of others."""
    with zipfile.ZipFile(folder / f"{NAME}-py3-none-any.whl") as archive:
        return {name: archive.read(name) for name in archive.namelist() if not name.endswith("/RECORD")}


@pytest.fixture(scope="module")
def metadata(wheel: dict[str, bytes]) -> Message:
    return Parser().parsestr(wheel[f"{NAME}.dist-info/METADATA"].decode())


def in_checkout(folder: str) -> set[str]:
    """Return the files of a folder that belong to it: what Python and the tests leave there does not."""
    return {
        path.relative_to(ROOT / folder).as_posix()
        for path in (ROOT / folder).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }


def test_wheel_holds_the_package_the_examples_and_nothing_else(wheel):
    package = {f"airflow_gemini_batch/{name}" for name in in_checkout("airflow_gemini_batch")}
    examples = {f"airflow_gemini_batch/example_dags/{name}" for name in in_checkout("dags")}
    about = {
        f"{NAME}.dist-info/{name}" for name in ("METADATA", "WHEEL", "entry_points.txt", "licenses/LICENSE")
    }
    assert set(wheel) == package | examples | about


def test_sdist_holds_what_users_need_and_nothing_of_the_development(sdist):
    folders = {
        f"{folder}/{name}"
        for folder in ("airflow_gemini_batch", "dags", "docs")
        for name in in_checkout(folder)
    }
    # hatchling adds .gitignore, which says what a build from the sdist leaves out.
    files = {"CHANGELOG.md", "LICENSE", "README.md", "pyproject.toml", "PKG-INFO", ".gitignore"}
    assert set(sdist) == folders | files


def test_wheel_built_from_the_sdist_is_the_same(sdist, wheel, tmp_path):
    for name, content in sdist.items():
        path = tmp_path / "source" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    build(tmp_path / "source", tmp_path / "dist")
    assert wheel_in(tmp_path / "dist") == wheel


@pytest.mark.parametrize(
    ("field", "expected"),
    [
        ("Name", [PROJECT["name"]]),
        ("Version", [airflow_gemini_batch.__version__]),
        ("Summary", [PROJECT["description"]]),
        ("License-Expression", ["Apache-2.0"]),
        ("License-File", ["LICENSE"]),
        ("Description-Content-Type", ["text/markdown"]),
        ("Classifier", PROJECT["classifiers"]),
        ("Provides-Extra", sorted(PROJECT["optional-dependencies"])),
    ],
)
def test_metadata_says(metadata, field, expected):
    assert sorted(metadata.get_all(field)) == sorted(expected)


def test_python_versions_of_metadata_and_classifiers_agree(metadata):
    from packaging.specifiers import SpecifierSet

    allowed = SpecifierSet(metadata["Requires-Python"])
    named = {name.rpartition(" ")[2] for name in metadata.get_all("Classifier") if ":: Python :: 3." in name}
    assert named == {f"3.{minor}" for minor in range(30) if f"3.{minor}" in allowed}


def test_entry_points_are_those_of_the_project(wheel):
    lines = wheel[f"{NAME}.dist-info/entry_points.txt"].decode().splitlines()
    groups = {"console_scripts": PROJECT["scripts"], **PROJECT["entry-points"]}
    expected = [f"{name} = {target}" for group in groups.values() for name, target in group.items()]
    assert sorted(line for line in lines if "=" in line) == sorted(expected)
    assert sorted(line.strip("[]") for line in lines if line.startswith("[")) == sorted(groups)
