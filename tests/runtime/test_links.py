"""Links and monitors: who hears of whose end. Contract: supervision.md §9."""

from __future__ import annotations

from typing import Any

import pytest
import trio
from trio.testing import MockClock

from goclaw.runtime.actor import Actor, Context, handles
from goclaw.runtime.address import Address
from goclaw.runtime.child import Backoff, Child, Restart, Strategy
from goclaw.runtime.message import Down, LinkExit, Message, Restarted
from goclaw.runtime.supervisor import Supervisor
from goclaw.runtime.virtual import Virtual
from tests.runtime.house import Boom, End, Say, Scribe, cell, house, quiet

A, B = Address("a"), Address("b")
AT_ONCE = Backoff(first=0.0)


class Tie(Message[None]):
    to: Address


class Untie(Message[None]):
    to: Address


class Watch(Message[None]):
    of: Address
    passive: bool = False
    restarts: bool = False


class Unwatch(Message[None]):
    of: Address


class Neighbour(Scribe):
    """Ties and watches as it is told, and writes down what it hears."""

    @handles
    def tie(self, ctx: Context, ask: Tie) -> None:
        ctx.link(ask.to)

    @handles
    def untie(self, ctx: Context, ask: Untie) -> None:
        ctx.unlink(ask.to)

    @handles
    def watch(self, ctx: Context, ask: Watch) -> None:
        ctx.monitor(ask.of, passive=ask.passive, restarts=ask.restarts)

    @handles
    def unwatch(self, ctx: Context, ask: Unwatch) -> None:
        ctx.demonitor(ask.of)

    @handles
    def down(self, ctx: Context, news: Down) -> None:
        self.diary.append(f"down {news.address} {news.reason}")

    @handles
    def restarted(self, ctx: Context, news: Restarted) -> None:
        self.diary.append(f"restarted {news.address} {news.incarnation}")


class Trapper(Neighbour):
    trap_links = True

    @handles
    def link_exit(self, ctx: Context, news: LinkExit) -> None:
        self.diary.append(f"lost {news.address} {news.reason}")


def two(diary: list[str], second: type[Actor] = Neighbour, **options: Any) -> list[Child]:
    return [
        Child("a", Neighbour, ("a", []), backoff=AT_ONCE, **options),
        Child("b", second, ("b", diary), backoff=AT_ONCE),
    ]


async def test_a_crash_takes_the_linked_actor_along(autojump_clock: MockClock) -> None:
    diary: list[str] = []
    async with house(*two(diary)) as system:
        await system.ask(B, Tie(to=A), within=1)
        system.tell(A, Boom())
        await trio.sleep(1)

        assert cell(system, "b").incarnation == 2
        assert cell(system, "b").past.last_crash is not None
        assert cell(system, "b").past.last_crash.type == "LinkBroken"


async def test_either_side_of_a_link_takes_the_other_along_but_only_once(autojump_clock: MockClock) -> None:
    async with house(*two([])) as system:
        await system.ask(B, Tie(to=A), within=1)
        system.tell(B, Boom())
        await trio.sleep(1)
        assert cell(system, "a").incarnation == 2

        system.tell(B, Boom())  # the link ended with the lives it tied
        await trio.sleep(1)
        assert cell(system, "a").incarnation == 2


async def test_who_traps_links_hears_of_the_end_and_lives_on(autojump_clock: MockClock) -> None:
    diary: list[str] = []
    async with house(*two(diary, Trapper)) as system:
        await system.ask(B, Tie(to=A), within=1)
        cell(system, "a").kill()
        await trio.sleep(1)

        assert diary == ["+b", "lost /a killed"]


@pytest.mark.parametrize("restart", [Restart.TRANSIENT, Restart.TEMPORARY])
async def test_a_normal_end_breaks_no_link(autojump_clock: MockClock, restart: Restart) -> None:
    async with house(*two([], restart=restart)) as system:
        await system.ask(B, Tie(to=A), within=1)
        system.tell(A, End())
        await trio.sleep(1)

        assert cell(system, "b").incarnation == 1


async def test_an_untied_actor_lives_on(autojump_clock: MockClock) -> None:
    async with house(*two([])) as system:
        await system.ask(B, Tie(to=A), within=1)
        await system.ask(B, Untie(to=A), within=1)
        system.tell(A, Boom())
        await trio.sleep(1)

        assert cell(system, "b").incarnation == 1


async def test_a_link_to_nobody_is_broken_at_once(autojump_clock: MockClock) -> None:
    diary: list[str] = []
    async with house(*two(diary, Trapper)) as system:
        await system.ask(B, Tie(to=Address("nobody")), within=1)
        await quiet()

        assert diary == ["+b", "lost /nobody no_actor"]


async def test_after_demonitor_no_down_is_handled(autojump_clock: MockClock) -> None:
    diary: list[str] = []
    async with house(*two(diary, restart=Restart.TEMPORARY)) as system:
        await system.ask(B, Watch(of=A), within=1)
        system.tell(B, Unwatch(of=A))
        system.tell(A, End())
        await trio.sleep(1)

        assert diary == ["+b"]


async def test_a_queued_down_is_taken_back_by_demonitor(autojump_clock: MockClock) -> None:
    diary: list[str] = []
    async with house(*two(diary, restart=Restart.TEMPORARY)) as system:
        await system.ask(B, Watch(of=A), within=1)
        target = cell(system, "a")
        system.tell(B, Unwatch(of=A))  # waits before the news that follows it
        system.down(target, "normal")
        await trio.sleep(1)

        assert diary == ["+b"]


async def test_restarts_are_told_to_those_who_asked(autojump_clock: MockClock) -> None:
    diary: list[str] = []
    async with house(*two(diary)) as system:
        await system.ask(B, Watch(of=A, restarts=True), within=1)
        system.tell(A, Boom())
        await trio.sleep(1)

        assert diary == ["+b", "restarted /a 2"]


@pytest.mark.parametrize("passive", [False, True])
async def test_passivation_is_an_end_only_for_those_who_say_so(autojump_clock: MockClock, passive: bool) -> None:
    diary: list[str] = []
    sleepy = Child("s", lambda: Virtual(lambda address: Scribe(), idle=1.0, most=10))
    async with house(*two(diary), sleepy) as system:
        key = Address("s", "acme", "k")
        await system.ask(key, Say(text="x"), within=1)
        await system.ask(B, Watch(of=key, passive=passive), within=1)
        await trio.sleep(30)

        assert key not in system.members
        assert diary == (["+b", "down /s/acme/k passivated"] if passive else ["+b"])


async def test_children_start_after_those_they_depend_on() -> None:
    diary: list[str] = []
    children = [
        Child("c", Scribe, ("c", diary), depends_on=("b",)),
        Child("a", Scribe, ("a", diary)),
        Child("b", Scribe, ("b", diary), depends_on=("a",)),
    ]
    async with house(*children, strategy=Strategy.REST_FOR_ONE):
        assert diary == ["+a", "+b", "+c"]


@pytest.mark.parametrize(
    ("needs", "says"), [({"a": ("b",), "b": ("a",)}, "depend on each other"), ({"a": ("x",), "b": ()}, "no sibling")]
)
def test_dependencies_that_cannot_be_met_are_refused(needs: dict[str, tuple[str, ...]], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        Supervisor([Child(name, Scribe, depends_on=others) for name, others in needs.items()])


@pytest.mark.parametrize(("all_of_them", "left"), [(False, True), (True, False)])
async def test_significant_children_end_their_supervisor(
    autojump_clock: MockClock, all_of_them: bool, left: bool
) -> None:
    def branch() -> Supervisor:
        parts = [Child(name, Scribe, restart=Restart.TRANSIENT, significant=True) for name in "xy"]
        return Supervisor(parts, ends_with_all=all_of_them)

    async with house(Child("branch", branch, restart=Restart.TEMPORARY)) as system:
        system.tell(Address("branch", "x"), End())
        await trio.sleep(1)
        assert (Address("branch") not in system.members) == left

        system.tell(Address("branch", "y"), End())
        await trio.sleep(1)
        assert Address("branch") not in system.members
