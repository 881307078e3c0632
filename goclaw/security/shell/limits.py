"""What the analysis may cost, counted and never timed. Contract: security.md §3.1 steps 1, 7 and 9."""

from __future__ import annotations

LENGTH = 16_384  # characters of a command
COMMANDS = 4_096  # simple commands and substitutions
WORDS = 1_024  # of one brace expansion
VALUE = 65_536  # characters of a variable; more are unknown
STEPS = 50_000
SHELLS = 3  # one inside the other
WRAPPERS = 8  # `env nice time …` around one command
SUBSTITUTIONS = 12  # one inside the other
NESTING = 40  # compound commands; ours, below what the interpreter's stack holds
WORLDS = 16  # combinations of possible values looked at per command; ours


class Unreadable(Exception):
    """No shell text, or one that two shells read differently."""


class TooMuch(Exception):
    """A budget is spent; `why` is what the verdict says."""

    def __init__(self, why: str) -> None:
        super().__init__(why)
        self.why = why


class Budget:
    def __init__(self) -> None:
        self.steps = 0
        self.commands = 0

    def step(self, count: int = 1) -> None:
        self.steps += count
        if self.steps > STEPS:
            raise TooMuch("budget")

    def command(self) -> None:
        self.commands += 1
        if self.commands > COMMANDS:
            raise TooMuch("budget")
        self.step()
