"""Chaos plans: what to break on purpose, what it cost, and what the actor that does it understands.

Contract: supervision.md §21.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from msgspec import UNSET, Meta, Struct, UnsetType

from goclaw.runtime.inject import Fault
from goclaw.runtime.message import Message

Share = Annotated[float, Meta(ge=0, le=1)]
Quiet = Annotated[float, Meta(ge=5, le=120)]  # seconds
PlanState = Literal["running", "ended", "aborted", "interrupted"]
LOAD_AGENT = "offline-load"  # made for a plan if there is none, and removed with its sessions


class When(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """Exactly one of them; messages are counted per path."""

    nth: Annotated[int, Meta(ge=1)] | UnsetType = UNSET
    every: Annotated[int, Meta(ge=1)] | UnsetType = UNSET
    probability: Annotated[float, Meta(gt=0, le=0.5)] | UnsetType = UNSET
    at_sec: Annotated[float, Meta(ge=0, le=900)] | UnsetType = UNSET

    def __post_init__(self) -> None:
        _exactly_one(self, "nth, every, probability, at_sec")


class Delay(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    ms: Annotated[float, Meta(gt=0, le=30_000)]


class Hang(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    sec: Annotated[float, Meta(gt=0, le=60)]


class Held(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """The handler waits, and the actor with it: one of them."""

    delay: Delay | UnsetType = UNSET
    hang: Hang | UnsetType = UNSET

    def __post_init__(self) -> None:
        _exactly_one(self, "delay, hang")


class Item(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One line of a plan. `path` and `message` are globs: `*` one segment or part, `**` any number of segments."""

    path: Annotated[str, Meta(min_length=1, max_length=1024, pattern="^/")]
    when: When
    what: Literal["crash", "drop", "duplicate", "kill"] | Held
    message: Annotated[str, Meta(min_length=1, max_length=100)] = "*"
    times: Annotated[int, Meta(ge=1, le=1000)] = 1

    @property
    def fault(self) -> Fault:
        """As the injector wants it."""
        seconds = 0.0
        match self.what:
            case Held(delay=Delay(ms=ms)):
                what, seconds = "delay", ms / 1000
            case Held(hang=Hang(sec=seconds)):
                what = "hang"
            case word:
                what = str(word)
        when = self.when
        return Fault(
            path=self.path,
            message=self.message,
            what=what,  # type: ignore[arg-type]  # a word of the plan is one of the injector's
            nth=when.nth or None,
            every=when.every or None,
            probability=when.probability or None,
            at=None if when.at_sec is UNSET else when.at_sec,
            seconds=seconds,
            times=self.times,
        )


class Load(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Turns nobody asked for, so that there is something to hit and to measure."""

    turns_per_sec: Annotated[float, Meta(ge=0.1, le=50)]
    sessions: Annotated[int, Meta(ge=1, le=100)]
    agent: Annotated[str, Meta(pattern="^[a-z0-9][a-z0-9-]{0,99}$")] = LOAD_AGENT


class Abort(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """More than this ends the plan."""

    lost: Annotated[int, Meta(ge=0, le=1_000_000)] = 0  # turns
    error_share: Share = 0.5  # of the turns offered since the first fault could fall
    unhealthy_sec: Annotated[float, Meta(gt=0, le=900)] = 15.0


class Limits(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    faults: Annotated[int, Meta(ge=1, le=2000)] = 200
    concurrent_hangs: Annotated[int, Meta(ge=1, le=100)] = 4
    abort: Abort = Abort()


class Plan(Struct, frozen=True, kw_only=True):
    """What an operator wants broken. Ranges and defaults are the contract's."""

    items: Annotated[tuple[Item, ...], Meta(min_length=1, max_length=50)]
    name: Annotated[str, Meta(max_length=100)] = ""
    seed: Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)] | None = None
    duration_sec: Annotated[float, Meta(ge=1, le=900)] = 60.0
    before_sec: Quiet = 30.0
    after_sec: Quiet = 30.0
    load: Load | None = None
    limits: Limits = Limits()

    @property
    def seconds(self) -> float:
        return self.before_sec + self.duration_sec + self.after_sec


def load_sessions(load: Load, plan_id: str) -> list[str]:
    """The keys of the sessions a plan talks in. The tail of its id is the random part."""
    return [f"agent:{load.agent}:ws:direct:chaos-{plan_id[-8:]}-{number}" for number in range(1, load.sessions + 1)]


# --- what it cost -----------------------------------------------------------------------------------


class Turns(Struct, kw_only=True):
    offered: int = 0
    accepted: int = 0
    refused: int = 0
    answered: int = 0
    failed: int = 0
    cancelled: int = 0
    pending: int = 0
    lost: int = 0  # acknowledged, and without a row or with one that nothing will ever end
    duplicate_answers: int = 0


class Spread(Struct, kw_only=True):
    """Milliseconds; None when there was nothing to measure."""

    n: int = 0
    p50: float | None = None
    p99: float | None = None
    max: float | None = None


class Check(Struct, kw_only=True):
    name: str
    ok: bool
    got: Any
    want: Any


class Quarantine(Struct, kw_only=True, rename={"of_class": "class"}, omit_defaults=True):
    path: str
    of_class: str
    at: datetime
    released_at: datetime | None = None


class Report(Struct, kw_only=True):
    """A plan's account, complete when `state` is not `running`."""

    id: str
    seed: int
    state: PlanState
    started_at: datetime
    ended_at: datetime | None
    turns: Turns
    latency_ms: dict[str, Spread]  # before, during, after
    recovery_ms: Spread
    faults: dict[str, dict[str, int]]  # fired by kind, skipped by reason
    restarts: dict[str, Any]
    quarantines: list[Quarantine]
    escalations: int
    dead_letters: dict[str, int]
    head_repair: int  # session heads that do not agree with their runs
    effects_unknown: int | None  # None: nothing counts them yet
    stale_writes_rejected: int | None
    checks: list[Check]
    verdict: Literal["pass", "fail"] | None  # None while it runs
    reason: str | None = None


# --- messages ---------------------------------------------------------------------------------------


class Started(Message[None]):
    id: str
    seed: int
    ends_at: datetime


class StartPlan(Message[Started]):
    """Begin. Refused with `chaos_active` while another plan runs."""

    plan: Plan
    by: str


class GetReport(Message[Report]):
    """How the running plan stands. Refused with `not_found` unless it is this one."""

    id: str


class StopPlan(Message[Report]):
    """End the running plan now; "" means whichever runs. Answered with its report."""

    id: str


def _exactly_one(choice: Struct, names: str) -> None:
    if sum(getattr(choice, name) is not UNSET for name in choice.__struct_fields__) != 1:
        raise ValueError(f"exactly one of {names} must be given")
