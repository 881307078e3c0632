"""What the house asks for itself: summaries, memory flushes, labels, agent templates, heartbeats.

Contract: providers.md §16.3 step 1.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from goclaw.domain.chat import ChatMessage, ChatRequest, ToolCall
from goclaw.domain.tokens import CHARS
from goclaw.providers.offline.reply import Reply

SENTENCE = re.compile(r".*?[.!?。！？](?=\s|$)|.*?[。！？]|.+", re.DOTALL)
IDS = re.compile(r"\b[0-9a-f]{8}-[0-9a-f-]{27}\b|\b[0-9a-f]{12,64}\b|#\d+|https?://\S+|[^\s/]{1,100}/\S+")
KEEPS = re.compile(r"\b(?:remember|prefer|always|never|my)\b", re.IGNORECASE)
MEMORY_FILE = re.compile(r"memory/\d{4}-\d\d-\d\d\.md")
LABEL_WORDS = 6
TEMPLATE = """# {name}

You are {name}, a helpful assistant. Answer briefly, say when you do not know, and ask before you change anything.
"""


def summary(ask: ChatRequest) -> Reply:
    limit = (ask.options.max_tokens or 1024) * CHARS
    return Reply(
        rule="summary", text=extract([m.content for m in ask.messages if m.role == "user"], limit), spoken=False
    )


def extract(texts: list[str], limit: int) -> str:
    """The first sentence of each text and the ids in its rest, newest last, at most `limit` characters.

    The oldest give way.
    """
    kept: list[str] = []
    room = limit
    for text in reversed(texts):
        found = SENTENCE.match(text.strip())
        if found is None:
            continue
        first = " ".join(found[0].split())
        ids = [id for id in dict.fromkeys(IDS.findall(text, found.end())) if id not in first][:8]
        line = f"- {first}" + (f" ({', '.join(ids)})" if ids else "")
        if len(line) + 1 > room:
            if not kept:
                kept.append(line[:limit])
            break
        kept.append(line)
        room -= len(line) + 1
    return "\n".join(reversed(kept)) or "- nothing was said"


def flush(ask: ChatRequest) -> Reply:
    """One note of what users want remembered; the file is the one the prompt names."""
    tool = next((tool for tool in ask.tools if tool.name == "write_file"), None)
    users = [m.content for m in ask.messages if m.role == "user"]
    lines = [" ".join(line.split()) for text in users for line in text.splitlines() if KEEPS.search(line)]
    written = ask.messages[-1].role == "tool"
    if tool is None or not lines or written:
        return Reply(rule="flush", text="NO_REPLY", spoken=False)
    named = MEMORY_FILE.search("\n".join(m.content for m in ask.messages))
    arguments = {
        "path": named[0] if named else "MEMORY.md",
        "content": "".join(f"- {line}\n" for line in dict.fromkeys(lines)),
        "append": True,
    }
    return Reply(rule="flush", calls=(ToolCall(id="call_flush", name=tool.name, arguments=arguments),), spoken=False)


def label(ask: ChatRequest) -> Reply:
    words = last_user(ask.messages).split()[:LABEL_WORDS]
    return Reply(rule="label", text=" ".join(words) or "conversation", spoken=False)


def summon(ask: ChatRequest) -> Reply:
    name = str(ask.metadata.get("agent") or "Assistant")
    return Reply(rule="summon", text=TEMPLATE.format(name=name), spoken=False)


PURPOSES: dict[str, Callable[[ChatRequest], Reply]] = {
    "summary": summary,
    "flush": flush,
    "label": label,
    "summon": summon,
}


def last_user(messages: tuple[ChatMessage, ...]) -> str:
    return next((message.content for message in reversed(messages) if message.role == "user"), "")
