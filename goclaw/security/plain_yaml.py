"""YAML as files of operators need it: one document of maps, lists and scalars, with the line of everything.

No anchors, aliases, tags or repeated keys, at most 1 MiB and 64 levels; JSON is read too. Contract: security.md §9.1.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import yaml
from msgspec import Struct

LARGEST = 1024 * 1024  # bytes
DEEPEST = 64  # levels; security.md §17 SEC-48
PLAIN = "tag:yaml.org,2002:"
WORDS = {"yes": True, "on": True, "true": True, "no": False, "off": False, "false": False}


class Mistake(Struct, frozen=True):
    line: int  # from 1
    text: str

    def __str__(self) -> str:
        return f"line {self.line}: {self.text}"


class Malformed(ValueError):
    """Not a document we read."""

    def __init__(self, mistakes: list[Mistake]) -> None:
        super().__init__("; ".join(map(str, mistakes)))
        self.mistakes = mistakes


class Node(NamedTuple):
    """`value` is None, a bool, int, float or str, a list of nodes, or a dict of them by key."""

    value: Any
    line: int


def parse(text: str) -> Node:
    """The document; an empty one is None. Raises Malformed, with every repeated key and alias at once."""
    if len(text) > LARGEST or len(text.encode("utf-8", "surrogatepass")) > LARGEST:
        raise Malformed([Mistake(1, "larger than 1 MiB")])
    mistakes: list[Mistake] = []
    try:
        root = _built(yaml.CSafeLoader(text), mistakes)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        mistakes.append(Mistake(mark.line + 1 if mark else 1, str(error.problem or error.context)))
    except (yaml.YAMLError, UnicodeError):
        mistakes.append(Mistake(1, "a character that YAML does not allow"))
    if mistakes:
        raise Malformed(sorted(mistakes, key=lambda mistake: mistake.line))
    return root


def _built(loader: Any, mistakes: list[Mistake]) -> Node:
    """Nodes of the event stream, without recursion: a parser of nodes would follow thousands of brackets."""
    root = Node(None, 1)
    documents = 0
    opened: list[tuple[Node, list[Node]]] = []  # a map or list, and its members so far; keys of maps are members too
    while True:
        event = loader.get_event()
        line = event.start_mark.line + 1
        match event:
            case yaml.StreamEndEvent():
                return root
            case yaml.DocumentStartEvent():
                documents += 1
                if documents > 1:
                    mistakes.append(Mistake(line, "a second document"))
                    return root
                continue
            case yaml.AliasEvent():
                mistakes.append(Mistake(line, f"*{event.anchor}: aliases are not allowed"))
                node = Node(None, line)
            case yaml.ScalarEvent():
                _refuse_marks(event, line, mistakes)
                node = Node(_scalar(loader, event), line)
            case yaml.SequenceStartEvent() | yaml.MappingStartEvent():
                _refuse_marks(event, line, mistakes)
                if len(opened) == DEEPEST:
                    mistakes.append(Mistake(line, f"nested deeper than {DEEPEST} levels"))
                    return root
                opened.append((Node([] if isinstance(event, yaml.SequenceStartEvent) else {}, line), []))
                continue
            case yaml.SequenceEndEvent():
                node, members = opened.pop()
                node.value.extend(members)
            case yaml.MappingEndEvent():
                node, members = opened.pop()
                _pair(node, members, mistakes)
            case _:
                continue
        if opened:
            opened[-1][1].append(node)
        else:
            root = node


def _pair(node: Node, members: list[Node], mistakes: list[Mistake]) -> None:
    for key, value in zip(members[::2], members[1::2], strict=True):
        if not isinstance(key.value, str):
            mistakes.append(Mistake(key.line, "a key must be text"))
        elif key.value in node.value:
            mistakes.append(Mistake(key.line, f"{key.value[:80]!r} is here for the second time"))
        else:
            node.value[key.value] = value


def _refuse_marks(event: Any, line: int, mistakes: list[Mistake]) -> None:
    if event.anchor is not None:
        mistakes.append(Mistake(line, f"&{event.anchor}: anchors are not allowed"))
    if event.tag is not None:
        mistakes.append(Mistake(line, f"{event.tag}: tags are not allowed"))


def _scalar(loader: Any, event: Any) -> Any:
    """What a bare word means; a number nobody can hold stays text."""
    kind = loader.resolve(yaml.ScalarNode, event.value, event.implicit)
    match kind.removeprefix(PLAIN):
        case "null":
            return None
        case "bool":
            return WORDS[event.value.lower()]
        case "int" if event.value.lstrip("+-").isdecimal() and len(event.value) < 20:
            return int(event.value)
        case "float" | "int":
            try:
                return float(event.value)
            except ValueError:
                return event.value
    return event.value
