"""The rooms of the package and who may import whom, read from the source without importing it."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

PACKAGE = "airflow_gemini_batch"
ROOT = Path(__file__).parents[1] / PACKAGE

# From each room, the rooms below it. Every room may import its own modules and `exceptions` as well.
BELOW: dict[str, set[str]] = {
    "core": set(),
    "gcp": {"core"},
    "outputs": {"core", "gcp"},
    "requests": {"core", "gcp"},
    "costs": {"core", "gcp", "outputs"},
    "jobs": {"core", "outputs", "costs"},
    "vertex": {"core", "jobs"},
    "landing": {"core", "gcp", "outputs", "requests", "jobs"},
    "version_compat": set(),
    "hooks": {"core", "costs", "outputs", "jobs", "vertex", "version_compat"},
    "preflight": {"core", "gcp", "outputs", "requests", "costs", "jobs", "landing", "hooks"},
    "triggers": {"core", "jobs", "vertex", "hooks", "version_compat"},
    "operators": {
        "core",
        "gcp",
        "outputs",
        "requests",
        "costs",
        "jobs",
        "landing",
        "preflight",
        "hooks",
        "triggers",
    },
    "sensors": {"core", "jobs", "hooks", "triggers"},
    "task_groups": {"requests", "operators"},
    "decorators": {"core", "requests", "costs", "jobs", "hooks", "operators"},
    "testing": {"core", "requests", "jobs"},
    "demo": {"testing"},
    # Single modules at the top; "" is the package itself.
    "responses": {"core", "requests", "outputs", "jobs", "landing", "hooks"},
    "exceptions": set(),
    "provider_info": {""},
    "": {"core", "hooks", "triggers", "operators", "sensors", "task_groups", "responses"},
}
# The command line may import everything, and nobody imports the command line.
BELOW["cli"] = set(BELOW)

# What the rules need besides the standard library; pydantic inside functions, for schemas that are written as models.
CORE_LIBRARIES = {"orjson", "pydantic"}
NETWORK = {"asyncio", "ftplib", "http", "smtplib", "socket", "socketserver", "ssl", "subprocess"}


@dataclass(frozen=True)
class Import:
    """One imported name.

    :param name: dotted, with the imported attribute: ``from a.b import c`` gives ``a.b.c``.
    :param runs: whether the line runs when the module is imported: outside of functions and of
        ``if TYPE_CHECKING``.
    """

    name: str
    line: int
    runs: bool

    def is_of(self, *packages: str) -> bool:
        return any(self.name == package or self.name.startswith(f"{package}.") for package in packages)


def imports_of(source: str, module: str) -> list[Import]:
    """Return the imports of a module's source; ``module`` is its dotted name, ``….__init__`` for a package."""
    return list(_imports(ast.parse(source).body, module, runs=True))


_ONLY_FOR_TYPES = ("TYPE_CHECKING", "typing.TYPE_CHECKING")


def _imports(nodes: list[ast.stmt], module: str, *, runs: bool) -> Iterator[Import]:
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from (Import(alias.name, node.lineno, runs) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            origin = _origin(node, module)
            yield from (Import(f"{origin}.{alias.name}", node.lineno, runs) for alias in node.names)
        elif isinstance(node, ast.If) and ast.unparse(node.test) in _ONLY_FOR_TYPES:
            yield from _imports(node.body, module, runs=False)
            yield from _imports(node.orelse, module, runs=runs)
        else:
            inside = runs and not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
            yield from _imports(_children(node), module, runs=inside)


def _children(node: ast.AST) -> list[ast.stmt]:
    """Return the statements right below a node, also those in handlers and cases."""
    found: list[ast.stmt] = []
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.stmt):
            found.append(child)
        elif isinstance(child, (ast.ExceptHandler, ast.match_case)):
            found += _children(child)
    return found


def _origin(node: ast.ImportFrom, module: str) -> str:
    if not node.level:
        return node.module or ""
    return ".".join([*module.split(".")[: -node.level], *([node.module] if node.module else [])])


def modules(room: str) -> Iterator[tuple[str, str]]:
    """Yield the dotted name and the source of each module of a room."""
    folder, file = ROOT / (room or "__init__"), ROOT / f"{room or '__init__'}.py"
    for path in sorted(folder.rglob("*.py")) or [file]:
        dotted = ".".join([PACKAGE, *path.relative_to(ROOT).with_suffix("").parts])
        yield dotted, path.read_text(encoding="utf-8")


def room_of(imported: Import) -> str | None:
    """Return the room that an import leads to, ``""`` for the package itself, ``None`` for another package."""
    package, _, rest = imported.name.partition(".")
    if package != PACKAGE:
        return None
    first = rest.partition(".")[0]
    return first if first in existing_rooms() else ""


def existing_rooms() -> set[str]:
    folders = {path.parent.name for path in ROOT.glob("*/__init__.py")}
    files = {path.stem for path in ROOT.glob("*.py")} - {"__init__"}
    return {"", *folders, *files}


ROOMS = sorted(existing_rooms() & set(BELOW))
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
    assert existing_rooms() - set(BELOW) == set()


@each_room
def test_room_imports_only_downwards(room: str) -> None:
    allowed = {room, "exceptions", None, *BELOW[room]}
    assert offences(room, lambda imported: room_of(imported) not in allowed) == []


def test_core_imports_no_more_than_the_standard_library() -> None:
    allowed = (set(sys.stdlib_module_names) - NETWORK) | CORE_LIBRARIES | {PACKAGE}
    assert offences("core", lambda imported: imported.name.partition(".")[0] not in allowed) == []


@each_room
def test_google_genai_stays_in_its_room(room: str) -> None:
    found = offences(room, lambda imported: imported.is_of("google.genai"))
    assert not found or room in ("vertex", "local")


# The local servers run in processes of their own, never where a DAG file is parsed.
@pytest.mark.parametrize(
    "room", [room for room in ROOMS if room != "local"], ids=lambda room: room or PACKAGE
)
def test_module_level_imports_nothing_of_google(room: str) -> None:
    google = ("google", "airflow.providers.google")
    assert offences(room, lambda imported: imported.runs and imported.is_of(*google)) == []


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
    assert room_of(Import(name, 1, runs=True)) == room


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
