"""Answers as vendors stream them, well and badly. Contract: providers.md §5.2, §14, PR-06, PR-07."""

from __future__ import annotations

import json

import pytest

from goclaw.domain.chat import ChatResponse, StreamChunk, ToolCall
from goclaw.domain.errors import ProviderError
from goclaw.providers.reader import BAD_CHUNKS, AnswerReader
from goclaw.providers.sse import EVENT_LIMIT
from goclaw.providers.wires.chat.answer import ChatAssembly

DONE = b"data: [DONE]\n\n"


def event(delta: object = None, finish: str | None = None, **more: object) -> bytes:
    chunk = {"choices": [{"index": 0, "delta": delta or {}, "finish_reason": finish}], **more}
    return b"data: " + json.dumps(chunk).encode() + b"\n\n"


def call(index: int | None, id: str | None = None, name: str | None = None, arguments: object = None) -> bytes:
    piece = {"id": id, "function": {"name": name, "arguments": arguments}}
    return event({"tool_calls": [piece if index is None else {"index": index, **piece}]})


def read(*parts: bytes) -> tuple[list[StreamChunk], ChatResponse | ProviderError]:
    reader = AnswerReader(ChatAssembly(), "text/event-stream")
    chunks = [chunk for part in parts for chunk in reader.feed(part)]
    rest, answer = reader.finish()
    return chunks + rest, answer


def answer_of(*parts: bytes) -> ChatResponse:
    answer = read(*parts)[1]
    assert isinstance(answer, ChatResponse), answer
    return answer


def error_of(*parts: bytes) -> ProviderError:
    error = read(*parts)[1]
    assert isinstance(error, ProviderError), error
    return error


def test_text_and_thinking_come_in_order():
    chunks, answer = read(
        event({"role": "assistant", "content": ""}),
        event({"reasoning_content": "hm"}),
        event({"reasoning": " so"}),
        event({"content": "Hello"}),
        event({"content": [{"type": "text", "text": ", "}, {"type": "text", "text": "you"}]}),
        event({}, "stop"),
        DONE,
    )

    assert [(c.thinking, c.content) for c in chunks] == [("hm", ""), (" so", ""), ("", "Hello"), ("", ", you")]
    assert isinstance(answer, ChatResponse)
    assert (answer.content, answer.thinking, answer.finish_reason) == ("Hello, you", "hm so", "stop")


def test_calls_that_come_out_of_order_and_with_a_gap_are_put_in_order():
    answer = answer_of(
        call(7, "c", "third", "{}"),
        call(1, "b", "second", '{"n":'),
        call(0, "a", "first", ""),
        call(1, None, None, "2}"),
        DONE,
    )

    assert answer.tool_calls == (
        ToolCall(id="a", name="first"),
        ToolCall(id="b", name="second", arguments={"n": 2}),
        ToolCall(id="c", name="third"),
    )
    assert answer.finish_reason == "tool_calls"


def test_calls_without_an_index_are_told_apart_by_their_id():
    answer = answer_of(
        call(None, "a", "f", '{"x"'),
        call(None, None, None, ":1}"),
        call(None, "b", "f", '{"x":2}'),
        call(None, "b", "f"),
        DONE,
    )

    assert [(c.id, c.name, c.arguments) for c in answer.tool_calls] == [("a", "f", {"x": 1}), ("b", "f", {"x": 2})]


def test_a_call_without_a_name_is_dropped_and_one_without_an_id_gets_one():
    answer = answer_of(call(0, "a", "", "{}"), call(1, None, "f", {"already": "an object"}), DONE)

    assert answer.tool_calls == (ToolCall(id="call_1", name="f", arguments={"already": "an object"}),)


@pytest.mark.parametrize("arguments", ['{"a":', "[1]", "null", "text"])
def test_arguments_that_are_no_object_are_reported_with_the_call(arguments):
    (only,) = answer_of(call(0, "a", "f", arguments), DONE).tool_calls

    assert only.parse_error
    assert only.arguments == {}


def test_calls_cut_by_the_length_limit_keep_that_reason():
    assert answer_of(call(0, "a", "f", "{}"), event({}, "length"), DONE).finish_reason == "length"


def test_usage_is_taken_from_a_chunk_without_choices_and_the_last_wins():
    first = b'data: {"choices":[],"usage":{"prompt_tokens":1,"completion_tokens":1}}\n\n'
    last = (
        b'data: {"choices":[],"usage":{"prompt_tokens":9,"completion_tokens":5,'
        b'"prompt_tokens_details":{"cached_tokens":4},"completion_tokens_details":{"reasoning_tokens":3}}}\n\n'
    )
    usage = answer_of(event({"content": "x"}, "stop"), first, last, DONE).usage

    assert (usage.prompt_tokens, usage.completion_tokens) == (9, 5)
    assert (usage.cache_read_tokens, usage.thinking_tokens) == (4, 3)
    assert usage.total_tokens == 14


def test_comments_missing_spaces_windows_lines_and_split_data_are_all_events():
    answer = answer_of(
        b": ping\r\n\r\nevent: message\r\nid: 3\r\ndata:"
        + json.dumps({"choices": [{"delta": {"content": "a"}}]}).encode(),
        b'\r\n\r\ndata: {"choices": [{"delta":\ndata: {"content": "b"}}]}\n\n',
        b"data: [DONE]",
    )

    assert answer.content == "ab"


def test_an_answer_without_done_counts_if_a_reason_to_finish_was_seen():
    assert answer_of(event({"content": "all"}), event({}, "stop")).content == "all"
    assert error_of(event({"content": "half"})).kind == "server_error"


def test_plain_json_instead_of_a_stream_is_an_answer():
    chunks, answer = read(b'\n {"choices":[{"message":{"content":"whole","reasoning":"why"},"finish_reason":"stop"}]}')

    assert [(c.thinking, c.content) for c in chunks] == [("why", "whole")]
    assert isinstance(answer, ChatResponse)


def test_a_page_instead_of_an_answer_is_shown_without_its_tags():
    error = error_of(b"<html><body><h1>Please", b" log in</h1></body></html>")

    assert error.kind == "server_error"
    assert error.message == "API error (200, text/event-stream): non-JSON response: Please log in"


def test_an_error_inside_a_chunk_is_read_like_a_status():
    assert error_of(b'data: {"error":{"message":"slow down","code":429}}\n\n').kind == "rate_limit"
    assert error_of(b'data: {"error":{"message":"the engine is overloaded"}}\n\n').kind == "overloaded"
    assert error_of(event({"content": "x"}), b'data: {"error":"boom"}\n\n').message == "API error: boom"


def test_a_few_unreadable_chunks_are_forgiven_and_more_are_not():
    bad = b"data: {oops}\n\n"

    assert answer_of(bad * BAD_CHUNKS, event({"content": "x"}, "stop"), DONE).content == "x"
    assert error_of(bad * (BAD_CHUNKS + 1), event({"content": "x"}, "stop"), DONE).kind == "server_error"


def test_nothing_is_an_error_and_so_is_what_a_filter_withheld():
    assert error_of(event({}, "stop"), DONE).kind == "server_error"
    assert error_of(event({}, "content_filter"), DONE).kind == "content_policy"
    assert answer_of(event({"content": "as far as"}), event({}, "content_filter"), DONE).content == "as far as"


def test_an_endless_line_is_given_up_and_costs_no_memory_after_that():
    reader = AnswerReader(ChatAssembly())
    piece = b"data: " + b"x" * 2**20
    for _ in range(EVENT_LIMIT // 2**20 + 1):
        reader.feed(piece)

    assert reader.error is not None
    assert reader.error.kind == "server_error"
    assert reader.feed(event({"content": "late"})) == []


def test_a_model_that_calls_tools_without_end_is_stopped():
    error = error_of(*(call(n, f"c{n}", "f", "{}") for n in range(200)), DONE)

    assert "tool calls" in error.message
