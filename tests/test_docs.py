"""The documents name things that exist: paths, public names, folders and their imports."""

from __future__ import annotations

import inspect
import re
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

import airflow_gemini_batch
from airflow_gemini_batch.operators.submit import SubmitBatchJobOperator
from tests.import_graph import graph, room_of
from tests.messages import PACKAGE, Message, messages
from tests.test_architecture import BELOW

ROOT = Path(__file__).parents[1]
PAGES = sorted(str(page.relative_to(ROOT)) for page in (ROOT / "docs").rglob("*.md"))
DOCUMENTS = {
    name: (ROOT / name).read_text(encoding="utf-8")
    for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", *PAGES)
}
# Made later, or of a former release.
NOT_IN_THE_TREE = {"airflow_gemini_batch/example_dags"}


@pytest.mark.parametrize("name", DOCUMENTS)
def test_paths_exist(name):
    paths = set(re.findall(r"`((?:airflow_gemini_batch|tests|dags|docs)/[\w./-]*)`", DOCUMENTS[name]))
    links = set(re.findall(r"\]\((?!http|#)([^)#]+)", DOCUMENTS[name]))
    here = (ROOT / name).parent
    missing = {path for path in paths if not (ROOT / path).exists()} - NOT_IN_THE_TREE
    assert missing | {link for link in links if not (here / link).exists()} == set()


@pytest.mark.slow
def test_pages_build_without_a_warning(tmp_path):
    pytest.importorskip("furo", reason="needs the extra docs")
    build = [
        sys.executable,
        "-m",
        "sphinx",
        "-b",
        "html",
        "-W",
        "--keep-going",
        "-q",
        ROOT / "docs",
        tmp_path,
    ]
    ended = subprocess.run(build, capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stderr) == (0, "")
    fetched = r"""(?:<script[^>]* src|<link rel="stylesheet"[^>]* href|<img[^>]* src)="(?:https?:)?//[^"]*"""
    assert [
        found for page in tmp_path.rglob("*.html") for found in re.findall(fetched, page.read_text())
    ] == []


def test_folders_of_the_architecture_exist():
    folders = re.findall(r"`(\w+)/`", DOCUMENTS["docs/architecture.md"].partition("\n## Who imports")[0])
    missing = {name for name in folders if not (ROOT / "airflow_gemini_batch" / name).is_dir()}
    assert missing - {"bigquery", "files"} == set()


def test_each_promise_of_security_names_a_test_that_exists():
    promises = (
        DOCUMENTS["docs/security.md"].partition("## What the package promises")[2].partition("\n## ")[0]
    )
    rows = [line.rpartition(" | ")[2] for line in promises.splitlines() if line.startswith("| ")][1:]
    assert [row for row in rows if "`tests/" not in row] == []
    for row in rows:
        file = ""
        for named in re.findall(r"`(tests/[^`]*|::\w+)`", row):
            path, _, test = named.partition("::")
            file = path or file
            assert (ROOT / file).exists(), named
            assert not test or f"def {test}(" in (ROOT / file).read_text(encoding="utf-8"), named


@pytest.mark.parametrize("name", DOCUMENTS)
def test_imported_names_are_public(name):
    imports = re.findall(r"from airflow_gemini_batch import (\([^)]*\)|.*)", DOCUMENTS[name])
    names = {word for line in imports for word in re.findall(r"\w+", line)}
    assert names <= set(airflow_gemini_batch.__all__)


def test_picture_of_the_imports_shows_each_import_and_breaks_no_rule():
    arrows = re.findall(r"^    (\w+) --> (\w+)$", DOCUMENTS["docs/architecture.md"], re.MULTILINE)
    assert [arrow for arrow in arrows if arrow[0] != "cli" and arrow[1] not in BELOW[arrow[0]]] == []
    drawn: dict[str, set[str]] = {}
    for above, below in arrows:
        drawn.setdefault(above, set()).add(below)

    def reachable(room: str) -> set[str]:
        return {room}.union(*(reachable(below) for below in drawn.get(room, ())))

    imports = graph(room_of)
    assert {room: (imports[room] & drawn.keys()) - reachable(room) for room in drawn if room != "cli"} == {
        room: set() for room in drawn if room != "cli"
    }


def test_page_of_submit_says_what_is_not_a_template():
    kind = airflow_gemini_batch.SubmitGeminiBatchOperator
    parameters = set(inspect.signature(SubmitBatchJobOperator.__init__).parameters)
    # What the task groups set, a former name, and what is passed on.
    own = parameters - {"self", "kwargs", "source", "failures_are_landed", "first_job_is_estimated"}
    said = re.search(r"Not templates are (.*?): they", DOCUMENTS["docs/steps/submit.md"], re.S)[1]
    assert sorted(re.findall(r"`(\w+)`", said)) == sorted(own - set(kind.template_fields))


def test_drawn_pictures_show_their_source():
    drawn = re.findall(
        r"<!-- drawn in (\S+): [^\n]* -->\n```mermaid\n(.*?)```", DOCUMENTS["docs/architecture.md"], re.S
    )
    assert len(drawn) == DOCUMENTS["docs/architecture.md"].count("```mermaid")
    for name, source in drawn:
        picture = ElementTree.parse(ROOT / "docs" / name).getroot()
        shown = re.sub(r"\s", "", "".join(picture.itertext()))
        said = re.findall(r"(?:: | as |(?:alt|else|loop|opt) )(.+)$|^    (\w+) --> (\w+)$", source, re.M)
        texts = [text for match in said for text in match if text]
        assert [text for text in texts if re.sub(r"\s", "", text) not in shown] == []


def test_each_public_name_is_in_the_reference():
    named = re.findall(
        r"auto(?:class|function):: airflow_gemini_batch\.(\w+)$", DOCUMENTS["docs/reference.md"], re.M
    )
    assert sorted(named) == sorted(airflow_gemini_batch.__all__)


def test_each_page_is_in_the_table_of_contents():
    listed = re.findall(r"^([\w/-]+)$", DOCUMENTS["docs/index.md"], re.M)
    assert sorted(f"docs/{name}.md" for name in listed) == [page for page in PAGES if page != "docs/index.md"]


@pytest.fixture(scope="module")
def said():
    """The messages of the package."""
    return [re.sub(r"\s+", " ", message.text) for message in messages(PACKAGE)]


@pytest.mark.parametrize(
    "quoted", re.findall(r"^```text\n(.*?)\n```", DOCUMENTS["docs/faq.md"], re.MULTILINE | re.DOTALL)
)
def test_messages_of_the_faq_are_messages_of_the_package(said, quoted):
    parts = [re.escape(part.strip(" .:;,()")) for part in quoted.split("…")]
    pattern = re.compile(".*".join(part for part in parts if part))
    assert [text for text in said if pattern.search(text)]


@pytest.mark.parametrize("name", PAGES)
def test_pages_have_no_forbidden_form(name):
    if name == "docs/open-questions.md":
        return
    assert (
        Message(name, 0, "text", re.sub(r"```.*?```|`[^`]*`", "…", DOCUMENTS[name], flags=re.S)).offences
        == []
    )
