"""The verdict on a command line. Contract: security.md §3."""

from __future__ import annotations

from typing import Literal

import structlog
from msgspec import Struct

from goclaw.security.shell.analysis import Analysis, Refused
from goclaw.security.shell.call import Call
from goclaw.security.shell.limits import LENGTH, TooMuch, Unreadable
from goclaw.security.shell.syntax.grammar import parse
from goclaw.security.shell.text import BIDI, MARKS, joined, normal

log = structlog.get_logger()


class Verdict(Struct, frozen=True):
    """`group` is one of the safety groups, `invalid_args` or `denied_path`; empty if the command may run.

    `why` is a class for logs. Neither goes to the model: see `told`.
    """

    decision: Literal["allow", "deny"]
    group: str = ""
    why: str = ""

    @property
    def allowed(self) -> bool:
        return self.decision == "allow"


ALLOW = Verdict("allow")


PLACES = frozenset(["/bin", "/sbin", "/usr/bin", "/usr/sbin", "/usr/local/bin", "/usr/local/sbin"])


class SimpleCommand(Struct, frozen=True):
    """One command of a line. `name` is empty where it cannot be known which program runs.

    `plain`: it is the program everybody knows by that name: not one of the same name in another place, not one that
    variables were set for.
    """

    name: str
    text: str
    plain: bool = True


def deny_check(
    command: str, groups_off: frozenset[str] = frozenset(), workspace: str = "", denied: tuple[str, ...] = ()
) -> Verdict:
    """May this line be given to a shell? Runs nothing and reads no file.

    `workspace`: the absolute directory in which rights may be changed. `denied`: absolute prefixes that no command
    may name, beside `.goclaw`. Never raises; what cannot be judged is denied.
    """
    if len(command) > LENGTH or "\0" in command:
        return Verdict("deny", "invalid_args", "length" if len(command) > LENGTH else "nul")
    if BIDI.search(command) or MARKS.search(command):
        return Verdict("deny", "filter_bypass", "bidi")
    raw = joined(command)
    verdict = _judge(raw, groups_off, workspace, denied)
    seen = normal(raw)
    if verdict.allowed and seen != raw:
        return _judge(seen[: 4 * LENGTH], groups_off, workspace, denied)
    return verdict


def _judge(text: str, off: frozenset[str], workspace: str, denied: tuple[str, ...]) -> Verdict:
    walk = Analysis(off, workspace, denied)
    try:
        walk.script(parse(text, walk.budget))
    except Refused as refused:
        return Verdict("deny", refused.group, refused.why)
    except TooMuch as much:
        return Verdict("deny", "filter_bypass", much.why)
    except RecursionError:
        return Verdict("deny", "filter_bypass", "too_deep")
    except Unreadable as unreadable:
        if "filter_bypass" not in off:
            return Verdict("deny", "filter_bypass", str(unreadable))
    except Exception:  # a mistake of ours is no permission (security.md §1.1)
        log.exception("security.deny_engine_failed")
        return Verdict("deny", "filter_bypass", "fault")
    return ALLOW


def simple_commands(command: str) -> tuple[SimpleCommand, ...]:
    """Every command the line would run, wrappers and what they wrap both, in order of execution.

    A line that cannot be read is one command without a name, which no allow-list matches.
    """
    from goclaw.security.shell.groups import RULES

    found: dict[SimpleCommand, None] = {}

    def watch(call: Call) -> None:
        place, slash, program = call.words[0].rpartition("/")
        plain = not call.sets and program == call.name and (not slash or place in PLACES)
        text = " ".join([*(f"{name}=" for name in call.sets), *call.words])
        found[SimpleCommand(call.name, text, plain)] = None

    walk = Analysis(frozenset(RULES), watch=watch)
    try:
        walk.script(parse(joined(command), walk.budget))
    except (Refused, TooMuch, RecursionError, Unreadable):
        return (SimpleCommand("", command),)
    return tuple(found)


__all__ = ["SimpleCommand", "Verdict", "deny_check", "simple_commands"]
