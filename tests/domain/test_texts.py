"""Every refusal has a sentence in three languages. Contract: edge-http.md §0.6."""

from __future__ import annotations

import ast
import string
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest

import goclaw
from goclaw.domain import errors
from goclaw.domain.errors import Err, invalid, not_found
from goclaw.domain.texts import LOCALES, TEXTS, locale_of, text_of
from goclaw.edge.http.answers import STATUS

HOUSE = Path(goclaw.__file__).parent


def errs() -> Iterator[tuple[str, str, set[str]]]:
    """Every `Err(...)` in the source: where, its key, and the details known to be there."""
    for path in sorted(HOUSE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "Err":
                given = {word.arg: word.value for word in node.keywords}
                named = dict(zip(("code", "key", "details"), node.args, strict=False)) | given
                yield f"{path.relative_to(HOUSE)}:{node.lineno}", literal(named["key"]), members(named.get("details"))


def literal(node: ast.expr) -> str:
    assert isinstance(node, ast.Constant), f"line {node.lineno}: keys and codes are written out, so that they are found"
    return str(node.value)


def members(details: ast.expr | None) -> set[str]:
    """The keys of a dict display; of anything else nobody knows, so all are taken to be there."""
    if details is None:
        return set()
    if not isinstance(details, ast.Dict):
        return {field for texts in TEXTS.values() for text in texts.values() for field in placeholders(text)}
    return {str(key.value) for key in details.keys if isinstance(key, ast.Constant)}


def placeholders(text: str) -> set[str]:
    return {field for _, field, _, _ in string.Formatter().parse(text) if field is not None}


ERRS = list(errs())


def test_the_source_has_refusals_and_each_key_has_a_text() -> None:
    assert len(ERRS) > 25
    assert {key for _, key, _ in ERRS} <= set(TEXTS)


def test_no_text_is_without_a_refusal() -> None:
    assert set(TEXTS) <= {key for _, key, _ in ERRS}


@pytest.mark.parametrize(("where", "key", "details"), [pytest.param(*err, id=f"{err[1]}@{err[0]}") for err in ERRS])
def test_a_text_asks_only_for_details_that_are_there(where: str, key: str, details: set[str]) -> None:
    for text in TEXTS[key].values():
        assert placeholders(text) <= details


@pytest.mark.parametrize("key", sorted(TEXTS))
def test_a_text_says_the_same_in_three_languages(key: str) -> None:
    assert set(TEXTS[key]) == set(LOCALES)
    assert all(text.strip() == text != "" for text in TEXTS[key].values())
    assert len({frozenset(placeholders(text)) for text in TEXTS[key].values()}) == 1
    assert len(set(TEXTS[key].values())) == 3


def test_every_code_has_a_status() -> None:
    codes = {
        literal(node.args[0])
        for path in HOUSE.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "Err"
    }
    assert codes - {"NOT_PAIRED"} <= set(STATUS)  # only the socket says NOT_PAIRED


def test_a_sentence_names_what_was_wrong() -> None:
    assert text_of(not_found("agent", "scout"), "en") == "agent not found: scout"
    assert text_of(not_found("agent", "scout"), "vi") == "không tìm thấy agent: scout"
    assert text_of(not_found("agent", "scout"), "zh") == "未找到 agent：scout"
    assert text_of(not_found("agent", "scout"), "fr") == "agent not found: scout"


def test_what_clients_sent_is_never_a_template() -> None:
    assert text_of(invalid("{reason.__class__}", "{0!r:>99}"), "en") == "{reason.__class__} is not valid: {0!r:>99}"


def test_a_missing_detail_does_not_break_an_answer() -> None:
    assert text_of(Err("NOT_FOUND", "not_found"), "en") == "? not found: ?"


@pytest.mark.parametrize("locale", LOCALES)
@pytest.mark.parametrize("kind", [kind for kind in get_args(errors.ProviderTrouble) if kind != "unknown"])
def test_a_vendor_that_fails_is_a_plain_sentence(kind: Any, locale: str) -> None:
    """agent-loop.md §14: details are for the trace, but for what an administrator has set wrong."""
    shown = text_of(errors.provider_failed(errors.ProviderError(kind, "HTTP 500 https://v.example/?key=1")), locale)
    assert ("HTTP 500" in shown) == (kind in ("format", "model_not_found", "cancelled"))
    assert shown != text_of(errors.internal("1"), locale)


def test_errors_are_what_their_constructors_say() -> None:
    assert errors.exhausted("queue_full").retryable
    assert not errors.provider_failed(errors.ProviderError("auth", "no")).retryable
    assert errors.unavailable("store", 2.0).retry_after == 2.0


@pytest.mark.parametrize(
    ("header", "locale"),
    [
        ("", "en"),
        ("vi", "vi"),
        ("VI-vn", "vi"),
        ("zh-Hant-TW", "zh"),
        ("zh-CN,zh;q=0.9,en;q=0.8", "zh"),
        ("fr, vi;q=0.5", "vi"),
        ("en;q=0.1, vi; q=0.9", "vi"),
        ("en;q=0.1,vi;Q=0.2", "vi"),
        ("vi;q=0", "en"),
        ("vi;q=0.0,zh;q=0.001", "zh"),
        ("vi;q=0.8,zh;q=0.8", "vi"),
        ("*", "en"),
        ("*;q=1,vi;q=0.1", "vi"),
        ("vi;q=nan", "en"),
        ("vi;q=9", "en"),
        ("vi;q=-1", "en"),
        ("vietnamese", "en"),
        (";;;,,,=", "en"),
        ("q=1", "en"),
        ("\u202evi", "en"),
        ("xx," * 20 + "vi", "en"),
        ("x" * 30_000, "en"),
    ],
)
def test_the_best_wish_wins_and_garbage_means_english(header: str, locale: str) -> None:
    assert locale_of(header) == locale
