"""Every route and method, asked by every role. Contract: edge-auth.md §5; security.md §17, SEC-37.

What each needs is written down in `roles.txt`, so that no line of code changes it unseen.
"""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest
import trio
from msgspec import Struct

from goclaw.domain.access import Caller, Role
from goclaw.domain.errors import Err, Rejected, unauthorized
from goclaw.edge.gatekeeper import Gatekeeper
from goclaw.edge.http import actors, completions, files, instances, runs, wake
from goclaw.edge.http.answers import STATUS
from goclaw.edge.http.server import HttpServer
from goclaw.edge.ws.server import methods_of
from goclaw.operations.context import House
from goclaw.operations.operation import collect
from goclaw.runtime.system import open_system
from goclaw.settings.gateway import Gateway
from goclaw.settings.section import Secret
from goclaw.settings.settings import Settings
from tests.edge.links import NoDatabase, QuietLink, connected

OPERATIONS = collect("goclaw.operations")
BY_HAND = (completions.ROUTE, wake.ROUTE, files.ROUTE, instances.ROUTE, *runs.ROUTES, *actors.ROUTES)
ROUTES = {http.route: http.role for op in OPERATIONS for http in op.http} | {raw.route: raw.role for raw in BY_HAND}
METHODS = {rpc.name: rpc.role for op in OPERATIONS for rpc in op.rpc}
WRITTEN = (Path(__file__).parent / "roles.txt").read_text().splitlines()
ROLES = (Role.ANYONE, Role.VIEWER, Role.OPERATOR, Role.ADMIN)
AT_ONCE = 50  # frames, fewer than a socket may have in flight


class Named(Gatekeeper):
    """Callers present the role they have."""

    def __init__(self) -> None:
        super().__init__(Gateway(token=Secret("x" * 32)), {"127.0.0.1"})

    def caller(self, presented: str | None, user_id: str | None, peer: str, locale: str) -> Caller:
        if presented is None:
            raise Rejected(unauthorized("unauthenticated"))
        return Caller(user_id="vi", role=Role[presented.upper()])


async def work(ctx: Any, ask: Any) -> Any:
    """In the place of every operation: what is behind the door is no part of this."""
    raise Rejected(Err("NOT_FOUND", "not_found", {"reason": "let in"}))


class Anything(Struct):
    """What operations take here, so that nobody is refused for what was not said."""


OPEN = [replace(op, fn=work, input=Anything) for op in OPERATIONS]


def wanted(has: Role, needs: Role) -> tuple[str, str]:
    """Code and reason of the answer."""
    if has >= needs:
        return "NOT_FOUND", "let in"
    return ("UNAUTHORIZED", "unauthenticated") if has is Role.ANYONE else ("FORBIDDEN", "role")


def test_what_each_needs_is_what_is_written() -> None:
    """SEC-37."""
    assert sorted(f"{role.label} {name}" for name, role in {**ROUTES, **METHODS}.items()) == sorted(WRITTEN)


@pytest.mark.parametrize("role", ROLES)
async def test_every_route_lets_in_whom_it_should_and_nobody_else(role: Role) -> None:
    """SEC-37, over HTTP. Routes by hand are not entered: they stand behind the same door."""
    own = {raw.route for raw in BY_HAND}
    bearer = {} if role is Role.ANYONE else {"Authorization": f"Bearer {role.label}"}
    async with open_system(NoDatabase()) as system:
        client = HttpServer(House(Settings(), system, "0", "node", 0), OPEN, Named()).app.test_client()
        for route, needs in ROUTES.items():
            if route in own and role >= needs:
                continue
            verb, _, path = re.sub(r"\{[^}]*\}", "x", route).partition(" ")
            answer = await client.open(path, method=verb, headers={**bearer, "X-GoClaw-User-Id": "vi"})
            said, (code, reason) = await answer.get_json(), wanted(role, needs)
            assert answer.status_code == STATUS[code], route
            if "details" in said:  # OpenAI's routes tell less, and strangers are told nothing
                assert (said["code"], said["details"]["reason"]) == (code, reason), route


@pytest.mark.parametrize("role", ROLES)
async def test_every_method_lets_in_whom_it_should_and_nobody_else(role: Role, autojump_clock: Any) -> None:
    """SEC-37, over the socket, which tells who comes in what they may ask."""
    token = {} if role is Role.ANYONE else {"token": role.label}
    known = sorted(METHODS)
    for names in (known[at : at + AT_ONCE] for at in range(0, len(known), AT_ONCE)):
        frames = [frame("c", "connect", **token), *(frame(name, name) for name in names)]
        link = QuietLink(*frames, answers_pings=True)
        async with connected(link, methods_of(OPEN), Named()):
            await trio.sleep(1)
        answers = {said["id"]: said for said in link.sent if said["type"] == "res"}
        if role is Role.ANYONE:
            assert {answers[name]["error"]["code"] for name in names} == {"UNAUTHORIZED"}
            continue
        errors = {name: answers[name]["error"] for name in names}
        told = {name: (error["code"], error["details"]["reason"]) for name, error in errors.items()}
        assert told == {name: wanted(role, METHODS[name]) for name in names}
        assert set(answers["c"]["payload"]["methods"]) == {name for name, needs in METHODS.items() if role >= needs}


def frame(id: str, method: str, **params: Any) -> str:
    return msgspec.json.encode({"type": "req", "id": id, "method": method, "params": params}).decode()
