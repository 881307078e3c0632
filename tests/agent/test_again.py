"""What the house says to a model beside the conversation, in its language. Contract: agent-loop.md §9.3, §13.3."""

from __future__ import annotations

import string

import pytest

from goclaw.agent.again import again
from goclaw.agent.compaction import removed
from goclaw.agent.shrink import Line, standing_in
from goclaw.domain.chat import ChatMessage
from goclaw.domain.hint_texts import HINTS
from goclaw.domain.texts import LOCALES

DONE = [
    ChatMessage(role="tool", content="x", tool_name="write_file"),
    ChatMessage(role="tool", content="x", tool_name="exec", is_error=True),
]


def test_every_text_has_all_languages_with_the_same_places() -> None:
    def places(text: str) -> set[str | None]:
        return {name for _, name, _, _ in string.Formatter().parse(text)} - {None}

    for key, texts in HINTS.items():
        assert set(texts) == set(LOCALES), key
        assert len({frozenset(places(text)) for text in texts.values()}) == 1, key


@pytest.mark.parametrize(
    ("locale", "lines"),
    [
        ("en", ["[This is attempt 2 at", "Already done", "- write_file: succeeded", "- exec: failed"]),
        ("vi", ["[Đây là lần thử thứ 2", "Đã làm rồi", "- write_file: thành công", "- exec: thất bại"]),
        ("zh", ["[这是此任务的第 2 次尝试", "已经完成", "- write_file：成功", "- exec：失败"]),
    ],
)
def test_a_second_attempt_is_told_what_was_done(locale: str, lines: list[str]) -> None:
    said = again(2, "busy", DONE, locale).split("\n")

    assert len(said) == len(lines)
    assert all(line.startswith(start) for line, start in zip(said, lines, strict=True)), said
    assert "busy" in said[0]


@pytest.mark.parametrize(("locale", "answer", "gone"), [("vi", "Đã hiểu", "2 tin nhắn"), ("zh", "明白了", "2 条消息")])
def test_a_summary_stands_there_in_the_language_of_the_agent(locale: str, answer: str, gone: str) -> None:
    assert standing_in("once", locale)[1].content.startswith(answer)
    assert gone in removed([Line(role="user", content="a")] * 2, locale)
