"""Purses: what calls of models may cost, and what their owner understands. Contract: providers.md §18.

Amounts are USD with eight places, or tokens of prompt and answer together.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from decimal import ROUND_DOWN, Decimal
from typing import Any, Literal

import msgspec
from msgspec import Struct

from goclaw.domain.price import MILLION, PLACES, Price, worst
from goclaw.domain.session import parse_key
from goclaw.runtime.faults import Err
from goclaw.runtime.message import Message

Scope = Literal["tenant", "user", "agent", "run"]
Unit = Literal["usd", "tokens"]
Window = Literal["day", "week", "month", "total"]
Mode = Literal["hard", "soft"]

SCOPES: tuple[Scope, ...] = ("tenant", "user", "agent", "run")  # purses are locked in this order
WHOLE = "-"  # key of the tenant's own purses
NEVER = 10**9  # tokens nobody answers with: no purse binds
CACHE = "cache:budgets"  # what nodes ring when limits change (data-model.md §1)


class Payer(Struct, frozen=True):
    """Whose purses pay."""

    scope: Scope
    key: str


class Purse(Struct, frozen=True, kw_only=True):
    """A purse in the window that holds now."""

    id: str
    tenant_id: str
    scope: Scope
    key: str
    unit: Unit
    window: Window
    since: datetime  # start of the window
    mode: Mode
    limit: Decimal | None  # None = only counted
    spent: Decimal
    reserved: Decimal
    granted: Decimal
    resets_at: datetime | None
    updated_at: datetime

    @property
    def left(self) -> Decimal | None:
        """What nobody spent or holds; below 0 after an overshoot or a lower limit."""
        return None if self.limit is None else self.limit + self.granted - self.spent - self.reserved

    @property
    def binds(self) -> bool:
        """Each call has to fit."""
        return self.limit is not None and self.mode == "hard"

    @property
    def over(self) -> bool:
        """Nothing is left for another run."""
        return self.limit is not None and self.spent + self.reserved >= self.limit + self.granted


class Quote(Struct, frozen=True, kw_only=True):
    """What a call may take at most: its prompt as estimated, and an answer of up to `max_tokens`."""

    provider: str
    model: str
    price: Price | None  # None: nobody knows, so that no purse in usd binds
    input_tokens: int
    max_tokens: int
    least: int  # tokens; a shorter answer is not worth asking for

    def amount(self, output: int) -> Decimal:
        return worst(self.input_tokens, output, self.price) or Decimal(0)

    def fits(self, purse: Purse, *, alone: bool = False) -> int:
        """How long an answer the purse pays for, in tokens; below 0 if not even the prompt. `alone`: nothing held."""
        if not purse.binds or purse.left is None:
            return NEVER
        room = purse.left + (purse.reserved if alone else 0)
        if purse.unit == "tokens":
            return int(room.to_integral_value(ROUND_DOWN)) - self.input_tokens
        if self.price is None:
            return NEVER
        rest = room - self.amount(0)
        each = self.amount(MILLION) - self.amount(0)  # usd for a million more
        if rest < 0 or not each:
            return -1 if rest < 0 else NEVER
        output = int(min(Decimal(NEVER), rest * MILLION / each))
        if self.amount(output) > room:  # amounts are rounded up
            output = int((rest - PLACES) * MILLION / each)
        return output


class Wanted(Struct, frozen=True, kw_only=True):
    """A call that is about to go out. `fence` 0: no run makes it."""

    id: str  # of the reservation
    tenant_id: str
    run_id: str
    fence: int
    step: int
    payers: tuple[Payer, ...]
    quote: Quote
    within: float  # seconds the call may take
    figures: bool = False  # whoever asks may read those of everybody
    fresh: bool = False  # the first call of a new top-level run: soft limits count too
    run_usd: Decimal | None = None  # limits of the run's own purses, made when they are first touched
    run_tokens: int | None = None


class Held(Struct, frozen=True, kw_only=True):
    """Money for an answer of up to `max_tokens`. Without `id` no purse is touched."""

    id: str = ""
    max_tokens: int = 0
    price: Price | None = None
    input_tokens: int = 0


class Short(Struct, frozen=True, kw_only=True):
    """The purse that does not pay. `wait`: it would, if others gave back what they hold."""

    purse: Purse
    needed: Decimal
    wait: bool


class Reserve(Message[Held]):
    """Hold the price of a call. Refused by name when a purse does not pay; waits for others a moment."""

    wanted: Wanted


class Release(Message[None]):
    """The call failed before it took anything."""

    id: str
    tenant_id: str
    payers: tuple[Payer, ...]


class Settled(Message[None]):
    """A commit has what calls really took. `overshot`: reservations of calls that took more than was held."""

    tenant_id: str
    payers: tuple[Payer, ...]
    overshot: tuple[str, ...] = ()


class LimitsChanged(Message[None]):
    """Somebody set, granted or deleted: read them again. Answered when they are read."""


class BudgetEvent(Message[None]):
    """`budget.warning`, `budget.reached` or `budget.changed`, with the purse."""

    type: str
    body: msgspec.Raw


class Touched(Struct, frozen=True):
    """What is known of the purses of some payers."""

    any: bool = False
    hard: frozenset[Unit] = frozenset()  # units of limits each call has to fit in
    soft: bool = False  # a limit new runs are refused by


class Limits:
    """Which payers have purses, as the owner of the budgets last read it. One for all runs of a node.

    It only says who need not ask: the rows decide.
    """

    def __init__(self) -> None:
        self.read = False
        self._of: dict[tuple[str, Scope, str], list[tuple[Unit, Mode, bool]]] = {}

    def replace(self, purses: Iterable[tuple[str, Scope, str, Unit, Mode, bool]]) -> None:
        """By tenant, scope, key: the unit, the mode and whether it has a limit."""
        found: dict[tuple[str, Scope, str], list[tuple[Unit, Mode, bool]]] = {}
        for tenant, scope, key, unit, mode, limited in purses:
            found.setdefault((tenant, scope, key), []).append((unit, mode, limited))
        self._of, self.read = found, True

    def of(self, tenant: str, payers: Iterable[Payer]) -> Touched:
        """Until they are read, everybody has to ask."""
        if not self.read:
            return Touched(True, frozenset(("usd", "tokens")), True)
        if not self._of:
            return Touched()
        found = [row for payer in payers for row in self._of.get((tenant, payer.scope, payer.key), ())]
        hard = frozenset(unit for unit, mode, limited in found if limited and mode == "hard")
        return Touched(bool(found), hard, any(limited and mode == "soft" for _, mode, limited in found))


class ShownPurse(Struct, frozen=True, kw_only=True):
    """E-Purse (providers.md §18). `left` is below 0 after an overshoot or a lower limit."""

    scope: Scope
    key: str
    unit: Unit
    window: Window
    mode: Mode
    limit: float | None
    spent: float
    reserved: float
    granted: float
    left: float | None
    resets_at: datetime | None
    updated_at: datetime


def shown(purse: Purse) -> ShownPurse:
    return ShownPurse(
        scope=purse.scope,
        key=purse.key,
        unit=purse.unit,
        window=purse.window,
        mode=purse.mode,
        limit=_number(purse.limit),
        spent=float(purse.spent),
        reserved=float(purse.reserved),
        granted=float(purse.granted),
        left=_number(purse.left),
        resets_at=purse.resets_at,
        updated_at=purse.updated_at,
    )


def payers_of(user: str, agent: str, session: str, root: str = "") -> tuple[Payer, ...]:
    """Whose purses a call touches. In a group the group is the user; `root` is the run at the top, if one calls."""
    key = parse_key(session)
    if key.group:
        user = key.rest.split(":", 2)[2]
    payers = (Payer("tenant", WHOLE), Payer("user", user), Payer("agent", agent))
    return (*payers, Payer("run", root)) if root else payers


def refused(short: Short, *, own: bool, wait: float) -> Err:
    """No purse for it. Figures are for their owner and admins only (`own`), others hear whose purse it is."""
    purse = short.purse
    after = wait if short.wait else None
    if not own:
        details: dict[str, Any] = {"reason": "budget", "purse": {"scope": purse.scope}}
        return Err("RESOURCE_EXHAUSTED", "budget_of_others", details, short.wait, after)
    details = {
        "reason": "budget",
        "purse": {"scope": purse.scope, "key": purse.key, "unit": purse.unit, "window": purse.window},
        "limit": _number((purse.limit or 0) + purse.granted),
        "spent": _number(purse.spent),
        "reserved": _number(purse.reserved),
        "needed": _number(short.needed),
        "resets_at": None if purse.resets_at is None else purse.resets_at.isoformat(),
    }
    if (purse.scope, purse.unit, purse.window) == ("agent", "usd", "month"):
        return Err("RESOURCE_EXHAUSTED", "monthly_budget_exceeded", details, short.wait, after)
    return Err("RESOURCE_EXHAUSTED", "budget_exceeded", details, short.wait, after)


def unpriced(provider: str, model: str) -> Err:
    """`budgets.unknown_price` refuses a model whose price nobody knows (G9)."""
    details = {"reason": "budget_unpriced", "provider": provider, "model": model}
    return Err("RESOURCE_EXHAUSTED", "budget_unpriced", details)


def about_money(err: Err) -> bool:
    """Whether a purse said no, and nothing else is wrong."""
    return err.details.get("reason") in ("budget", "budget_unpriced")


def _number(amount: Decimal | None) -> float | None:
    return None if amount is None else float(amount)
