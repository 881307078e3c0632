"""What a fetched body says, as text for a model. Contract: tools.md §10, §11."""

from __future__ import annotations

import codecs
import re
from typing import Literal

from msgspec import Struct

from goclaw.tools.tool import ToolFailed
from goclaw.tools.web.fetching import Fetched
from goclaw.tools.web.markdown import markdown

Extract = Literal["markdown", "text", "raw"]
HTML = frozenset({"text/html", "application/xhtml+xml"})
TEXT = re.compile(
    r"(text/.*|application/(.*\+)?(json|xml|yaml|x-yaml|toml|javascript|x-javascript|ecmascript|x-ndjson|ld-json|rtf|sql)"
    r"|image/svg\+xml|message/rfc822|)"
)
PDF = "application/pdf"
SNIFFED = 8192  # bytes
PRESCAN = 1024  # bytes in which a page says its own charset
BEGINS = re.compile(r"\s{0,1000}<(!doctype html|html)", re.IGNORECASE)
CHARSET = re.compile(rb"""<meta[^>]{0,200}?charset\s*=\s*["']?\s*([A-Za-z0-9_:.-]{1,40})""", re.IGNORECASE)
MARKS = ((codecs.BOM_UTF8, "utf-8"), (codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be"))
ENCODINGS = re.compile(  # of the web; Python has others that are none, such as `zip`
    r"utf-?8|utf-?16(-?[lb]e)?|us-ascii|ascii|latin-?1|iso-?8859-?\d{1,2}|windows-?125\d|cp125\d|koi8-?[ru]|gb2312|gbk"
    r"|gb18030|big5|euc-?(jp|kr)|shift[_-]?jis|sjis|iso-2022-jp|macintosh|windows-?874|tis-620",
    re.IGNORECASE,
)
LATIN = re.compile(r"iso-?8859-?1|latin-?1|(us-)?ascii", re.IGNORECASE)
# what nobody sees and a model reads: tags of language, marks of direction, blanks without width (security.md §2.1)
UNSEEN = re.compile(
    "[\x00-\x08\x0b\x0e-\x1f\x7f\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b\u200e\u200f\u202a-\u202e"
    "\u2060-\u206f\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff9-\ufffb\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff]"
)


class Page(Struct, frozen=True, kw_only=True):
    url: str
    status: int
    content_type: str
    title: str
    text: str


def readable(content_type: str) -> bool:
    """Text, or nobody says what: then its first bytes will."""
    return bool(TEXT.fullmatch(_kind(content_type)))


def page(fetched: Fetched, extract: Extract) -> Page:
    """Blocking: a large page takes seconds. Raises ToolFailed for what is no text."""
    kind, body = _kind(fetched.content_type), fetched.body
    if kind == PDF or body.startswith(b"%PDF-"):
        raise ToolFailed("unsupported", f"a PDF of {_size(fetched)}; read_document reads those")
    if not readable(kind) or _binary(fetched):
        raise ToolFailed("unsupported", f"{kind or 'unknown type'}, {_size(fetched)}: not text")
    text = _decoded(fetched)
    title = ""
    if extract != "raw" and (kind in HTML or (not kind and BEGINS.match(text))):
        title, text = markdown(text, fetched.url, plain=extract == "text")
    return Page(
        url=fetched.url,
        status=fetched.status,
        content_type=kind or "text/plain",
        title=UNSEEN.sub("", title),
        text=UNSEEN.sub("", text).strip(),
    )


def _kind(content_type: str) -> str:
    return content_type.partition(";")[0].strip().lower()


def _size(fetched: Fetched) -> str:
    size = fetched.length if fetched.length is not None else len(fetched.body) or None
    return "unknown size" if size is None else f"{size} bytes"


def _binary(fetched: Fetched) -> bool:
    head = fetched.body[:SNIFFED]
    return b"\0" in head and not head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))


def _decoded(fetched: Fetched) -> str:
    """By its mark, its header, its own word, or as UTF-8."""
    body = fetched.body
    for mark, name in MARKS:
        if body.startswith(mark):
            return body[len(mark) :].decode(name, "replace")
    said = re.search(r"charset\s*=\s*\"?([\w:.-]{1,40})", fetched.content_type, re.IGNORECASE)
    own = CHARSET.search(body[:PRESCAN])
    for name in (said[1] if said else "", own[1].decode() if own else ""):
        if ENCODINGS.fullmatch(name):
            try:  # who says Latin-1 means Windows, and every browser knows
                return body.decode("windows-1252" if LATIN.fullmatch(name) else name, "replace")
            except LookupError:
                continue
    return body.decode("utf-8", "replace")
