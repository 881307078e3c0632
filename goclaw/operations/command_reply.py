"""What a command in a chat answers, in the language of whoever asked. Contract: channels.md §10."""

from __future__ import annotations

from msgspec import Struct

from goclaw.domain.command_texts import sentence
from goclaw.operations.context import Context


class CommandReply(Struct, rename="camel", kw_only=True):
    """What a command says. It is shown to its sender and stored nowhere."""

    command: str
    session_key: str
    content: str
    kind: str = "command_reply"


def say(ctx: Context, key: str, **facts: object) -> str:
    return sentence(key, ctx.caller.locale, **facts)
