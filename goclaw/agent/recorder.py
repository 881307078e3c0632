"""What reaches a run from outside, written down so that it can be run again. Contract: durability.md §16.

Every row carries the hash of the message log up to itself: canonical lines of all the run asked, heard and said,
each hashed onto the one before. Two executions with equal hashes have equal logs, byte for byte.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any, Literal

import msgspec
from msgspec import Struct

from goclaw.domain.chat import ChatMessage, ChatRequest, ChatResponse, StreamChunk, ToolCall
from goclaw.domain.errors import ProviderError
from goclaw.domain.run import RecordKind
from goclaw.tools.ledger import ToolResult

Level = Literal["off", "steps", "full"]
VERSION = 1  # of the log; durability.md §16.2 R2
CLOCKED = frozenset({"durationMs", "queuedMs", "estimateMs", "ts", "attempt"})  # members that time decides
LIVES = frozenset(  # not of the log
    {"run.queued", "run.started", "run.recovered", "run.retrying", "run.released", "provider.fallback"}
)
FLOWING = frozenset({"chunk", "thinking"})  # how a stream was cut is chance unless it is recorded too


class Row(Struct, frozen=True, kw_only=True):
    """One record. `log`: the hash of the message log up to here, in hexadecimal."""

    kind: RecordKind
    body: dict[str, Any]
    step: int | None = None
    blob: str | None = None


class Recorder:
    """Records of one life of a run. `take` hands out what has come together since the last time."""

    def __init__(self, level: Level, log: str = "") -> None:
        self.level = level
        self.log = log
        self.rows: list[Row] = []
        self.blobs: dict[str, str] = {}
        self.requests = 0  # in this life
        self._left_out = 0  # events of this life that are not of the log
        self._before: Sequence[ChatMessage] = ()
        self._flow: tuple[str, list[str]] | None = None  # text of one kind that is still flowing
        self._cuts: list[tuple[str, int]] = []  # where the stream was cut

    def open(self, text: str, **facts: Any) -> None:
        """A life begins. `text` is what many runs share: the prompt and the tools."""
        self._left_out = 0
        digest = hashlib.sha256(text.encode()).hexdigest()
        self.blobs[digest] = text
        self._write("open", {"record": VERSION, **facts}, blob=digest)

    def asked(self, ask: ChatRequest) -> None:
        self.requests += 1
        same = 0
        for mine, theirs in zip(ask.messages, self._before, strict=False):
            if mine is not theirs and mine != theirs:
                break
            same += 1
        self._before = ask.messages
        fresh = hashlib.sha256(_canonical((ask.messages[same:], ask.tools, ask.options, ask.model))).hexdigest()
        self._write("request", {"from": same, "count": len(ask.messages), "sha256": fresh})

    def heard(self, chunk: StreamChunk) -> None:
        if self.level == "full":
            for kind, text in (("thinking", chunk.thinking), ("content", chunk.content)):
                if text:
                    self._cuts.append((kind, len(text)))

    def answered(self, step: int, response: ChatResponse) -> None:
        if self._cuts:
            self._write("chunks", {"cuts": self._cuts}, step)
            self._cuts = []
        self._write("response", msgspec.to_builtins(response), step)

    def failed(self, error: ProviderError) -> None:
        """The model did not answer."""
        self._cuts = []
        self._write("response", {"error": error.kind, "message": error.message, "status": error.status})

    def acted(self, step: int, index: int, call: ToolCall, effect: str, result: ToolResult) -> None:
        body = {"call": msgspec.to_builtins(call), "index": index, "effect": effect, "text": result.text}
        self._write("tool", {**body, "is_error": result.is_error, "error_code": result.error_code}, step)

    def told(self, step: int, text: str) -> None:
        self._write("input", {"kind": "injection", "text": text, "after": self.requests}, step)

    def end(self, content: str, finish_reason: str) -> None:
        """The answer stands."""
        self._write("end", {"content": content, "finish_reason": finish_reason})

    def event(self, type: str, run_seq: int, text: str, body: bytes) -> None:
        """The run said something. How its text was cut counts only where the cuts are recorded."""
        if type in LIVES:
            self._left_out += 1
            return
        if self.level == "off":
            return
        if type in FLOWING and self.level != "full":
            if self._flow is None or self._flow[0] != type:
                self._flush()
                self._flow = (type, [])
            self._flow[1].append(text)
            return
        self._flush()
        members = {name: value for name, value in msgspec.json.decode(body).items() if name not in CLOCKED}
        self._line([type, run_seq - self._left_out if self.level == "full" else None, text, members])

    def take(self) -> tuple[list[Row], dict[str, str]]:
        rows, blobs = self.rows, self.blobs
        self.rows, self.blobs = [], {}
        return rows, blobs

    def _write(self, kind: RecordKind, body: dict[str, Any], step: int | None = None, blob: str | None = None) -> None:
        if self.level == "off":
            return
        self._flush()
        self._line([kind, step, blob, body])
        self.rows.append(Row(kind=kind, body={**body, "log": self.log}, step=step, blob=blob))

    def _flush(self) -> None:
        if self._flow is not None:
            type, texts = self._flow
            self._flow = None
            self._line([type, None, "".join(texts), {}])

    def _line(self, line: list[Any]) -> None:
        self.log = hashlib.sha256(self.log.encode() + _canonical(line)).hexdigest()


def _canonical(value: Any) -> bytes:
    return msgspec.json.encode(value, order="sorted")
