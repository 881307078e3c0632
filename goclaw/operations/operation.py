"""One declaration per thing that can be asked, read by every surface: socket, HTTP, OpenAPI, command line.

    @operation(Rpc("agents.list", Role.VIEWER), Http("GET /v1/agents", Role.VIEWER), Cli("agent list"))
    async def list_agents(ctx: Context, ask: ListAgents) -> AgentList: ...

The input struct is the check, the docstring's first line the summary. Roles and reply shapes belong to the
surface, because clients of the two protocols expect different ones.
"""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import re
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from types import ModuleType
from typing import Any, TypeVar, get_type_hints

import msgspec

from goclaw.domain.access import Role

Fn = TypeVar("Fn", bound=Callable[..., Awaitable[Any]])
Reply = Callable[[Any], Any]


def as_is(result: Any) -> Any:
    return result


@dataclass(frozen=True)
class Rpc:
    """A socket method. `reply` turns the result into the payload clients expect."""

    name: str
    role: Role
    reply: Reply = as_is


@dataclass(frozen=True)
class Http:
    """A route: `GET /v1/agents/{id}`; a last segment `{path...}` may hold slashes."""

    route: str
    role: Role
    status: int = 200
    reply: Reply = as_is

    @property
    def verb(self) -> str:
        return self.route.partition(" ")[0]

    @property
    def path(self) -> str:
        return self.route.partition(" ")[2]


@dataclass(frozen=True)
class Cli:
    """A command of the `goclaw` program that asks a running gateway."""

    command: str


@dataclass(frozen=True)
class Operation:
    name: str  # module.function
    summary: str
    fn: Callable[..., Awaitable[Any]]
    input: type[msgspec.Struct]
    result: Any
    rpc: tuple[Rpc, ...] = ()
    http: tuple[Http, ...] = ()
    cli: tuple[Cli, ...] = ()


def operation(*surfaces: Rpc | Http | Cli) -> Callable[[Fn], Fn]:
    """Declare a coroutine `(ctx, ask) -> result` as an operation with these surfaces."""

    def declare(fn: Fn) -> Fn:
        fn.__surfaces__ = surfaces  # type: ignore[attr-defined]  # read by `collect`
        return fn

    return declare


def collect(package: str) -> tuple[Operation, ...]:
    """Every operation declared in the modules of `package`. A module that does not import stops the start.

    Raises ValueError when two operations claim the same method, route or command.
    """
    root = importlib.import_module(package)
    found = [
        _operation(module, name, fn)
        for info in pkgutil.iter_modules(root.__path__, f"{package}.")
        for module in (importlib.import_module(info.name),)
        for name, fn in inspect.getmembers(module, inspect.iscoroutinefunction)
        if hasattr(fn, "__surfaces__") and fn.__module__ == module.__name__
    ]
    claims = Counter(claim for op in found for claim in _claims(op))
    if twice := [claim for claim, count in claims.items() if count > 1]:
        raise ValueError(f"declared twice: {', '.join(sorted(twice))}")
    return tuple(sorted(found, key=lambda op: op.name))


def _claims(op: Operation) -> list[str]:
    """What only one operation may have. Two routes that differ in the names of their parameters are the same."""
    routes = [re.sub(r"\{\w+", "{", http.route) for http in op.http]
    return [*(f"method {rpc.name}" for rpc in op.rpc), *routes, *(f"goclaw {cli.command}" for cli in op.cli)]


def _operation(module: ModuleType, name: str, fn: Any) -> Operation:
    hints = get_type_hints(fn)
    surfaces = fn.__surfaces__
    return Operation(
        name=f"{module.__name__.rpartition('.')[2]}.{name}",
        summary=(inspect.getdoc(fn) or "").partition("\n")[0],
        fn=fn,
        input=hints["ask"],
        result=hints["return"],
        rpc=tuple(s for s in surfaces if isinstance(s, Rpc)),
        http=tuple(s for s in surfaces if isinstance(s, Http)),
        cli=tuple(s for s in surfaces if isinstance(s, Cli)),
    )
