"""`goclaw providers …` and `goclaw model …`: who answers, says the running gateway. Contract: config-cli.md §7."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from goclaw.edge.cli.operations import WithOperations
from goclaw.edge.cli.options import Exit, Failure, Json, Options, options, print_json

app = typer.Typer(name="providers", cls=WithOperations, help="Vendors of language models.", no_args_is_help=True)
model = typer.Typer(name="model", cls=WithOperations, help="Which model an agent has.", no_args_is_help=True)

Key = Annotated[str, typer.Option("--api-key", help="Its key; - reads it from standard input.")]
Base = Annotated[str | None, typer.Option("--api-base", help="Its address; else the vendor's own.")]
Title = Annotated[str | None, typer.Option("--display-name")]
Models = Annotated[str | None, typer.Option("--models", help="With commas between; the first is the default.")]


@app.callback()
def providers() -> None:
    """Vendors that can be asked: look at them, add them, try them."""


@model.callback()
def agents_model() -> None:
    """Which model an agent has."""


@app.command(name="list")
def list_providers(
    ctx: typer.Context,
    models: Annotated[bool, typer.Option("--models", help="Also the models each says it has.")] = False,
    json: Json = False,
) -> None:
    """List who can be asked."""
    from goclaw.edge.cli.operations import table

    found = ask(options(ctx), "providers.list", {})["providers"]
    if models:
        for each in found:
            each["models"] = [one["id"] for one in ask(options(ctx), "providers.models", {"id": each["id"]})["models"]]
    if json or options(ctx).json:
        return print_json(found)
    for line in table([row(each) for each in found]):
        typer.echo(line)


@app.command()
def add(
    ctx: typer.Context,
    name: str,
    type: Annotated[str, typer.Option("--type", help="Such as openai_compat, anthropic_native, groq.")],
    api_key: Key = "",
    api_base: Base = None,
    display_name: Title = None,
    models: Models = None,
    json: Json = False,
) -> None:
    """Add a provider."""
    given = wanted(api_key, api_base, display_name, models)
    shown(ctx, ask(options(ctx), "providers.create", {"name": name, "provider_type": type, **given}), json)


@app.command()
def update(
    ctx: typer.Context,
    id: str,
    api_key: Key = "",
    api_base: Base = None,
    display_name: Title = None,
    models: Models = None,
    json: Json = False,
) -> None:
    """Change a provider; what is not named stays."""
    given = wanted(api_key, api_base, display_name, None)
    if models is not None:
        kept = ask(options(ctx), "providers.get", {"id": id})["settings"]
        given["settings"] = {**kept, "models": listed(models)}
    shown(ctx, ask(options(ctx), "providers.update", {"id": id, **given}), json)


@app.command()
def delete(
    ctx: typer.Context,
    id: str,
    force: Annotated[bool, typer.Option("--force", help="Although agents use it.")] = False,
) -> None:
    """Remove a provider."""
    ask(options(ctx), "providers.delete", {"id": id, "force": force})
    typer.echo("removed")


@app.command()
def verify(
    ctx: typer.Context,
    id: str,
    model: Annotated[str, typer.Option("--model", help="Ask it for one word; it may cost a little.")] = "",
    json: Json = False,
) -> None:
    """Try a provider; exit 1 if it does not answer."""
    found = ask(options(ctx), "providers.verify", {"id": id, "model": model})
    if json or options(ctx).json:
        print_json(found)
    elif found["valid"]:
        typer.echo(f"it answers, in {found['latency_ms']} ms")
    if not found["valid"]:
        raise Failure(found.get("error") or "it does not answer")


@model.command(name="set")
def set_model(
    ctx: typer.Context,
    choice: Annotated[str, typer.Argument(metavar="PROVIDER/MODEL")],
    agent: Annotated[str, typer.Option("--agent", help="Its key; else the default agent.")] = "",
    json: Json = False,
) -> None:
    """Let an agent be answered by a model from its next turn on."""
    provider, slash, name = choice.partition("/")
    if not slash or not provider or not name:
        raise Failure("say PROVIDER/MODEL", Exit.USAGE)
    chosen = ask(
        options(ctx), "models.set", {"provider": provider, "model": name, **({"agentId": agent} if agent else {})}
    )
    if json or options(ctx).json:
        return print_json(chosen)
    typer.echo(f"{chosen['agent']}  {chosen['provider']}/{chosen['model']}")


def wanted(api_key: str, api_base: str | None, display_name: str | None, models: str | None) -> dict[str, Any]:
    if api_key == "-":
        api_key = typer.get_text_stream("stdin").readline().strip()
    given: dict[str, Any] = {"api_key": api_key} if api_key else {}
    if api_base is not None:
        given["api_base"] = api_base
    if display_name is not None:
        given["display_name"] = display_name
    if models is not None:
        given["settings"] = {"models": listed(models)}
    return given


def listed(models: str) -> list[str]:
    return [name.strip() for name in models.split(",") if name.strip()]


def row(provider: dict[str, Any]) -> dict[str, Any]:
    """A line of the table."""
    rests = ", ".join(f"{rest['model']} rests" for rest in provider["cooldowns"])
    return {
        "id": provider["id"],
        "name": provider["name"],
        "type": provider["provider_type"],
        "base": provider["api_base"],
        "key": provider["api_key"],
        "from": provider["source"],
        "usable": "yes" if provider["usable"] else "no",
        "says": provider["error"] or rests,
    }


def shown(ctx: typer.Context, provider: dict[str, Any], json: bool) -> None:
    if json or options(ctx).json:
        return print_json(provider)
    typer.echo(
        f"{provider['id']}  {provider['name']}  {'usable' if provider['usable'] else provider['error'] or 'off'}"
    )


def ask(chosen: Options, method: str, params: dict[str, Any]) -> dict[str, Any]:
    import trio

    from goclaw.edge.cli.address import target
    from goclaw.edge.cli.client import connect

    async def main() -> dict[str, Any]:
        async with connect(target(chosen)) as socket:
            return await socket.call(method, params, chosen.timeout)

    return trio.run(main)
