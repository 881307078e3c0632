"""`goclaw cron …`: scheduled jobs of the running gateway. Contract: config-cli.md §7."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from goclaw.edge.cli.operations import WithOperations
from goclaw.edge.cli.options import Exit, Failure, Json, Options, options, print_json

app = typer.Typer(name="cron", cls=WithOperations, help="Scheduled jobs.", no_args_is_help=True)

COLUMNS = ("id", "name", "agent", "schedule", "enabled", "next", "last")


@app.callback()
def cron() -> None:
    """Jobs that run by schedule: make them, look at them, run them."""


@app.command(name="list")
def list_jobs(
    ctx: typer.Context,
    all: Annotated[bool, typer.Option("--all", help="Also those that are disabled.")] = False,
    json: Json = False,
) -> None:
    """List jobs."""
    from goclaw.edge.cli.operations import table

    jobs = _ask(options(ctx), "cron.list", {"includeDisabled": all})["jobs"]
    if json or options(ctx).json:
        return print_json(jobs)
    for line in table([row(job) for job in jobs] or [dict.fromkeys(COLUMNS)])[: len(jobs) + 1]:
        typer.echo(line)


@app.command()
def add(
    ctx: typer.Context,
    name: Annotated[str, typer.Option("--name", "-n", help="Small letters, digits and dashes.")],
    message: Annotated[str, typer.Option("--message", "-m", help="What the agent is told.")],
    every: Annotated[float | None, typer.Option("--every", "-e", min=1, help="Seconds between two runs.")] = None,
    cron: Annotated[str, typer.Option("--cron", "-c", help="Five fields, or @hourly, @daily …")] = "",
    at: Annotated[str, typer.Option("--at", help="Once, such as 2026-12-24T18:00.")] = "",
    tz: Annotated[str, typer.Option("--tz", help="Time zone, such as Europe/Berlin.")] = "",
    deliver: Annotated[bool, typer.Option("--deliver", "-d", help="Send the answer to a chat.")] = False,
    channel: Annotated[str, typer.Option(help="Channel of that chat.")] = "",
    to: Annotated[str, typer.Option(help="Its id.")] = "",
    agent: Annotated[str, typer.Option(help="Agent that runs it; else the default agent.")] = "",
    stateless: Annotated[bool, typer.Option("--stateless", help="Each run forgets the one before.")] = False,
    json: Json = False,
) -> None:
    """Make a job: --every, --cron or --at."""
    given: dict[str, Any] = {
        "name": name,
        "message": message,
        "schedule": schedule(every, cron, at, tz),
        "deliver": deliver,
        "channel": channel,
        "to": to,
        "agentId": agent,
        "stateless": stateless,
    }
    job = _ask(options(ctx), "cron.create", given)["job"]
    if json or options(ctx).json:
        return print_json(job)
    typer.echo(f"{job['id']}  {job['name']}  next {shown(job['state'].get('nextRunAtMs'))}")


@app.command()
def toggle(ctx: typer.Context, id: str, enabled: Annotated[str, typer.Argument(help="true or false")]) -> None:
    """Switch a job on or off."""
    if enabled.lower() not in ("true", "false"):
        raise Failure("say true or false", Exit.USAGE)
    _switch(ctx, id, enabled.lower() == "true")


@app.command()
def enable(ctx: typer.Context, id: str) -> None:
    """Switch a job on."""
    _switch(ctx, id, True)


@app.command()
def disable(ctx: typer.Context, id: str) -> None:
    """Switch a job off."""
    _switch(ctx, id, False)


@app.command()
def run(
    ctx: typer.Context,
    id: str,
    due: Annotated[bool, typer.Option("--due", help="Only if it is due.")] = False,
    json: Json = False,
) -> None:
    """Run a job now."""
    ran = _ask(options(ctx), "cron.run", {"jobId": id, "mode": "due" if due else "force"})
    if json or options(ctx).json:
        return print_json(ran)
    typer.echo(f"run {ran['runId']}" if ran["ran"] else "not run: it is not due, still runs, or its agent rests")


@app.command()
def runs(
    ctx: typer.Context,
    id: str,
    limit: Annotated[int, typer.Option(min=1, max=200)] = 20,
    json: Json = False,
) -> None:
    """Show what became of a job's runs, newest first."""
    from goclaw.edge.cli.operations import table

    entries = _ask(options(ctx), "cron.runs", {"jobId": id, "limit": limit})["entries"]
    if json or options(ctx).json:
        return print_json(entries)
    rows = [
        {
            "time": shown(entry["ts"]),
            "status": entry["status"],
            "attempt": entry["attempt"],
            "ms": entry.get("durationMs"),
            "run": entry.get("runId"),
            "says": entry.get("error") or entry.get("summary"),
        }
        for entry in entries
    ]
    for line in table(rows) if rows else ["it has not run yet"]:
        typer.echo(line)


def schedule(every: float | None, cron: str, at: str, tz: str) -> dict[str, Any]:
    """E-CronSchedule of what was given. Raises Failure unless it is exactly one of the three."""
    if [every is not None, bool(cron), bool(at)].count(True) != 1:
        raise Failure("say one of --every, --cron and --at", Exit.USAGE)
    zone = {"tz": tz} if tz else {}
    if every is not None:
        return {"kind": "every", "everyMs": round(every * 1000), **zone}
    if cron:
        return {"kind": "cron", "expr": cron, **zone}
    return {"kind": "at", "atMs": epoch_ms(at, tz), **zone}


def epoch_ms(text: str, tz: str) -> int:
    """A time as people write it; without an offset it is a time in `tz`, or here. Raises Failure."""
    from datetime import datetime
    from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

    try:
        when = datetime.fromisoformat(text)
        if when.tzinfo is None:
            when = when.replace(tzinfo=ZoneInfo(tz)) if tz else when.astimezone()
        return int(when.timestamp() * 1000)
    except (ZoneInfoNotFoundError, OSError):
        raise Failure(f"there is no time zone {tz!r}", Exit.USAGE) from None
    except (ValueError, OverflowError):
        raise Failure(f"{text!r} is no time; write it as 2026-12-24T18:00", Exit.USAGE) from None


def row(job: dict[str, Any]) -> dict[str, Any]:
    state = job["state"]
    return {
        "id": job["id"],
        "name": job["name"],
        "agent": job["agentKey"],
        "schedule": in_words(job["schedule"]),
        "enabled": "yes" if job["enabled"] else "no",
        "next": shown(state.get("nextRunAtMs")),
        "last": state.get("lastStatus"),
    }


def in_words(schedule: dict[str, Any]) -> str:
    match schedule["kind"]:
        case "every":
            return f"every {schedule['everyMs'] / 1000:g} s"
        case "at":
            return f"at {shown(schedule['atMs'])}"
    return f"{schedule['expr']} {schedule.get('tz', '')}".strip()


def shown(ms: int | None) -> str:
    from datetime import datetime

    return "-" if ms is None else datetime.fromtimestamp(ms / 1000).astimezone().isoformat(timespec="seconds")


def _switch(ctx: typer.Context, id: str, enabled: bool) -> None:
    done = _ask(options(ctx), "cron.toggle", {"jobId": id, "enabled": enabled})
    if options(ctx).json:
        return print_json(done)
    typer.echo(f"{done['jobId']} is {'enabled' if done['enabled'] else 'disabled'}")


def _ask(chosen: Options, method: str, params: dict[str, Any]) -> dict[str, Any]:
    import trio

    from goclaw.edge.cli.address import target
    from goclaw.edge.cli.client import connect

    async def main() -> dict[str, Any]:
        async with connect(target(chosen)) as socket:
            return await socket.call(method, params, chosen.timeout)

    return trio.run(main)
