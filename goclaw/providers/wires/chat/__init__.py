"""OpenAI chat completions and the dialects of it. Contract: providers.md §5, §6."""

from goclaw.providers.wire import Wire, bearer, openai_models
from goclaw.providers.wires.chat.answer import ChatAssembly
from goclaw.providers.wires.chat.request import write

WIRE = Wire(write=write, assemble=ChatAssembly, authorize=bearer, list_models=openai_models)
