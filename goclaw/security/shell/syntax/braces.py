"""Brace expansion: `{a,b}` and `{a..e}`."""

from __future__ import annotations

import itertools
import re

from goclaw.security.shell.limits import WORDS, Budget, TooMuch
from goclaw.security.shell.syntax.tree import Literal, Part

Item = str | Part  # an unquoted character, or a part that braces do not see into
RANGE = re.compile(r"(-?\d{1,9}|[A-Za-z])\.\.(-?\d{1,9}|[A-Za-z])(?:\.\.(-?\d{1,9}))?", re.ASCII)


def expanded(parts: tuple[Part, ...], budget: Budget) -> list[tuple[Part, ...]]:
    """The words one word stands for. Raises TooMuch."""
    opens = any(isinstance(part, Literal) and not part.quoted and "{" in part.text for part in parts)
    if not opens:
        return [parts]
    items: list[Item] = []
    for part in parts:
        if isinstance(part, Literal) and not part.quoted:
            items += part.text
        else:
            items.append(part)
    return [_joined(each) for each in _expand(items, budget, 0)]


def _joined(items: list[Item]) -> tuple[Part, ...]:
    parts: list[Part] = []
    for item in items:
        if not isinstance(item, str):
            parts.append(item)
        elif parts and isinstance(last := parts[-1], Literal) and not last.quoted:
            parts[-1] = Literal(last.text + item)
        else:
            parts.append(Literal(item))
    return tuple(parts)


def _expand(items: list[Item], budget: Budget, depth: int) -> list[list[Item]]:
    if depth > WORDS:
        raise TooMuch("budget")
    for start, item in enumerate(items):
        if item != "{":
            continue
        alternatives, end = _alternatives(items, start)
        budget.step(1 + (end - start) // 16)
        if alternatives is None:
            continue
        heads = [each for alternative in alternatives for each in _expand(alternative, budget, depth + 1)]
        if len(heads) > WORDS:
            raise TooMuch("budget")
        tails = _expand(items[end + 1 :], budget, depth + 1)
        if len(heads) * len(tails) > WORDS:
            raise TooMuch("budget")
        return [items[:start] + head + tail for head in heads for tail in tails]
    return [items]


def _alternatives(items: list[Item], start: int) -> tuple[list[list[Item]] | None, int]:
    """The alternatives of the brace at `start` and where it ends; None if it is an ordinary character."""
    level, commas = 0, [start]
    for at in range(start, len(items)):
        item = items[at]
        if item == "{":
            level += 1
        elif item == "," and level == 1:
            commas.append(at)
        elif item == "}":
            level -= 1
            if level == 0:
                if len(commas) > 1:
                    edges = [*commas, at]
                    return [items[a + 1 : b] for a, b in itertools.pairwise(edges)], at
                return _range(items[start + 1 : at]), at
    return None, len(items)


def _range(items: list[Item]) -> list[list[Item]] | None:
    text = "".join(item if isinstance(item, str) else "\0" for item in items)
    match = RANGE.fullmatch(text)
    if match is None or match[1].lstrip("-").isdigit() != match[2].lstrip("-").isdigit():
        return None
    letters = match[1].isalpha()
    first, last = (ord(match[1]), ord(match[2])) if letters else (int(match[1]), int(match[2]))
    step = max(1, abs(int(match[3] or 1)))
    if abs(last - first) // step >= WORDS:
        raise TooMuch("budget")
    span = range(first, last + 1, step) if last >= first else range(first, last - 1, -step)
    return [list(chr(each) if letters else str(each)) for each in span]
