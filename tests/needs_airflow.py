"""Which test files can have another result with another release of Airflow, read from the source without importing it.

They are those that reach Airflow by an import: their own, that of a conftest, or that of any module of the package or
of the tests that they lead to, inside functions too. A test file that starts processes counts as well, since what
these import is not seen. ``pytest -m airflow`` runs these files; the gate does so on Airflow 2. Run this module to
print them.
"""

from __future__ import annotations

from collections import defaultdict
from functools import cache
from pathlib import Path

from tests.import_graph import PACKAGE, Import, imports_of

REPOSITORY = Path(__file__).parents[1]

_FOLDERS = (PACKAGE, "tests")
_PROCESSES = ("subprocess", "multiprocessing")


def needs_airflow(file: Path) -> bool:
    """Return whether a test's result can depend on Airflow's release."""
    return _name_of(file) in _dependent()


def _name_of(file: Path) -> str:
    return ".".join(file.relative_to(REPOSITORY).with_suffix("").parts)


@cache
def _sources() -> dict[str, str]:
    """Return the source of each module of the package and of the tests, by its dotted name."""
    files = [file for folder in _FOLDERS for file in (REPOSITORY / folder).rglob("*.py")]
    return {_name_of(file): file.read_text(encoding="utf-8") for file in files}


@cache
def _dependent() -> frozenset[str]:
    """Return the modules that import Airflow, or one that does, and the tests that start processes."""
    importers: dict[str, set[str]] = defaultdict(set)
    found: list[str] = []
    for module, source in _sources().items():
        imports = [one for one in imports_of(source, module) if one.runs or module != f"{PACKAGE}.__init__"]
        if any(one.is_of("airflow") or _is_lazy(one) for one in imports) or _starts_processes(
            module, source, imports
        ):
            found.append(module)
        for imported in {name for one in imports for name in _modules_of(one.name)} | _above(module):
            importers[imported].add(module)
    dependent: set[str] = set()
    while found:
        if (module := found.pop()) not in dependent:
            dependent.add(module)
            found += importers[module]
    return frozenset(dependent)


def _starts_processes(module: str, source: str, imports: list[Import]) -> bool:
    return module.rpartition(".")[2].startswith("test_") and (
        "pytest.mark.slow" in source or any(one.is_of(*_PROCESSES) for one in imports)
    )


def _is_lazy(imported: Import) -> bool:
    """Return whether a name is one that the package imports when it is asked for: an operator, a hook, a trigger."""
    package, _, name = imported.name.partition(".")
    return (
        package == PACKAGE and name[:1].isalpha() and "." not in name and len(_modules_of(imported.name)) == 1
    )


def _modules_of(name: str) -> list[str]:
    """Return the modules that importing a dotted name runs: the packages that it lies in, and itself."""
    parts = name.split(".")
    begins = [".".join(parts[: end + 1]) for end in range(len(parts))]
    return [found for begin in begins for found in (begin, f"{begin}.__init__") if found in _sources()]


def _above(module: str) -> set[str]:
    """Return the packages that a module lies in, and the conftests of a test."""
    parts = module.split(".")[:-1]
    folders = [".".join(parts[: end + 1]) for end in range(len(parts))]
    names = {f"{folder}.{name}" for folder in folders for name in ("__init__", "conftest")}
    return names & _sources().keys() - {module}


if __name__ == "__main__":
    for path in sorted((REPOSITORY / "tests").rglob("test_*.py")):
        if needs_airflow(path):
            print(path.relative_to(REPOSITORY))
