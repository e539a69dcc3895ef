"""Every test file on disk is collected: a folder that pytest skips by its name has hidden hundreds of tests before."""

from __future__ import annotations

from fnmatch import fnmatch
from pathlib import Path
from typing import TYPE_CHECKING

from tests.conftest import COLLECTED
from tests.googlesql.on_evaluator import TESTS as ON_EVALUATOR

if TYPE_CHECKING:
    import pytest

TESTS = Path(__file__).parent


def _is_asked_for(path: Path, config: pytest.Config) -> bool:
    asked = [(config.invocation_params.dir / argument).resolve() for argument in config.args]
    return any(path == whole or whole in path.parents for whole in asked)


def test_every_test_file_is_collected(pytestconfig: pytest.Config) -> None:
    on_disk = {path for path in TESTS.rglob("test_*.py") if _is_asked_for(path, pytestconfig)}
    assert {path.relative_to(TESTS) for path in on_disk - pytestconfig.stash[COLLECTED]} == set()


def test_no_folder_is_skipped_by_its_name(pytestconfig: pytest.Config) -> None:
    folders = [path for path in TESTS.rglob("*") if path.is_dir()]
    skipped = pytestconfig.getini("norecursedirs")
    assert [path for path in folders if any(fnmatch(path.name, pattern) for pattern in skipped)] == []


def test_tests_for_the_reference_evaluator_exist() -> None:
    for named in ON_EVALUATOR.split():
        file, _, test = named.partition("::")
        source = (TESTS.parent / file).read_text(encoding="utf-8")
        assert not test or f"def {test.partition('[')[0]}(" in source, named
