"""`goclaw runs replay`: a run once more, beside what it was. Contract: durability.md §16.3."""

from __future__ import annotations

import time
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from goclaw.edge.cli.operations import table
from goclaw.edge.cli.options import Exit, Failure, Json, Options, options, print_json

WAIT = 900.0  # seconds for a replay to end: longer than any run may take
PAUSE = 0.3  # seconds between two looks
OVER = {"SUCCEEDED", "FAILED", "CANCELED", "DEAD_LETTER"}
SHOWN = 60  # characters of an answer in the table


class Tools(StrEnum):
    recorded = "recorded"
    pure = "pure"
    off = "off"


def replay(
    ctx: typer.Context,
    id: Annotated[str, typer.Argument(metavar="ID", help="The run.")],
    verify: Annotated[bool, typer.Option("--verify", help="Change nothing and expect the same; the default.")] = False,
    model: Annotated[str, typer.Option(help="Ask this model instead.")] = "",
    provider: Annotated[str, typer.Option(help="At this provider.")] = "",
    prompt: Annotated[Path | None, typer.Option(help="File with another system prompt.", exists=True)] = None,
    from_step: Annotated[int | None, typer.Option(min=0, help="Go on alive from this step.")] = None,
    tools: Annotated[Tools, typer.Option(help="What calls give: the recorded result, pure ones run, or nothing.")] = (
        Tools.recorded
    ),
    json: Json = False,
) -> None:
    """Run a run again from its record; exit 1 if it is not the same."""
    what_if = bool(model or provider or prompt or from_step is not None or tools is not Tools.recorded)
    if verify and what_if:
        raise Failure("--verify changes nothing; leave it out to try something else", Exit.USAGE)
    params: dict[str, Any] = {"runId": id, "mode": "what_if" if what_if else "verify", "tools": tools.value}
    params |= {name: given for name, given in (("model", model), ("provider", provider)) if given}
    if prompt is not None:
        params["prompt"] = {"system": prompt.read_text("utf-8")}
    if from_step is not None:
        params["fromStep"] = from_step
    chosen = options(ctx)
    run = _ended(chosen, _ask(chosen, "runs.replay", params)["replayId"])
    found = run.get("result")
    if run["state"] != "SUCCEEDED" or not found:
        error = run.get("error") or {}
        raise Failure(f"the replay ended {run['state']}: {error.get('message', run.get('reason'))}", Exit.REFUSED)
    if json or chosen.json:
        print_json(found)
    else:
        _show(found)
    raise typer.Exit(Exit.OK if what_if or found["identical"] else Exit.FAILED)


def _ended(chosen: Options, run_id: str) -> dict[str, Any]:
    until = time.monotonic() + WAIT
    while time.monotonic() < until:
        run: dict[str, Any] = _ask(chosen, "runs.get", {"runId": run_id})["run"]
        if run["state"] in OVER:
            return run
        time.sleep(PAUSE)
    raise Failure(f"the replay {run_id} has not ended within {WAIT:g} s")


def _show(found: dict[str, Any]) -> None:
    typer.echo(f"{found['verdict']}  log {found['log']['recorded'][:16]} → {found['log']['replayed'][:16]}")
    if first := found["first_difference"]:
        typer.echo(f"first difference: record {first['seq']} ({first['kind']}) at {first['path'] or '/'}")
        typer.echo(f"  recorded  {first['recorded']}")
        typer.echo(f"  replayed  {first['replayed']}")
    for line in table([_pair(pair) for pair in found["steps"]]):
        typer.echo(line)
    for name, totals in found["totals"].items():
        typer.echo(
            f"{name}  {totals['llm_calls']} answers, {totals['tool_calls']} calls, "
            f"{totals['input_tokens']} + {totals['output_tokens']} tokens, cost {totals['cost_usd'] or 'unknown'}"
        )
    for call in found["suppressed"]:
        typer.echo(f"not executed: {call['tool']} {call['arguments']}")
    if found["final"]["diff"]:
        typer.echo(f"\n{found['final']['diff']}")


def _pair(pair: dict[str, Any]) -> dict[str, Any]:
    shown = {
        side: " ".join((pair[side] or {}).get("preview", "–").split())[:SHOWN] for side in ("recorded", "replayed")
    }
    return {"n": pair["n"], "kind": pair["kind"], "same": "=" if pair["same"] else "≠", **shown}


def _ask(chosen: Options, method: str, params: dict[str, Any]) -> dict[str, Any]:
    from goclaw.edge.cli.client import ask

    return ask(chosen, method, params)
