"""The rooms of the package and who may import whom, read from the source without importing it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable

import pytest

from tests.import_graph import (
    PACKAGE,
    ROOT,
    Import,
    circles,
    folder_of,
    graph,
    imports_of,
    module_of,
    modules,
    room_of,
    rooms,
)

# A room may import those in the lines above its own; "" is the package itself.
LAYERS: list[set[str]] = [
    {"core", "disk", "charts", "version_compat"},
    {"exceptions"},
    {"gcp", "sql"},
    {"outputs", "requests"},
    {"costs"},
    {"jobs"},
    {"ledger"},
    {"vertex", "landing", "canary"},
    {"hooks"},
    {"preflight", "triggers"},
    {"operators", "sensors", "responses"},
    {"task_groups", "decorators", "notifications", "common_ai", "page"},
    {"outside"},
    {""},
    {"provider_info"},
]
# The local servers and the demo stand apart: only the command line imports them.
APART = {
    "testing": {"core", "exceptions", "version_compat"},
    "demo": {"testing", "exceptions", "core", "disk"},
}
BELOW: dict[str, set[str]] = {
    room: set().union(*LAYERS[:number]) for number, layer in enumerate(LAYERS) for room in layer
} | APART
BELOW["cli"] = set(BELOW)
BELOW_HOOKS = sorted(BELOW["hooks"])

# What the rules need besides the standard library; pydantic inside functions, for schemas that are written as models.
CORE_LIBRARIES = {"orjson", "pydantic"}
NETWORK = {"asyncio", "ftplib", "http", "smtplib", "socket", "socketserver", "ssl", "subprocess"}


ROOMS = sorted(rooms() & set(BELOW))
each_room = pytest.mark.parametrize("room", ROOMS, ids=lambda room: room or PACKAGE)


def offences(room: str, forbidden: Callable[[Import], bool]) -> list[str]:
    """Return where a room holds an import for which ``forbidden`` is true."""
    return [
        f"{module}:{imported.line} imports {imported.name}"
        for module, source in modules(room)
        for imported in imports_of(source, module)
        if forbidden(imported)
    ]


def test_every_room_has_its_place() -> None:
    assert rooms() - set(BELOW) == set()


@each_room
def test_room_imports_only_downwards(room: str) -> None:
    allowed = {room, None, *BELOW[room]}
    assert offences(room, lambda imported: room_of(imported.name) not in allowed) == []


def test_no_rooms_import_in_a_circle() -> None:
    assert circles(graph(room_of)) == []


def test_no_modules_import_in_a_circle() -> None:
    # An import of the package itself runs its __init__, which loads nothing but what is asked of it.
    assert circles(graph(module_of, lambda imported: imported.runs)) == []


def test_no_folders_of_a_room_import_in_a_circle() -> None:
    siblings = {
        folder: {end for end in imported if end.rpartition(".")[0] == folder.rpartition(".")[0]}
        for folder, imported in graph(folder_of).items()
        if "." in folder and room_of(f"{PACKAGE}.{folder}") not in APART
    }
    assert circles(siblings) == []


@pytest.mark.parametrize("room", BELOW_HOOKS)
def test_airflow_stays_above(room: str) -> None:
    assert room == "version_compat" or offences(room, lambda imported: imported.is_of("airflow")) == []


def test_core_imports_no_more_than_the_standard_library() -> None:
    allowed = (set(sys.stdlib_module_names) - NETWORK) | CORE_LIBRARIES | {PACKAGE}
    assert offences("core", lambda imported: imported.name.partition(".")[0] not in allowed) == []


@each_room
def test_google_genai_stays_in_its_room(room: str) -> None:
    found = offences(room, lambda imported: imported.is_of("google.genai"))
    assert not found or room in ("vertex", "testing")


# The local servers run in processes of their own, never where a DAG file is parsed.
@pytest.mark.parametrize("room", sorted(set(ROOMS) - set(APART)), ids=lambda room: room or PACKAGE)
def test_module_level_imports_nothing_of_google(room: str) -> None:
    google = ("google", "airflow.providers.google")
    assert offences(room, lambda imported: imported.runs and imported.is_of(*google)) == []


@pytest.mark.slow
def test_core_loads_neither_airflow_nor_google() -> None:
    # Beyond the source: what a library might bring along.
    names = [module.removesuffix(".__init__") for module, _ in modules("core")]
    code = (
        f"import sys\nbefore = set(sys.modules)\nimport {', '.join(names)}\nprint(*set(sys.modules) - before)"
    )
    ran = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True, cwd=ROOT.parent
    )
    loaded = {name.partition(".")[0] for name in ran.stdout.split()}
    assert PACKAGE in loaded
    assert loaded & {"airflow", "google", "requests", "aiohttp", "httpx"} == set()


# The rest holds the reading itself: a reader that sees no imports would find every rule kept.


@pytest.mark.parametrize(
    ("source", "found"),
    [
        pytest.param("import google.auth", [("google.auth", True)], id="plain"),
        pytest.param("import google.auth as auth, os", [("google.auth", True), ("os", True)], id="several"),
        pytest.param("from google import genai", [("google.genai", True)], id="from-a-package"),
        pytest.param("from google.genai import types as t", [("google.genai.types", True)], id="renamed"),
        pytest.param(
            "try:\n import google\nexcept ImportError:\n import b", [("google", True), ("b", True)], id="try"
        ),
        pytest.param("if True:\n pass\nelse:\n import google", [("google", True)], id="else"),
        pytest.param("with a:\n for b in c:\n  import google", [("google", True)], id="nested-blocks"),
        pytest.param("match a:\n case 1:\n  import google", [("google", True)], id="match"),
        pytest.param("class A:\n import google", [("google", True)], id="class-body"),
        pytest.param("def f():\n import google", [("google", False)], id="function"),
        pytest.param("async def f():\n import google", [("google", False)], id="async-function"),
        pytest.param("class A:\n def f(self):\n  import google", [("google", False)], id="method"),
        pytest.param("def f():\n class A:\n  import google", [("google", False)], id="class-in-a-function"),
        pytest.param("if TYPE_CHECKING:\n import google", [("google", False)], id="type-checking"),
        pytest.param(
            "if typing.TYPE_CHECKING:\n import google", [("google", False)], id="typing-type-checking"
        ),
        pytest.param("if not TYPE_CHECKING:\n import google", [("google", True)], id="not-type-checking"),
        pytest.param(
            "if TYPE_CHECKING:\n pass\nelse:\n import google", [("google", True)], id="else-of-type-checking"
        ),
        pytest.param("from . import wire", [("airflow_gemini_batch.vertex.wire", True)], id="relative"),
        pytest.param(
            "from ..core.jobs import a", [("airflow_gemini_batch.core.jobs.a", True)], id="relative-up"
        ),
        pytest.param("x = 'import google'", [], id="text"),
    ],
)
def test_reader_finds_imports_and_whether_they_run(source: str, found: list[tuple[str, bool]]) -> None:
    assert [(one.name, one.runs) for one in imports_of(source, f"{PACKAGE}.vertex.client")] == found


@pytest.mark.parametrize(
    ("name", "room"),
    [
        ("airflow_gemini_batch.jobs.state.BatchJob", "jobs"),
        ("airflow_gemini_batch.core", "core"),
        ("airflow_gemini_batch.exceptions.GeminiBatchError", "exceptions"),
        ("airflow_gemini_batch.__version__", ""),
        ("airflow_gemini_batch.GeminiBatchHook", ""),
        ("airflow_gemini_batch", ""),
        ("airflow.models", None),
        ("airflow_gemini_batch_extras", None),
    ],
)
def test_reader_knows_where_an_import_leads(name: str, room: str | None) -> None:
    assert room_of(name) == room


@pytest.mark.parametrize(
    ("name", "is_google"),
    [
        ("google", True),
        ("google.auth.credentials", True),
        ("google_crc32c", False),
        ("airflow.google", False),
    ],
)
def test_reader_tells_a_package_from_its_namesakes(name: str, is_google: bool) -> None:
    assert Import(name, 1, runs=True).is_of("google") is is_google


def test_reader_sees_the_modules_of_every_room() -> None:
    assert [room for room in ROOMS if not list(modules(room))] == []
    assert f"{PACKAGE}.core.keys" in dict(modules("core"))
