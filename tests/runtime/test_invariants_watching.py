"""Who hears of an end, how often and when (supervision.md §9, §18 I13), over random schedules in virtual time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import trio
from hypothesis import given
from hypothesis import strategies as st

from goclaw.runtime.actor import Actor, Context, handles
from goclaw.runtime.address import Address
from goclaw.runtime.child import Child, Restart
from goclaw.runtime.mailbox import Overflow
from goclaw.runtime.message import Cancel, Down, LeaseLost, LinkExit, Message, Restarted
from goclaw.runtime.supervisor import Supervisor
from goclaw.runtime.system import System, open_system
from goclaw.runtime.virtual import SWEEP, Virtual
from tests.runtime.house import PLENTY, Boom, End, NoDatabase, Say, Scribe, Wait, cell, house, quiet
from tests.runtime.play import SHORT, in_virtual_time, many

W = Address("w")


@dataclass(frozen=True)
class Act:
    """After `delay` seconds: say, end, crash or kill hit the talker `to`; the watcher is told the rest."""

    what: str
    to: str = "a"
    key: str = "x"
    delay: float = 0.0


class Watch(Message[None]):
    address: Address
    passive: bool = False


class Unwatch(Message[None]):
    address: Address


class Link(Message[None]):
    address: Address


class Unlink(Message[None]):
    address: Address


class Word(Message[None]):
    LOSABLE = True
    by: str
    key: str

    @property
    def subject(self) -> str:
        return self.key


class Speak(Message[None]):
    LOSABLE = True
    key: str


class Talker(Scribe):
    """Says a word to the watcher whenever it is asked to."""

    @handles
    def speak(self, ctx: Context, ask: Speak) -> None:
        self.diary.append(f"{ctx.tell(W, Word(by=self.name, key=ask.key))}")


class Watcher(Actor):
    """Writes down what it hears, in the order in which it does: what, and of whom."""

    def __init__(self, heard: list[tuple[str, str]], capacity: int, overflow: Overflow) -> None:
        self.heard = heard
        self.capacity = capacity  # type: ignore[misc]  # bounds are part of the schedule here
        self.overflow = overflow  # type: ignore[misc]

    @handles
    def watch(self, ctx: Context, ask: Watch) -> None:
        self.heard.append(("watch", ask.address.name))
        ctx.monitor(ask.address, passive=ask.passive, restarts=True)

    @handles
    def unwatch(self, ctx: Context, ask: Unwatch) -> None:
        self.heard.append(("unwatch", ask.address.name))
        ctx.demonitor(ask.address)

    @handles
    def down(self, ctx: Context, news: Down) -> None:
        self.heard.append(("down", news.address.name))

    @handles
    def restarted(self, ctx: Context, news: Restarted) -> None:
        self.heard.append((f"restarted {news.incarnation}", news.address.name))

    @handles
    def word(self, ctx: Context, word: Word) -> None:
        self.heard.append(("word", word.by))

    @handles
    async def wait(self, ctx: Context, ask: Wait) -> None:
        await trio.sleep(ask.seconds)

    @handles
    def boom(self, ctx: Context, ask: Boom) -> None:
        self.heard.append(("crash", ""))
        raise RuntimeError("as told")


def acts(*whats: str, delays: Sequence[float] = (0.0, 0.0, 0.0, 0.1, 0.5)) -> st.SearchStrategy[list[Act]]:
    act = st.builds(
        Act,
        what=st.sampled_from(whats),
        to=st.sampled_from("ab"),
        key=st.sampled_from("xy"),
        delay=st.sampled_from(delays),
    )
    return st.lists(act, max_size=16)


anything = acts("say", "say", "watch", "watch", "unwatch", "busy", "end", "crash", "kill", "cancel", "boom")
last_words = acts("say", "say", "end", "cancel", delays=(0.01,)).map(
    lambda script: [Act("watch", "a"), Act("watch", "b"), Act("busy", delay=0.1), *script]
)


@many
@given(anything | last_words, st.sampled_from(Overflow), st.sampled_from((1, 2, 100)), st.booleans())
def test_an_end_is_heard_once_by_each_monitor_and_after_the_last_words(
    script: list[Act], overflow: Overflow, capacity: int, dormant: bool
) -> None:
    """I13."""
    heard: list[tuple[str, str]] = []
    gone: set[str] = set()
    story: list[tuple[str, str]] = []

    async def run() -> None:
        watcher = Child("w", Watcher, (heard, capacity, overflow), backoff=SHORT, dormant=dormant)
        talkers = [Child(name, Talker, (name,), restart=Restart.TEMPORARY) for name in "ab"]
        async with house(watcher, *talkers) as system:
            for act in script:
                await trio.sleep(act.delay)
                await perform(system, act)
            await trio.sleep(60)
            gone.update(name for name in "ab" if Address(name) not in system.members)
            story.extend(heard)  # the stop of the house is an end, too

    in_virtual_time(run)
    for name in "ab":
        own = [what for what, of in story if of in (name, "")]
        assert "down" not in own or "word" not in own[own.index("down") :]
        stretches = monitors(own)
        assert all(downs <= watches for watches, downs in stretches)
        watches, downs = stretches[-1]
        assert bool(downs) == (name in gone and watches > 0)


async def perform(system: System, act: Act) -> None:
    to = Address(act.to)
    match act.what:
        case "say":
            system.tell(to, Speak(key=act.key))
        case "end":
            system.tell(to, End())
        case "crash":
            system.tell(to, Boom())
        case "kill" if to in system.members:
            cell(system, act.to).kill()
        case "watch" | "unwatch":
            told = system.tell(W, Watch(address=to) if act.what == "watch" else Unwatch(address=to))
            assert told
        case "busy":
            assert system.tell(W, Wait(seconds=0.5))
        case "cancel":
            assert system.tell(W, Cancel(reason="as scheduled", of=act.key))
        case "boom":
            assert system.tell(W, Boom())
    await trio.lowlevel.checkpoint()


def monitors(heard: Sequence[str]) -> list[tuple[int, int]]:
    """Monitors begun and ends heard, for each stretch that a crash of the watcher or a demonitor closes."""
    stretches = [(0, 0)]
    for what in heard:
        watches, downs = stretches[-1]
        match what:
            case "crash" | "unwatch":
                stretches.append((0, 0))
            case "watch":
                stretches[-1] = watches + 1, downs
            case "down":
                stretches[-1] = watches, downs + 1
    return stretches


@many
@given(
    st.lists(st.sampled_from(("touch", "touch", "watch", "watch passive", "unwatch", "nap", "sleep")), max_size=12),
)
def test_a_passivation_is_an_end_for_those_who_want_to_hear_of_it(script: list[str]) -> None:
    heard: list[tuple[str, str]] = []
    downs: list[str] = []
    expected: list[str] = []
    key = Address("v", "acme", "k")

    async def run() -> None:
        virtual = Virtual(lambda address: Scribe(), idle=0.0, most=10)
        children = [Child("w", Watcher, (heard, 100, Overflow.REJECT)), Child("v", lambda: virtual)]
        async with open_system(NoDatabase(), seed=1) as system:
            await system.start(Child("/", lambda: Supervisor(children, limit=PLENTY)))
            watched = active = False
            for what in script:
                match what:
                    case "touch":
                        assert system.tell(key, Say(text="x"))
                        active = True
                    case "watch" | "watch passive":
                        assert system.tell(W, Watch(address=key, passive=what != "watch"))
                        watched = watched or what != "watch"
                    case "unwatch":
                        assert system.tell(W, Unwatch(address=key))
                        watched = False
                    case "sleep":
                        await trio.sleep(2 * SWEEP)
                        if active and watched:
                            expected.append("down")
                            watched = False
                        active = False
                await quiet()
            downs.extend(what for what, _ in heard if what == "down")  # the stop of the house is an end, too

    in_virtual_time(run)
    assert downs == expected


# --- links ----------------------------------------------------------------------------------------


class Tied(Talker):
    """An actor that can be tied to others, and dies with them."""

    @handles
    def tie(self, ctx: Context, ask: Link) -> None:
        ctx.link(ask.address)

    @handles
    def untie(self, ctx: Context, ask: Unlink) -> None:
        ctx.unlink(ask.address)

    @handles
    def watch(self, ctx: Context, ask: Watch) -> None:
        ctx.monitor(ask.address)

    @handles
    def unwatch(self, ctx: Context, ask: Unwatch) -> None:
        ctx.demonitor(ask.address)

    @handles
    def exit(self, ctx: Context, news: LinkExit) -> None:
        self.diary.append(f"{self.name} hears of {news.address.name}")


class Trapper(Tied):
    """Hears of the end of those it is tied to, and lives on."""

    trap_links = True


ties = st.tuples(
    st.sampled_from(("link", "link", "unlink", "crash", "kill", "lease_lost", "end")),
    st.sampled_from("abcd"),
    st.sampled_from("abcd"),
)


@many
@given(st.lists(ties, max_size=12), st.sets(st.sampled_from("abcd")), st.sets(st.sampled_from("abcd")))
def test_who_is_tied_to_an_abnormal_end_ends_or_hears_of_it_once(
    script: list[tuple[str, str, str]], trapping: set[str], dormant: set[str]
) -> None:
    """Links are for one life: whoever starts again is tied to nobody."""
    diary: list[str] = []
    lives: dict[str, int] = {}
    expected: list[str] = []
    ended = dict.fromkeys("abcd", 0)

    async def run() -> None:
        kinds = {name: Trapper if name in trapping else Tied for name in "abcd"}
        children = [Child(n, kinds[n], (n, diary), backoff=SHORT, dormant=n in dormant) for n in "abcd"]
        linked: set[frozenset[str]] = set()
        async with house(*children) as system:
            for name in "abcd":
                await system.ask(Address(name), Say(text="up"), within=1)
            for what, one, other in script:
                if what in ("link", "unlink"):
                    if one != other:
                        ask = Link(address=Address(other)) if what == "link" else Unlink(address=Address(other))
                        assert system.tell(Address(one), ask)
                        (linked.add if what == "link" else linked.discard)(frozenset((one, other)))
                else:
                    end(system, one, what)
                    for name in spread(one, linked, trapping, expected) if what != "end" else {one}:
                        ended[name] += 1
                        linked = {pair for pair in linked if name not in pair}
                await trio.sleep(5)
                for name in "abcd":
                    await system.ask(Address(name), Say(text="up"), within=1)
            lives.update({name: cell(system, name).incarnation - 1 for name in "abcd"})

    in_virtual_time(run)
    assert lives == ended
    assert sorted(line for line in diary if "hears" in line) == sorted(expected)


def spread(first: str, linked: set[frozenset[str]], trapping: set[str], heard: list[str]) -> set[str]:
    """Who ends with `first`. Adds to `heard` what trappers hear."""
    ended, front = {first}, [first]
    while front:
        name = front.pop()
        for pair in linked:
            for other in pair - {name} if name in pair else ():
                if other in trapping and other not in ended:
                    heard.append(f"{other} hears of {name}")
                elif other not in ended:
                    ended.add(other)
                    front.append(other)
    return ended


def end(system: System, name: str, how: str) -> None:
    match how:
        case "crash":
            assert system.tell(Address(name), Boom())
        case "kill":
            cell(system, name).kill()
        case "lease_lost":
            assert system.tell(Address(name), LeaseLost())
        case "end":
            assert system.tell(Address(name), End())
