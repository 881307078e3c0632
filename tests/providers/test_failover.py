"""Who is asked when somebody cannot answer. Contract: providers.md §9.2, PR-11, PR-13 to PR-15, PR-16."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio
from msgspec.structs import replace

from goclaw.domain.chat import ChatMessage, ChatOptions, ChatRequest, ChatResponse, StreamChunk
from goclaw.domain.cooldown import Cooldowns
from goclaw.domain.errors import ProviderError, Rejected, exhausted
from goclaw.domain.model import Candidate, Entered, FellBack, Note, Resting, Retrying
from goclaw.providers.failover import Failover

A, B, C = Candidate("acme", "big"), Candidate("acme", "small"), Candidate("other", "m")
ASK = ChatRequest(messages=(ChatMessage(role="user", content="hello"),), model="big")
Behaviour = ProviderError | str | tuple[str, ProviderError]


class Client:
    """One vendor: does what is planned for (model, slot), then says the model's name."""

    def __init__(self, plans: dict[tuple[str, int], list[Behaviour]]) -> None:
        self.plans = plans
        self.asked: list[tuple[str, int]] = []
        self.options: list[ChatOptions] = []

    @asynccontextmanager
    async def stream(self, ask, *, slot, tell) -> AsyncIterator[AsyncIterator[StreamChunk]]:
        self.asked.append((ask.model, slot))
        self.options.append(ask.options)
        plan = self.plans.get((ask.model, slot), [])
        what = plan.pop(0) if plan else ask.model
        if isinstance(what, ProviderError):
            raise what
        if what == "never":
            await trio.sleep_forever()
        yield self._say(what)

    async def _say(self, what: str | tuple[str, ProviderError]) -> AsyncIterator[StreamChunk]:
        await trio.lowlevel.checkpoint()
        if isinstance(what, tuple):
            yield StreamChunk(content=what[0])
            raise what[1]
        yield StreamChunk(content=what)
        yield StreamChunk(done=ChatResponse(content=what))


class Desk:
    """Provider actors without actors."""

    def __init__(self, slots: int = 1, **plans: list[Behaviour]) -> None:
        self.clock = 1000.0
        self.rests = {"acme": Cooldowns(slots), "other": Cooldowns()}
        named = {
            (name.rpartition("_")[0] or name, int(name.rpartition("_")[2]) if "_" in name else 0): plan
            for name, plan in plans.items()
        }
        self.client = Client(named)
        self.inside = 0

    async def enter(self, candidate: Candidate, tried: tuple[int, ...], *, probe: bool) -> Entered | Resting:
        await trio.lowlevel.checkpoint()
        if candidate.provider not in self.rests:
            raise ProviderError("model_not_found", "no such provider")
        rests = self.rests[candidate.provider]
        slot = rests.pick(candidate.model, tried, self.now())
        if slot is None and probe:
            slot = rests.probe(candidate.model, self.now())
        if slot is None:
            rest = rests.until(candidate.model, self.now())
            return Resting(rest.until, rest.reason) if rest else Resting(self.now(), "unknown")
        self.inside += 1
        return Entered(self.client, slot)

    def left(self, candidate: Candidate, slot: int, *, answered: bool, trouble: ProviderError | None) -> None:
        self.inside -= 1
        rests = self.rests[candidate.provider]
        if answered:
            rests.succeeded(candidate.model, slot)
        elif trouble is not None:
            rests.failed(candidate.model, slot, trouble.kind, self.clock, trouble.retry_after)

    def now(self) -> float:
        return self.clock


async def ask(desk: Desk, *candidates: Candidate, within: float = 300.0) -> tuple[str, list[Note]]:
    notes: list[Note] = []
    async with Failover(candidates, desk, within).stream(ASK, tell=notes.append) as chunks:
        said = [chunk.content async for chunk in chunks]
    assert desk.inside == 0
    return "".join(said), notes


async def test_the_first_that_can_answers():
    assert await ask(desk := Desk(), A, B) == ("big", [])
    assert desk.client.asked == [("big", 0)]


async def test_the_next_is_asked_when_one_cannot_and_it_is_told():
    desk = Desk(big=[ProviderError("server_error", "boom")])

    assert await ask(desk, A, B) == ("small", [FellBack("acme:big", "acme:small", "server_error")])
    assert await ask(desk, A, B) == ("small", [FellBack("acme:big", "acme:small", "server_error")])  # it rests
    assert desk.client.asked == [("big", 0), ("small", 0), ("small", 0)]
    desk.clock += 31
    assert await ask(desk, A, B) == ("big", [])


async def test_a_bad_key_is_followed_by_the_next_key_of_the_same_model():
    desk = Desk(2, big_0=[ProviderError("auth", "no")])

    assert await ask(desk, A, B) == ("big", [])
    assert desk.client.asked == [("big", 0), ("big", 1)]


async def test_a_key_that_fails_is_followed_by_the_next_whatever_it_failed_with():
    desk = Desk(2, big_0=[ProviderError("server_error", "boom")])

    assert await ask(desk, A, B) == ("big", [])
    assert desk.client.asked == [("big", 0), ("big", 1)]


async def test_who_never_begins_is_left_in_time_for_the_next_and_rests(autojump_clock):
    desk = Desk(big=["never"])
    began = trio.current_time()

    assert await ask(desk, A, B, within=60.0) == ("small", [FellBack("acme:big", "acme:small", "timeout")])
    assert trio.current_time() - began == 60.0
    assert desk.rests["acme"].pick("big", (), desk.clock) is None


async def test_a_fallback_is_told_when_it_answers():
    no = ProviderError("billing", "no")
    desk = Desk(big=[no], small=[ProviderError("server_error", "boom")])

    assert await ask(desk, A, B, C) == ("m", [FellBack("acme:big", "other:m", "billing")])


async def test_a_probe_says_why_the_others_rest(autojump_clock):
    desk = Desk()
    desk.rests["acme"].failed("big", 0, "billing", desk.clock)
    desk.rests["acme"].failed("small", 0, "timeout", desk.clock - 15 + 1e-6)

    assert (await ask(desk, A, B))[1][-1] == FellBack("acme:big", "acme:small", "billing")


async def test_no_money_is_no_reason_to_try_another_key():
    desk = Desk(2, big_0=[ProviderError("billing", "no")])

    assert (await ask(desk, A, B))[0] == "small"
    assert desk.client.asked == [("big", 0), ("small", 0)]


async def test_nobody_else_goes_on_after_the_first_word():
    desk = Desk(big=[("half an ", ProviderError("server_error", "stream_interrupted"))])

    with pytest.raises(ProviderError, match="stream_interrupted"):
        await ask(desk, A, B)
    assert desk.client.asked == [("big", 0)]
    assert desk.inside == 0
    assert desk.rests["acme"].pick("big", (), desk.clock) is None


async def test_too_long_a_conversation_goes_to_nobody_else():
    """PR-15, what failover has to do with it."""
    desk = Desk(big=[ProviderError("context_overflow", "too long")])

    with pytest.raises(ProviderError) as caught:
        await ask(desk, A, B)
    assert caught.value.kind == "context_overflow"
    assert desk.client.asked == [("big", 0)]
    assert desk.rests["acme"].pick("big", (), desk.clock) == 0


async def test_what_is_refused_for_its_contents_goes_to_one_other_only():
    no = ProviderError("content_policy", "no")
    desk = Desk(big=[no], small=[no])

    with pytest.raises(ProviderError, match="no model answered"):
        await ask(desk, A, B, C)
    assert desk.client.asked == [("big", 0), ("small", 0)]


async def test_when_all_rest_one_tries_the_first_to_wake_and_the_others_are_told_when():
    desk = Desk(big=[ProviderError("billing", "no")], small=[ProviderError("timeout", "slow"), "back"])
    with pytest.raises(ProviderError, match="acme:big: billing: no; acme:small: timeout: slow"):
        await ask(desk, A, B)
    desk.clock += 1

    assert (await ask(desk, A, B))[0] == "back"
    desk.rests["acme"].failed("big", 0, "rate_limit", desk.clock)
    desk.rests["acme"].failed("small", 0, "overloaded", desk.clock)
    desk.rests["acme"].probe("small", desk.clock)
    desk.clock += 1
    with pytest.raises(ProviderError) as caught:
        await ask(desk, A, B)
    assert caught.value.retry_after == 59.0
    assert "rests after overloaded" in caught.value.message


async def test_a_short_rest_is_waited_for(autojump_clock):
    desk = Desk()
    desk.rests["acme"].failed("big", 0, "rate_limit", desk.clock, retry_after=2.0)
    desk.rests["acme"].probe("big", desk.clock)
    desk.now = lambda: 1000.0 + trio.current_time() - began
    began = trio.current_time()

    said, notes = await ask(desk, A)

    assert said == "big"
    assert isinstance(notes[0], Retrying)
    assert 2.0 <= trio.current_time() - began <= 2.5


async def test_a_provider_that_is_gone_is_passed_over():
    assert (await ask(Desk(), Candidate("gone", "m"), A))[0] == "big"


async def test_one_alone_fails_with_its_own_words():
    desk = Desk(big=[ProviderError("format", "bad schema", status=400)])

    with pytest.raises(ProviderError) as caught:
        await ask(desk, A)
    assert (caught.value.message, caught.value.status) == ("bad schema", 400)


async def test_a_call_that_is_given_up_leaves_without_a_verdict():
    desk = Desk()
    with trio.CancelScope() as scope:
        async with Failover([A], desk).stream(ASK):
            assert desk.inside == 1
            scope.cancel()
            await trio.sleep_forever()

    assert desk.inside == 0
    assert desk.rests["acme"].pick("big", (), desk.clock) == 0


class Purse:
    """Writes down what is asked of it, and refuses one model."""

    def __init__(self, refused: str = "") -> None:
        self.refused = refused
        self.done: list[str] = []

    async def reserve(self, candidate: Candidate, ask: ChatRequest, vendor: str) -> ChatRequest:
        await trio.lowlevel.checkpoint()
        if candidate.model == self.refused:
            raise Rejected(exhausted("budget"))
        self.done.append(f"reserve {candidate.model}")
        return replace(ask, options=ChatOptions(max_tokens=7))

    async def release(self) -> None:
        self.done.append("release")


async def test_every_candidate_is_paid_for_by_itself():
    desk, purse = Desk(2, big_0=[ProviderError("auth", "no")], big_1=[ProviderError("billing", "no")]), Purse()

    async with Failover((A, B), desk, purse=purse).stream(ASK) as chunks:
        assert "".join([chunk.content async for chunk in chunks]) == "small"
    assert purse.done == ["reserve big", "release", "reserve big", "release", "reserve small"]
    assert [options.max_tokens for options in desk.client.options] == [7, 7, 7]


async def test_what_no_purse_pays_for_ends_the_question_and_holds_no_place_at_a_provider():
    desk = Desk(big=[ProviderError("server_error", "boom")])

    with pytest.raises(Rejected):
        async with Failover((A, B, C), desk, purse=Purse(refused="small")).stream(ASK):
            raise AssertionError("nobody was asked")
    assert desk.client.asked == [("big", 0)], "no cheaper model answers in its place"
    assert desk.inside == 0
