"""What a model is asked to write an agent's files, and how its answer is read. Contract: agent-loop.md §19.6."""

from __future__ import annotations

import re
from collections.abc import Sequence

import trio
from msgspec import Struct

from goclaw.domain.chat import ChatMessage, ChatOptions, ChatRequest
from goclaw.domain.errors import ProviderError
from goclaw.knowledge.context_files import CAPABILITIES, IDENTITY, SOUL, USER_PREDEFINED, blank
from goclaw.providers.provider import Model

FILES = (SOUL, IDENTITY, USER_PREDEFINED, CAPABILITIES)
LONGEST = 32_000  # characters of one file
TOKENS = 8192
WITHIN = 300.0  # seconds for all of them in one call …
IN_TWO = 600.0  # … and for the two calls that are made when that went wrong
MEANT = {
    SOUL: "its character, manner, values and limits, addressed to it as 'you'",
    IDENTITY: "lines `- Name:`, `- Emoji:`, `- Description:`",
    USER_PREDEFINED: "what is true of everybody who will talk with it, and what they may expect",
    CAPABILITIES: "what it knows well and how it works",
}
FORM = """Answer in exactly this form and with nothing else:

---
name: its name
emoji: one emoji
summary: one line that says what it is for
---
{blocks}"""
BLOCK = re.compile(r'<file name="(?P<name>[A-Z_]+\.md)">\s*\n?(?P<text>.*?)\n?\s*</file>', re.DOTALL)
FRONT = re.compile(r"(?:\A|\n)---[ \t]*\n(?P<body>.*?)\n---[ \t]*(?:\n|\Z)", re.DOTALL)


class About(Struct, frozen=True, kw_only=True):
    """Who shall be written. `there` are files to be rewritten, `wish` says how."""

    name: str
    description: str
    there: dict[str, str] = {}
    wish: str = ""


class Written(Struct, frozen=True, kw_only=True):
    texts: dict[str, str]
    name: str = ""
    emoji: str = ""
    summary: str = ""


class Unfit(Exception):
    """The answer is not what was asked for."""


async def write(
    model: Model,
    named: str,
    of: About,
    wanted: Sequence[str],
    *,
    within: float,
) -> Written:
    """One call of the model that is `named`. Raises ProviderError, Unfit."""
    ask = ChatRequest(
        messages=(
            ChatMessage(role="system", content=_orders(wanted)),
            ChatMessage(role="user", content=_about(of)),
        ),
        model=named,
        options=ChatOptions(max_tokens=TOKENS, temperature=0.7),
        metadata={"run_kind": "summon", "agent": of.name},
    )
    with trio.move_on_after(within):
        async with model.stream(ask) as chunks:
            async for chunk in chunks:
                if chunk.done is not None:
                    return read(chunk.done.content, wanted)
        raise ProviderError("server_error", f"{model.name} ended its answer without an end")
    raise ProviderError("timeout", f"{model.name} did not write the files within {within:g} s")


def read(answer: str, wanted: Sequence[str]) -> Written:
    """The blocks that were asked for and the front matter. Raises Unfit where one is missing, blank or too long."""
    texts: dict[str, str] = {}
    for block in BLOCK.finditer(answer):
        if block["name"] in wanted and not blank(block["text"]):
            texts.setdefault(block["name"], block["text"].strip() + "\n")
    if missing := [name for name in wanted if name not in texts]:
        raise Unfit(f"no {', '.join(missing)} in the answer")
    if long := [name for name in texts if len(texts[name]) > LONGEST]:
        raise Unfit(f"{', '.join(long)} longer than {LONGEST} characters")
    front = FRONT.search(answer)
    lines = [line.partition(":") for line in (front["body"] if front else "").splitlines()]
    said = {key.strip().lower(): value.strip().strip("\"'") for key, _, value in lines}
    return Written(
        texts=texts,
        name=said.get("name", "")[:255],
        emoji=said.get("emoji", "")[:16],
        summary=said.get("summary", "")[:1000],
    )


def _orders(wanted: Sequence[str]) -> str:
    blocks = "\n".join(f'<file name="{name}">\n{MEANT[name]}\n</file>' for name in wanted)
    said = "You write the files that make an AI agent who it is. Be concrete and brief; Markdown; no placeholders."
    return f"{said}\n\n{FORM.format(blocks=blocks)}"


def _about(of: About) -> str:
    parts = [f"The agent is called {of.name}." if of.name else ""]
    parts += [f"The agent: {of.description}" if of.description else ""]
    parts += [f'<file name="{file}">\n{text}\n</file>' for file, text in of.there.items()]
    if of.there:
        parts.append(f"These are its files. Rewrite them; what shall be different: {of.wish or 'make them better'}")
    return "\n\n".join(part for part in parts if part)
