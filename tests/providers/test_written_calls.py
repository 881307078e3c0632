"""Calls written into text. Contract: providers.md §14, PR-18."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from goclaw.providers.written_calls import CALLS, written_calls

OFFERED = {"look", "write"}


@pytest.mark.parametrize(
    "block",
    [
        '<function_call>{"name": "look", "arguments": {"at": "x", "n": 2}}</function_call>',
        '<tool_call>\n{"name": "look", "parameters": {"at": "x", "n": 2}}\n</tool_call>',
        "<tool_call>{'name': 'look', 'arguments': {'at': 'x', 'n': 2,},}</tool_call>",
        '<tool_call>{"name": "look", "arguments": "{\\"at\\": \\"x\\", \\"n\\": 2}"}</tool_call>',
        '<invoke name="look"><parameter name="at">x</parameter><parameter name="n">2</parameter></invoke>',
        '<tool_calls><invoke name="look"><parameter name="at" string="true">x</parameter>'
        '<parameter name="n">2</parameter></invoke></tool_calls>',
        '<｜DSML｜function_calls><｜DSML｜invoke name="look">'
        '<｜DSML｜parameter name="at" string="true">x</｜DSML｜parameter>'
        '<｜DSML｜parameter name="n" string="false">2</｜DSML｜parameter></｜DSML｜invoke></｜DSML｜function_calls>',
        '<function=look>{"at": "x", "n": 2}</function>',
    ],
)
def test_a_written_call_is_taken_and_the_text_around_it_kept(block):
    text, (call,) = written_calls(f"Let me see. {block} There.", OFFERED)

    assert (call.id, call.name, call.arguments) == ("call_txt_1", "look", {"at": "x", "n": 2})
    assert text.split() == ["Let", "me", "see.", "There."]


def test_a_parameter_that_is_said_to_be_text_is_not_read_as_a_number():
    _, (call,) = written_calls('<invoke name="look"><parameter name="n" string="true">2</parameter></invoke>', OFFERED)

    assert call.arguments == {"n": "2"}


def test_arguments_too_deep_to_be_written_again_are_text():
    text = '<tool_call>{"name": "look", "arguments": ' + '{"a":' * 200 + "1" + "}" * 200 + "}</tool_call>"

    assert written_calls(text, OFFERED) == (text, ())


def test_several_blocks_are_taken_in_order():
    blocks = '<tool_call>{"name": "look"}</tool_call><tool_call>{"name": "write"}</tool_call>'
    text, calls = written_calls(blocks, OFFERED)

    assert [(call.id, call.name) for call in calls] == [("call_txt_1", "look"), ("call_txt_2", "write")]
    assert text == ""


@pytest.mark.parametrize(
    "text",
    [
        "plain",
        '<tool_call>{"name": "unknown"}</tool_call>',
        "<tool_call>{broken</tool_call>",
        '<tool_call>{"name": "look"}',
        "<tool_call>7</tool_call>",
        '<tool_call>{"name": "look", "arguments": 7}</tool_call>',
    ],
)
def test_what_is_no_call_stays_text(text):
    assert written_calls(text, OFFERED) == (text, ())


@pytest.mark.parametrize(
    "flood", ["<tool_call>", "<function=look>", "<｜DSML｜invoke ", '<invoke name="look">', "<tool_call> ", "</"]
)
def test_a_flood_of_openings_is_read_in_linear_time(flood):
    text = flood * 50_000 + "</none>"

    assert written_calls(text, OFFERED) == (text, ())


def test_a_flood_of_calls_is_bounded():
    assert len(written_calls('<tool_call>{"name": "look"}</tool_call>' * 100, OFFERED)[1]) == CALLS


@given(
    st.lists(
        st.sampled_from(
            ["<tool_call>", "</tool_call>", "{", "}", '"name":', '"look"', '<invoke name="look">', "</invoke>", "x"]
        ),
        max_size=30,
    )
)
def test_no_text_raises(parts):
    written_calls("".join(parts), OFFERED)
