"""A vendor whose answers are scripts written in the user's own text, and who remembers what it was asked and when.

    n17                         answers "answer n17"
    n17 append                  calls append_line, then answers with its result
    n17 append+append; post     two calls in one step, then one of another tool, then the answer
    n17 hold                    streams half of the answer and waits for `release`
    n17 slow                    streams the answer in pieces, 5 ms apart

The first word is the nonce. A text that is no script is for `ObedientVendor`.
"""

from __future__ import annotations

import re
import time
from collections import defaultdict

import msgspec
import trio

from tests.e2e.gateway import Json, ObedientVendor
from tests.fakes.vendor import DONE, END, HEAD, Ask, chunked, encode, event, whole

SCRIPT = re.compile(r"(?P<nonce>n[\w-]+)(?: (?P<steps>[a-z+; ]+))?")
TOOLS = {"append": "append_line", "post": "post_once", "pay": "pay", "note": "write_note", "echo": "echo_mark"}


def marks(text: str) -> list[str]:
    """What the tools of a script are called with, in order: `nonce/step/place`."""
    found = SCRIPT.fullmatch(text)
    assert found is not None
    return [mark for step in range(len(steps_of(found))) for _, mark in calls_of(found, step)]


def steps_of(script: re.Match[str]) -> list[str]:
    steps = [step.strip() for step in (script["steps"] or "").split(";")]
    return [step for step in steps if step.split("+")[0] in TOOLS]


def calls_of(script: re.Match[str], step: int) -> list[tuple[str, str]]:
    """Tool and mark of every call of a step."""
    names = steps_of(script)[step].split("+")
    return [(TOOLS[name], f"{script['nonce']}/{step}/{place}") for place, name in enumerate(names)]


class ScriptedVendor(ObedientVendor):
    def __init__(self, port: int) -> None:
        super().__init__(port)
        self.times: defaultdict[tuple[str, int], list[float]] = defaultdict(list)  # (nonce, step) → when, Unix seconds
        self.heard: defaultdict[str, list[str]] = defaultdict(list)  # nonce → the last results of its tools
        self.posted: defaultdict[str, list[str]] = defaultdict(list)  # key of a call → marks, as often as they came

    @property
    def target(self) -> str:
        return self.url.removesuffix("/v1") + "/effects"

    async def _answer(self, to: trio.SocketStream, path: str, headers: dict[str, str], body: bytes) -> None:
        if not path.endswith("/effects"):
            return await super()._answer(to, path, headers, body)
        key, mark = headers["idempotency-key"], msgspec.json.decode(body)["mark"]
        if mark:
            self.posted[key].append(mark)
        await to.send_all(whole(200, encode({"marks": self.posted.get(key, [])})))

    async def _complete(self, to: trio.SocketStream, ask: Ask) -> None:
        texts = [(n, SCRIPT.fullmatch(str(m.content))) for n, m in enumerate(ask.messages) if m.role == "user"]
        place, script = next(((n, found) for n, found in reversed(texts) if found), (0, None))
        offered = {tool.function["name"] for tool in ask.tools}
        if script is None or (offered and not offered & set(TOOLS.values())):  # somebody else reads what was said
            return await super()._complete(to, ask)
        turn = ask.messages[place:]
        step = sum(message.role == "assistant" for message in turn)
        results = [str(message.content) for message in turn if message.role == "tool"]
        self.times[script["nonce"], step].append(time.time())
        self.heard[script["nonce"]] = results
        self._closed.set()
        if step < len(steps_of(script)):
            return await to.send_all(calling(ask.model, calls_of(script, step)))
        words = [f"answer {script['nonce']}", *(f" | {result}" for result in results)]
        wish = (script["steps"] or "").split(";")[-1].strip()
        if wish == "hold":
            return await self._hold(to, ask.model, words, "")
        if wish == "slow":
            return await self._trickle(to, ask.model, words)
        await to.send_all(HEAD + b"".join(said(ask.model, words)) + END)

    async def _trickle(self, to: trio.SocketStream, model: str, words: list[str]) -> None:
        await to.send_all(HEAD)
        for piece in said(model, [*words, *([""] * 10)]):
            await trio.sleep(0.005)
            await to.send_all(piece)
        await to.send_all(END)


def said(model: str, words: list[str]) -> list[bytes]:
    pieces = [event(model, {"role": "assistant", "content": ""}), *(event(model, {"content": w}) for w in words)]
    return [chunked(piece) for piece in (*pieces, event(model, {}, "stop"), DONE)]


def calling(model: str, calls: list[tuple[str, str]]) -> bytes:
    """A streamed answer that calls tools, all in one piece each."""
    pieces = [event(model, {"role": "assistant", "content": None})]
    for place, (name, mark) in enumerate(calls):
        function: Json = {"name": name, "arguments": encode({"mark": mark}).decode()}
        call = {"index": place, "id": f"call_{mark}", "type": "function", "function": function}
        pieces.append(event(model, {"tool_calls": [call]}))
    return HEAD + b"".join(map(chunked, [*pieces, event(model, {}, "tool_calls"), DONE])) + END
