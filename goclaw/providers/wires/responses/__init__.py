"""OpenAI Responses, and the backend of ChatGPT accounts that speaks it too. Contract: providers.md §7.3."""

from goclaw.providers.wire import Wire, bearer, openai_models
from goclaw.providers.wires.responses.answer import ResponsesAssembly
from goclaw.providers.wires.responses.request import write

WIRE = Wire(write=write, assemble=ResponsesAssembly, authorize=bearer, list_models=openai_models)
