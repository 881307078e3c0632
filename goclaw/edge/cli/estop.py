"""`goclaw estop`: stop the gateway's agents, whether it runs or not. Contract: security.md §13, config-cli.md §7.3."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from goclaw.edge.cli.options import Exit, Failure, Json, Options, options, print_json

if TYPE_CHECKING:
    from goclaw.security.estop import Levels


def estop(
    ctx: typer.Context,
    level: Annotated[list[str] | None, typer.Option(help="all, network, tools=GLOB or domains=SUFFIX.")] = None,
    reason: Annotated[str, typer.Option(help="For whoever finds it stopped.")] = "",
    release: Annotated[list[str] | None, typer.Option(help="What may go on again; * for all of a list.")] = None,
    status: Annotated[bool, typer.Option("--status", help="Only say what is stopped.")] = False,
    json: Json = False,
) -> None:
    """Stop agents at once, everything unless --level says less. Works while the gateway is down, too."""
    if status:
        done = _reach(options(ctx), "estop.status", {})
    elif release and level:
        raise Failure("either --level or --release", Exit.USAGE)
    else:
        levels = levels_of(release or level or ["all"])
        import msgspec

        params = {"engage": not release, "levels": msgspec.to_builtins(levels), "reason": reason}
        done = _reach(options(ctx), "estop.set", params)
    if json or options(ctx).json:
        print_json(done)
        return
    stopped = [name for name in ("all", "network") if done[name]]
    stopped += [f"{name}={one}" for name in ("tools", "domains") for one in done[name]]
    typer.echo(f"stopped: {', '.join(stopped) or 'nothing'}")


def levels_of(words: list[str]) -> Levels:
    """Raises Failure for a word that names no level."""
    from goclaw.security.estop import Levels

    tools: list[str] = []
    domains: list[str] = []
    for word in words:
        kind, sign, what = word.partition("=")
        if kind in ("tools", "domains") and sign and what:
            (tools if kind == "tools" else domains).append(what)
        elif word not in ("all", "network"):
            raise Failure(f"{word} is no level: all, network, tools=GLOB or domains=SUFFIX", Exit.USAGE)
    return Levels(all="all" in words, network="network" in words, tools=tuple(tools), domains=tuple(domains))


def _reach(chosen: Options, method: str, params: dict[str, Any]) -> dict[str, Any]:
    """The gateway's answer; of a gateway here that does not run, its file."""
    from goclaw.edge.cli.client import ask

    try:
        return ask(chosen, method, params)
    except Failure as failure:
        if failure.code is not Exit.UNREACHABLE or chosen.url:
            raise
        return _by_file(chosen, params)


def _by_file(chosen: Options, params: dict[str, Any]) -> dict[str, Any]:
    from datetime import UTC, datetime

    import msgspec

    from goclaw.domain.estop import Change
    from goclaw.security.estop import read, write

    path = chosen.load().settings.data_dir / "estop.json"
    state = read(path)
    if params:
        state = state.after(msgspec.convert({**params, "by": "cli", "at": datetime.now(UTC).isoformat()}, Change))
        try:
            write(path, state)
        except OSError as error:
            raise Failure(f"{path} cannot be written: {error.strerror}") from None
    done: dict[str, Any] = msgspec.to_builtins(state)
    return done
