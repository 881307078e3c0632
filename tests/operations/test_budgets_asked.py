"""Purses for those who set and read them. Contract: providers.md §18."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import pytest
from msgspec import to_builtins

from goclaw.domain.access import MASTER_TENANT, Caller, Role
from goclaw.domain.address import BUDGETS
from goclaw.domain.budget import BudgetEvent, Held, Payer, Quote, Reserve, Wanted
from goclaw.domain.errors import Rejected
from goclaw.domain.events import of_user
from goclaw.domain.ids import new_id
from goclaw.domain.price import Price
from goclaw.edge.ws.news import entry_of
from goclaw.operations import budgets
from goclaw.operations.budgets import GrantBudget, ListBudgets, OneOf, SetBudget, Which
from goclaw.operations.context import Context, House
from goclaw.operations.params import decode
from goclaw.runtime.address import Address
from goclaw.runtime.inbox import inbox
from goclaw.runtime.message import Message, Told
from goclaw.settings.settings import Settings
from goclaw.stores.database import Database
from tests.actors.house import house

Ask = Callable[..., Awaitable[Any]]
PRICE = Price(input=Decimal(0), output=Decimal(10))


@pytest.fixture
async def ask(database: Database, tmp_path: Path) -> AsyncIterator[Ask]:
    """Ask an operation as somebody: `await ask(operation, Input, user="ann", role=Role.VIEWER, **members)`."""
    async with house(database, tmp_path) as system:
        here = House(Settings(), system, "1.2.3", "node", 0)

        async def ask(operation: Any, input: Any, *, user: str = "ada", role: Role = Role.ADMIN, **members: Any) -> Any:
            ctx = Context(here, Caller(user_id=user, role=role))
            return to_builtins(await operation(ctx, decode(input, members, strict=False)))

        ask.system = system  # type: ignore[attr-defined]
        yield ask


async def hold(ask: Any, *payers: Payer) -> Held:
    quote = Quote(provider="p", model="m", price=PRICE, input_tokens=0, max_tokens=20, least=20)
    wanted = Wanted(
        id=new_id(),
        tenant_id=MASTER_TENANT,
        run_id=new_id(),
        fence=0,
        step=3,
        payers=payers,
        quote=quote,
        within=60.0,
    )
    held: Held = await ask.system.ask(BUDGETS, Reserve(wanted=wanted), within=5)
    return held


async def test_a_purse_is_set_changed_shown_and_deleted(ask: Ask) -> None:
    made = await ask(budgets.put, SetBudget, scope="user", key="lan", limit="5", window="day")
    updated, resets = made.pop("updated_at"), made.pop("resets_at")

    assert made == {
        "scope": "user",
        "key": "lan",
        "unit": "usd",
        "window": "day",
        "mode": "hard",
        "limit": 5.0,
        "spent": 0.0,
        "reserved": 0.0,
        "granted": 0.0,
        "left": 5.0,
    }
    assert updated < resets
    granted = await ask(budgets.grant, GrantBudget, scope="user", key="lan", amount=2.5, reason="a long day")
    assert (granted["granted"], granted["left"]) == (2.5, 7.5)
    counting = await ask(budgets.put, SetBudget, scope="user", key="lan", limit=None, window="day")
    assert (counting["limit"], counting["left"], counting["granted"]) == (None, None, 2.5)
    assert len((await ask(budgets.list_budgets, ListBudgets))["purses"]) == 1
    assert await ask(budgets.delete, OneOf, scope="user", key="lan") == {"deleted": True}
    assert await ask(budgets.list_budgets, ListBudgets) == {"purses": []}


async def test_what_calls_hold_is_shown_and_keeps_a_purse_from_being_deleted(ask: Ask) -> None:
    await ask(budgets.put, SetBudget, scope="tenant", key="-", limit=1)
    held = await hold(ask, Payer("tenant", "-"))
    shown = await ask(budgets.get, Which, scope="tenant", key="-")

    assert held.max_tokens == 20
    (row,) = shown["reservations"]
    assert (row["step"], row["amount"], row["tokens"]) == (3, 0.0002, 20)
    assert shown["purses"][0]["reserved"] == 0.0002
    with pytest.raises(Rejected) as refusal:
        await ask(budgets.delete, OneOf, scope="tenant", key="-")
    assert (refusal.value.err.code, refusal.value.err.details["reason"]) == ("FAILED_PRECONDITION", "reserved")


async def test_a_limit_holds_as_soon_as_it_is_answered(ask: Ask) -> None:
    await ask(budgets.put, SetBudget, scope="tenant", key="-", limit=0)

    with pytest.raises(Rejected) as refusal:
        await hold(ask, Payer("tenant", "-"))
    assert refusal.value.err.details == {"reason": "budget", "purse": {"scope": "tenant"}}


async def test_who_is_no_admin_sees_only_the_own_purses(ask: Ask) -> None:
    for user in ("lan", "ann"):
        await ask(budgets.put, SetBudget, scope="user", key=user, limit=1)
    await ask(budgets.put, SetBudget, scope="tenant", key="-", limit=1)
    viewer = {"user": "lan", "role": Role.VIEWER}

    listed = (await ask(budgets.list_budgets, ListBudgets, **viewer))["purses"]
    assert [(row["scope"], row["key"]) for row in listed] == [("user", "lan")]
    assert len((await ask(budgets.get, Which, scope="user", key="lan", **viewer))["purses"]) == 1
    for scope, key in (("user", "ann"), ("tenant", "-")):
        with pytest.raises(Rejected) as refusal:
            await ask(budgets.get, Which, scope=scope, key=key, **viewer)
        assert refusal.value.err.code == "NOT_FOUND"


@pytest.mark.parametrize(
    ("members", "field"),
    [
        ({"scope": "tenant", "key": "acme", "limit": 1}, "key"),
        ({"scope": "user", "key": "\x07", "limit": 1}, "key"),
        ({"scope": "run", "key": "r", "limit": 1}, "scope"),
        ({"scope": "user", "key": "lan"}, "limit"),
        ({"scope": "user", "key": "lan", "limit": -1}, "limit"),
        ({"scope": "user", "key": "lan", "limit": "nan"}, "limit"),
        ({"scope": "user", "key": "lan", "limit": 1, "window": "year"}, "window"),
    ],
)
async def test_a_purse_that_cannot_be_is_refused_by_name(ask: Ask, members: Any, field: str) -> None:
    with pytest.raises(Rejected) as refusal:
        await ask(budgets.put, SetBudget, **members)
    assert refusal.value.err.details["field"] == field


async def test_a_grant_says_which_of_several_purses(ask: Ask) -> None:
    for window in ("day", "month"):
        await ask(budgets.put, SetBudget, scope="user", key="lan", limit=1, window=window)

    with pytest.raises(Rejected) as refusal:
        await ask(budgets.grant, GrantBudget, scope="user", key="lan", amount=1, reason="r")
    assert refusal.value.err.details["field"] == "unit"
    granted = await ask(budgets.grant, GrantBudget, scope="user", key="lan", window="day", amount=1, reason="r")
    assert (granted["window"], granted["left"]) == ("day", 2.0)


async def test_an_owner_hears_of_a_change_on_the_socket(ask: Any) -> None:
    heard: list[Message[Any]] = []

    def hear(message: Message[Any]) -> Told:
        heard.append(message)
        return Told.ACCEPTED

    with inbox(ask.system, Address("edge", "http", "lan"), "Ear", hear) as ear:
        ear.join(of_user(MASTER_TENANT, "lan"))
        await ask(budgets.put, SetBudget, scope="user", key="lan", limit=1)

    (event,) = heard
    assert isinstance(event, BudgetEvent)
    frame = entry_of(event, "c1")
    assert frame is not None
    assert frame.event == "budget.changed"
    assert msgspec.json.decode(msgspec.json.encode(frame.payload))["limit"] == 1.0
