from __future__ import annotations

import functools
import gc
import os
import ssl
import sys
import tempfile
from collections import Counter
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from airflow_gemini_batch.testing.stack import LocalStack
    from airflow_gemini_batch.testing.vertex_ai import LocalVertex
    from airflow_gemini_batch.vertex.client import BatchJobClient

GUARD = Path(__file__).parent / "guard"

COLLECTED = pytest.StashKey[set[Path]]()
"""The files of all tests that were collected, before any is deselected, and of those left out below."""

WITHOUT_UNIT_TESTS = "unit/without"
"""In pytest's cache: when each file that holds no unit test was last written."""

# The fixtures that start servers, for as long as the session or a folder of it lasts.
SERVERS = {"local_stack", "server", "storage_server", "bigquery_server"}

# As often as it comes by default, the garbage collector takes a fifth of the time of the tests.
gc.set_threshold(50_000, 50, 50)

# Airflow reads its home when it is first imported.
_airflow_home = tempfile.TemporaryDirectory(prefix="gemini-batch-tests-", ignore_cleanup_errors=True)
os.environ["AIRFLOW_HOME"] = _airflow_home.name
os.environ["AIRFLOW__CORE__LOAD_EXAMPLES"] = "false"
os.environ["AIRFLOW__USAGE_DATA_COLLECTION__ENABLED"] = "false"
os.environ["NO_GCE_CHECK"] = "true"
# Processes that tests start are guarded as well, and report here.
ESCAPED = Path(os.environ["AIRFLOW_HOME"]) / "escaped.txt"
os.environ["GUARD_REPORT"] = str(ESCAPED)
os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(GUARD), os.environ.get("PYTHONPATH")]))

# Each client of google-genai reads the certificates of all authorities, three times, to talk to servers without any.
ssl.create_default_context = functools.cache(ssl.create_default_context)

import tests.guard.sitecustomize  # noqa: E402, F401
from tests.needs_airflow import needs_airflow  # noqa: E402

pytest_plugins = ["airflow_gemini_batch.testing.fixtures", "tests.googlesql.recording"]

assert "airflow" not in sys.modules, "AIRFLOW_HOME has to be set before Airflow is imported"


# What the test at hand has started: servers, and processes of this environment.
_started: list[str] = []


def _take_note(event: str, arguments: tuple[object, ...]) -> None:
    # urllib3 tries IPv6 when it is imported.
    if (event == "socket.bind" and arguments[1] != ("::1", 0)) or (
        event == "subprocess.Popen" and str(arguments[0]).startswith(os.path.dirname(sys.executable))
    ):
        _started.append(f"{event}{arguments[:2]}")


sys.addaudithook(_take_note)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Mark each test that bears no mark of the three: as ``stack`` if it has a server, else as ``unit``."""
    files = {item.path for item in items}
    config.stash.setdefault(COLLECTED, set()).update(files)
    if "airflow" in config.option.markexpr:
        for item in items:
            if needs_airflow(item.path):
                item.add_marker("airflow")
    for item in items:
        if not (item.get_closest_marker("slow") or item.get_closest_marker("stack")):
            fixtures: list[str] = getattr(item, "fixturenames", [])
            item.add_marker("stack" if SERVERS.intersection(fixtures) else "unit")
    cache = getattr(config, "cache", None)  # there is none with ``-p no:cacheprovider``
    if cache is not None and os.environ.get("PYTEST_XDIST_WORKER", "gw0") == "gw0":
        others = files - {item.path for item in items if item.get_closest_marker("unit")}
        written = {str(path): path.stat().st_mtime for path in others}
        cache.set(WITHOUT_UNIT_TESTS, cache.get(WITHOUT_UNIT_TESTS, {}) | written)
    items[:] = _slow_ones_first(items, int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1")))


def _slow_ones_first(items: list[pytest.Item], workers: int) -> list[pytest.Item]:
    """Put the slow tests, whole files, at the beginning of the parts of the tests that the workers begin with."""
    slow: dict[Path, list[pytest.Item]] = {}
    others: list[pytest.Item] = []
    for item in items:
        (slow.setdefault(item.path, []) if item.get_closest_marker("slow") else others).append(item)
    files, share = list(slow.values()), -(-len(items) // workers)
    ordered: list[pytest.Item] = []
    for worker in range(workers):
        for file in files[worker * len(files) // workers : (worker + 1) * len(files) // workers]:
            ordered += file
        room = max(share * (worker + 1) - len(ordered), 0)
        ordered += others[:room]
        del others[:room]
    return ordered + others


@pytest.hookimpl(trylast=True)
def pytest_collection_finish() -> None:
    """Let the garbage collector pass by what stays until the end: modules, tests, fixtures."""
    gc.collect()
    gc.freeze()


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leave out the files none of whose tests is asked for; reading them takes longer than running the unit tests.

    With ``-m unit``, those that held no unit test when they were last collected; with ``-m airflow``, those whose
    tests don't need it.
    """
    if collection_path.suffix != ".py" or not collection_path.name.startswith("test_"):
        return None
    cache = getattr(config, "cache", None)
    if config.option.markexpr == "unit" and cache is not None:
        known: float | None = cache.get(WITHOUT_UNIT_TESTS, {}).get(str(collection_path))
        left_out = known == collection_path.stat().st_mtime
    else:
        left_out = config.option.markexpr == "airflow" and not needs_airflow(collection_path)
    if left_out:
        config.stash.setdefault(COLLECTED, set()).add(collection_path)
    return left_out or None


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Name a failed test when it fails, for a run of the gate that is stopped before its end."""
    if report.failed and "GEMINI_BATCH_COUNT_TESTS" in os.environ and "PYTEST_XDIST_WORKER" not in os.environ:
        print(f"\n{report.when} of {report.nodeid} failed:\n{report.longreprtext[-3000:]}", flush=True)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the number of tests in each folder, for the gate."""
    if "GEMINI_BATCH_COUNT_TESTS" not in os.environ:
        return
    reports = [one for some in terminalreporter.stats.values() for one in some]
    tests = {one.nodeid for one in reports if isinstance(one, pytest.TestReport)}
    folders = Counter(test.partition("::")[0].rpartition("/")[0] for test in tests)
    terminalreporter.section("tests of each folder")
    for folder, number in sorted(folders.items()):
        terminalreporter.line(f"{number:6} {folder}")
    terminalreporter.line(f"{len(tests):6} in all")


# Hooks rather than fixtures, which took a tenth of the time of the unit tests.
@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup() -> None:
    _started.clear()
    ESCAPED.unlink(missing_ok=True)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_teardown(item: pytest.Item) -> Generator[None, None, None]:
    """Fail a unit test that started a process or a server, and a test any process of which reached for another host."""
    yield
    if _started and item.get_closest_marker("unit"):
        pytest.fail(
            f"A unit test started {_started}. Take the servers of a fixture, or mark the test as slow."
        )
    if os.path.exists(ESCAPED):
        pytest.fail(f"reached for another host: {ESCAPED.read_text()}")


@pytest.fixture
def vertex(gemini_batch_stack: LocalStack) -> Iterator[LocalVertex]:
    """The server, without memory of the tests before; it behaves again when the test ends."""
    vertex = gemini_batch_stack.vertex
    vertex.requests.clear()
    yield vertex
    vertex.faults.clear()


@pytest.fixture
def client(vertex: LocalVertex) -> Iterator[BatchJobClient]:
    from tests.support.jobs import make_client

    client = make_client(vertex)
    yield client
    client.close()
