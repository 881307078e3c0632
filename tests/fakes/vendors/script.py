"""What a vendor of the farm is told to say, in words that fit every wire.

vendor.will(answer("hello"))
vendor.will(answer(Think("let me see"), Call("look_up", {"word": "tea"})))
vendor.will(Refuse(429, retry_after=2), answer("now I can"))
vendor.will(answer("half an answer", trouble=Trouble("close", after=2)))
vendor.will(answer("word " * 40, pace=20))
"""

from __future__ import annotations

import re
from typing import Any, Literal

from msgspec import Struct


class Say(Struct, frozen=True):
    text: str
    phase: str = ""  # Responses: commentary or final_answer


class Think(Struct, frozen=True):
    text: str  # empty: the vendor thought, and shows only that it did
    signed_in: int = 1  # parts a streamed signature comes in; Anthropic sends one, and its SDK keeps the last


class Redacted(Struct, frozen=True):
    """A thought that only the vendor can read. Wires that know no such thing leave it out."""

    text: str


class Call(Struct, frozen=True):
    name: str
    arguments: dict[str, Any] | str  # a text goes out as it is, broken or not
    id: str = ""  # empty: as the vendor makes them
    index: int | None = None  # OpenAI chat: instead of its place


Part = Say | Think | Redacted | Call


class Usage(Struct, frozen=True):
    """Tokens. What is None is counted from the request and the answer."""

    input: int | None = None  # all of it, with what was cached
    output: int | None = None  # all of it, with what was thought
    cache_read: int | None = None
    cache_write: int | None = None
    reasoning: int | None = None
    cost: float | None = None  # US dollars, where the vendor says so


class Trouble(Struct, frozen=True):
    """What goes wrong after so many events of a stream; None: before the first byte.

    stall    silence until the client leaves        close    the socket ends in the middle
    hold     silence until the vendor's `release`    reset    the same with a TCP reset
    garbage  `data` in the stream, which goes on     raw      `data` instead of HTTP, then the end
    error    an error as this wire streams it (`data`: its message), then the end
    """

    kind: Literal["stall", "hold", "close", "reset", "garbage", "raw", "error"]
    after: int | None = None
    data: bytes = b""


class Answer(Struct, frozen=True):
    parts: tuple[Part, ...]
    finish: Literal["", "stop", "calls", "length", "filter", "overflow"] = ""  # empty: calls if there are, else stop
    usage: Usage = Usage()
    pace: float = 0.0  # events per second; 0 = all at once
    interleave: bool = False  # blocks take turns, where the wire allows it
    trouble: Trouble | None = None

    @property
    def ends(self) -> str:
        return self.finish or ("calls" if self.calls else "stop")

    @property
    def calls(self) -> list[Call]:
        return [part for part in self.parts if isinstance(part, Call)]

    @property
    def text(self) -> str:
        return "".join(part.text for part in self.parts if isinstance(part, Say))

    @property
    def thought(self) -> str:
        return "".join(part.text for part in self.parts if isinstance(part, Think))


class Refuse(Exception):
    """An error answer. What is empty is what the vendor says with that status."""

    def __init__(
        self,
        status: int,
        message: str = "",
        *,
        kind: str = "",
        code: str | None = None,
        param: str | None = None,
        retry_after: float | str | None = None,
        headers: dict[str, str] | None = None,
        body: bytes | None = None,
        content_type: str = "application/json",
        more: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message or f"the fake vendor says {status}"
        self.kind = kind
        self.code = code
        self.param = param
        self.headers = dict(headers or {})
        if retry_after is not None:
            self.headers["retry-after"] = str(retry_after)
        self.body = body  # sent instead of the vendor's own form of an error
        self.content_type = content_type
        self.more = more or {}  # further fields of the error


Behaviour = Answer | Refuse


def answer(*parts: Part | str, **more: Any) -> Answer:
    return Answer(tuple(Say(part) if isinstance(part, str) else part for part in parts), **more)


def pieces(text: str) -> list[str]:
    """A text as it is streamed: a word at a time."""
    return re.findall(r"\s*\S+|\s+$", text) or [""]


def cut(text: str, parts: int) -> list[str]:
    """A text in so many pieces of about one length, without empty ones."""
    size = -(-len(text) // parts) or 1
    return [text[start : start + size] for start in range(0, len(text), size)]


def tokens(text: str) -> int:
    """The usual estimate: four characters each."""
    return -(-len(text) // 4)
