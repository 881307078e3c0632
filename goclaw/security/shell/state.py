"""What a shell would know at one point of a script: variables, functions, directory.

A variable may have several possible values, because a condition decides; none means that it was not set here.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from goclaw.security.shell.limits import VALUE
from goclaw.security.shell.syntax.tree import Command
from goclaw.security.shell.text import HOLE

MOST = 32  # possible values of one variable


@dataclass(slots=True)
class State:
    values: dict[str, tuple[str, ...]] = field(default_factory=dict)
    arrays: dict[str, tuple[str, ...]] = field(default_factory=dict)
    functions: dict[str, Command] = field(default_factory=dict)
    aliases: dict[str, str] = field(default_factory=dict)
    arguments: tuple[str, ...] | None = None  # $1 …; None if they are not known
    exported: frozenset[str] = frozenset()
    exports: bool = False  # set -a

    def copy(self) -> State:
        return State(
            dict(self.values),
            dict(self.arrays),
            dict(self.functions),
            dict(self.aliases),
            self.arguments,
            self.exported,
            self.exports,
        )

    def put(self, name: str, value: str) -> None:
        self.values[name] = (value if len(value) <= VALUE else HOLE,)
        self.arrays.pop(name, None)

    def child(self) -> State:
        """What a shell started here would know: exported variables only."""
        names = self.values.keys() & self.exported | {"PWD"} & self.values.keys()
        return State({name: self.values[name] for name in names}, arguments=(), exported=self.exported)

    def drop(self, name: str) -> None:
        self.values.pop(name, None)
        self.arrays.pop(name, None)
        self.functions.pop(name, None)


def either(states: list[State]) -> State:
    """What is known when any of `states` may be true."""
    first = states[0]
    if len(states) == 1:
        return first
    merged = first.copy()
    for state in states[1:]:
        for name in merged.values.keys() | state.values.keys():
            mine, other = merged.values.get(name, (HOLE,)), state.values.get(name, (HOLE,))
            if mine != other:
                both = tuple(dict.fromkeys((*mine, *other)))
                merged.values[name] = both if len(both) <= MOST else (HOLE, *both[: MOST - 1])
        for name in merged.arrays.keys() | state.arrays.keys():
            if merged.arrays.get(name) != state.arrays.get(name):
                merged.arrays[name] = (HOLE,)
        merged.functions |= state.functions
        merged.aliases |= state.aliases
        merged.exported &= state.exported
        merged.exports |= state.exports
        if merged.arguments != state.arguments:
            merged.arguments = None
    return merged
