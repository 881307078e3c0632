"""What an agent says while it works, as pieces of an answer. Contract: providers.md §7.1, session/update."""

from __future__ import annotations

from typing import Any

from msgspec import Raw, Struct, json

from goclaw.domain.chat import StreamChunk
from goclaw.domain.model import OwnTool
from goclaw.providers.reader import nested

KINDS = 1000  # tool calls whose kind is remembered, the newest
TEXT = 4000  # characters kept of what a tool said
BREAK = "\n\n"  # between what was said before a tool ran and after
Piece = StreamChunk | OwnTool


class _Update(Struct, frozen=True, rename="camel"):
    """The members of all kinds of updates that are read. Whatever has another type is no update."""

    session_update: str = ""
    content: Any = None
    tool_call_id: str = ""
    title: str | None = None
    kind: str | None = None
    status: str | None = None
    raw_input: Any = None
    entries: list[dict[str, Any]] = []


class _Params(Struct, frozen=True):
    update: _Update


class Told:
    """Reads the updates of one session. Raises msgspec.DecodeError for what is none."""

    def __init__(self) -> None:
        self.kinds: dict[str, str] = {}  # of tool calls, by id
        self._names: dict[str, str] = {}  # of those under way
        self._interrupted = False  # a tool ran since the last text of this answer
        self._said = False

    def begin(self) -> None:
        """A new answer."""
        self._names.clear()
        self._interrupted = self._said = False

    def piece(self, params: Raw) -> Piece | None:
        """What an update adds to the answer, if anything."""
        update = json.decode(params, type=_Params).update
        match update.session_update:
            case "agent_message_chunk":
                return self._text(text_of(update.content))
            case "agent_thought_chunk":
                thought = text_of(update.content)
                return StreamChunk(thinking=thought) if thought else None
            case "plan":
                return StreamChunk(thinking=_plan(update.entries))
            case "tool_call" | "tool_call_update" if update.tool_call_id:
                return self._tool(update)
        return None

    def _text(self, text: str) -> StreamChunk | None:
        if not text:
            return None
        if self._said and self._interrupted:
            text = BREAK + text
        self._said, self._interrupted = True, False
        return StreamChunk(content=text)

    def _tool(self, update: _Update) -> OwnTool | None:
        """Told when the call begins and when it ends, not between."""
        id = update.tool_call_id
        if update.kind:
            self.kinds.pop(id, None)
            self.kinds[id] = update.kind
            while len(self.kinds) > KINDS:
                del self.kinds[next(iter(self.kinds))]
        self._interrupted = True
        ended = update.status in ("completed", "failed")
        known = id in self._names
        name = self._names.get(id) or update.title or update.kind or "tool"
        if known and not ended:
            return None
        if ended:
            self._names.pop(id, None)
        elif len(self._names) < KINDS:
            self._names[id] = name
        given = update.raw_input if isinstance(update.raw_input, dict) and not nested(update.raw_input) else {}
        return OwnTool(
            id=id,
            name=name,
            arguments=given,
            ended=ended,
            is_error=update.status == "failed",
            text=_results(update.content)[:TEXT] if ended else "",
        )


def text_of(content: Any) -> str:
    match content:
        case {"type": "text", "text": str(text)}:
            return text
    return ""


def _results(content: Any) -> str:
    """The texts among what a tool gave back, and the paths it changed."""
    said: list[str] = []
    for block in content if isinstance(content, list) else ():
        match block:
            case {"type": "content", "content": inner}:
                said.append(text_of(inner))
            case {"type": "diff", "path": str(path)}:
                said.append(f"changed {path}")
    return "\n".join(text for text in said if text)


def _plan(entries: list[dict[str, Any]]) -> str:
    lines = [f"- {entry.get('content', '')} ({entry.get('status', 'pending')})" for entry in entries]
    return "\n".join(["Plan:", *lines, ""])
