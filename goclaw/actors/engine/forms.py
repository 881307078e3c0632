"""What the answers of an agent must fit by its own configuration. Contract: agent-loop.md §16."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import trio
from msgspec.structs import replace

from goclaw.domain.agent import AgentProfile
from goclaw.domain.answer_form import SCHEMA_FILE, AnswerForm, response_format
from goclaw.domain.chat import ChatOptions
from goclaw.domain.errors import Rejected, invalid
from goclaw.security.paths import PathRefused, Workspace


async def fitted(options: ChatOptions, profile: AgentProfile, workspaces: Path) -> ChatOptions:
    """`options` with the agent's schema, if it has one. Raises Rejected naming a file that holds none."""
    own = msgspec.json.decode(profile.answer_form, type=AnswerForm | None)
    if own is None:
        return options
    schema = own.schema
    if schema is None:
        schema = await trio.to_thread.run_sync(_schema_in, workspaces / profile.workspace, own.schema_file)
    form = response_format(schema)
    return replace(options, response_format=form, form_retries=own.max_retries, form_lenient=not own.strict_mode)


def _schema_in(place: Path, file: str) -> dict[str, Any]:
    """Of the agent's own directory, which is above those of its users."""
    try:
        with Workspace(place.resolve()).open(file) as descriptor, open(descriptor, "rb", closefd=False) as opened:
            said = opened.read(SCHEMA_FILE + 1)
        if len(said) > SCHEMA_FILE:
            raise ValueError(f"longer than {SCHEMA_FILE} bytes")
        schema: dict[str, Any] = msgspec.json.decode(said, type=dict[str, Any])
    except (OSError, ValueError, PathRefused) as trouble:
        raise Rejected(invalid("structured_output.schema_file", f"{file}: {trouble}")) from None
    return schema
