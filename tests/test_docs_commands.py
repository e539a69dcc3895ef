"""The commands that the README and the pages name are commands: in blocks of bash, and in the text.

Each one is read by the parser that would read it: of ``gemini-batch``, of Airflow, of pip's requirements, of make. What
none of them reads has to be in ``OTHERS``, with the reason.
"""

from __future__ import annotations

import json
import re
import shlex
import tomllib
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest
from airflow.cli import cli_parser
from packaging.requirements import Requirement
from typer.main import get_command

from airflow_gemini_batch.cli import app
from airflow_gemini_batch.version_compat import AIRFLOW_V_3_0_PLUS
from tests.live.settings import REQUIRED
from tests.test_docs import DOCUMENTS, ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
BLOCK = re.compile(r"^```(?:bash|sh|shell|console)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
IN_TEXT = re.compile(r"`((?:gemini-batch|make|airflow|pip|python|python3|uv) [^`\n]+)`")

OTHERS = {
    "gcloud auth application-default login": "of Google's command line, which is not installed here",
    "python3 -m venv .venv": "of Python itself",
    "pytest": "runs the tests, so no test runs it",
    "pre-commit install": "of pre-commit, which its line before installs",
}


def commands(name: str) -> Iterator[str]:
    """Yield the commands of a document, one by one, without the folder of the environment."""
    for block in BLOCK.findall(DOCUMENTS[name]):
        yield from _commands(block.replace("\\\n", " "))
    for text in IN_TEXT.findall(DOCUMENTS[name]):
        yield from _commands(text)


def _commands(text: str) -> Iterator[str]:
    for part in re.split(r"&&|\n", text):
        command = re.sub(r" +[#>] .*", "", part.strip().removeprefix(".venv/bin/"))
        if command and not command.startswith("#"):
            yield command


def gemini_batch(arguments: list[str]) -> None:
    command, path = get_command(app), ["gemini-batch"]
    while arguments and arguments[0] in getattr(command, "commands", ()):
        path.append(arguments[0])
        command = command.commands[arguments.pop(0)]
    if getattr(command, "commands", ()):
        options = {option for one in command.params for option in one.opts}
        assert set(arguments) <= options | {"…"}, f"{' '.join(path)} knows {sorted(options)}"
    elif arguments:
        command.make_context(" ".join(path), arguments)


def airflow(arguments: list[str]) -> None:
    if arguments[0] == "backfill" and not AIRFLOW_V_3_0_PLUS:
        return
    cli_parser.get_parser().parse_args(arguments)


def make(arguments: list[str]) -> None:
    targets = re.findall(r"^([\w.-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    assert set(arguments) <= set(targets)


def pip(arguments: list[str]) -> None:
    assert arguments[0] in ("install", "wheel", "freeze")
    options, named = [], []
    for argument in arguments[1:]:
        (options if argument.startswith("-") else named).append(argument)
    allowed = {"-q", "-e", "--no-deps", "--constraint", "--exclude-editable", "--python=.venv"}
    assert set(options) <= allowed
    for name in named:
        if name.startswith("."):
            name = f"{PROJECT['name']}{name[1:]}"
        if not name.startswith("/"):
            requirement = Requirement(name)
            if requirement.name == PROJECT["name"]:
                assert requirement.extras <= set(PROJECT["optional-dependencies"])


def python(arguments: list[str]) -> None:
    if arguments[0] == "-m":
        assert find_spec(arguments[1])
    else:
        assert (ROOT / arguments[0]).is_file()


def export(arguments: list[str]) -> None:
    package = "".join(
        path.read_text(encoding="utf-8") for path in (ROOT / "airflow_gemini_batch").rglob("*.py")
    )
    for argument in arguments:
        variable, _, value = argument.partition("=")
        if variable.startswith("AIRFLOW_CONN_"):
            assert "conn_type" in json.loads(value)
        else:
            assert variable in REQUIRED or f'"{variable}"' in package


def uv(arguments: list[str]) -> None:
    assert arguments[0] == "pip"
    pip(arguments[1:])


READERS: dict[str, Callable[[list[str]], None]] = {
    "airflow": airflow,
    "export": export,
    "gemini-batch": gemini_batch,
    "make": make,
    "pip": pip,
    "python": python,
    "uv": uv,
}


def test_no_block_of_a_shell_is_overlooked():
    languages = {
        line for text in DOCUMENTS.values() for line in re.findall(r"^```(\S*sh\S*|console)$", text, re.M)
    }
    assert languages == {"bash"}
    assert sum(len(BLOCK.findall(text)) for text in DOCUMENTS.values()) > 8


@pytest.mark.parametrize(
    ("name", "command"),
    [(name, command) for name in DOCUMENTS if name != "CHANGELOG.md" for command in commands(name)],
)
def test_command_is_one(name, command, tmp_path, monkeypatch):
    if command in OTHERS:
        return
    first, *arguments = shlex.split(command)
    assert first in READERS, (
        f"{name}: nothing here reads {first}. Run it in a test, or say in OTHERS why not."
    )
    monkeypatch.chdir(tmp_path)
    for folder in ("dags", "my_dags"):
        Path(folder).mkdir()
    for file in ("books.csv", "products.csv", "requests.jsonl"):
        Path(file).touch()
    READERS[first](arguments)


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ("gemini-batch demoo", "gemini-batch knows"),
        ("gemini-batch demo --rate 0.1", "--rate"),
        ("gemini-batch up --queue-seconds long", "number|long"),
        ("gemini-batch jobs watsh", "gemini-batch jobs knows"),
        ("gemini-batch jobs list --state finishd", "finishd"),
        ("make tests", "tests"),
        ("pip install .[locals]", "locals"),
        ("python -m tests.matrices", "None"),
        ("export GEMINI_BATCH_LIVE_PROJEKT=a", "PROJEKT"),
    ],
)
def test_wrong_command_is_told(wrong, told):
    first, *arguments = shlex.split(wrong)
    with pytest.raises(Exception, match=told):  # the errors of typer's copy of click, or of click itself
        READERS[first](arguments)


def test_wrong_command_of_airflow_is_told():
    with pytest.raises(SystemExit):
        airflow(["dagz"])
