"""What a model said as people may read it: without the marks it left. Contract: agent-loop.md §12.1.

Code blocks stay as they are, so that an answer can explain such marks. Saying it twice is the same as once.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from goclaw.agent.markup import FENCE, TAG, closes

PASSES = 6  # what is cut out may leave the halves of another mark behind; then there is more than accident in it
DOWNGRADED = re.compile(r"\s*\[(?:Tool Call:|Tool Result|Historical context:)")
FOLLOWS = re.compile(r"\s*(?:Arguments:.*|[{}\[\]\"].*)?$")
ECHO = re.compile(r"\s*\[System Message\]")
MEDIA = re.compile(r"\s*MEDIA:\s*\S.*$")
DIRECTIVE = re.compile(r"\[\[(?!tts\b)[A-Za-z_][\w-]{0,40}(?::[^\[\]\n]{0,200})\]\]|\[\[audio_as_voice\]\]")
MARKS = re.compile(r"[<\[]")


def sanitised(text: str) -> str:
    for _ in range(PASSES):
        clean = _once(text)
        if clean == text:
            return clean
        text = clean
    for _ in range(2):
        text = _once(_outside(text, lambda part: MARKS.sub("", part)))
    return text


def named_files(text: str) -> list[str]:
    """What stands behind `MEDIA:`, outside of code blocks."""
    lines = [line for code, part in _parts(text) if not code for line in part.split("\n")]
    return [line.partition("MEDIA:")[2].strip() for line in lines if MEDIA.match(line)]


def _once(text: str) -> str:
    text = _outside(text, _without_tags)
    text = _outside(text, _without_lines)
    text = _without_stutter(text)
    lines = text.split("\n")
    while lines and not lines[0].strip():
        lines.pop(0)
    return "\n".join(lines).rstrip()


def _outside(text: str, clean: Callable[[str], str]) -> str:
    """`clean` for everything but code blocks."""
    return "".join(part if code else clean(part) for code, part in _parts(text))


def _parts(text: str) -> Iterator[tuple[bool, str]]:
    """The text in order, as what is code and what is not; a block that does not end goes to the end."""
    start = 0
    for fence in FENCE.finditer(text):
        if fence.start() < start:
            continue
        if fence.start() > start:
            yield False, text[start : fence.start()]
        start = _end_of_code(text, fence)
        yield True, text[fence.start() : start]
    if start < len(text):
        yield False, text[start:]


def _end_of_code(text: str, fence: re.Match[str]) -> int:
    place = text.find("\n", fence.end())
    while place != -1:
        end = text.find("\n", place + 1)
        if closes(text[place + 1 : end if end != -1 else len(text)], fence["mark"]):
            return end if end != -1 else len(text)
        place = end
    return len(text)


def _without_tags(text: str) -> str:
    """Thoughts and calls go with what is in them, other marks alone (steps 1, 3, 4)."""
    kept: list[str] = []
    at = 0
    unclosed: set[str] = set()  # names that nobody closes from here on
    for tag in TAG.finditer(text):
        if tag.start() < at:
            continue
        kept.append(text[at : tag.start()])
        at = tag.end()
        if tag["end"] or tag["final"] or tag["rest"].rstrip().endswith("/"):
            continue
        name = "think" if tag["think"] else tag["call"].lower()
        if name in unclosed:
            continue
        end = _closing(text, at, name)
        if end is not None:
            at = end
        elif tag["think"]:
            return "".join(kept)
        else:
            unclosed.add(name)
    kept.append(text[at:])
    return "".join(kept)


def _closing(text: str, at: int, name: str) -> int | None:
    """Behind the tag that closes what `name` opened: any tag of thoughts closes any other."""
    for tag in TAG.finditer(text, at):
        if tag["end"] and (tag["think"] if name == "think" else (tag["call"] or "").lower() == name):
            return tag.end()
    return None


def _without_lines(text: str) -> str:
    """Calls written out, echoes of the system, names of files to deliver, directives (steps 2, 5, 7)."""
    kept: list[str] = []
    dropping = ""
    for line in text.split("\n"):
        if dropping == "call" and FOLLOWS.match(line):
            continue
        if dropping == "echo" and line.strip():
            continue
        dropping = "call" if DOWNGRADED.match(line) else "echo" if ECHO.match(line) else ""
        if dropping or MEDIA.match(line):
            continue
        kept.append(DIRECTIVE.sub("", line))
    return "\n".join(kept)


def _without_stutter(text: str) -> str:
    """A paragraph said twice in a row is said once (step 6); code is never a stutter."""
    kept: list[str] = []
    for code, part in _parts(text):
        if code:
            kept.append(part)
            continue
        paragraphs = re.split(r"(\n[ \t]*\n)", part)
        said = paragraphs[:1]
        last = paragraphs[0].strip()
        for gap, paragraph in zip(paragraphs[1::2], paragraphs[2::2], strict=True):
            if paragraph.strip() and paragraph.strip() == last:
                continue
            said += [gap, paragraph]
            last = paragraph.strip() or last
        kept.append("".join(said))
    return "".join(kept)
