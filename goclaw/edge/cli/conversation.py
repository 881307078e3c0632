"""A chat as its client sees it: who answers, what runs, what waits for a yes, and the words of it all.

Contract: edge-websocket.md §8.1–§8.3. What an agent says is shown as text, never as orders to a terminal.
"""

from __future__ import annotations

import re
from typing import Any, Literal, Protocol

Style = Literal["you", "agent", "reply", "tool", "note", "error", "ask"]

ODD = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")  # ESC, and what turns text around
SHOWN = 300  # characters of a tool's arguments or result
ENDED = 200  # runs that are remembered, so that an answer is not shown twice


class Paper(Protocol):
    """What the words are written on."""

    def line(self, style: Style, text: str) -> None: ...
    def stream(self, text: str) -> None: ...  # goes on where the last stream stopped, or begins anew after a line


class Run:
    def __init__(self, session: str) -> None:
        self.session = session
        self.said = ""  # since the last tool or restart (edge-websocket.md §8.3)
        self.seq = 0


class Conversation:
    def __init__(self, paper: Paper) -> None:
        self.key = ""  # as it was begun; agents may change
        self.agent = ""
        self.runs: dict[str, Run] = {}
        self.approvals: dict[str, dict[str, Any]] = {}
        self._paper = paper
        self._ended: dict[str, None] = {}
        self._speaking = ""  # the run whose words came last

    def begin(self, key: str) -> None:
        self.key = key
        self.agent = key.split(":", 2)[1]

    def heard(self, event: dict[str, Any]) -> None:
        """Take in an event of the socket; those of other chats are nobody's business here."""
        about = event.get("payload")
        if not isinstance(about, dict):
            return
        kind = str(event.get("event"))
        if kind == "shutdown":
            self._line("note", "the gateway stops")
        elif kind == "exec.approval.resolved":
            self._resolved(about)
        elif not self._ours(str(about.get("sessionKey", ""))):
            return
        elif kind == "exec.approval.requested":
            self.wanted(about)
        elif kind == "agent":
            self._told(str(about.get("type")), str(about.get("runId")), about)

    def answered(self, answer: dict[str, Any]) -> None:
        """The response to what was sent: of a run it is what was shown already, of a command it is all there is."""
        if self._ours(key := str(answer.get("sessionKey") or "")):
            self.agent = key.split(":", 2)[1]
        if "aborted" in answer:
            self._line("note", f"stopped: {answer.get('count', 0)}")
        elif (run := answer.get("runId")) is None:
            self._line("reply", str(answer.get("content", "")))
        elif run not in self._ended and answer.get("content") is not None:
            self._end(str(run), str(answer["content"]))

    def remembered(self, messages: list[dict[str, Any]]) -> None:
        """What was said before this client came."""
        for message in messages:
            role, text = message.get("role"), str(message.get("content") or "")
            if text and role in ("user", "assistant"):
                self._line("you" if role == "user" else "agent", text)

    def wanted(self, about: dict[str, Any]) -> None:
        """An agent waits for a yes."""
        id = str(about.get("id"))
        if id not in self.approvals:
            self.approvals[id] = about
            self._line("ask", f"{about.get('agentId')} wants {about.get('toolName')}: {about.get('command')}")

    def keep(self, ids: set[str]) -> None:
        """Only these wait still."""
        self.approvals = {id: about for id, about in self.approvals.items() if id in ids}

    def note(self, text: str) -> None:
        self._line("note", text)

    def failed(self, text: str) -> None:
        self._line("error", text)

    def _ours(self, key: str) -> bool:
        return key.split(":", 2)[2:] == self.key.split(":", 2)[2:]

    def _resolved(self, about: dict[str, Any]) -> None:
        if self.approvals.pop(str(about.get("id")), None) is not None:
            self._line("note", f"answered: {about.get('decision')}")

    def _told(self, type: str, id: str, about: dict[str, Any]) -> None:
        detail = about.get("payload") or {}
        run = self.runs.get(id)
        if run is None:
            if id in self._ended:
                return
            run = self.runs[id] = Run(str(about.get("sessionKey")))
        if (seq := about.get("runSeq", 0)) and seq <= run.seq:
            return  # heard live and again after a reconnection
        run.seq = seq
        self.agent = str(about.get("agentId", self.agent))
        match type:
            case "chunk":
                self._say(id, run, str(detail.get("content", "")))
            case "tool.call":
                self._line("tool", f"{detail.get('name')} {_short(detail.get('arguments'))}")
                run.said = ""
            case "tool.result":
                failed = detail.get("is_error") or detail.get("isError")
                self._line("error" if failed else "tool", f"→ {_short(detail.get('preview'))}")
                run.said = ""
            case "run.retrying" if detail.get("reset"):
                self._line("note", "begins again")
                run.said = ""
            case "run.completed":
                self._end(id, str(detail.get("content") or ""))
            case "run.failed":
                self._line("error", str(detail.get("error") or detail.get("code")))
                self._forget(id)
            case "run.cancelled":
                self._line("note", "stopped")
                self._forget(id)

    def _say(self, id: str, run: Run, text: str) -> None:
        if self._speaking != id:
            self._speaking = id
            text = text.lstrip("\n")
        run.said += text
        self._paper.stream(plain(text))

    def _end(self, id: str, content: str) -> None:
        """The final text is authoritative: what is missing of it is shown, or all of it if it is another one."""
        run = self.runs.get(id) or Run(self.key)
        if content.startswith(run.said):
            self._say(id, run, content[len(run.said) :])
        elif content.strip() != run.said.strip():
            self._line("agent", content)
        self._speaking = ""
        self._forget(id)

    def _forget(self, id: str) -> None:
        self.runs.pop(id, None)
        self._ended[id] = None
        if len(self._ended) > ENDED:
            del self._ended[next(iter(self._ended))]
        for approval in [one for one, about in self.approvals.items() if about.get("runId") == id]:
            del self.approvals[approval]

    def _line(self, style: Style, text: str) -> None:
        self._speaking = ""
        self._paper.line(style, plain(text))


def plain(text: str) -> str:
    """Without what a terminal would obey."""
    return ODD.sub("", text)


def _short(value: object) -> str:
    text = value if isinstance(value, str) else _json(value)
    text = " ".join(text.split())
    return text if len(text) <= SHOWN else text[: SHOWN - 1] + "…"


def _json(value: object) -> str:
    import msgspec

    return msgspec.json.encode(value).decode() if value is not None else ""
