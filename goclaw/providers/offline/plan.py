"""From a sentence to tool calls: clauses, matching, arguments. Contract: providers.md §16.3 steps 4 and 5."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from msgspec import Struct

from goclaw.domain.chat import ToolSpec
from goclaw.domain.tools import ALIASES
from goclaw.providers.offline.calc import calculate
from goclaw.providers.offline.intents import INTENTS, SEEN, Intent, Use, Words
from goclaw.providers.offline.purposes import extract

CLAUSES = 3  # of one sentence
TEXT_LIMIT = 4000  # characters that are looked at; providers.md §16.5

GROUP_MARK = re.compile(r"\A(?:\[Chat messages since.*?\[Current message\]\s*)?(?:\[From: [^\]\n]*\]\s*)?", re.DOTALL)
POLITENESS = re.compile(r"\A(?:please|can you|could you|would you|请|làm ơn)[, ]*", re.IGNORECASE)
FULL_STOP = re.compile(r"(?:(?<=\w)\.|[!?。！？]+)\Z")
QUOTED = re.compile(r"\"[^\"]*\"|`[^`]*`")
QUOTES = str.maketrans("“”„«»", '"""""')
THEN = re.compile(r",?\s(?:and )?then\s|[;；]|[，,]?然后|,?\srồi\s|(?:,\s|，\s*)(?:and\s)?", re.IGNORECASE)
AND = re.compile(r"\sand\s|和|并且|\svà\s", re.IGNORECASE)


class Matched(Struct, frozen=True, kw_only=True):
    """What one clause comes to: a call, or words when no tool is needed or none can be used.

    Both: a call of something `later` than the rest of its batch, for which nothing was read yet.
    """

    rule: str
    tool: str = ""
    arguments: dict[str, Any] = {}
    words: str = ""
    later: bool = False


Batch = Sequence[Matched]


def plan(text: str, tools: Sequence[ToolSpec], seen: str = "") -> list[Batch]:
    """What to do about `text`: batches that run one after the other, each of clauses that run together.

    `seen` is what was read in the run so far; how many batches there are does not depend on it.

    A sentence is taken apart if every clause is a request, or if it is none as a whole and its first clause is one.
    Empty if no rule matches.
    """
    offered = by_name(tools)
    text = clean(text)
    clauses = [split(part, AND) for part in split(text, THEN)]
    batches = [[match(clause, offered, seen) for clause in batch] for batch in clauses]
    several = 1 < sum(map(len, clauses)) <= CLAUSES
    if not (several and all(all(batch) for batch in batches)):
        if whole := match(text, offered, seen):
            return [[whole]]
        if not (several and batches[0][0]):
            return []
    named = [
        [
            found or Matched(rule="echo", words=f'I have no rule for "{clause}".')
            for clause, found in zip(*pair, strict=True)
        ]
        for pair in zip(clauses, batches, strict=True)
    ]
    return [part for batch in named for part in in_order(batch)]


def in_order(batch: Batch) -> list[Batch]:
    """A batch without what needs its results, then that."""
    parts = [[found for found in batch if found.later == later] for later in (False, True)]
    return [part for part in parts if part]


def by_name(tools: Sequence[ToolSpec]) -> dict[str, ToolSpec]:
    """The offered tools under their canonical names."""
    return {ALIASES.get(tool.name, tool.name): tool for tool in tools}


def unmarked(text: str) -> str:
    """What the user wrote, without the marks of a group chat (agent-loop.md §5.4)."""
    return GROUP_MARK.sub("", text).strip()


def clean(text: str) -> str:
    """`text` as the patterns expect it: straight quotes, no politeness, no full stop."""
    text = unmarked(text[:TEXT_LIMIT]).translate(QUOTES)
    return FULL_STOP.sub("", POLITENESS.sub("", text)).strip()


def split(text: str, separator: re.Pattern[str]) -> list[str]:
    """The parts between separators that are not inside quotes."""
    masked = QUOTED.sub(lambda quote: "\0" * len(quote[0]), text)
    parts, start = [], 0
    for found in separator.finditer(masked):
        parts.append(text[start : found.start()])
        start = found.end()
    return [clean(part) for part in [*parts, text[start:]]]


def match(clause: str, offered: Mapping[str, ToolSpec], seen: str) -> Matched | None:
    """The first rule that fits and can be carried out; else why the first that fits cannot; else None."""
    excuse: Matched | None = None
    for intent in INTENTS:
        found = next((m for pattern in intent.patterns if (m := pattern.fullmatch(clause))), None)
        if found is None:
            continue
        words = intent.defaults | {name: value for name, value in found.groupdict().items() if value is not None}
        if not intent.uses:
            return Matched(rule=intent.id, words=say(intent, words, offered))
        for use in intent.uses:
            if (tool := offered.get(use.tool)) is None:
                continue
            arguments, lacking = fill(use, words | {SEEN: seen}, tool)
            if not lacking:
                idle = "Nothing was read that I could write down." if use.reads and not seen else ""
                return Matched(rule=intent.id, tool=tool.name, arguments=arguments, words=idle, later=use.reads)
            excuse = excuse or Matched(rule=intent.id, words=f"To use `{tool.name}` I need: {', '.join(lacking)}.")
        names = " or ".join(f"`{use.tool}`" for use in intent.uses)
        excuse = excuse or Matched(rule=intent.id, words=f"That needs the tool {names}, which is not available here.")
    return excuse


def fill(use: Use, words: Words, tool: ToolSpec) -> tuple[dict[str, Any], list[str]]:
    """Arguments under the names the tool's schema has, and the required ones that nothing fills."""
    properties = tool.parameters.get("properties") or {}
    arguments: dict[str, Any] = {}
    for names, value in use.arguments.items():
        name = next((name for name in names.split("|") if name in properties), None)
        if name is None:
            continue
        if callable(value):
            arguments[name] = value(words)
        elif not isinstance(value, str):
            arguments[name] = value
        elif all(group in words for group in re.findall(r"\{(\w+)\}", value)):
            arguments[name] = value.format_map(words)
    return arguments, [name for name in tool.parameters.get("required", ()) if name not in arguments]


def say(intent: Intent, words: Words, offered: Mapping[str, ToolSpec]) -> str:
    """The answer of an intent that needs no tool."""
    match intent.id:
        case "calc":
            expression = words["expression"].strip()
            try:
                return f"{expression} = {calculate(expression)}"
            except ValueError as error:
                return f"I cannot calculate {expression}: {error}."
        case "summarise":
            return extract(re.split(r"\n\s*\n", words["text"]), limit=TEXT_LIMIT)
        case "greet":
            return f"Hello. {possible(offered)}"
        case _:
            return possible(offered)


def possible(offered: Mapping[str, ToolSpec]) -> str:
    """What can be asked for with the tools at hand."""
    usable = [intent.says for intent in INTENTS if not intent.uses or any(use.tool in offered for use in intent.uses)]
    return "What works here without a language model: " + "; ".join(dict.fromkeys(usable)) + "."
