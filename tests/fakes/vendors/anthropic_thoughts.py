"""Thoughts of Claude models: who thinks, who shows it, and signatures that bind a thought to what came before it."""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from typing import Any

import msgspec

from tests.fakes.vendors.script import Refuse

SECRET = b"only the vendor knows"
MAC = 128  # bytes
Turn = tuple[str, list[dict[str, Any]]]


def generation(model: str) -> tuple[int, int]:
    """(4, 5) of claude-haiku-4-5-20251001; (4, 0) of what is no such name."""
    found = re.match(r"claude-[a-z]+-(\d{1,2})(?!\d)(?:-(\d{1,2})(?!\d))?", model)
    return (int(found[1]), int(found[2] or 0)) if found else (4, 0)


def thinks(body: dict[str, Any]) -> bool:
    kind = (body.get("thinking") or {}).get("type")
    return kind in ("enabled", "adaptive") or (kind is None and generation(body["model"]) >= (5, 0))


def omits(body: dict[str, Any]) -> bool:
    """Newer models show the text of their thoughts only to those who ask."""
    display = (body.get("thinking") or {}).get("display")
    return display == "omitted" or (display is None and generation(body["model"]) >= (4, 7))


def preserves(model: str) -> bool:
    """Whether a thought is only taken back after the same system prompt, tools and messages."""
    return generation(model) > (5, 0)


def prefix(body: dict[str, Any], turns: list[Turn], blocks: list[dict[str, Any]]) -> str:
    """What lies before a block, told apart by its content alone. `blocks`: those before it in its own turn."""
    system = body.get("system") or []
    said = [{"type": "text", "text": system}] if isinstance(system, str) else system
    parts = [[bare(tool) for tool in body.get("tools") or ()], [bare(block) for block in said]]
    before = [[role, [bare(block) for block in content]] for role, content in turns]
    own = [bare(block) for block in blocks]
    return hashlib.sha256(msgspec.json.encode([*parts, before, own], order="deterministic")).hexdigest()


def bare(block: dict[str, Any]) -> dict[str, Any]:
    """Without what is not content."""
    return {name: value for name, value in block.items() if value is not None and name != "cache_control"}


def seal(model: str, text: str, before: str) -> str:
    """A signature that only this vendor can make, for this text after this prefix."""
    head = f"{model}:{before}:{text}".encode()
    return base64.b64encode(hmac.digest(SECRET, head, "sha512") * 2 + head).decode()


def check_seal(signature: str, text: str | None, where: str, body: dict[str, Any], before: str) -> None:
    """Raise Refuse unless `seal` made it: for this text if one is given, after this prefix if the model looks at it."""
    what = (
        "Invalid `signature` in `thinking` block" if text is not None else "Invalid `data` in `redacted_thinking` block"
    )
    try:
        head = base64.b64decode(signature, validate=True)[MAC:].decode()
        model, digest, thought = head.split(":", 2)
    except ValueError:
        raise Refuse(400, f"{where}: {what}") from None
    if seal(model, thought, digest) != signature or text not in (None, thought):
        raise Refuse(400, f"{where}: {what}")
    binding = (body.get("thinking") or {}).get("block_binding") or {}
    if model != body["model"] or not preserves(model) or digest == before:
        return  # what another model thought is left out without a word
    if binding.get("prefix_mismatch_behavior") != "drop_block":
        advice = 'Remove the block, or set `thinking.block_binding.prefix_mismatch_behavior` to "drop_block".'
        raise Refuse(400, f"{where}: {what}. The block is bound to a different conversation. {advice}")
