"""A chat as its client sees it, event by event. Contract: edge-websocket.md §8.1–§8.3."""

from __future__ import annotations

from itertools import count
from typing import Any

from goclaw.edge.cli.conversation import Conversation
from goclaw.edge.cli.page import KEPT, LONGEST, Page

KEY = "agent:ada:cli:s"


class Chat:
    def __init__(self) -> None:
        self.page = Page()
        self.talk = Conversation(self.page)
        self.talk.begin(KEY)
        self._seq = count(1)

    def hears(self, type: str, run: str = "r-1", key: str = KEY, seq: int = 0, **detail: Any) -> None:
        envelope = {"type": type, "runId": run, "sessionKey": key, "agentId": key.split(":")[1], "payload": detail}
        self.talk.heard({"event": "agent", "payload": {**envelope, "runSeq": seq or next(self._seq)}})

    @property
    def lines(self) -> list[str]:
        return [text for _, text in self.page.lines]


def wish(id: str = "e-1", run: str = "r-1", key: str = KEY) -> dict[str, Any]:
    about = {"id": id, "runId": run, "sessionKey": key, "agentId": "ada", "toolName": "exec", "command": "rm x"}
    return {"event": "exec.approval.requested", "payload": about}


def test_an_answer_grows_and_its_end_adds_what_is_missing() -> None:
    chat = Chat()
    chat.hears("chunk", content="one\ntw")
    chat.hears("chunk", content="o")
    chat.hears("run.completed", content="one\ntwo three")
    chat.talk.answered({"runId": "r-1", "sessionKey": KEY, "content": "one\ntwo three"})

    assert chat.lines == ["one", "two three"]
    assert chat.talk.runs == {}


def test_tools_are_shown_between_the_words() -> None:
    chat = Chat()
    chat.hears("chunk", content="Let me look")
    chat.hears("tool.call", id="t", name="exec", arguments={"command": "ls"})
    chat.hears("tool.result", id="t", name="exec", preview="a\nb", is_error=False)
    chat.hears("tool.result", id="u", name="exec", preview="no", is_error=True)
    chat.hears("run.completed", content="Two files.")

    assert chat.lines == ["Let me look", '  exec {"command":"ls"}', "  → a b", "! → no", "Two files."]


def test_what_begins_again_is_said_anew() -> None:
    chat = Chat()
    chat.hears("chunk", content="half an ans")
    chat.hears("run.retrying", reset=True)
    chat.hears("chunk", content="whole")
    chat.hears("run.completed", content="whole")

    assert chat.lines == ["half an ans", "· begins again", "whole"]


def test_an_event_that_comes_twice_counts_once() -> None:
    chat = Chat()
    for seq in (1, 2, 1, 2, 3):
        chat.hears("chunk", seq=seq, content=str(seq))

    assert chat.lines == ["123"]


def test_other_chats_are_not_shown_but_another_agent_in_this_one_is() -> None:
    chat = Chat()
    chat.hears("chunk", run="r-2", key="agent:ada:cli:other", content="SECRET")
    chat.talk.heard(wish(key="agent:ada:cli:other"))
    chat.hears("chunk", run="r-3", key="agent:bob:cli:s", content="hello")

    assert chat.lines == ["hello"]
    assert (chat.talk.agent, chat.talk.approvals) == ("bob", {})


def test_what_waits_for_a_yes_goes_with_its_answer_or_its_run() -> None:
    chat = Chat()
    chat.talk.heard(wish("e-1"))
    chat.talk.heard(wish("e-1"))
    chat.talk.heard(wish("e-2"))
    resolved = {"id": "e-1", "decision": "deny"}
    chat.talk.heard({"event": "exec.approval.resolved", "payload": resolved})
    left = list(chat.talk.approvals)
    chat.hears("run.queued")
    chat.hears("run.cancelled")

    assert chat.lines == ["? ada wants exec: rm x"] * 2 + ["· answered: deny", "· stopped"]
    assert (left, chat.talk.approvals) == (["e-2"], {})


def test_a_commands_reply_is_shown_and_a_lost_answer_too() -> None:
    chat = Chat()
    chat.talk.answered({"command": "agent", "sessionKey": "agent:bob:cli:s", "content": "Agent bob answers here."})
    chat.talk.answered({"runId": "r-9", "sessionKey": KEY, "content": "while the line was broken"})
    chat.talk.answered({"ok": True, "aborted": False, "count": 0})

    assert chat.lines == ["Agent bob answers here.", "while the line was broken", "· stopped: 0"]


def test_what_an_agent_says_is_no_order_to_a_terminal() -> None:
    chat = Chat()
    chat.hears("chunk", content="a\x1b]0;title\x07b\x9b31m")
    chat.hears("tool.call", name="exec", arguments="\u202egnp.exe\r")
    chat.hears("run.failed", error="\x1b[2Jgone")

    assert chat.lines == ["a]0;titleb31m", "  exec gnp.exe", "! [2Jgone"]


def test_a_page_keeps_its_last_lines_and_breaks_long_ones() -> None:
    page = Page()
    page.stream("x" * LONGEST)
    page.stream("y")
    long = [text for _, text in page.lines]
    for number in range(KEPT + 5):
        page.line("note", str(number))
    page.scroll(10)
    page.scroll(-100)

    assert [len(text) for text in long] == [LONGEST, 1]
    assert (len(page.lines), page.lines[-1][1], page.back) == (KEPT, f"· {KEPT + 4}", 0)
