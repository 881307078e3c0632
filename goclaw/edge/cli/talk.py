"""What both forms of a chat do: hold the line, take it up again when it breaks, send, answer, stop.

Contract: edge-websocket.md §6.4, §7.2, §7.10.
"""

from __future__ import annotations

import uuid
from typing import Any, Literal

import trio

from goclaw.domain.session import cli_key
from goclaw.edge.cli.address import target
from goclaw.edge.cli.client import connect
from goclaw.edge.cli.conversation import Conversation
from goclaw.edge.cli.line import Line
from goclaw.edge.cli.options import Exit, Failure, Options

FIRST, LONGEST = 1.0, 30.0  # seconds before the next attempt; edge-websocket.md §6.4
REMEMBERED = 20  # messages of a session that goes on
QUICK = 10.0  # seconds for whatever is not a turn

Verdict = Literal["once", "always", "no"]


class Talk:
    def __init__(
        self, options: Options, conversation: Conversation, agent: str, session: str, *, remember: bool
    ) -> None:
        """`session` is a name or a whole key; empty = a new one, with that agent or the default one.

        `remember`: show what was said in it before.
        """
        self.conversation = conversation
        self.busy = 0  # messages that have no answer yet
        self._options = options
        self._agent = agent
        self._remember = remember
        self._session = session or uuid.uuid4().hex[:8]
        self._line: Line | None = None
        self._back = trio.Event()  # the line stands

    @property
    def connected(self) -> bool:
        return self._line is not None

    async def live(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Started when the first connection stands. Raises Failure if it does not come to be, or is refused later."""
        wait, before = FIRST, False
        while True:
            try:
                async with connect(target(self._options)) as socket, trio.open_nursery() as nursery:
                    line = Line(socket, self.conversation.heard)
                    nursery.start_soon(self._listen, line)
                    await (self._resume(line) if before else self._begin(line))
                    self._line, wait = line, FIRST
                    self._back.set()
                    if before:
                        self.conversation.note("connected again")
                    else:
                        before = True
                        task_status.started()
            except* Failure as group:
                failure = first(group)
                if not before or failure.code is Exit.REFUSED:
                    raise failure from None
                if wait == FIRST:
                    self.conversation.failed(str(failure))
            await trio.sleep(wait)
            wait = min(wait * 2, LONGEST)

    async def _listen(self, line: Line) -> None:
        try:
            await line.listen()
        finally:
            self._line, self._back = None, trio.Event()

    async def say(self, text: str) -> bool:
        """Send a message and wait for what comes of it. Trouble is shown, not raised; False then.

        Over a line that breaks it is sent again under the same key, which leads to the run it has already.
        """
        self.busy += 1
        params = {"message": text, "stream": True, "sessionKey": self.conversation.key}
        if not text.startswith("/"):
            params["idempotencyKey"] = uuid.uuid4().hex
        try:
            while (done := await self._ask("chat.send", self._options.timeout, **params)) is None:
                if "idempotencyKey" not in params:
                    return False
                await self._back.wait()
            return done
        finally:
            self.busy -= 1

    async def stop(self) -> None:
        """What runs now; what waits goes on."""
        await self._ask("chat.send", QUICK, message="/stop", sessionKey=self.conversation.key)

    async def verdict(self, id: str, verdict: Verdict) -> None:
        """Whether a command may run."""
        method = "exec.approval.deny" if verdict == "no" else "exec.approval.approve"
        await self._ask(method, QUICK, id=id, **({"always": True} if verdict == "always" else {}))

    async def know(self, method: str) -> dict[str, Any]:
        """Something to show beside the chat; empty while nobody can be asked."""
        try:
            return await self._line.ask(method, QUICK) if self._line else {}
        except Failure:
            return {}

    async def _ask(self, method: str, within: float, **params: Any) -> bool | None:
        """None: the line broke."""
        if self._line is None:
            self.conversation.failed("not connected")
            return False
        try:
            answer = await self._line.ask(method, within, **params)
        except Failure as failure:
            if failure.code is Exit.UNREACHABLE:
                return None
            self.conversation.failed(str(failure))
            return False
        if method == "chat.send":
            self.conversation.answered(answer)
        return True

    async def _begin(self, line: Line) -> None:
        agent = await line.ask("agent", QUICK, **({"agentId": self._agent} if self._agent else {}))
        self.conversation.begin(cli_key(self._session, str(agent["key"])))
        if self._remember:
            about = {"sessionKey": self.conversation.key, "limit": REMEMBERED, "includeTools": False}
            self.conversation.remembered((await line.ask("chat.history", QUICK, **about)).get("messages", []))
        await self._waiting(line)

    async def _resume(self, line: Line) -> None:
        """Hear what runs said meanwhile; those that ended, too."""
        for id, run in list(self.conversation.runs.items()):
            try:
                told = await line.ask("chat.resume", QUICK, sessionKey=run.session, runId=id, afterRunSeq=run.seq)
            except Failure as failure:
                self.conversation.failed(str(failure))
                continue
            if isinstance(told.get("final"), dict):
                self.conversation.answered(told["final"])
        await self._waiting(line)

    async def _waiting(self, line: Line) -> None:
        try:
            listed = await line.ask("exec.approval.list", QUICK)
        except Failure as failure:
            if failure.code is Exit.UNREACHABLE:
                raise
            listed = {}  # nobody is asked here
        pending = listed.get("pending", [])
        self.conversation.keep({str(one["id"]) for one in pending})
        for one in pending:
            self.conversation.heard({"event": "exec.approval.requested", "payload": one})


def first(group: BaseExceptionGroup[Failure]) -> Failure:
    """One of the same trouble seen by several tasks."""
    failure: Failure | BaseExceptionGroup[Failure] = group
    while isinstance(failure, BaseExceptionGroup):
        failure = failure.exceptions[0]
    return failure
