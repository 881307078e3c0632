"""What the calls of one run, or of a summary, are paid from. Contract: providers.md §18, agent-loop.md §14."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from decimal import Decimal

from msgspec.structs import replace

from goclaw.actors.engine.calls import CallLog
from goclaw.actors.engine.spending import Spending
from goclaw.domain.address import BUDGETS
from goclaw.domain.budget import Held, Payer, Quote, Release, Reserve, Wanted, about_money, unpriced
from goclaw.domain.chat import ChatRequest, ChatResponse, StreamChunk
from goclaw.domain.errors import Rejected
from goclaw.domain.ids import new_id
from goclaw.domain.model import Candidate
from goclaw.domain.price import FREE
from goclaw.domain.tokens import estimate_prompt
from goclaw.providers.prices import price_of
from goclaw.providers.provider import Model, Tell, silent
from goclaw.runtime.actor import Context

MARGIN = 1.1  # on the estimate of a prompt; providers.md §18 G1
ASK = 30.0  # seconds beyond the wait for others
ENOUGH = "\n\nThe budget is used up, so this is as far as I got."


class CallPurse:
    """One call at a time. What was held for it stays with `calls` until a commit settles it.

    `step` tells where in the run a call is made; `fresh` whether the run has begun nothing yet.
    """

    def __init__(
        self,
        ctx: Context,
        spending: Spending,
        calls: CallLog,
        *,
        tenant: str,
        payers: tuple[Payer, ...],
        run_id: str,
        fence: int,
        within: float,
        figures: bool = False,
        max_cost: Decimal | None = None,
        step: Callable[[], int] = lambda: 0,
        fresh: Callable[[], bool] = lambda: False,
    ) -> None:
        self._ctx = ctx
        self._spending = spending
        self._calls = calls
        self._tenant = tenant
        self._payers = payers
        self._run_id = run_id
        self._fence = fence
        self._within = within
        self._figures = figures
        self._step = step
        self._fresh = fresh
        self._run_usd, self._run_tokens = spending.of_run(max_cost) if fence else (None, None)

    async def reserve(self, candidate: Candidate, ask: ChatRequest, vendor: str) -> ChatRequest:
        """The ask, perhaps with a shorter answer (G3). Raises Rejected by name."""
        settings, limits = self._spending.settings, self._spending.limits
        touched = limits.of(self._tenant, self._payers)
        fresh = self._fresh()
        hard = set(touched.hard)
        hard |= {"usd"} if self._run_usd is not None else set()
        hard |= {"tokens"} if self._run_tokens is not None else set()
        self._calls.payers = self._payers if touched.any or hard else ()
        if not hard and not (touched.soft and fresh):
            return ask
        price = price_of(candidate.provider, ask.model, self._spending.pricing, vendor=vendor)
        if price is None and "usd" in hard:
            if settings.unknown_price == "refuse":
                self._calls.refused()
                raise Rejected(unpriced(candidate.provider, ask.model))
            self._spending.warn_of(candidate.provider, ask.model, self._ctx)
        if (price is None or price == FREE) and "tokens" not in hard:
            return ask  # it costs nothing, or nobody knows
        wanted = Wanted(
            id=new_id(),
            tenant_id=self._tenant,
            run_id=self._run_id,
            fence=self._fence,
            step=self._step(),
            payers=self._payers,
            quote=Quote(
                provider=candidate.provider,
                model=ask.model,
                price=price,
                input_tokens=int(estimate_prompt(ask.messages, ask.tools) * MARGIN) + 1,
                max_tokens=ask.options.max_tokens or self._spending.max_tokens,
                least=settings.min_output_tokens,
            ),
            within=self._within,
            figures=self._figures,
            fresh=fresh,
            run_usd=self._run_usd,
            run_tokens=self._run_tokens,
        )
        try:
            held: Held = await self._ctx.ask(BUDGETS, Reserve(wanted=wanted), within=settings.wait_sec + ASK)
        except Rejected:
            self._calls.refused()
            raise
        if not held.id:
            return ask
        self._calls.holds(held)
        return replace(ask, options=replace(ask.options, max_tokens=held.max_tokens))

    async def release(self) -> None:
        """The call failed before it said anything (G6)."""
        if (held := self._calls.let_go()) is not None:
            self._ctx.tell(BUDGETS, Release(id=held.id, tenant_id=self._tenant, payers=self._payers))


class Thrifty:
    """A model that says it was enough when nothing is left to ask one, if anything was said before.

    `so_far` tells what.
    """

    def __init__(self, model: Model, so_far: Callable[[], str]) -> None:
        self.name = model.name
        self._model = model
        self._so_far = so_far

    @asynccontextmanager
    async def stream(self, ask: ChatRequest, *, tell: Tell = silent) -> AsyncIterator[AsyncIterator[StreamChunk]]:
        async with AsyncExitStack() as stack:
            chunks: AsyncIterator[StreamChunk]
            try:
                chunks = await stack.enter_async_context(self._model.stream(ask, tell=tell))
            except Rejected as refusal:
                if not about_money(refusal.err) or not (said := self._so_far()):
                    raise
                chunks = await stack.enter_async_context(aclosing(_enough(said)))
            yield chunks


async def _enough(said: str) -> AsyncGenerator[StreamChunk, None]:
    text = said + ENOUGH
    yield StreamChunk(content=text)
    yield StreamChunk(done=ChatResponse(content=text, out_of_budget=True))
