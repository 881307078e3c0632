"""What a model says, as a database gives it back: a run that is taken up or replayed sees what the first one saw."""

from __future__ import annotations

from typing import Any

from msgspec.structs import replace

from goclaw.domain.chat import ChatResponse, Raw, StreamChunk


def plain(chunk: StreamChunk) -> StreamChunk:
    """The same chunk without NUL, 1e16 for a whole number and minus zero."""
    if "\0" in chunk.content or "\0" in chunk.thinking:
        chunk = replace(chunk, content=_plain(chunk.content), thinking=_plain(chunk.thinking))
    return chunk if chunk.done is None else replace(chunk, done=_answer(chunk.done))


def _answer(said: ChatResponse) -> ChatResponse:
    return replace(
        said,
        content=_plain(said.content),
        thinking=_plain(said.thinking),
        tool_calls=tuple(
            replace(call, id=_plain(call.id), name=_plain(call.name), arguments=_plain(call.arguments))
            for call in said.tool_calls
        ),
        raw=_raw(said.raw) if said.raw is not None else None,
    )


def _raw(raw: Raw) -> Raw | None:
    """None if the blocks would come back as others: their vendor refuses what it has not signed."""
    blocks = tuple(_plain(block) for block in raw.blocks)
    return Raw(raw.family, blocks) if blocks == raw.blocks else None


def _plain(value: Any) -> Any:
    match value:
        case dict():
            return {_plain(name): _plain(member) for name, member in value.items()}
        case list():
            return [_plain(member) for member in value]
        case str():
            return value.replace("\0", "")
        case float() if value.is_integer():
            return int(value)
        case _:
            return value
