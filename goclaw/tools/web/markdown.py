"""HTML as Markdown: what a reader of the page would see, and nothing he would not. Contract: tools.md §11.

libxml2 makes the tree, at most 256 deep and with no network; one walk over it writes the text. Hidden text is how pages
talk to models behind their readers' backs, so it is dropped wherever an element says by itself that it is hidden.
"""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import urljoin

from goclaw.tools.web.hiding import hidden
from goclaw.tools.web.tags import bearable

MOST = 4_000_000  # characters written; small pages can stand for large texts (long links, deep lists)
TITLE = 300  # characters
DEEPEST = 8  # levels of indentation


def _tags(names: str) -> frozenset[str]:
    return frozenset(names.split())


DROPPED = _tags(
    "script style noscript template svg iframe object embed applet canvas audio video head title meta link base "
    "annotation annotation-xml noframes noembed datalist map area rp frameset frame param source track"
)
BLOCKS = _tags(
    "address article aside body center dd details div dl dt fieldset figcaption figure footer form header hgroup html "
    "legend main menu nav option optgroup p search section select summary tbody textarea tfoot thead caption tr"
)
TALL = _tags("table pre ul ol p div")  # a mark around these would not end on its line
STRONG, EMPHASIS = frozenset({"b", "strong"}), frozenset({"i", "em", "cite", "dfn", "var"})
HEADINGS = {f"h{level}": level for level in range(1, 7)}
LANGUAGE = re.compile(r"(?:^|\s)lang(?:uage)?-([\w+#.-]{1,30})")
TICKS = re.compile(r"`+")


def markdown(html: str, url: str, *, plain: bool = False) -> tuple[str, str]:
    """Title and text of a page. Links become absolute; `plain` writes neither links nor marks. Blocking."""
    from lxml import etree  # here: nobody pays for it before the first page

    parser = etree.HTMLParser(encoding="utf-8", remove_comments=True, remove_pis=True, no_network=True)
    source = bearable(html.replace("\0", "")).encode("utf-8", "replace")
    root = etree.fromstring(source, parser) if source.strip() else None
    if root is None:
        return "", ""
    title = next((" ".join("".join(each.itertext()).split()) for each in root.iterfind("head/title")), "")
    base = next((each.get("href", "") for each in root.iter("base")), "")
    writer = Writer(_absolute(url, base) or url, plain)
    writer.walk(root)
    return title[:TITLE], writer.text()


def _absolute(base: str, link: str) -> str:
    """Empty for what leads to no page."""
    try:
        there = urljoin(base, re.sub(r"[\t\r\n]", "", link).strip().replace(" ", "%20"))
    except ValueError:
        return ""
    return there if there.startswith(("http://", "https://", "mailto:")) else ""


class _Full(Exception):
    """Enough is written."""


class Writer:
    def __init__(self, base: str, plain: bool) -> None:
        self.base = base
        self.plain = plain
        self.parts: list[str] = []
        self.size = 0
        self.breaks = 0  # line ends owed before the next word
        self.blank = False  # a space owed
        self.start = True  # of a line
        self.fresh = False  # a list's entry has its sign and nothing else yet: what comes first stays on its line
        self.opened = False  # a quote has begun and holds nothing yet
        self.indents: list[str] = []
        self.lists: list[int] = []  # the number of the last entry of each open list; 0 has none
        self.line = 0  # > 0: everything goes on one line
        self.marked: set[str] = set()  # what is not done again inside of itself

    def text(self) -> str:
        return "".join(self.parts).strip()

    def walk(self, root: Any) -> None:
        try:
            self._element(root)
        except _Full:
            self.parts.append("\n\n[the page goes on; it is too long]")

    # --- what is written ---

    def say(self, text: str) -> None:
        """Text with any blanks as one."""
        words = " ".join(text.split())
        if not words:
            self.blank = self.blank or bool(text)
            return
        self.blank = self.blank or text[0].isspace()
        self._put(words)
        self.blank = text[-1].isspace()

    def end(self, lines: int) -> None:
        """At least so many line ends before the next word."""
        if self.line:
            self.blank = True
        elif self.parts and not self.fresh:
            self.breaks = max(self.breaks, lines)

    def _put(self, words: str) -> None:
        if self.breaks:
            indent = "".join(self.indents[:DEEPEST])
            between = "" if self.opened else indent.rstrip()
            self.parts.append(f"\n{between}" * (self.breaks - 1) + f"\n{indent}")
            self.size += self.breaks * (len(indent) + 1)
            self.breaks, self.blank, self.start, self.opened = 0, False, True, False
        if self.blank and not self.start:
            words = f" {words}"
        self.blank = self.start = self.fresh = False
        self.parts.append(words)
        self.size += len(words)
        if self.size > MOST:
            raise _Full

    def _captured(self, element: Any) -> tuple[str, bool]:
        """What is in it, on one line, and whether a blank follows."""
        kept = self.parts, self.breaks, self.blank, self.start
        self.parts, self.breaks, self.blank, self.start = [], 0, False, True
        self.line += 1
        try:
            self._inside(element)
            return "".join(self.parts).strip(), self.blank
        except _Full:
            kept[0].extend(self.parts)
            raise
        finally:
            self.line -= 1
            self.parts, self.breaks, self.blank, self.start = kept

    # --- what is read ---

    def _inside(self, element: Any) -> None:
        if element.text:
            self.say(element.text)
        for child in element:
            self._element(child)
            if child.tail:
                self.say(child.tail)

    def _element(self, element: Any) -> None:
        tag = element.tag
        if not isinstance(tag, str) or tag in DROPPED or hidden(element):
            return
        if tag in HEADINGS:
            self._heading(element, HEADINGS[tag])
        elif tag in STRONG:
            self._marks(element, "**")
        elif tag in EMPHASIS:
            self._marks(element, "*")
        elif tag == "a":
            self._link(element)
        elif tag == "img":
            self._image(element)
        elif tag in ("ul", "ol", "menu", "dir"):
            self._list(element, tag == "ol")
        elif tag == "li":
            self._entry(element)
        elif tag == "table":
            self._table(element)
        elif tag in ("pre", "listing", "xmp", "plaintext"):
            self._code(element)
        elif tag in ("code", "kbd", "samp", "tt"):
            self._marks(element, "`")
        elif tag == "br":
            self.end(1)
        elif tag == "hr":
            self._rule()
        elif tag == "blockquote":
            self._quote(element)
        elif tag in BLOCKS or tag == "dialog":
            apart = 2 if tag in ("p", "section", "article", "figure") else 1
            self.end(apart)
            self._inside(element)
            self.end(apart)
        else:
            self._inside(element)

    def _heading(self, element: Any, level: int) -> None:
        if self.line:
            return self._inside(element)
        self.end(2)
        if words := self._captured(element)[0]:
            self._put(words if self.plain else f"{'#' * level} {words}")
        self.end(2)

    def _marks(self, element: Any, mark: str) -> None:
        if self.plain or mark in self.marked or next(element.iter(*TALL), None) is not None:
            return self._inside(element)
        self.marked.add(mark)
        blank = self.blank or (element.text or "x")[0].isspace()
        words, after = self._captured(element)
        self.marked.discard(mark)
        if mark == "`":
            mark = "`" * (1 + max((len(run) for run in TICKS.findall(words)), default=0))
        if words:
            self.blank = blank
            self._put(f"{mark}{words}{mark}")
            self.blank = after

    def _link(self, element: Any) -> None:
        there = "" if self.plain or "link" in self.marked else _absolute(self.base, element.get("href", "#"))
        if not there or element.get("href", "#").startswith("#"):
            return self._inside(element)
        self.marked.add("link")
        blank = self.blank or (element.text or "x")[0].isspace()
        words, after = self._captured(element)
        self.marked.discard("link")
        if words:
            self.blank = blank
            self._put(f"[{words}]({there.replace('(', '%28').replace(')', '%29')})")
            self.blank = after

    def _image(self, element: Any) -> None:
        words = " ".join(element.get("alt", "").split())
        if words and self.plain:
            self._put(words)
        elif words:
            there = _absolute(self.base, element.get("src", ""))
            self._put(f"![{words}]({there.replace('(', '%28').replace(')', '%29')})" if there else f"![{words}]")

    def _list(self, element: Any, numbered: bool) -> None:
        apart = 1 if self.lists else 2
        self.end(apart)
        self.lists.append(_number(element.get("start", "1")) if numbered else 0)
        self._inside(element)
        self.lists.pop()
        self.end(apart)

    def _entry(self, element: Any) -> None:
        self.fresh = False
        self.end(1)
        sign = "- "
        if self.lists and self.lists[-1]:
            sign = f"{self.lists[-1]}. "
            self.lists[-1] += 1
        if self.line:
            return self._inside(element)
        self._put(sign.rstrip())
        self.blank = self.fresh = True
        self.indents.append(" " * len(sign))
        self._inside(element)
        self.indents.pop()
        self.fresh = False
        self.end(1)

    def _quote(self, element: Any) -> None:
        if self.plain or self.line:
            return self._inside(element)
        self.end(2)
        self.indents.append("> ")
        self.breaks, self.opened = max(self.breaks, 1), True
        self._inside(element)
        self.indents.pop()
        self.end(2)

    def _rule(self) -> None:
        self.end(2)
        if not self.line and not self.plain:
            self._put("---")
        self.end(2)

    def _code(self, element: Any) -> None:
        if self.line:
            return self._inside(element)
        code = _written(element).strip("\n").expandtabs(4)
        if not code.strip():
            return
        inner = next(element.iter("code"), element)
        found = LANGUAGE.search(inner.get("class", "") or element.get("class", ""))
        fence = "`" * max(3, 1 + max((len(run) for run in TICKS.findall(code)), default=0))
        lines = code.split("\n") if self.plain else [fence + (found[1] if found else ""), *code.split("\n"), fence]
        self.end(2)
        for line in lines:
            self._put(line)
            self.breaks = 1
        self.end(2)

    def _table(self, element: Any) -> None:
        """Rows of cells; one that only arranges other things on the page is read as what it holds."""
        inner = iter(element.iter("table"))
        next(inner)
        if self.line or next(inner, None) is not None:
            self.end(1)
            self._inside(element)
            return self.end(1)
        rows = _rows(element)
        if not rows or max(map(len, rows)) < 2:
            self.end(1)
            self._inside(element)
            return self.end(1)
        self.end(2)
        caption = element.find("caption")
        if caption is not None and not hidden(caption) and (words := self._captured(caption)[0]):
            self._put(words)
            self.end(2)
        for number, row in enumerate(rows):
            cells = [self._captured(cell)[0].replace("|", "\\|") for cell in row]
            if not any(cells):
                continue
            self._put("\t".join(cells) if self.plain else f"| {' | '.join(cells)} |")
            self.end(1)
            if number == 0 and not self.plain:
                self._put("|" + " --- |" * len(cells))
                self.end(1)
        self.end(2)


def _rows(table: Any) -> list[list[Any]]:
    found = []
    for row in table.iter("tr"):
        if not hidden(row) and not hidden(row.getparent()):
            found.append([cell for cell in row if cell.tag in ("td", "th") and not hidden(cell)])
    return [row for row in found if row]


def _written(element: Any) -> str:
    """The text of a `pre` as it stands, without what is hidden in it."""
    parts = [element.text or ""]
    for child in element:
        if child.tag == "br":
            parts.append("\n")
        elif isinstance(child.tag, str) and child.tag not in DROPPED and not hidden(child):
            parts.append(_written(child))
        parts.append(child.tail or "")
    return "".join(parts)


def _number(text: str) -> int:
    return int(text) if text.isdecimal() and len(text) < 9 else 1
