"""Scripts of the offline model. Contract: providers.md §16.5, PR-34."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from goclaw.domain.chat import ChatMessage, ChatRequest, ChatResponse, ToolSpec
from goclaw.domain.errors import ProviderError
from goclaw.providers.offline.provider import BANNER, Offline
from goclaw.providers.offline.script import load_script


@pytest.fixture
def play(tmp_path: Path):
    """Ask a script, given as JSON5, for its answer to some messages."""
    model = Offline(scripts=tmp_path, banner=False)

    async def ask(script: str, *messages: ChatMessage | str, session: str = "s", **more: Any) -> ChatResponse:
        path = tmp_path / "it.json5"
        if not path.exists() or path.read_text() != script:
            path.write_text(script)
        spoken = tuple(ChatMessage(role="user", content=m) if isinstance(m, str) else m for m in messages)
        request = ChatRequest(messages=spoken, model="offline-script:it", metadata={"session": session}, **more)
        async with model.stream(request) as chunks:
            heard = [chunk async for chunk in chunks]
        assert heard[-1].done is not None
        return heard[-1].done

    return ask


async def test_the_first_rule_that_holds_answers_with_what_was_said(play):
    script = """{
      // comments are welcome
      rules: [
        {id: "name", when: {user: "(?i)i am (?P<who>\\\\w+) of (\\\\w+)"},
         reply: {text: "Hello {{who}} of {{2}}, turn {{turn}}, {{unknown}}"}},
        {when: {user: "am"}, reply: {text: "never"}},
      ],
      default: {text: "What is '{{user}}'?"},
    }"""

    answer = await play(script, "I am Lan of Hue")
    assert (answer.content, answer.rule) == ("Hello Lan of Hue, turn 1, {{unknown}}", "name")
    assert (await play(script, "eh")).content == "What is 'eh'?"


async def test_tools_are_called_with_filled_arguments_and_their_results_quoted(play):
    script = """{rules: [
      {when: {after_tool: "look"}, reply: {text: "it said {{tool.look}} at call {{call}}"}},
      {when: {tool_offered: "look"},
       reply: {thinking: "hm", tool_calls: [{name: "look", arguments: {at: ["{{user}}"], n: 1}}]}},
    ]}"""
    look = ToolSpec(name="look", description="", parameters={})
    called = await play(script, "here", tools=(look,))
    (call,) = called.tool_calls

    assert (call.name, call.arguments, called.thinking) == ("look", {"at": ["here"], "n": 1}, "hm")
    assert called.finish_reason == "tool_calls"
    answer = await play(
        script,
        "here",
        ChatMessage(role="assistant", tool_calls=(call,)),
        ChatMessage(role="tool", tool_name="look", content="a cat"),
        tools=(look,),
    )
    assert answer.content == "it said a cat at call 2"


@pytest.mark.parametrize(
    ("when", "holds"),
    [
        ("{any: ['x', 'hell']}", True),
        ("{any: ['x']}", False),
        ("{all: ['he', 'lo']}", True),
        ("{all: ['he', 'x']}", False),
        ("{turn: 1, call: 1}", True),
        ("{turn: 2}", False),
        ("{call: 2}", False),
        ("{after_tool: false}", True),
        ("{after_tool: true}", False),
        ("{after_tool: 'look'}", False),
        ("{model: 'offline-script:it'}", True),
        ("{model: 'other'}", False),
        ("{agent: 'a'}", False),
        ("{system_contains: 'brief'}", True),
        ("{system_contains: 'long'}", False),
        ("{tool_offered: 'look'}", False),
        ("{}", True),
    ],
)
async def test_conditions(play, when, holds):
    system = ChatMessage(role="system", content="be brief")
    script = f"{{rules: [{{when: {when}, reply: {{text: 'yes'}}}}], default: {{text: 'no'}}}}"

    assert (await play(script, system, "hello")).content == ("yes" if holds else "no")


async def test_uses_and_states_are_counted_per_session(play):
    script = """{rules: [
      {times: 2, goto: "open", reply: {text: "knock {{n}}"}},
      {state: "open", goto: "", reply: {text: "come in"}},
    ], default: {text: "closed"}}"""

    heard = [(await play(script, "x")).content for _ in range(4)]
    assert heard == ["knock 1", "knock 2", "come in", "closed"]
    assert (await play(script, "x", session="other")).content == "knock 1"


async def test_a_failure_that_passes_is_tried_again(play, autojump_clock: MockClock):
    script = """{rules: [{times: 2, reply: {error: {status: 429, retry_after: 3}}}], default: {text: "at last"}}"""
    began = trio.current_time()

    assert (await play(script, "x")).content == "at last"
    assert 6.0 <= trio.current_time() - began <= 6.6


async def test_a_failure_that_stays_is_read_like_a_vendors(play, autojump_clock: MockClock):
    page = """{default: {error: {status: 502, body: "<b>Bad gateway</b>", content_type: "text/html"}}}"""
    with pytest.raises(ProviderError, match=r"\(502, text/html\): non-JSON response: Bad gateway") as caught:
        await play(page, "x")

    assert (caught.value.kind, caught.value.status) == ("server_error", 502)


@pytest.mark.parametrize(
    "how", ["stream: {chunk_chars: 4, drop_after_chunks: 2}", "error: {status: 500, after_chunks: 1}"]
)
async def test_a_failure_in_the_middle_comes_after_what_was_said(tmp_path: Path, how: str):
    (tmp_path / "it.json5").write_text(f"{{default: {{text: 'one two three', {how}}}}}")
    model = Offline(scripts=tmp_path, banner=False)
    heard = []

    async def listen() -> None:
        ask = ChatRequest(messages=(ChatMessage(role="user", content="x"),), model="offline-script:it")
        async with model.stream(ask) as chunks:
            async for chunk in chunks:
                heard.append(chunk.content)

    with pytest.raises(ProviderError):
        await listen()
    assert heard in (["one ", "two "], ["one two three"])


async def test_delays_take_their_time(play, autojump_clock: MockClock):
    script = """{default: {text: "abcd", stream: {chunk_chars: 1, delay_ms: 100, first_delay_ms: 1000}}}"""
    began = trio.current_time()
    await play(script, "x")

    assert trio.current_time() - began == pytest.approx(1.0 + 4 * 0.1)


async def test_usage_and_finish_reason_can_be_fixed(play):
    answer = await play("{default: {text: 'x', finish_reason: 'length', usage: {prompt_tokens: 5}}}", "x")

    assert (answer.finish_reason, answer.usage.prompt_tokens, answer.usage.estimated) == ("length", 5, False)


async def test_a_changed_file_is_read_again(play):
    assert (await play("{default: {text: 'one'}}", "x")).content == "one"
    assert (await play("{default: {text: 'two'}}", "x")).content == "two"


async def test_a_script_without_a_rule_for_the_turn_says_so(play):
    with pytest.raises(ProviderError, match="no rule for this turn"):
        await play("{}", "x")


@pytest.mark.parametrize("name", ["missing", "../it", "", "a/b", "x" * 65])
async def test_a_script_that_is_not_there_is_a_bad_request(tmp_path: Path, name: str):
    with pytest.raises(ProviderError, match=r"no (script|model) named"):
        Offline(scripts=tmp_path).reply(ChatRequest(messages=(), model=f"offline-script:{name}"))


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("{", "."),
        ("{rules: [{reply: {txt: 'x'}}]}", "unknown field `txt`"),
        ("{rules: [{when: {user: '('}, reply: {}}]}", "unterminated"),
        ("{rules: [{when: {user: '" + "x" * 513 + "'}, reply: {}}]}", "<= 512"),
        ("{rules: [{}]}", "missing required field `reply`"),
        ("{defaults: {}}", "unknown field `defaults`"),
        ("{default: {error: {status: 200}}}", ">= 300"),
        ("[]", "object"),
        ("// " + "x" * 300_000, "larger than"),
    ],
)
def test_a_file_that_is_no_script_is_refused_with_its_path_and_the_reason(tmp_path: Path, text: str, reason: str):
    path = tmp_path / "bad.json5"
    path.write_text(text)
    with pytest.raises(ValueError, match=reason) as caught:
        load_script(path)

    assert str(path) in str(caught.value)


async def test_house_rules_come_before_the_built_in_ones_and_keep_the_banner(tmp_path: Path):
    rules = tmp_path / "offline_rules.json5"
    rules.write_text("{rules: [{when: {user: '^hello'}, reply: {text: 'Welcome to our shop.'}}]}")
    model = Offline(rules=rules)

    def ask(text: str) -> ChatRequest:
        return ChatRequest(messages=(ChatMessage(role="user", content=text),), model="offline-1")

    async with model.stream(ask("hello")) as chunks:
        text = "".join([chunk.content async for chunk in chunks])
    assert text == f"{BANNER}\n\nWelcome to our shop."
    assert model.reply(ask("calculate 1+1")).text == "1+1 = 2"

    rules.write_text("{rulez: []}")
    with pytest.raises(ValueError, match="rulez"):
        Offline(rules=rules)
