"""Turns of the offline model. Contract: providers.md §16, PR-31 to PR-35."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import msgspec
import pytest
import trio
from trio.testing import MockClock

from goclaw.domain.chat import ChatMessage, ChatOptions, ChatRequest, ChatResponse, ToolCall, ToolSpec
from goclaw.domain.errors import ProviderError
from goclaw.providers.catalogue import BY_NAME
from goclaw.providers.offline.intents import INTENTS
from goclaw.providers.offline.provider import BANNER, Load, Offline, pieces
from goclaw.providers.offline.reply import Pace
from goclaw.providers.provider import open_provider


def tool(name: str, properties: str = "", required: str = "") -> ToolSpec:
    schema = {"properties": {name: {"type": "string"} for name in properties.split()}, "required": required.split()}
    return ToolSpec(name=name, description="", parameters={"type": "object", **schema})


TOOLS = (
    tool("list_files", "path"),
    tool("read_file", "path offset", "path"),
    tool("write_file", "path content append", "path content"),
    tool("search", "pattern path", "pattern"),
    tool("glob", "pattern path", "pattern"),
    tool("exec", "command", "command"),
    tool("datetime", "timezone"),
    tool("web_fetch", "url", "url"),
    tool("web_search", "query", "query"),
    tool("remember_fact", "key value", "key value"),
    tool("memory_search", "query"),
    tool("team_tasks", "action task_id subject assignee result", "action"),
    tool("delegate", "action agent task"),
    tool("spawn", "task"),
    tool("cron", "action job", "action"),
    tool("message", "action channel target message", "action"),
    tool("skill_search", "query", "query"),
    tool("use_skill", "name", "name"),
    tool("session_status", "key"),
    tool("sessions_list", "limit"),
)


def user(text: str) -> ChatMessage:
    return ChatMessage(role="user", content=text)


def asking(*messages: ChatMessage | str, model: str = "offline-1", **more: Any) -> ChatRequest:
    return ChatRequest(messages=tuple(user(m) if isinstance(m, str) else m for m in messages), model=model, **more)


def calls(text: str, tools: tuple[ToolSpec, ...] = TOOLS) -> list[tuple[str, dict[str, Any]]]:
    return [(call.name, call.arguments) for call in Offline().reply(asking(text, tools=tools)).calls]


def text(words: str, tools: tuple[ToolSpec, ...] = TOOLS, **more: Any) -> str:
    return Offline().reply(asking(words, tools=tools, **more)).text


async def done(model: Offline, ask: ChatRequest) -> ChatResponse:
    async with model.stream(ask) as chunks:
        *pieces, last = [chunk async for chunk in chunks]
    assert last.done is not None
    assert "".join(piece.content for piece in pieces) == last.done.content
    assert "".join(piece.thinking for piece in pieces) == last.done.thinking
    return last.done


async def run(
    offline: Offline, words: str, results: dict[str, str], **more: Any
) -> tuple[list[list[str]], ChatResponse]:
    """A whole run: the tools of each batch, then the answer. Tools answer with `results`, or fail without one."""
    messages, batches = [user(words)], []
    while (answer := await done(offline, asking(*messages, tools=TOOLS, **more))).tool_calls:
        batches.append([call.name for call in answer.tool_calls])
        messages.append(ChatMessage(role="assistant", tool_calls=answer.tool_calls))
        messages += [
            ChatMessage(
                role="tool",
                tool_call_id=call.id,
                tool_name=call.name,
                content=results.get(call.name, "broken"),
                is_error=call.name not in results,
            )
            for call in answer.tool_calls
        ]
        assert len(batches) < 10
    return batches, answer


@pytest.mark.parametrize(
    ("words", "name", "arguments"),
    [
        ("list files", "list_files", {"path": "."}),
        ("Please list the files in src/app.", "list_files", {"path": "src/app"}),
        ("列出文件", "list_files", {"path": "."}),
        ("liệt kê các tệp trong src", "list_files", {"path": "src"}),
        ("read Notes.TXT", "read_file", {"path": "Notes.TXT"}),
        ("打开 a/b", "read_file", {"path": "a/b"}),
        ("đọc tệp a.md", "read_file", {"path": "a.md"}),
        ("write “one and two” to n.txt", "write_file", {"path": "n.txt", "content": "one and two"}),
        ("把“你好”写入 n.txt", "write_file", {"path": "n.txt", "content": "你好"}),
        ('find "TODO" in src', "search", {"pattern": "TODO", "path": "src"}),
        ("find *.py", "glob", {"pattern": "*.py", "path": "."}),
        ("run `ls -l; pwd`", "exec", {"command": "ls -l; pwd"}),
        ("chạy `ls`", "exec", {"command": "ls"}),
        ("what time is it?", "datetime", {}),
        ("现在几点了？", "datetime", {}),
        ("mấy giờ rồi?", "datetime", {}),
        ("fetch https://a.example/x?y=1", "web_fetch", {"url": "https://a.example/x?y=1"}),
        ("open https://a.example", "web_fetch", {"url": "https://a.example"}),
        ("search the web for cats and dogs", "web_search", {"query": "cats and dogs"}),
        ("网上搜索 猫", "web_search", {"query": "猫"}),
        ("remember that my dog is Rex", "remember_fact", {"key": "my dog", "value": "Rex"}),
        ("记住我的猫是Tom", "remember_fact", {"key": "我的猫", "value": "Tom"}),
        ("nhớ mật danh là Sao", "remember_fact", {"key": "mật danh", "value": "Sao"}),
        ("what do you know about my dog?", "memory_search", {"query": "my dog"}),
        ("show tasks", "team_tasks", {"action": "list"}),
        ("xem công việc", "team_tasks", {"action": "list"}),
        ('add task "fix it" for @bob', "team_tasks", {"action": "create", "subject": "fix it", "assignee": "bob"}),
        ("finish task 7", "team_tasks", {"action": "complete", "task_id": "7", "result": "done"}),
        ("ask @bob to write a poem", "delegate", {"action": "delegate", "agent": "bob", "task": "write a poem"}),
        ("请@bob写诗", "delegate", {"action": "delegate", "agent": "bob", "task": "写诗"}),
        ("in background, count to ten", "spawn", {"task": "count to ten"}),
        ("list schedules", "cron", {"action": "list"}),
        ('send "hi" to sms:42', "message", {"action": "send", "channel": "sms", "target": "42", "message": "hi"}),
        ('gửi "chào" cho 42', "message", {"action": "send", "target": "42", "message": "chào"}),
        ("list skills", "skill_search", {"query": "*"}),
        ("use skill pdf", "use_skill", {"name": "pdf"}),
        ("status", "session_status", {}),
        ("sessions", "sessions_list", {}),
        ("count the lines of notes.md", "exec", {"command": "wc -l notes.md"}),
        ("统计 notes.md 的行数", "exec", {"command": "wc -l notes.md"}),
        ("đếm số dòng trong notes.md", "exec", {"command": "wc -l notes.md"}),
        ("[From: @lan (Lan)]\nlist files", "list_files", {"path": "."}),
    ],
)  # fmt: skip
def test_a_sentence_becomes_a_call(words, name, arguments):
    assert calls(words) == [(name, arguments)]


def test_every_intent_of_the_contract_is_there():
    assert {intent.id for intent in INTENTS} == set(
        re.findall(
            r"\w+",
            """help greet list_files read_file write_file search_files run calc time fetch search_web remember recall
            tasks_list task_add task_done delegate spawn cron_add cron_list message skills status summarise""",
        )
    )


def test_times_become_jobs():
    ((_, every),) = calls("every 2 hours drink water")
    ((_, at),) = calls("at 07:05 wake up")

    assert every["job"] == {
        "name": "drink-water",
        "schedule": {"kind": "every", "everyMs": 7_200_000},
        "message": "drink water",
    }
    assert at["job"]["schedule"] == {"kind": "cron", "expr": "5 7 * * *"}
    assert at["job"]["deleteAfterRun"] is True


def test_two_requests_joined_by_and_are_one_batch():
    """PR-32."""
    assert calls("list files and show tasks") == [("list_files", {"path": "."}), ("team_tasks", {"action": "list"})]


def test_a_request_that_no_rule_knows_is_named_beside_the_one_that_is_done():
    assert calls("list files and dance") == [("list_files", {"path": "."})]
    assert calls("dance and list files") == []


async def test_then_runs_one_after_the_other_and_the_answer_tells_all():
    batches, answer = await run(
        Offline(), "list files and what time is it then read a.txt", {"list_files": "a.txt", "read_file": "x"}
    )

    assert batches == [["list_files", "datetime"], ["read_file"]]
    assert answer.content == f"{BANNER}\n\nlist_files ok: a.txt\n\ndatetime failed: broken\n\nread_file ok: x"


async def test_a_list_of_requests_ends_with_a_summary_of_what_was_read():
    """The words of issue 6: what is written is made of what was read, not of what was listed."""
    notes = "# Shopping\n\nmilk and bread. And eggs.\n\nCall https://x.test/7 back."
    results = {"list_files": "notes.md", "read_file": notes, "write_file": "26 bytes written"}
    messages = [user("list the files, read notes.md, write summary.md")]
    asked = []
    while (answer := await done(Offline(banner=False), asking(*messages, tools=TOOLS))).tool_calls:
        (call,) = answer.tool_calls
        asked.append((call.name, call.arguments))
        told = ChatMessage(role="tool", tool_call_id=call.id, tool_name=call.name, content=results[call.name])
        messages += [ChatMessage(role="assistant", tool_calls=answer.tool_calls), told]

    content = "- # Shopping\n- milk and bread.\n- Call https://x.test/7 back.\n"
    assert asked == [
        ("list_files", {"path": "."}),
        ("read_file", {"path": "notes.md"}),
        ("write_file", {"path": "summary.md", "content": content}),
    ]
    assert answer.content.endswith("write_file ok: 26 bytes written")


async def test_a_summary_comes_after_what_it_is_made_of_and_never_of_nothing():
    together, _ = await run(
        Offline(), "read a.txt and write a summary to b.md", {"read_file": "tea", "write_file": "done"}
    )
    unread, answer = await run(Offline(banner=False), "read a.txt, write b.md", {})

    assert together == [["read_file"], ["write_file"]]
    assert unread == [["read_file"]]
    assert answer.content == "read_file failed: broken\n\nNothing was read that I could write down."
    assert text("write b.md") == "Nothing was read that I could write down."


def test_a_comma_inside_of_one_request_parts_nothing():
    assert calls("remember that tea is green, hot")[0][1]["value"] == "green, hot"
    assert calls("every 2 hours, drink water")[0][1]["job"]["message"] == "drink water"


async def test_a_long_result_is_cut():
    _, answer = await run(
        Offline(banner=False), "list files", {"list_files": "\n".join(f"file{n}" for n in range(100))}
    )

    assert answer.content.splitlines()[-2:] == ["file19", "…"]


def test_a_tool_under_another_name_counts_and_is_called_by_that_name():
    assert calls('find "x"', (tool("grep_files", "query", "query"),)) == [("grep_files", {"query": "x"})]
    assert calls('find "x"', (tool("find_files", "pattern", "pattern"),)) == [("find_files", {"pattern": "x"})]


def test_remembering_without_a_fact_store_writes_a_note():
    assert calls("remember tea = green", (tool("write_file", "path content append"),)) == [
        ("write_file", {"path": "MEMORY.md", "content": "- tea: green\n", "append": True})
    ]


def test_a_missing_tool_is_named_and_nothing_is_called():
    """PR-33."""
    assert calls("run `ls`", ()) == []
    assert "`exec`, which is not available" in text("run `ls`", ())


def test_a_required_argument_that_nothing_fills_is_asked_for():
    demanding = tool("exec", "command reason", "command reason")

    assert calls("run `ls`", (demanding,)) == []
    assert text("run `ls`", (demanding,)) == "To use `exec` I need: reason."


@pytest.mark.parametrize("start", ["", "calculate ", "remember that ", "summarise ", "what is ", "write "])
@pytest.mark.parametrize("filler", [" ", "1", "1 ", "(", "-", "a", "a/", '"', "is ", " and ", "你知道", "[From: "])
def test_no_sentence_is_so_long_or_odd_that_it_has_no_answer(start, filler):
    sentence = start + filler * 20_000 + "x"

    assert Offline().reply(asking(sentence, tools=TOOLS)).text or calls(sentence)
    assert Offline().reply(asking(sentence, metadata={"run_kind": "summary"})).text


def test_what_needs_no_tool_is_answered():
    assert text("calculate 2 * (3 + 4)") == "2 * (3 + 4) = 14"
    assert "too large" in text("9**9**9")
    assert (
        text("summarise this: First thing. More of it.\n\nSecond thing. See #42")
        == "- First thing.\n- Second thing. (#42)"
    )
    assert text("hello").startswith("Hello. What works here without a language model:")
    assert "run `command`" in text("help")
    assert "run `command`" not in text("help", ())


def test_anything_else_is_repeated_with_a_way_out():
    answer = text("Why is the sky blue?", ())

    assert answer.startswith('You said: "Why is the sky blue?"')
    assert "No language model is connected" in answer
    assert "OPENAI_API_KEY" in answer


async def test_the_banner_stands_on_the_first_answer_of_a_session_only():
    model = Offline()
    first = await done(model, asking("hello"))
    second = await done(model, asking("hello", ChatMessage(role="assistant", content=first.content), "hello"))

    assert first.content.startswith(BANNER)
    assert BANNER not in second.content
    assert first.offline
    assert second.offline
    assert (first.rule, first.usage.estimated) == ("greet", True)


async def test_the_banner_is_left_out_of_calls_and_of_what_no_person_reads():
    model = Offline()

    assert (await done(model, asking("list files", tools=TOOLS))).content == ""
    for kind in ("summary", "flush", "label", "summon"):
        assert BANNER not in (await done(model, asking("hello", metadata={"run_kind": kind}))).content


async def test_the_same_request_gets_the_same_bytes():
    ask = asking("list files and show tasks; hello", tools=TOOLS)

    assert msgspec.json.encode(await done(Offline(), ask)) == msgspec.json.encode(await done(Offline(), ask))


async def test_a_team_task_is_worked_on_and_closed_with_the_result():
    batches, answer = await run(
        Offline(banner=False),
        "list files",
        {"list_files": "a", "team_tasks": "closed"},
        metadata={"team_task_id": "t7"},
    )

    assert batches == [["list_files"], ["team_tasks"]]
    assert answer.content.endswith("team_tasks ok: closed")

    reply = Offline().reply(asking("write a poem", tools=TOOLS, metadata={"team_task_id": "t7"}))
    assert reply.calls[0].arguments["task_id"] == "t7"
    assert "write a poem" in reply.calls[0].arguments["result"]


def test_a_summary_keeps_first_sentences_and_ids_within_its_limit():
    words = ("Fix the door. It is #12.", "Then paint it! Thanks.")
    ask = asking(*words, metadata={"run_kind": "summary"})

    assert Offline().reply(ask).text == "- Fix the door. (#12)\n- Then paint it!"
    short = msgspec.structs.replace(ask, options=ChatOptions(max_tokens=5))
    assert Offline().reply(short).text == "- Then paint it!"


def test_a_flush_writes_what_is_worth_keeping_into_the_file_the_prompt_names():
    ask = asking(
        "I always drink tea.\nIt rains.", "save to memory/2026-01-02.md", tools=TOOLS, metadata={"run_kind": "flush"}
    )
    (call,) = Offline().reply(ask).calls

    assert call.arguments == {"path": "memory/2026-01-02.md", "content": "- I always drink tea.\n", "append": True}
    assert Offline().reply(asking("It rains.", tools=TOOLS, metadata={"run_kind": "flush"})).text == "NO_REPLY"


def test_a_label_is_six_words_and_a_quiet_heartbeat_is_ok():
    assert text("one two three four five six seven", metadata={"run_kind": "label"}) == "one two three four five six"
    assert text("nothing to do", metadata={"run_kind": "heartbeat"}) == "HEARTBEAT_OK"
    assert Offline().reply(asking("list files", tools=TOOLS, metadata={"run_kind": "heartbeat"})).calls


async def test_a_schema_is_answered_with_a_valid_instance_and_nothing_else():
    schema = {"type": "object", "properties": {"mood": {"enum": ["good", "bad"]}}, "required": ["mood"]}
    form = {"type": "json_schema", "json_schema": {"name": "mood", "schema": schema}}

    answer = await done(Offline(), asking("how are you", options=ChatOptions(response_format=form)))
    assert json.loads(answer.content) == {"mood": "good"}


async def test_a_schema_that_fits_nothing_is_a_bad_request():
    form = {"type": "json_schema", "json_schema": {"schema": {"$ref": "#"}}}
    with pytest.raises(ProviderError, match="schema") as caught:
        await done(Offline(), asking("x", options=ChatOptions(response_format=form)))

    assert caught.value.kind == "format"


async def test_the_echo_model_repeats_and_an_unknown_model_is_refused():
    assert (await done(Offline(banner=False), asking("Is it, so?", model="offline-echo"))).content == "Is it, so?"
    with pytest.raises(ProviderError, match="no model named offline-2"):
        await done(Offline(), asking("x", model="offline-2"))


async def test_the_load_model_calls_the_clock_as_often_as_told_then_answers():
    model = Offline(load=Load(tokens=50, tools=2, thinking_tokens=3), banner=False)
    batches, answer = await run(model, "go", {"datetime": "noon"}, model="offline-load")

    assert batches == [["datetime"], ["datetime"]]
    assert len(answer.content.split()) == 50
    assert len(answer.thinking.split()) == 3


async def test_chunks_are_cut_at_spaces_and_paced_by_tokens():
    assert list(pieces("one two three", 5)) == ["one ", "two ", "three"]
    assert list(pieces("unbreakable", 5)) == ["unbre", "akabl", "e"]
    assert list(pieces("", 5)) == []


async def test_pacing_takes_the_time_it_says(autojump_clock: MockClock):
    model = Offline(pace=Pace(first_delay=2.0, tokens_per_second=10.0), load=Load(tokens=100), banner=False)
    began = trio.current_time()
    answer = await done(model, asking("x", model="offline-load"))

    spoken = trio.current_time() - began - 2.0
    assert spoken == pytest.approx(answer.usage.completion_tokens / 10, rel=0.2)


async def test_the_catalogue_opens_it_and_it_lists_its_models(tmp_path: Path):
    (tmp_path / "demo.json5").write_text("{}")

    assert open_provider(BY_NAME["offline"]).default_model == "offline-1"
    assert await Offline(scripts=tmp_path).models() == [
        "offline-1",
        "offline-echo",
        "offline-load",
        "offline-script:demo",
    ]
    assert (await done(Offline(), asking("hello", model=""))).rule == "greet"


def test_calls_of_one_conversation_have_different_ids():
    first = Offline().reply(asking("list files", tools=TOOLS)).calls
    later = (
        Offline()
        .reply(
            asking(
                "list files",
                ChatMessage(role="assistant", tool_calls=(ToolCall(id="1", name="x"),)),
                "list files",
                tools=TOOLS,
            )
        )
        .calls
    )

    assert first[0].id != later[0].id
