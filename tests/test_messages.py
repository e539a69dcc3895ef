"""Messages and docstrings do not fall back into forms that read as translated: see ``FORBIDDEN`` in messages.py."""

from __future__ import annotations

import pytest

from tests.messages import FORBIDDEN, PACKAGE, Message, messages, messages_of


def test_no_message_or_docstring_has_a_forbidden_form():
    assert [
        f"{message.file}:{message.line}: {offence}"
        for message in messages(PACKAGE, docstrings=True)
        for offence in message.offences
    ] == []


@pytest.mark.parametrize(
    ("text", "is_refused"),
    [
        ("genre is no text: 3", True),
        ("genre: expected a string, got 3", False),
        ("there are no rows", False),
        ("the job is no longer there", False),
        ("Return the job, ``None`` for what is none.", True),
        ("rows that fail in\n    passing", True),
        ("the rows are told apart by key", True),
        ("``mend`` is the name of a column", False),
    ],
)
def test_rules_know_good_sentences_from_bad_ones(text, is_refused):
    assert bool(Message("a.py", 1, "raise", text).offences) is is_refused


def test_every_rule_says_what_to_write_instead():
    assert all(pattern and instead for pattern, instead in FORBIDDEN)


SOURCE = '''"""Module text."""
def f(self, name):
    """Return a thing."""
    message = f"the source {name!r} is missing"
    self.log.info("Reading %s now", name)
    findings.append(error("the table is empty", "fill it first"))
    typer.echo("All done " + "and well")
    query = f"SELECT {name} FROM `a` WHERE b = 1"
    raise ValueError(f"{name}: expected " f"a number, got {name + 1}")
'''


def test_messages_are_found_by_kind():
    assert [(one.line, one.kind, one.text) for one in messages_of(SOURCE)] == [
        (1, "docstring", "Module text."),
        (3, "docstring", "Return a thing."),
        (4, "text", "the source {name} is missing"),
        (5, "log", "Reading %s now"),
        (6, "finding", "the table is empty"),
        (6, "finding", "fill it first"),
        (7, "console", "All done and well"),
        (9, "raise", "{name}: expected a number, got {name + 1}"),
    ]
