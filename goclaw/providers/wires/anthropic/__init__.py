"""Anthropic's own Messages API. Contract: providers.md §4."""

from goclaw.providers.wire import Wire
from goclaw.providers.wires.anthropic.answer import AnthropicAssembly
from goclaw.providers.wires.anthropic.models import list_models
from goclaw.providers.wires.anthropic.request import write

VERSION = "2023-06-01"


def authorize(key: str) -> dict[str, str]:
    return {"x-api-key": key}


WIRE = Wire(
    write=write,
    assemble=AnthropicAssembly,
    authorize=authorize,
    list_models=list_models,
    models_path="/models?limit=1000",
    headers={"anthropic-version": VERSION},
)
