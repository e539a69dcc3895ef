"""The imports of the package, read from the source without importing it; run it to print who imports whom."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

PACKAGE = "airflow_gemini_batch"
ROOT = Path(__file__).parents[1] / PACKAGE

_ONLY_FOR_TYPES = ("TYPE_CHECKING", "typing.TYPE_CHECKING")


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


@cache
def imports_of(source: str, module: str) -> list[Import]:
    """Return the imports of a module's source; ``module`` is its dotted name, ``….__init__`` for a package."""
    return list(_imports(ast.parse(source).body, module, runs=True))


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
    statements: list[ast.stmt] = []
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.stmt):
            statements.append(child)
        elif isinstance(child, (ast.ExceptHandler, ast.match_case)):
            statements += _children(child)
    return statements


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


@cache
def rooms() -> frozenset[str]:
    """Return the folders and single modules at the top of the package; "" is the package itself."""
    folders = {path.parent.name for path in ROOT.glob("*/__init__.py")}
    return frozenset({"", *folders, *(path.stem for path in ROOT.glob("*.py"))} - {"__init__"})


def room_of(name: str) -> str | None:
    """Return the room that a dotted name lies in, ``""`` for the package itself, None for another package."""
    package, _, rest = name.partition(".")
    if package != PACKAGE:
        return None
    first = rest.partition(".")[0]
    return first if first in rooms() else ""


@cache
def module_of(name: str) -> str | None:
    """Return the file that a dotted name lies in, without its ending and below the package; None for another one."""
    if room_of(name) is None:
        return None
    parts = name.split(".")[1:]
    while parts and not (ROOT / Path(*parts)).with_suffix(".py").is_file():
        if (ROOT / Path(*parts)).is_dir():
            return ".".join([*parts, "__init__"])
        parts.pop()
    return ".".join(parts) or "__init__"


def folder_of(name: str) -> str | None:
    """Return the folder that a dotted name lies in, or the name of a module at the top."""
    module = module_of(name)
    return None if module is None else module.rpartition(".")[0] or module


def graph(
    place_of: Callable[[str], str | None], counts: Callable[[Import], bool] = lambda _: True
) -> dict[str, set[str]]:
    """Return which rooms, folders or modules each one imports.

    :param place_of: :func:`room_of`, :func:`folder_of` or :func:`module_of`.
    :param counts: whether an import counts; by default also those of type checkers and within functions.
    """
    edges: dict[str, set[str]] = {}
    for room in sorted(rooms()):
        for module, source in modules(room):
            start = place_of(module)
            ends = {place_of(imported.name) for imported in imports_of(source, module) if counts(imported)}
            edges.setdefault(str(start), set()).update(end for end in ends if end not in (None, start))
    return edges


def circles(edges: dict[str, set[str]]) -> list[list[str]]:
    """Return groups of nodes of which each leads to each other one."""
    reached = {node: _reached(node, edges) for node in edges}
    groups = {
        tuple(sorted(end for end in ends if node in reached.get(end, ()))) for node, ends in reached.items()
    }
    return [list(group) for group in sorted(groups) if len(group) > 1]


def _reached(start: str, edges: dict[str, set[str]]) -> set[str]:
    reached: set[str] = set()
    left = [start]
    while left:
        ends = edges.get(left.pop(), set()) - reached
        reached |= ends
        left += ends
    return reached


if __name__ == "__main__":
    for folder, imported in graph(folder_of).items():
        print(f"{folder} → {', '.join(sorted(imported)) or 'nothing'}")
