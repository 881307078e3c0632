"""An answer while it comes: any split, same text. Contract: agent-loop.md §9.2."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from goclaw.agent.sanitise import sanitised
from goclaw.agent.stream import StreamFilter

CASES = {
    "plain": ("Hello, you.", "Hello, you.", ""),
    "a thought": ("<think>hm</think>Yes", "Yes", "hm"),
    "a thought that closes itself by another name": ("<thinking>hm</THINK>Yes", "Yes", "hm"),
    "less than": ("1 < 2 <b>x</b> <thinker>", "1 < 2 <b>x</b> <thinker>", ""),
    "a call": ('Yes <invoke name="a b">x<y></invoke>.', "Yes .", ""),
    "a call that does not end": ("Yes <tool_call>{", "Yes ", ""),
    "final": ("<final>Yes</final>", "Yes", ""),
    "no answer": ("NO_REPLY", "", ""),
    "no answer, and why": (" NO_REPLY: nothing asked", " ", ""),
    "no answer at the end": ("Fine. NO_REPLY\n", "Fine. ", ""),
    "a word like it": ("NO_REPLYING", "NO_REPLYING", ""),
    "said within": ("say NO_REPLY then", "say NO_REPLY then", ""),
    "code": ("```\n<think>a</think>\n```\n<think>b</think>c", "```\n<think>a</think>\n```\nc", "b"),
    "code of tildes": ("  ~~~~ x\n<think>\n~~~\n~~~~~\n<final>", "  ~~~~ x\n<think>\n~~~\n~~~~~\n", ""),
    "a tag left open": ("a <thin", "a <thin", ""),
    "two beginnings": ("<<think>x</think>", "<", "x"),
}


def through(pieces: list[str]) -> tuple[str, str]:
    filter = StreamFilter()
    said = [*(filter.feed(piece) for piece in pieces), filter.end()]
    return "".join(one.text for one in said), "".join(one.thinking for one in said)


@pytest.mark.parametrize("case", CASES)
def test_what_may_be_read(case: str) -> None:
    text, visible, thought = CASES[case]
    assert through([text]) == (visible, thought)
    assert through(list(text)) == (visible, thought)


MARKS = "<think> </think> <thi nk> < > </invoke> NO_REPLY NO_ N ``` ~~~ word final> <final> </ ß `"
pieces = st.sampled_from([*MARKS.split(" "), "<invoke a=", "\n", " "])


@given(st.lists(pieces, max_size=25), st.data())
def test_any_split_says_the_same(parts: list[str], data: st.DataObject) -> None:
    text = "".join(parts)
    cuts = data.draw(st.lists(st.integers(0, len(text)), max_size=8).map(sorted))
    split = [text[start:end] for start, end in zip([0, *cuts], [*cuts, len(text)], strict=True)]
    assert through(split) == through([text])


@given(st.text(max_size=80))
def test_text_without_marks_passes_at_once(text: str) -> None:
    filter = StreamFilter()
    calm = text.replace("<", "").replace("N", "")
    assert filter.feed(calm).text == calm


@pytest.mark.parametrize("case", [name for name in CASES if "NO_REPLY" not in CASES[name][0] and "open" not in name])
def test_what_came_is_what_the_whole_says(case: str) -> None:
    text, visible, _ = CASES[case]
    if case != "a call that does not end":  # a stream cannot know
        assert sanitised(visible) == sanitised(text)


def test_little_is_held_back() -> None:
    filter = StreamFilter()
    for _ in range(1000):
        filter.feed("<think")
        filter.feed("<invoke " + "x" * 50)
    assert len(filter._held) < 300
