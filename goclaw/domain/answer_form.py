"""What the answers of an agent must fit by its own configuration. Contract: agent-loop.md §16."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import msgspec
from msgspec import Meta, Struct

SCHEMA_FILE = 64 * 2**10  # bytes; edge-http.md §2.6


class AnswerForm(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """`other_config.structured_output`: a JSON Schema, or a file of the agent's workspace that holds one.

    Without `strict_mode` an answer that never fits is given as it is.
    """

    schema: dict[str, Any] | None = None
    schema_file: Annotated[str, Meta(max_length=1000)] = ""
    max_retries: Annotated[int, Meta(ge=0, le=5)] = 2
    strict_mode: bool = False


def form_of(other_config: Mapping[str, Any]) -> AnswerForm | None:
    """Raises msgspec.ValidationError. None if nothing is said, or neither a schema nor a file."""
    said = msgspec.convert(other_config.get("structured_output"), AnswerForm | None)
    return said if said is not None and (said.schema is not None or said.schema_file) else None


def response_format(schema: dict[str, Any]) -> dict[str, Any]:
    """A schema as a caller would ask for it."""
    return {"type": "json_schema", "json_schema": {"name": "answer", "schema": schema}}
