"""A gateway that dies and comes back: the real process, with the tools of the proof."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import trio

from tests.durability.checker import Evidence, Said, gather
from tests.durability.patience import until
from tests.e2e.gateway import PATIENCE, Gateway, Json
from tests.fakes.scripted import ScriptedVendor
from tests.fakes.tools.effects import LINES, TARGET


class Lives(Gateway):
    program = "tests.durability.gateway_with_tools"
    made = None

    def __init__(self, home: Path, config: Json, target: str, **environ: str) -> None:
        super().__init__(home, config, **environ, **{TARGET: target})

    @property
    def alive(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def live(self, crash_at: str = "") -> None:
        """Start, to die at the named point if one is given. Return when it is ready."""
        self.environ.pop("GOCLAW_CRASH_AT", None)
        if crash_at:
            self.environ["GOCLAW_CRASH_AT"] = crash_at
        self.start()

    def live_or_die(self, crash_at: str = "") -> bool:
        """As `live`, of a process that may be killed meanwhile: whether it became ready."""
        try:
            self.live(crash_at)
        except AssertionError:
            if self._reap() != -signal.SIGKILL:
                raise
            return False
        return True

    def reap(self) -> None:
        self._reap()

    async def died(self) -> None:
        """Until it has killed itself."""
        watch = os.pidfd_open(self.pid)
        try:
            with trio.fail_after(PATIENCE):
                await trio.lowlevel.wait_readable(watch)
        finally:
            os.close(watch)
        assert self._reap() == -signal.SIGKILL, self.log_path.read_text()[-3000:]

    def end(self) -> None:
        if self.alive:
            self.kill()

    @property
    def lines(self) -> list[str]:
        """What the unsafe tool has done, whoever's workspace it was."""
        return [line for file in (self.home / "workspace").rglob(LINES) for line in file.read_text().splitlines()]

    def compactions(self, key: str) -> tuple[int, int, int]:
        """Of a session: the messages it has, how often it was compacted, the messages that went."""
        query = """
        SELECT s.message_count, s.compaction_count,
          count(m.id) FILTER (WHERE m.archived_at IS NOT NULL AND NOT m.hidden)
        FROM sessions s JOIN session_messages m ON m.session_id = s.id WHERE s.session_key = %s GROUP BY s.id
        """
        ((messages, times, gone),) = self.rows(query, key)
        return messages, times, gone

    async def quiet(self) -> None:
        """Until no run is under way or waits to be."""
        open_runs = "SELECT count(*) FROM runs WHERE state IN ('QUEUED', 'CLAIMED', 'RUNNING', 'RETRY_WAIT')"
        await until(lambda: self.rows(open_runs) == [(0,)], within=60)

    def evidence(self, said: list[Said], vendor: ScriptedVendor) -> Evidence:
        return gather(self.dsn, said, vendor, self.lines)
