"""Print what the package says to its users, file by file, for a review: ``python tests/messages.py [FOLDER …]``.

Messages are what is raised, logged, reported as a finding or printed, and any other text of several words that is not
SQL. With ``--docstrings`` the docstrings too; with ``--forbidden`` only what the rules of ``test_messages.py`` refuse.
"""

from __future__ import annotations

import argparse
import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "airflow_gemini_batch"

LOG_METHODS = {"debug", "info", "warning", "error", "exception", "critical", "log", "warn"}
FINDINGS = {"error", "warning", "Finding"}
CONSOLE = {"echo", "secho", "print", "print_json", "Option", "Argument", "BadParameter"}

FORBIDDEN: tuple[tuple[str, str], ...] = (
    (r"(?<!there )\b(?:is|are|was|were) no (?!longer\b|more\b|less\b)[a-z]", "is not a …"),
    (
        r"(?<!there )(?<!There )\b(?:is|are) none\b|\bwhat is none\b|\bfor none\b",
        "is not a …; returns None if …",
    ),
    (r"\b(?:came|comes|become|became|becomes) of\b", "row counts and results of …"),
    (r"\b(?:told|tell|tells) (?:\w+ ){0,2}apart\b", "distinguish, identify"),
    (r"\bmend(?:s|ed|ing)?\b", "fix"),
    (r"\bways? out\b", "hint; say what to do"),
    (r"\bin passing\b", "temporarily"),
    (r"\banew\b", "again, recreate"),
    (r"\bno news\b", "could not read the state of …"),
    (r"\btruth(?:fully)?\b", "say what is reported"),
    (r"\bfaults?\b(?! tolerance)", "error, problem"),
    (r"\bfound out\b|\bfind out\b", "check, report"),
    (r"\bstumbles?\b|\bhopeless\b", "fail"),
    (r"\bit is no use\b|\bof no use\b", "is not useful"),
)
"""Forms that read as translated or private, as regular expressions, and what to write instead."""


@dataclass(frozen=True)
class Message:
    """One text. ``kind`` is raise, log, finding, console, docstring or text."""

    file: str
    line: int
    kind: str
    text: str

    @property
    def offences(self) -> list[str]:
        """Return the forbidden forms in the text, each with what to write instead."""
        plain = re.sub(r"\s+", " ", re.sub(r"``.*?``|:\w+:`.*?`|\{.*?\}", "…", self.text))
        found = ((re.search(pattern, plain, re.IGNORECASE), instead) for pattern, instead in FORBIDDEN)
        return [
            f"{match[0]!r}: write {instead!r}"
            for match, instead in found
            # A server that misbehaves on request injects faults: there it is the field's word.
            if match and not (match[0].startswith("fault") and "testing/vertex_ai" in self.file)
        ]

    def __str__(self) -> str:
        return f"{self.line:5} {self.kind:9} " + self.text.replace("\n", "\n" + " " * 16)


def messages(folder: Path = PACKAGE, *, docstrings: bool = False) -> Iterator[Message]:
    """Yield the messages of a folder, or of one file, in the order of files and lines."""
    for path in sorted(folder.rglob("*.py")) if folder.is_dir() else [folder]:
        file = str(path.relative_to(ROOT))
        found = messages_of(path.read_text(encoding="utf-8"), file)
        yield from sorted((m for m in found if docstrings or m.kind != "docstring"), key=lambda m: m.line)


def messages_of(source: str, file: str = "") -> Iterator[Message]:
    """Yield the messages of a module's source."""
    yield from (Message(file, line, kind, text) for line, kind, text in _walk(ast.parse(source), "text"))


def _walk(node: ast.AST, kind: str) -> Iterator[tuple[int, str, str]]:
    if isinstance(node, ast.Raise):
        kind = "raise"
    elif isinstance(node, ast.Call):
        kind = _kind_of_call(node.func, kind)
    elif (text := _text(node)) is not None:
        line = getattr(node, "lineno", 0)
        if _is_sentence(text, kind):
            yield line, kind, text
        return
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Expr) and isinstance(child.value, ast.Constant):
            if isinstance(child.value.value, str):
                yield child.lineno, "docstring", child.value.value
        else:
            yield from _walk(child, kind)


def _kind_of_call(function: ast.expr, kind: str) -> str:
    if isinstance(function, ast.Name):
        name, is_log = function.id, False
    elif isinstance(function, ast.Attribute):
        name, is_log = function.attr, "log" in ast.unparse(function.value).lower()
    else:
        return kind
    if is_log and name in LOG_METHODS:
        return "log"
    if name in CONSOLE:
        return "console"
    return "finding" if name in FINDINGS and kind == "text" else kind


def _text(node: ast.AST) -> str | None:
    """Return the text of a literal, of an f-string (``{…}`` as written), or of several joined by ``+``."""
    if isinstance(node, ast.Constant):
        return node.value if isinstance(node.value, str) else None
    if isinstance(node, ast.JoinedStr):
        return "".join(
            str(part.value) if isinstance(part, ast.Constant) else f"{{{ast.unparse(part.value)}}}"
            for part in node.values
            if isinstance(part, (ast.Constant, ast.FormattedValue))
        )
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        left, right = _text(node.left), _text(node.right)
        return None if left is None or right is None else left + right
    return None


_SQL = re.compile(
    r"\b(?:SELECT|FROM|WHERE|CREATE|MERGE|INSERT|UPDATE|STRUCT|CAST|NULL(?:IF)?|AND|AS|ON|IF|CASE)\b"
)


def _is_sentence(text: str, kind: str) -> bool:
    words = re.findall(r"[A-Za-z]{2,}", text)
    if kind != "text":
        return bool(words) and " " in text.strip()
    return text.count(" ") > 1 and len(words) > 2 and not (_SQL.search(text) and not text[:1].islower())


def main() -> None:
    """Print the messages of the folders that are named, or of the whole package."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folders", nargs="*", type=Path, default=[PACKAGE])
    parser.add_argument("--docstrings", action="store_true")
    parser.add_argument("--forbidden", action="store_true")
    asked = parser.parse_args()
    found = [
        message
        for folder in asked.folders
        for message in messages(folder.resolve(), docstrings=asked.docstrings or asked.forbidden)
        if not asked.forbidden or message.offences
    ]
    for file, group in groupby(found, key=lambda message: message.file):
        print(f"\n{file}")
        for message in group:
            print(message, *(f"\n{'':16}→ {offence}" for offence in message.offences), sep="")
    print(f"\n{len(found):,} messages")


if __name__ == "__main__":
    main()
