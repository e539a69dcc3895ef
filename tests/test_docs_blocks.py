"""The Python blocks of the README and of the pages in docs/ run on the local servers, and so does their SQL.

The blocks of a page follow one another, as in one module; then its DAG runs, or its DAGs, and last its SQL. A comment
in front of a block that can't run says why, and how much of it is tried: ``<!-- constructed, not run: … -->``, or
``<!-- compiled only: … -->``, with its imports. SQL with a comment in front of it does not run.
"""

from __future__ import annotations

import ast
import re
from datetime import UTC, datetime
from pathlib import Path

import pytest
from airflow.providers.common.compat.sdk import DAG

from airflow_gemini_batch.testing.tables import bigquery_client, load_table
from tests.support.requests_data import storage_client

ROOT = Path(__file__).parents[1]
BLOCK = re.compile(
    r"(?:<!-- (?P<how>constructed, not run|compiled only): [^>]+ -->\n)?^```python\n(?P<code>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)
SQL = re.compile(r"(?<! -->\n)^```sql\n(.*?)^```$", re.MULTILINE | re.DOTALL)
PAGES = {
    str(path.relative_to(ROOT)): text
    for path in (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")))
    if "```python\n" in (text := path.read_text(encoding="utf-8"))
}
HAVE_TESTS_OF_THEIR_OWN = ("# conftest.py\n", "# test_shop.py\n", "# script.py\n")

TABLES = {
    "bookshop.books": "book_id,title,authors,original_publication_year,language_code\n"
    "1,Emma,Jane Austen,1815,eng\n2,Persuasion,Jane Austen,1817,eng\n3,Beowulf,,1000,ang\n",
    "shop.covers": "isbn,title,cover_uri,in_print\n978-1,Emma,gs://my-bucket/1.jpg,true\n978-2,Jar,,false\n",
    "shop.products": "sku,title\nA1,Mug\nA2,Jar\nA3,Pan\n",
    "shop.contracts": "contract,pdf,day\nC1,gs://my-bucket/c1.pdf,2026-11-01\n",
    "support.tickets": "ticket,text\n1,The mug is broken\n2,Where is my parcel?\n",
}
REQUEST = '{{"key": "{0}", "request": {{"contents": [{{"role": "user", "parts": [{{"text": "Describe {0}"}}]}}]}}}}\n'
DAY = datetime(2026, 11, 1, tzinfo=UTC)
OBJECTS = {
    "requests/a.jsonl": REQUEST.format("mug"),
    "requests/b.jsonl": REQUEST.format("jar"),
    "products.csv": TABLES["shop.products"],
}


def blocks(page: str) -> list[tuple[str, str]]:
    """Return how each block of a page is tried, and its code on the lines where it stands."""
    found = []
    for match in BLOCK.finditer(PAGES[page]):
        code = match["code"]
        if not code.startswith(HAVE_TESTS_OF_THEIR_OWN):
            line = PAGES[page].count("\n", 0, match.start("code"))
            found.append((match["how"] or "run", "\n" * line + code))
    return found


def test_every_block_is_found():
    assert sum(len(BLOCK.findall(text)) for text in PAGES.values()) == sum(
        text.count("```python") for text in PAGES.values()
    )


def pages_with(how: str) -> list[str]:
    return [page for page in PAGES if any(tried == how for tried, _ in blocks(page))]


@pytest.mark.parametrize("page", pages_with("compiled only"))
def test_blocks_that_are_parts_compile_and_their_imports_exist(page):
    for how, code in blocks(page):
        if how == "compiled only":
            compile(code, page, "exec", dont_inherit=True)
            imports = [one for one in ast.parse(code).body if isinstance(one, (ast.Import, ast.ImportFrom))]
            exec(compile(ast.Module(imports, []), page, "exec"), {})


@pytest.mark.parametrize("page", pages_with("run"))
def test_blocks_run(page, gemini_batch_stack, bucket, run_dag, tmp_path, monkeypatch):
    def local(text: str) -> str:
        # Pages name the same target, whose rows are done for all but the first of them.
        own = f"{Path(page).stem.replace('-', '_')}_texts"
        text = text.replace("product_texts", own)
        return text.replace("my-project", "demo-project").replace("my-bucket", bucket)

    monkeypatch.chdir(tmp_path)
    for name, rows in TABLES.items():
        if name in PAGES[page]:
            Path("rows.csv").write_text(local(rows))
            load_table(gemini_batch_stack, name, Path("rows.csv"))
    Path("products.csv").write_text(TABLES["shop.products"])
    for name, content in OBJECTS.items():
        storage_client(gemini_batch_stack).bucket(bucket).blob(name).upload_from_string(content)

    module: dict[str, object] = {}
    with DAG(re.sub(r"\W", "_", page), schedule=None) as around:
        for how, code in blocks(page):
            if how == "run":
                exec(compile(local(code), page, "exec", dont_inherit=True), module)
    for dag in [around, *(one for one in module.values() if isinstance(one, DAG))]:
        if dag.tasks:
            run = run_dag(dag, date=DAY)
            states = {state for states in run.states.values() for state in states}
            assert (run.state, states) == ("success", {"success"}), (dag.dag_id, run.states)
    for statement in SQL.findall(PAGES[page]):
        bigquery_client(gemini_batch_stack).query_and_wait(local(statement))


@pytest.mark.parametrize("page", pages_with("constructed, not run"))
def test_blocks_that_can_not_run_are_constructed(page):
    with DAG("constructed", schedule=None):
        for how, code in blocks(page):
            if how == "constructed, not run":
                exec(compile(code, page, "exec", dont_inherit=True), {})
