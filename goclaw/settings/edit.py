"""Changes single keys of a JSON5 text and leaves the rest of it, comments too, as it was.

Not a second parser: it follows the words of a text that the library has read, and what it makes is read again by the
library. Where the two differ, the text is written anew, without comments. Contract: config-cli.md §6.2.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

import pyjson5
from msgspec import Struct, field

from goclaw.settings.document import WORD, Malformed, parse

STEP = "  "
MOST = 4 * 1024 * 1024  # characters read over and over; for more of them a text is written anew
SAID = re.compile(r"[ \t]*(//[^\n]*|/\*[^\n]*?\*/[ \t]*)?\n")  # about a value, on the rest of its line
PLAIN = re.compile(r"[A-Za-z_$][\w$]*", re.ASCII)  # a key that needs no quotes

Path = tuple[str, ...]  # keys of objects; what is inside of lists is changed with its list


class Gone:
    """In place of a value: the key is taken away."""


GONE = Gone()
Edits = Mapping[Path, Any]


class Part(Struct):
    """A value of the text: where it stands, and the members of an object."""

    start: int
    end: int = 0
    members: dict[str, Member] | None = None
    last: int = 0  # end of the last word or comment inside


class Member(Struct):
    start: int
    value: Part
    after: int = 0  # behind the comma that follows; 0: none does
    quoted: bool = True


class Open(Struct):
    part: Part
    key: str | None = None
    quoted: bool = True
    start: int = 0
    done: list[Member] = field(default_factory=list)


def edited(text: str, edits: Edits) -> str:
    """`text` with these changes. It must be an object in JSON5. Raises Malformed if a new value is no JSON."""
    wanted = parse(text).value
    for path, value in edits.items():
        _put(wanted, path, value)
    anew = json.dumps(wanted, indent=2, ensure_ascii=False) + "\n"
    made = text
    if max(len(text), len(anew)) * len(edits) <= MOST:
        for path, value in edits.items():
            made = _delete(made, path) if value is GONE else _set(made, path, value)
        try:
            if parse(made).value == wanted:
                return made
        except Malformed:
            pass
    return anew


def _put(tree: Any, path: Path, value: Any) -> None:
    *way, name = path
    for key in way:
        if not isinstance(tree.get(key), dict):
            if value is GONE:
                return
            tree[key] = {}
        tree = tree[key]
    if value is GONE:
        tree.pop(name, None)
    else:
        tree[name] = value


def _set(text: str, path: Path, value: Any) -> str:
    part, rest = _root(text), list(path)
    while rest and part.members is not None and rest[0] in part.members:
        part = part.members[rest.pop(0)].value
    indent = _indent(text, part.start)
    if not rest or part.members is None:  # a value in place of another
        for key in reversed(rest):
            value = {key: value}
        return text[: part.start] + _written(value, indent) + text[part.end :]
    first, *others = rest
    for key in reversed(others):
        value = {key: value}
    members = list(part.members.values())
    inner = _indent(text, members[-1].start) if members else indent + STEP
    quoted = not PLAIN.fullmatch(first) or all(member.quoted for member in members)
    name = json.dumps(first, ensure_ascii=False) if quoted else first
    close = part.end - 1
    if not members or "\n" in text[part.start : members[0].start] or "\n" in text[members[-1].value.end : close]:
        new = f"\n{inner}{name}: {_written(value, inner)}\n{indent}"
    else:
        new = f" {name}: {_written(value, indent)}"
    made = text[: part.last] + new + text[close:]
    if members and not members[-1].after:
        made = made[: members[-1].value.end] + "," + made[members[-1].value.end :]
    return made


def _delete(text: str, path: Path) -> str:
    part = _root(text)
    for key in path[:-1]:
        found = (part.members or {}).get(key)
        if found is None:
            return text
        part = found.value
    member = (part.members or {}).get(path[-1])
    if member is None or part.members is None:
        return text
    start, end = member.start, member.after or member.value.end
    line = text.rfind("\n", 0, start) + 1
    if not text[line:start].strip():  # alone on its line: with what is said about it there
        rest = SAID.match(text, end)
        start, end = (line, rest.end()) if rest else (start, end)
    before = [each for each in part.members.values() if each.start < member.start]
    made = text[:start] + text[end:]
    if not member.after and before:  # it was the last one: the comma before it has nothing to part
        comma = before[-1].after - 1
        made = made[:comma] + made[comma + 1 :]
    return made


def _written(value: Any, indent: str) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False).replace("\n", "\n" + indent)


def _indent(text: str, at: int) -> str:
    line = text[text.rfind("\n", 0, at) + 1 : at]
    return line[: len(line) - len(line.lstrip(" \t"))]


def _root(text: str) -> Part:
    """Where everything stands in a text that is known to be JSON5."""
    opened: list[Open] = []
    root = Part(0)
    for match in WORD.finditer(text):
        word, top = match[0], opened[-1] if opened else None
        if word.startswith(("//", "/*")):
            pass
        elif word in "{[":
            part = Part(match.start(), members={} if word == "{" else None, last=match.end())
            if top is None:
                root = part
            opened.append(Open(part))
            continue
        elif word in "}]":
            done = opened.pop().part
            done.end = match.end()
            top = opened[-1] if opened else None
            _close(top, done)
        elif word == "," and top is not None:
            if top.done:
                top.done[-1].after = match.end()
        elif word != ":" and top is not None:
            if top.part.members is not None and top.key is None:
                top.key, top.start = next(iter(pyjson5.decode("{" + word + ":0}"))), match.start()
                top.quoted = word[0] in "\"'"
            else:
                _close(top, Part(match.start(), match.end()))
        if top is not None:
            top.part.last = match.end()
    return root


def _close(top: Open | None, value: Part) -> None:
    """A value has ended; in an object it belongs to the key before it."""
    if top is None or top.part.members is None or top.key is None:
        return
    member = Member(top.start, value, quoted=top.quoted)
    top.part.members[top.key] = member
    top.done.append(member)
    top.key = None
