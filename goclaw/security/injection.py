"""Text that tries to give orders: found, told about, and by configuration refused. A tripwire, not the defence.

Contract: security.md §2, agent-loop.md §5.1, §5.2. English, and only what is written out.
"""

from __future__ import annotations

import re
from typing import Any, Literal, NamedTuple

import structlog
import trio

from goclaw.security.folding import latin, unadorned, visible
from goclaw.security.known import NOTHING, Forms
from goclaw.security.scrub import preview

Action = Literal["off", "log", "warn", "block"]

SLICE = 2_000  # characters between two checkpoints; 32,000 would hold others up for 40 ms (benchmarks/guards.py)
OVERLAP = 400  # the longest match, which §2.2 bounds at 390
BEHIND = 4  # characters a lookbehind wants to see
NOTE = "[note: this content contains text that looks like instructions]"

log = structlog.get_logger()


def _expression(text: str) -> re.Pattern[str]:
    """`~` and `%` as in §2.2: at least one blank, or none."""
    return re.compile(text.replace("~", r"\s{1,20}").replace("%", r"\s{0,20}"), re.IGNORECASE)


EXPRESSIONS = {
    "ignore_instructions": _expression(
        r"\b(?:ignore|disregard|forget|override|bypass|skip)~(?:(?:all|any|every|each)~(?:of~)?)?"
        r"(?:(?:the|your|these|those|my|our)~)?"
        r"(?:(?:previous|prior|above|earlier|preceding|existing|original|initial|system)~){1,4}"
        r"(?:instructions?|rules?|prompts?|directives?|guidelines?|messages?|constraints?)\b"
    ),
    "role_override": _expression(
        r"\b(?:you~are~now|from~now~on,?~you~(?:are|will~be|act)|pretend~(?:that~)?(?:you~are|you're|to~be)"
        r"|act~as~(?:if|though)~you~(?:are|were)|(?<!\bI )(?<!\bwe )imagine~(?:that~)?(?:you~are|you're))\b"
    ),
    "system_tags": _expression(
        r"</?%system%>|\[/?%(?:system|inst)%\]|<</?%sys%>>"
        r"|<\|%(?:im_start|im_end|system|user|assistant|endoftext|eot_id|start_header_id)%\|>"
    ),
    "instruction_injection": _expression(
        r"(?:^|[\n\r.;!?>*#-])[ \t*#>-]{0,8}(?:(?:new|updated|revised|additional)~(?:system~)?instructions?%:"
        r"|(?:system~)?override%:|system~(?:prompt|message)%:)"
    ),
    "delimiter_escape": _expression(
        r"\b(?:end~of~(?:the~)?system(?:~(?:prompt|message|instructions?))?\b|begin(?:ning)?~(?:of~)?user~input\b)"
        r"|</?%(?:instructions?|rules|prompt|context|context_file|system_context|extra_context)%>"
    ),
}


class Scanned(NamedTuple):
    text: str  # without NUL, otherwise as it came: never a view
    patterns: tuple[str, ...] = ()
    refused: bool = False


class Cut(NamedTuple):
    text: str
    total: int  # characters before the cut
    shortened: bool = False


async def guarded(text: str, action: Action, *, known: Forms = NOTHING, **where: Any) -> Scanned:
    """What goes on of a text, and whether it may. One event for a text that tripped, with `where` it came from.

    A guard that breaks refuses where the action is `block`, and lets pass otherwise (§1.1).
    """
    if action == "off":
        return Scanned(text)
    try:
        patterns = await found_in(text)
    except Exception as error:
        log.error("security.injection_scan_failed", error_type=type(error).__name__, **where)
        return Scanned(text.replace("\0", ""), refused=action == "block")
    refused = action == "block" and bool(patterns)
    if patterns:
        told = log.info if action == "log" else log.warning
        event = "security.injection_blocked" if refused else "security.injection_detected"
        told(event, patterns=patterns, preview=preview(text, known), **where)
    return Scanned(text.replace("\0", ""), patterns, refused)


async def found_in(text: str) -> tuple[str, ...]:
    """The names of the expressions that match anywhere, in the order of §2.2. Gives way after every slice."""
    found: set[str] = set()
    if "\0" in text:
        found.add("null_bytes")
        text = text.replace("\0", "")
    plain, likened, bare = _Window(), _Window(), _Window()
    for at in range(0, len(text), SLICE):
        piece = visible(text[at : at + SLICE])
        plain.slide(piece)
        likened.slide(latin(piece))
        bare.slide(unadorned(latin(piece)))
        for view in {plain.text: plain, likened.text: likened, bare.text: bare}.values():
            missing = EXPRESSIONS.keys() - found
            found |= {name for name in missing if EXPRESSIONS[name].search(view.text, view.begin)}
        if EXPRESSIONS.keys() <= found:
            break
        await trio.lowlevel.checkpoint()
    return tuple(name for name in (*EXPRESSIONS, "null_bytes") if name in found)


def cut(text: str, most: int, **where: Any) -> Cut:
    """A message at its longest (`gateway.max_message_chars`) with a line for the model that says so. After the scan."""
    if len(text) <= most:
        return Cut(text, len(text))
    log.warning("security.message_truncated", kept=most, total=len(text), **where)
    return Cut(f"{text[:most]}\n[message cut: {most} of {len(text)} characters]", len(text), True)


class _Window:
    """The part of a view that is looked at: a slice, and what a match may have begun in."""

    def __init__(self) -> None:
        self.text = ""
        self.begin = 0  # of matches; what is before is only looked back at

    def slide(self, piece: str) -> None:
        if len(self.text) > OVERLAP + BEHIND:
            self.text, self.begin = self.text[-OVERLAP - BEHIND :], BEHIND
        self.text += piece
