"""Who is at the door. Contract: edge-auth.md §2.2, §2.4, §3, §6, §9.2, §13; edge-websocket.md §5.1."""

from __future__ import annotations

from typing import Any

import pytest
from trio.testing import MockClock

from goclaw.domain.access import MASTER_TENANT, Caller, Role
from goclaw.domain.errors import Err, Rejected
from goclaw.edge.gatekeeper import ADDRESSES, BLOCK, FAILURES, WINDOW, Gatekeeper
from goclaw.settings.gateway import Gateway
from goclaw.settings.section import Secret

TOKEN = "correct horse"
PEER = "203.0.113.5"


def keeper(token: str = TOKEN, **more: Any) -> Gatekeeper:
    return Gatekeeper(Gateway(token=Secret(token), **more), ["127.0.0.1"])


def shown(keeper: Gatekeeper, credential: str | None, user: str | None = None, peer: str = PEER) -> Caller | Err:
    try:
        return keeper.caller(credential, user, peer, "en")
    except Rejected as rejected:
        return rejected.err


def reason(outcome: Caller | Err) -> object:
    return outcome.details["reason"] if isinstance(outcome, Err) else "let in"


def fail(keeper: Gatekeeper, times: int, peer: str = PEER) -> list[object]:
    return [reason(shown(keeper, f"wrong {n}", peer=peer)) for n in range(times)]


async def test_the_token_opens_the_door_to_an_admin() -> None:
    assert shown(keeper(), TOKEN, "lan") == Caller(tenant_id=MASTER_TENANT, user_id="lan", role=Role.ADMIN, locale="en")


@pytest.mark.parametrize("credential", [TOKEN, f" {TOKEN}", f"{TOKEN}\t\n"])
async def test_spaces_around_a_token_do_not_count(credential: str) -> None:
    assert isinstance(shown(keeper(), credential), Caller)
    assert isinstance(shown(keeper(f"  {TOKEN}  "), credential), Caller)


@pytest.mark.parametrize(
    "credential",
    [
        "",
        " ",
        TOKEN[:-1],
        TOKEN + "x",
        TOKEN.upper(),
        TOKEN.replace(" ", "  "),
        "goclaw_" + "0" * 32,
        "\0",
        "\ud800",
        "名" * 300,
        "x" * 100_000,
        TOKEN + " " * 512,
    ],
)
async def test_anything_else_is_a_bad_credential(credential: str) -> None:
    assert reason(shown(keeper(), credential)) == "bad_credential"


async def test_nothing_shown_is_another_refusal_and_no_failure() -> None:
    guard = keeper()
    assert {reason(shown(guard, None)) for _ in range(100)} == {"unauthenticated"}
    assert fail(guard, 1) == ["bad_credential"]


async def test_a_token_of_512_bytes_fits_and_a_longer_one_is_never_right() -> None:
    assert isinstance(shown(keeper("x" * 512), "x" * 512), Caller)
    assert isinstance(shown(keeper("é" * 256), "é" * 256), Caller)
    assert reason(shown(keeper("é" * 257), "é" * 257)) == "bad_credential"


@pytest.mark.parametrize("token", ["", "   "])
@pytest.mark.parametrize("credential", [None, "", "whatever"])
async def test_without_a_token_everybody_is_admin_and_owner(token: str, credential: str | None) -> None:
    guard = keeper(token)
    assert guard.dev_mode
    assert shown(guard, credential) == Caller(user_id="system", role=Role.ADMIN, is_owner=True, locale="en")
    assert shown(guard, credential, "lan") == Caller(user_id="lan", role=Role.ADMIN, is_owner=True, locale="en")


async def test_owners_are_named_or_the_system_itself() -> None:
    def owns(user: str, **more: Any) -> bool:
        caller = shown(keeper(**more), TOKEN, user)
        return isinstance(caller, Caller) and caller.is_owner

    assert owns("system")
    assert not owns("lan")
    assert not owns("")
    assert owns("lan", owner_ids=("lan", "mai"))
    assert not owns("system", owner_ids=("lan",))


@pytest.mark.parametrize(
    ("given", "user"),
    [
        (None, ""),
        ("", ""),
        ("   ", ""),
        (" lan ", "lan"),
        ("x" * 255, "x" * 255),
        (" " + "x" * 255 + " ", "x" * 255),
        ("tenant.a.user.b", "tenant.a.user.b"),
        ("Lan Nguyễn", "Lan Nguyễn"),
        ("a\u00a0b", "a\u00a0b"),
        ("👩\u200d🚀", "👩\u200d🚀"),
    ],
)
async def test_a_user_id_is_taken_on_trust(given: str | None, user: str) -> None:
    caller = shown(keeper(), TOKEN, given)
    assert isinstance(caller, Caller)
    assert caller.user_id == user


@pytest.mark.parametrize("user", ["x" * 256, "a\nb", "a\0b", "a\x7fb", "a\x85b", "a\u2028b", "\ud800"])
@pytest.mark.parametrize("token", [TOKEN, ""])
async def test_a_user_id_that_cannot_be_one_is_refused_by_name(user: str, token: str) -> None:
    err = shown(keeper(token), token, user)
    assert isinstance(err, Err)
    assert (err.code, err.details["field"], err.details["reason"]) == ("INVALID_REQUEST", "user_id", "user_id_invalid")


# --- too many failures ----------------------------------------------------------------------------


async def test_twenty_failures_close_the_door_to_an_address_but_not_to_the_token() -> None:
    guard = keeper()
    assert fail(guard, FAILURES) == ["bad_credential"] * FAILURES

    blocked = shown(guard, "wrong again")
    assert isinstance(blocked, Err)
    assert (blocked.code, blocked.key, blocked.retryable) == ("RESOURCE_EXHAUSTED", "auth_blocked", True)
    assert blocked.retry_after == pytest.approx(BLOCK, abs=1)
    assert isinstance(shown(guard, TOKEN), Caller)
    assert reason(shown(guard, "wrong", peer="198.51.100.7")) == "bad_credential"
    assert reason(shown(guard, None)) == "unauthenticated"


async def test_a_block_ends_and_the_next_failure_begins_another(mock_clock: MockClock) -> None:
    guard = keeper()
    fail(guard, FAILURES)

    mock_clock.jump(BLOCK - 1)
    blocked = shown(guard, "wrong")
    mock_clock.jump(1.1)

    assert isinstance(blocked, Err)
    assert blocked.retry_after == pytest.approx(1.0)
    assert fail(guard, 2) == ["bad_credential", "auth_blocked"]


async def test_failures_are_forgotten_after_five_minutes(mock_clock: MockClock) -> None:
    guard = keeper()
    fail(guard, FAILURES - 1)
    mock_clock.jump(WINDOW)
    assert fail(guard, FAILURES) == ["bad_credential"] * FAILURES
    assert fail(guard, 1) == ["auth_blocked"]


async def test_trying_while_blocked_does_not_make_it_longer(mock_clock: MockClock) -> None:
    guard = keeper()
    fail(guard, FAILURES)
    for _ in range(6):
        mock_clock.jump(BLOCK / 6 - 0.01)
        assert fail(guard, 3) == ["auth_blocked"] * 3
    mock_clock.jump(0.07)
    assert fail(guard, 1) == ["bad_credential"]


async def test_only_so_many_addresses_are_remembered() -> None:
    guard = keeper()
    fail(guard, FAILURES)
    for n in range(ADDRESSES - 1):
        guard._failed(f"peer {n}")
    assert fail(guard, 1) == ["auth_blocked"]  # still among them, and now the most recent

    for n in range(ADDRESSES - 1):
        guard._failed(f"other {n}")
    assert fail(guard, 1) == ["auth_blocked"]

    for n in range(ADDRESSES):
        guard._failed(f"third {n}")
    assert len(guard._failures) == ADDRESSES
    assert fail(guard, 1) == ["bad_credential"]


# --- pages ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("token", "origin", "host", "socket", "admitted"),
    [
        (TOKEN, None, "gw", True, True),
        (TOKEN, "https://gw", "gw", True, True),
        (TOKEN, "https://evil", "gw", True, False),
        (TOKEN, "https://evil", "gw", False, True),  # CORS answers a page over HTTP, and it has no token
        ("", None, "gw", False, True),
        ("", "http://localhost:3000", "127.0.0.1:18790", False, True),
        ("", "https://evil", "127.0.0.1:18790", False, False),
        ("", "https://evil", "evil", True, False),  # DNS rebinding
    ],
)
async def test_pages_of_strangers_stay_outside(
    token: str, origin: str | None, host: str, socket: bool, admitted: bool
) -> None:
    """SEC-50."""
    assert keeper(token).admit_page(origin, host, None, socket=socket) is admitted
