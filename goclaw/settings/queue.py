"""How turns wait and runs are claimed. Contract: sessions-lanes-cron.md §3, §4; durability.md §5, §6."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, field

from goclaw.domain.queue_policy import Cap, Debounce, Drop, QueueMode
from goclaw.domain.queue_policy import Slots as SessionSlots
from goclaw.settings.section import Section

Slots = Annotated[int, Meta(ge=1, le=10_000, description="runs at once")]
Milliseconds = Annotated[float, Meta(ge=1, le=3_600_000)]
Seconds = Annotated[float, Meta(ge=1, le=86_400)]
BelowLease = Annotated[float, Meta(ge=1, le=15)]


class Lanes(Section, frozen=True):
    """How many runs of a kind work at once."""

    main: Slots = 30
    subagent: Slots = 50
    team: Slots = 100
    cron: Slots = 30


class ChannelQueue(Section, frozen=True):
    """How turns that come through one channel wait. What is not set is as for everybody."""

    mode: Annotated[QueueMode | None, Meta(description="as queue.mode")] = None
    cap: Annotated[Cap | None, Meta(description="as queue.cap")] = None
    drop: Annotated[Drop | None, Meta(description="as queue.drop")] = None
    debounce_ms: Annotated[Debounce | None, Meta(description="as queue.debounce_ms")] = None
    max_concurrent_dm: Annotated[SessionSlots | None, Meta(description="as queue.max_concurrent_dm")] = None
    max_concurrent_group: Annotated[SessionSlots | None, Meta(description="as queue.max_concurrent_group")] = None


class ChannelQueues(Section, frozen=True):
    """Channels whose turns wait in their own way, by name."""

    named: dict[str, ChannelQueue] = field(default_factory=dict)


class Queue(Section, frozen=True):
    """How turns wait and what happens when a run does not end well."""

    mode: Annotated[QueueMode, Meta(description="what a turn does when its session is busy")] = "queue"
    cap: Annotated[Cap, Meta(description="waiting turns per session")] = 10
    drop: Annotated[Drop, Meta(description="who gives way at the cap")] = "old"
    debounce_ms: Annotated[
        Debounce, Meta(description="texts of one sender in a channel that come closer are one turn; 0 or -1 = off")
    ] = 800
    max_concurrent_dm: Annotated[SessionSlots, Meta(description="runs at once in a direct chat")] = 1
    max_concurrent_group: Annotated[SessionSlots, Meta(description="runs at once in a group")] = 3
    adaptive_threshold: Annotated[
        float, Meta(gt=0, le=1, description="a group whose history fills more of the context window works one by one")
    ] = 0.6
    heartbeat_sec: Annotated[BelowLease, Meta(description="leases of 30 s are prolonged this often")] = 10.0
    poll_ms: Annotated[Milliseconds, Meta(description="look for work even without a bell")] = 100.0
    chat_resume_max_age_sec: Annotated[Seconds, Meta(description="older chat runs are not resumed")] = 900.0
    retry_base_ms: Annotated[Milliseconds, Meta(description="before the second attempt, doubled for each next")] = (
        1000.0
    )
    retry_cap_ms: Annotated[Milliseconds, Meta(description="longest wait between two attempts")] = 30_000.0
    poison_threshold: Annotated[int, Meta(ge=2, le=100, description="equal errors in a row that end a run")] = 3
    interactive_retry_sec: Annotated[Seconds, Meta(description="chat runs are tried again this long")] = 120.0
    suspect_hold_sec: Annotated[
        float, Meta(ge=0, le=300, description="a run that two processes died with lets others go first")
    ] = 5.0
    max_depth: Annotated[int, Meta(ge=1, le=1_000_000, description="waiting runs of a tenant")] = 10_000
    max_depth_per_user: Annotated[int, Meta(ge=1, le=1_000_000, description="waiting runs of a user")] = 100
    lanes: Lanes = Lanes()
    channels: ChannelQueues = ChannelQueues()

    def of_channel(self, name: str) -> ChannelQueue:
        return self.channels.named.get(name, ChannelQueue())
