"""What commands answer is said in every language, with the same facts. Contract: channels.md §10."""

from __future__ import annotations

import ast
import string
from pathlib import Path

import pytest

import goclaw
from goclaw.domain.command_texts import SENTENCES, sentence
from goclaw.domain.texts import LOCALES

OPERATIONS = Path(goclaw.__file__).parent / "operations"
SAYING = ("addressing.py", "command*.py")


@pytest.mark.parametrize("key", SENTENCES)
def test_every_sentence_is_there_in_every_language_with_the_same_facts(key: str) -> None:
    facts = [{field for _, field, _, _ in string.Formatter().parse(text)} for text in SENTENCES[key].values()]

    assert tuple(SENTENCES[key]) == LOCALES
    assert facts[0] == facts[1] == facts[2]
    assert len(set(SENTENCES[key].values())) == len(LOCALES)


def test_commands_say_these_sentences_and_no_others() -> None:
    files = [path for pattern in SAYING for path in OPERATIONS.glob(pattern)]
    nodes = [node for path in files for node in ast.walk(ast.parse(path.read_text()))]
    words = {node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str)}
    keys = [
        node.args[1]
        for node in nodes
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "say"
    ]
    said = {key.value for key in keys if isinstance(key, ast.Constant)}

    assert said <= set(SENTENCES) <= words


def test_a_language_we_do_not_speak_hears_english() -> None:
    assert sentence("queue", "vi", mode="followup") == "Chế độ hàng đợi: followup."
    assert sentence("queue", "xx", mode="followup") == "Queue mode: followup."
