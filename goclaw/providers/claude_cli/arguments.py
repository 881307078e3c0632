"""How the program is called. Contract: providers.md §7.2, arguments and env."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import NAMESPACE_DNS, UUID, uuid5

import msgspec

from goclaw.domain.chat import Image
from goclaw.providers.conversation import Bookmark

INHERITED = frozenset({"CLAUDE_CODE_OAUTH_TOKEN", "CLAUDE_CODE_EFFORT_LEVEL", "CLAUDE_CODE_DISABLE_ADAPTIVE_THINKING"})
ARGUMENT = 100_000  # bytes of a message that is an argument; Linux takes 128 KiB in one
BUILT_IN = "Bash,Edit,Read,Write,Glob,Grep,WebFetch,WebSearch,Task,TodoWrite,NotebookEdit"
DENIED = ("//etc/**", "**/.env*", "**/secret*", "**/credentials*", "**/Credentials*")  # as for other agents, §7.1
SETTINGS = msgspec.json.encode(
    {"permissions": {"deny": [f"{tool}({path})" for tool in ("Read", "Edit") for path in DENIED]}}
).decode()


def session_id(key: str, resets: int) -> UUID:
    """The program's own id of a session: it belongs to the key, and to how often that began anew."""
    return uuid5(NAMESPACE_DNS, f"{key}#{resets}" if resets else key)


def command(
    path: str, *, model: str, perm_mode: str, mark: Bookmark, id: str, message: str, piped: bool, tools: bool
) -> list[str]:
    """`piped`: the message comes on the standard input, as `message_line`."""
    words = [path, "-p", "--output-format", "stream-json", "--model", model]
    words += ["--permission-mode", perm_mode, "--verbose"]
    words += ["--resume" if mark.id == id else "--session-id", id]
    if piped:
        words += ["--input-format", "stream-json"]
    if not tools:
        words += ["--disallowedTools", BUILT_IN]
    words += ["--settings", SETTINGS]
    return words if piped else [*words, "--", message.replace("\0", "")]


def message_line(text: str, images: Sequence[Image]) -> bytes:
    """A message with pictures, or one too long for an argument."""
    content: list[dict[str, Any]] = [
        {
            "type": "document" if image.media_type == "application/pdf" else "image",
            "source": {"type": "base64", "media_type": image.media_type, "data": image.data},
        }
        for image in images
    ]
    content.append({"type": "text", "text": text})
    return msgspec.json.encode({"type": "user", "message": {"role": "user", "content": content}}) + b"\n"
