"""What fills the window of a model in one conversation, in tokens. Contract: agent-loop.md §20."""

from __future__ import annotations

from goclaw.runtime.message import Message

OUTPUT = 4096  # kept free for the answer
LOW = 0.1  # of the window; less is too little


class ContextUse(Message[None]):
    """Everything but `window` adds up to it. `free` is negative where the rest is too much."""

    window: int
    soul: int  # the whole system prompt, with the files of the agent and its user
    memory: int
    pins: int
    shared: int
    summary: int
    messages: int
    tools: int
    output: int
    free: int

    @property
    def low(self) -> bool:
        return self.free < LOW * self.window


class GetContextUse(Message[ContextUse]):
    """As a turn that comes now would find it. Estimated as prompts are (§8.5)."""

    user_id: str
    as_admin: bool
