"""Sphinx's settings: ``make docs`` builds the pages into ``build/docs``, and a warning ends it.

The pages need no network when they are read: theme, fonts, search and pictures are files beside them.
"""

from __future__ import annotations

import logging
import os
import re
import tempfile
from pathlib import Path

# Before autodoc imports Airflow, so that it leaves no file in the home of whoever builds the pages.
os.environ["AIRFLOW_HOME"] = tempfile.mkdtemp()

from airflow_gemini_batch import __version__

logging.getLogger("airflow").setLevel(logging.ERROR)

project = "airflow-gemini-batch"
release = __version__
copyright = "the authors of airflow-gemini-batch"  # noqa: A001 - Sphinx's name

ROOT_FILES = {"contributing": "CONTRIBUTING.md", "changelog": "CHANGELOG.md"}
"""Pages, and the files that they show, which stand where GitHub looks for them."""

DRAWN = re.compile(r"<!-- drawn in (\S+\.svg): ([^\n]*) -->\n```mermaid\n.*?\n```", re.DOTALL)
"""A picture's file, what it shows, and its source, drawn from it by mermaid-cli: ``mmdc -i night.mmd -o night.svg``."""

extensions = ["myst_parser", "sphinx.ext.autodoc"]
myst_heading_anchors = 3
autodoc_typehints = "none"  # the signature and the text of a parameter say it
autodoc_member_order = "bysource"

html_theme = "furo"
html_title = "airflow-gemini-batch"
html_static_path: list[str] = []


def setup(app):
    app.connect("source-read", _read)


def _read(app, name, source):
    """Read the files of the root where a page stands for them; links lead from page to page.

    Pictures that GitHub draws from their source are files here, drawn before.
    """
    if name in ROOT_FILES:
        source[0] = Path(app.srcdir, "..", ROOT_FILES[name]).read_text(encoding="utf-8")
    source[0] = source[0].replace("](docs/", "](")
    source[0] = DRAWN.sub(r"![\2](\1)", source[0])
    for page, file in ROOT_FILES.items():
        source[0] = re.sub(rf"\]\((?:\.\./)*{file}", f"](/{page}.md", source[0])
