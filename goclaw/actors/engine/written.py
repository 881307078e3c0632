"""A turn as rows of its session's history. Contract: data-model.md §8."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import msgspec

from goclaw.domain.agent import AgentProfile
from goclaw.domain.chat import ChatMessage
from goclaw.domain.ids import new_id
from goclaw.domain.run import RunRequest, SentFile
from goclaw.domain.tokens import estimate
from goclaw.stores.runs import Claimed, user_said
from goclaw.stores.sessions import NewMessage


def rows_of(
    run: Claimed,
    request: RunRequest,
    said: Sequence[ChatMessage],
    profile: AgentProfile | None,
    *,
    offline: bool = False,
    cancelled: bool = False,
    media: tuple[SentFile, ...] = (),
) -> list[NewMessage]:
    """What the user said, and all that followed; the last answer is marked if it was `cancelled`, and has `media`."""
    return [user_said(run, request), *_answers(said, profile, offline=offline, cancelled=cancelled, media=media)]


def _answers(
    said: Sequence[ChatMessage],
    profile: AgentProfile | None,
    *,
    offline: bool,
    cancelled: bool,
    media: tuple[SentFile, ...],
) -> Iterator[NewMessage]:
    last = next((message for message in reversed(said) if message.role == "assistant"), None)
    for message in said:
        payload: dict[str, Any] = {}
        match message.role:
            case "tool":
                payload = {
                    "tool_call_id": message.tool_call_id,
                    "name": message.tool_name,
                    "is_error": message.is_error,
                }
            case "assistant":
                if profile is not None:
                    payload = {"model": profile.model, "provider": profile.provider}
                if message.thinking:
                    payload["thinking"] = message.thinking
                if message.tool_calls:
                    payload["tool_calls"] = message.tool_calls
                if offline:
                    payload["offline"] = True
                if cancelled and message is last:
                    payload["cancelled"] = True
                if media and message is last:
                    payload["media"] = msgspec.to_builtins(media)
            case _:
                payload = {"injected": True}
        yield NewMessage(
            id=new_id(),
            role=message.role,
            content=message.content,
            payload=payload,
            token_estimate=estimate(message.content),
        )
