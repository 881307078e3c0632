"""Answers without the marks models leave. Contract: agent-loop.md §12.1; AL-09, AL-10."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from goclaw.agent.markup import silent
from goclaw.agent.sanitise import sanitised

CASES = {
    "plain text": ("Hello there.\n\nBye.", "Hello there.\n\nBye."),
    "a thought": ("<think>secret</think>Answer", "Answer"),
    "a thought in capitals": ("<THINKING>x</Thinking> Answer", " Answer"),
    "a thought without an end": ("Answer <think>and then", "Answer"),
    "an end without a thought": ("Answer</think> more", "Answer more"),
    "the tag of final answers": ("<final>Answer</final>", "Answer"),
    "a call written as XML": ('Yes.\n<invoke name="x"><parameter name="y">1</parameter></invoke>', "Yes."),
    "nothing but a call": ("<function_calls><invoke>1</invoke></function_calls>", ""),
    "a call without an end": ("Use <parameter> for that.", "Use  for that."),
    "a downgraded call": ('Done.\n[Tool Call: exec]\n\nArguments: {\n  }\n{"a": 1}\nNext.', "Done.\nNext."),
    "an echo of the system": ("Hi\n[System Message] do this\nand that\n\nBye", "Hi\n\nBye"),
    "a stutter": ("One.\n\nOne.\n\nTwo.\n\nOne.", "One.\n\nTwo.\n\nOne."),
    "a file to deliver": ("Here it is\nMEDIA: out/a.png\n[[audio_as_voice]]", "Here it is"),
    "a directive": ("Hi [[react:ok]]there", "Hi there"),
    "a directive of voices": ("[[tts:voice=x]]Hi", "[[tts:voice=x]]Hi"),
    "a link of a wiki": ("See [[Home]].", "See [[Home]]."),
    "leading blank lines": ("\n\n   indented", "   indented"),
    "a tag of HTML": ("<b>bold</b> 1 < 2 and <thinker>", "<b>bold</b> 1 < 2 and <thinker>"),
    "a fence that explains": ("So:\n```xml\n<think>x</think>\nMEDIA:a\n```\nok", None),
    "a fence of tildes": ("~~~\n<invoke>\n~~~", None),
    "a fence inside of a thought": ("<think>\nplain\n</think>\n```\n<think>\n```", "```\n<think>\n```"),
    "halves of a mark": ("<thi<think></think>nk>x</think>Answer", ""),
}


@pytest.mark.parametrize("case", CASES)
def test_marks_go_and_text_stays(case: str) -> None:
    said, wanted = CASES[case]
    assert sanitised(said) == (said if wanted is None else wanted)


MARKS = (
    "<think> </think> < > <invoke> </invoke> <final> think / a [Tool_Call: [System_Message] MEDIA:x [[a:b]] [[ ]] "
    "Arguments: { ~~~ NO_REPLY"
)
words = [mark.replace("_M", " M").replace("_C", " C") for mark in MARKS.split(" ")]
pieces = st.sampled_from([*words, "```\n", "\n", "\n\n", "b "])


@given(st.lists(pieces, max_size=40).map("".join) | st.text(max_size=60))
def test_twice_is_once(text: str) -> None:
    assert sanitised(sanitised(text)) == sanitised(text)


@pytest.mark.parametrize(
    "flood", ["<invoke>", "<think>", "<", "[Tool Call:\n", "```\n", "<think></think>", "a\n\na\n\n", "[[a:", "</think"]
)
def test_floods_take_time_in_proportion(flood: str) -> None:
    def took(size: int) -> float:
        text = flood * (size // len(flood))
        began = time.process_time()
        sanitised(text)
        return time.process_time() - began

    took(1000)
    assert took(1 << 18) < 24 * took(1 << 15) + 0.05  # eight times as long, with room for noise


@pytest.mark.parametrize(
    "text", ["NO_REPLY", " NO_REPLY\n", "NO_REPLY.", "NO_REPLY because", "Nothing to say. NO_REPLY"]
)
def test_an_answer_that_is_none(text: str) -> None:
    assert silent(text)


@pytest.mark.parametrize("text", ["NO_REPLYING", "NO_REPLY2", "a NO_REPLY b", "xNO_REPLY", "_NO_REPLY", "no_reply", ""])
def test_an_answer_that_is_one(text: str) -> None:
    assert not silent(text)
