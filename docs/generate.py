"""Writes docs/generated/ from the code: `make docs`. tests/test_documents.py fails when the two differ."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec

from goclaw.domain.approval import ApprovalEvent
from goclaw.domain.budget import BudgetEvent
from goclaw.domain.errors import Err
from goclaw.domain.process import ProcessEvent
from goclaw.domain.texts import TEXTS
from goclaw.edge.http import actors, completions, runs, wake
from goclaw.edge.http.answers import STATUS, status_of
from goclaw.operations.actor_events import TYPES, FollowActors
from goclaw.operations.actor_orders import Trace
from goclaw.operations.operation import collect
from goclaw.operations.runs import CreateRun, GetRun, RetryRun
from goclaw.operations.wake import Wake
from goclaw.providers.catalogue import CATALOGUE, Vendor
from goclaw.providers.embeddings import choose as embeddings
from goclaw.providers.prices import ANY
from goclaw.providers.prices import table as price_table
from goclaw.providers.registry import REGISTRY, Model
from goclaw.settings.environment import VARIABLES
from goclaw.settings.providers import KEYED
from goclaw.settings.show import json_schema

DOCS = Path(__file__).parent
CODE = DOCS.parent / "goclaw"
NOTE = "<!-- Made by `make docs`. Do not edit. -->\n\n"
OPERATIONS = collect("goclaw.operations")

# What the code says only by doing it. An event, a wire or a quirk without a sentence here fails the generator.
WIRES = {
    "openai_chat": "chat completions",
    "responses": "Responses",
    "chatgpt_oauth": "Responses, of a ChatGPT account",
    "anthropic": "Anthropic Messages",
}
QUIRKS = {
    "alternates": "user and assistant take turns",
    "asks_for_tools": "says of each model whether it takes tools",
    "model_has_slash": "its models have a slash in their names",
    "names_tool_results": "results repeat the tool's name",
    "nine_character_ids": "ids of nine characters",
    "no_stream_with_tools": "an answer to a question with tools comes in one piece",
    "no_tools": "tools are described in words",
    "plain_schemas": "simpler tool schemas",
    "thinks_by_budget": "thinks by a number of tokens",
    "thinks_by_object": "has its own form of effort",
    "user_speaks_last": "no answer is begun for it",
}
RUN_EVENTS = {
    "run.queued": "the turn is stored and waits",
    "run.started": "it is being answered",
    "run.recovered": "the gateway was restarted and the run goes on",
    "run.retrying": "it failed in a way that may pass; what was streamed so far is void if `reset`",
    "provider.fallback": "another model answers: `from` failed with `reason`, `to` is asked",
    "activity": "what the agent is doing now",
    "thinking": "a piece of the model's thinking",
    "chunk": "a piece of the answer",
    "block.reply": "what was said beside calls of tools, as a message of its own",
    "tool.call": "a tool is about to run",
    "tool.result": "what the tool said",
    "tool.slow": "a call takes longer than is usual",
    "loop.started": "an agent that goes on by itself begins",
    "loop.status_update": "what it says it is at",
    "loop.step": "one of its steps is over",
    "loop.completed": "it said that all is done",
    "loop.budget_exceeded": "its steps or tokens are used up, and what it said last is the answer",
    "loop.timeout": "its time is over",
    "loop.failed": "it cannot go on",
    "run.completed": "the answer is stored",
    "run.failed": "there is no answer, and why",
    "run.cancelled": "somebody stopped it",
    "run.released": "put back into the queue by a shutdown; not sent to sockets",
}
ACTOR_EVENTS = {
    "actor.started": "an actor runs for the first time",
    "actor.stopped": "it ended without a crash",
    "actor.crashed": "a bug surfaced in it",
    "actor.restarted": "it runs again",
    "actor.quarantined": "it crashed too often and rests",
    "actor.escalated": "its supervisor gave up, or sees a storm of crashes",
    "actor.mailbox": "its mailbox is four fifths full",
    "actor.slow": "it has handled one message for more than 5 s",
    "actor.deadletters": "messages reach nobody, more than 10 a second",
}
SOCKET_EVENTS = {
    "agent": "a step in the life of a run; its `type` is one of the table below",
    "session.updated": "a conversation has new messages",
    "cron": "a scheduled job was changed, started or ended; for its user and the admins",
    "agent.updated": "an agent was made, changed or taken away; for its owner and the admins",
    "agent.summoning": "an agent's files are being written: the start, each file, the end; for the same",
    "policy.reloaded": "another policy is in force, and what it adds and removes; for admins",
    "policy.rejected": "the policy file cannot be used, and why; the last good one stays; for admins",
    "config.reloaded": "the configuration was read again, and which keys hold now; for admins, like all `config.*`",
    "config.restart_needed": "keys that are set to something else and wait for the next start",
    "config.rejected": "the configuration cannot be used, and why; what runs stays as it is",
    "config.rollback": "a change was taken back because the gateway did not take it, and why",
    "security.hook.circuit_breaker": "a hook that blocked all the time was switched off; for admins",
    "estop.engaged": "an operator stopped something; for admins",
    "estop.released": "what was stopped may go on; for admins",
    "budget.warning": "most of a budget is spent, told once in its window; for its owner and the admins",
    "budget.reached": "all of a budget is spent, told once in its window; for its owner and the admins",
    "budget.changed": "somebody set, raised or removed a budget; for its user and the admins",
    "exec.approval.requested": "a command waits for somebody's yes; for the run's user and the admins",
    "exec.approval.resolved": "somebody answered, or nobody did in time; for the run's user and the admins",
    "process.start": "an agent left a program running; like all `process.*`, for its user and the admins",
    "process.exit": "it has ended",
    "process.kill": "the agent is ending it",
    "tools.updated": "a tool was made, switched, set or taken away; for operators and admins",
    "provider.status": "a model of a provider rests after a failure, or may be asked again; for admins",
    "startup.selfcheck": "after a start, how many conversations were looked at and made shorter; for admins",
    "heartbeat": "an agent's heartbeat began, ended or was skipped; for its owner and the admins",
    "agent.alert": "an agent has something to say to whoever runs this gateway; for admins",
    "shutdown": "the gateway is about to stop",
    "system.backpressure": "runs wait in a lane for too long, or no longer (`level` 0); for operators",
    "chaos.started": "a chaos plan has begun; like all `chaos.*`, for operators",
    "chaos.fired": "one of its faults has hit, at most ten a second",
    "chaos.ended": "it is over, and this is its report",
    "tick": "a sign of life, every 30 s",
    "health": "how the gateway is, every 60 s",
}


def pages() -> dict[str, str]:
    """File name → text, for every file of docs/generated/."""
    made = {
        "methods.md": methods(),
        "routes.md": routes(),
        "settings.md": "# Settings\n\n"
        + SETTINGS
        + table(("Key", "Default", "Range", "Variable", "Meaning"), settings()),
        "vendors.md": vendors(),
        "prices.md": prices(),
        "events.md": events(),
        "errors.md": errors(),
    }
    return {name: NOTE + text for name, text in made.items()}


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |\n" for line in lines)


def code(text: object) -> str:
    return f"`{text}`" if text != "" else ""


# --- what can be asked ------------------------------------------------------------------------------


def methods() -> str:
    rows = [
        (
            code(rpc.name),
            rpc.role.label,
            parameters(op.input),
            code(" ".join(f"goclaw {c.command}" for c in op.cli)),
            op.summary,
        )
        for op in OPERATIONS
        for rpc in op.rpc
    ]
    about = "Requests on `/ws`, after `connect`. A parameter in bold is required; camelCase is understood too.\n\n"
    return "# Methods\n\n" + about + table(("Method", "Role", "Parameters", "Command", "What it does"), sorted(rows))


def routes() -> str:
    rows = [
        (code(http.route), http.role.label, parameters(op.input), op.summary) for op in OPERATIONS for http in op.http
    ]
    for by_hand, taken in BY_HAND:
        summary = (by_hand.handle.__doc__ or "").partition("\n")[0]
        rows.append((code(by_hand.route), by_hand.role.label, taken, summary))
    about = (
        "The same as a document for programs: `/v1/openapi.json`, and to read: `/docs`. The dashboard is `/ui/`.\n"
        "A parameter in bold is required.\n\n"
    )
    return "# Routes\n\n" + about + table(("Route", "Role", "Parameters", "What it does"), sorted(rows, key=by_path))


def by_path(row: Sequence[str]) -> list[str]:
    return row[0].split()[::-1]


def parameters(input: type[msgspec.Struct]) -> str:
    fields = msgspec.structs.fields(input)
    return ", ".join(f"**{field.encode_name}**" if field.required else field.encode_name for field in fields)


RUN_PARAMETERS = {
    runs.start: parameters(CreateRun),
    runs.again: parameters(RetryRun),
    runs.incident: parameters(GetRun),
    runs.stream: parameters(GetRun),
    runs.stream_of_task: "**task_id**",
}
BY_HAND = (
    (completions.ROUTE, "OpenAI's"),
    *zip((*actors.ROUTES, wake.ROUTE), map(parameters, (FollowActors, Trace, Wake)), strict=True),
    *((route, RUN_PARAMETERS[route.handle]) for route in runs.ROUTES),
)


# --- settings ---------------------------------------------------------------------------------------

SETTINGS = (
    "Keys of the configuration file. Times take text such as `5m`; any value may be `env:NAME`. Rows\n"
    f"`providers.<name>` exist once per vendor: {', '.join(KEYED)}, or a name of your own;\n"
    "rows `queue.channels.<name>` once per channel that is different.\n\n"
)


def settings() -> list[tuple[str, str, str, str, str]]:
    """Key, default, range, variables, meaning."""
    variables: dict[str, list[str]] = {}
    for variable, key in VARIABLES.items():
        variables.setdefault(key, []).append(code(variable))
    variables["providers.<name>.api_key"] = [code("GOCLAW_<NAME>_API_KEY")]
    variables["providers.<name>.api_base"] = [code("GOCLAW_<NAME>_BASE_URL")]
    return [
        (
            code(key),
            code(msgspec.json.encode(leaf["default"]).decode()),
            span(leaf),
            " ".join(variables.get(key, ())),
            leaf["description"],
        )
        for key, leaf in leaves(json_schema())
    ]


def leaves(schema: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    for name, inner in schema["properties"].items():
        if "properties" in inner:
            yield from leaves(inner, f"{prefix}{name}.")
        elif "default" in inner:
            yield prefix + name, inner
    if isinstance(rows := schema["additionalProperties"], dict):
        yield from leaves(rows, f"{prefix}<name>.")


def span(leaf: dict[str, Any]) -> str:
    shape = leaf
    while "anyOf" in shape:  # a reference is possible for most, nothing for some
        shape = shape["anyOf"][0]
    if "enum" in shape:
        return ", ".join(sorted(map(str, shape["enum"])))
    low, high = shape.get("minimum"), shape.get("maximum")
    return f"{low:,} to {high:,}" if low is not None and high is not None else ""


def vendors() -> str:
    rows = [
        (
            code(vendor.name),
            code(vendor.base_url),
            code(vendor.default_model),
            code(key_of(vendor)),
            WIRES[vendor.wire],
            "; ".join(QUIRKS[quirk] for quirk in vendor.quirks),
            code(embeddings.MODELS.get(vendor.name, "")),
        )
        for vendor in CATALOGUE
        if vendor.base_url
    ]
    head = ("Name", "Address", "Default model", "Key", "Speaks", "Its dialect", "Embeddings")
    about = (
        "Each is reached as soon as its key is there. `GOCLAW_<NAME>_API_KEY` works for all, and wins; one without a\n"
        "key is reached by name.\n\n"
    )
    known = (
        "\n## Models known by name\n\nThe first row that fits a name counts, without what is before its last `/`.\n"
        "Efforts in brackets are the model's own when nobody asks for one.\n\n"
    )
    models = table(
        ("Name", "Window", "Longest answer", "Efforts", "Pictures"),
        (*map(model_row, REGISTRY), model_row(("*", Model()))),
    )
    return "# Vendors of models\n\n" + about + table(head, rows) + known + models


def model_row(known: tuple[str, Model]) -> tuple[str, str, str, str, str]:
    pattern, model = known
    efforts = ", ".join(f"({effort})" if effort == model.effort else effort for effort in model.efforts)
    return code(pattern), f"{model.window:,}", f"{model.max_output:,}", efforts, "yes" if model.vision else ""


def prices() -> str:
    known = price_table()
    rows = [
        (
            code(f"{vendor}/{model}") if model != ANY else f"{code(vendor)}, all models",
            *(str(usd) if usd is not None else "" for usd in (price.input, price.output, price.cache_read)),
            str(price.cache_write) if price.cache_write is not None else "",
            f"{price.above:,} tokens: {price.long.input}, {price.long.output}" if price.above and price.long else "",
            f"{row.source}, {row.date}",
        )
        for vendor, row in known.vendors.items()
        for model, price in row.models.items()
    ]
    read = "".join(f"- {month}: {text}\n" for month, text in known.read_from.items())
    head = ("Model", "Input", "Output", "Cached, read", "Cached, written", "Prompts above", "Read from")
    about = "A dated name costs what the name without its date costs. No price of a cache: that of input.\n"
    return f"# Prices of models\n\n{known.about.replace('`', '')}\n{about}\n{read}\n" + table(head, rows)


def key_of(vendor: Vendor) -> str:
    plain = f"{vendor.name.upper()}_API_KEY"
    return "" if vendor.keyless else plain if plain in VARIABLES else f"GOCLAW_{plain}"


# --- what is told -----------------------------------------------------------------------------------


def events() -> str:
    missing = (
        said_events() ^ RUN_EVENTS.keys() | sent_events() ^ SOCKET_EVENTS.keys() | set(TYPES) ^ ACTOR_EVENTS.keys()
    )
    if missing:
        raise LookupError(f"events without a sentence, or sentences without an event: {sorted(missing)}")
    return (
        "# Events\n\nWhat a socket hears without asking.\n\n"
        + table(("Event", "When"), ((code(name), text) for name, text in SOCKET_EVENTS.items()))
        + "\n## For operators\n\nAfter `actors.subscribe`, and on `GET /v1/actors/events`.\n\n"
        + table(("Event", "When"), ((code(name), text) for name, text in ACTOR_EVENTS.items()))
        + "\n## Types of `agent`\n\nIn the order they can come.\n\n"
        + table(("Type", "When"), ((code(name), text) for name, text in RUN_EVENTS.items()))
    )


def said_events() -> set[str]:
    """The types of `voice.say("run.queued", …)`."""
    return {text for call in calls("say") if (text := literal(call.args[0]))}


def literal(node: ast.expr) -> str:
    """The text that stands there; empty for anything else."""
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else ""


def sent_events() -> set[str]:
    """The names of `Entry("keep", "agent", …)` and `self._tell("tick", …)`, and what events of several say."""
    named = [call.args[1] for call in calls("Entry")] + [call.args[0] for call in calls("_tell")]
    sent = {text for name in named if (text := literal(name))}
    several = " ".join(event.__doc__ or "" for event in (BudgetEvent, ApprovalEvent, ProcessEvent))
    return sent | set(re.findall(r"`((?:budget|exec\.approval|process)\.\w+)`", several))


def errors() -> str:
    codes: dict[str, set[str]] = {key: set() for key in TEXTS}
    for call in calls("Err"):
        match call.args:
            case [ast.Constant(value=str(of)), ast.Constant(value=str(key)), *_]:
                codes[key].add(of)
    rows = [
        (code(key), code(of), str(status_of(Err(of, key, {"reason": key}))) if of in STATUS else "", TEXTS[key]["en"])
        for key in sorted(codes)
        for of in sorted(codes[key])
    ]
    about = (
        "Programs decide by code and reason, people read the text, which also exists in Vietnamese and Chinese.\n"
        "The status is the usual one of the code: a vendor's failure is 502, a full mailbox 503.\n\n"
    )
    return "# Errors\n\n" + about + table(("Key", "Code", "HTTP", "Text"), rows)


def calls(name: str) -> Iterator[ast.Call]:
    """Every call of a function or method with this name in the code."""
    for path in sorted(CODE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and node.args:
                called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
                if called == name:
                    yield node


def main() -> None:
    place = DOCS / "generated"
    place.mkdir(exist_ok=True)
    for name, text in pages().items():
        (place / name).write_text(text)


if __name__ == "__main__":
    main()
