"""One turn of `offline-1`: look at the conversation, decide, answer. Contract: providers.md §16.3.

The same request always gets the same answer: no clock, no randomness, no state. Where a run stands is read from the
messages since the last user text.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from goclaw.domain.chat import ChatMessage, ChatRequest, ToolCall
from goclaw.domain.errors import ProviderError
from goclaw.domain.tools import ALIASES
from goclaw.providers.offline.instance import instance
from goclaw.providers.offline.plan import Batch, by_name, plan, possible, unmarked
from goclaw.providers.offline.purposes import PURPOSES, last_user
from goclaw.providers.offline.reply import Reply

RESULT_LINES, RESULT_CHARS = 20, 1500  # shown of one tool result; providers.md §16.3 step 3
QUOTE_CHARS = 500  # of the request, in an answer that repeats it
CONNECT = (
    "No language model is connected, so I can only follow fixed rules. "
    "To connect one, set a key such as OPENAI_API_KEY and restart, or add a provider in the settings."
)


def answer(ask: ChatRequest) -> Reply:
    """What the rules say. `ask.metadata` may hold `run_kind`, `agent` and `team_task_id`."""
    kind = ask.metadata.get("run_kind", "")
    if kind in PURPOSES:
        return PURPOSES[kind](ask)
    text = last_user(ask.messages)
    if (form := ask.options.response_format) is not None and form.get("type") != "text":
        return structured(form, text)

    run = since_user(ask.messages)
    batches = plan(text, ask.tools, seen(run))
    if not batches and not run and kind == "heartbeat":
        return Reply(rule="heartbeat", text="HEARTBEAT_OK", spoken=False)
    to_call = [batch for batch in batches if any(found.tool for found in batch)]
    called = [message for message in run if message.tool_calls]
    turn = sum(message.role == "user" for message in ask.messages)
    if len(called) < len(to_call) and not any(found.later and found.words for found in to_call[len(called)]):
        return calls(to_call[len(called)], f"call_{turn}_{len(called) + 1}")

    composed = compose(run, batches) or echo(ask, text)
    rule = batches[0][0].rule if batches else "echo"
    if report := report_of(ask, called, composed):
        return Reply(
            rule="team_member", calls=(msgspec.structs.replace(report, id=f"call_{turn}_{len(called) + 1}_1"),)
        )
    return Reply(rule=rule, text=composed)


def structured(form: dict[str, object], text: str) -> Reply:
    """The smallest value of the schema that was asked for; `{}` if any JSON object will do."""
    described = form.get("json_schema")
    schema = described.get("schema", {}) if isinstance(described, dict) else {"type": "object"}
    try:
        value = instance(schema, unmarked(text))
    except ValueError as error:
        return Reply(rule="schema", error=ProviderError("format", f"the response schema cannot be used: {error}"))
    return Reply(rule="schema", text=msgspec.json.encode(value).decode(), spoken=False)


def since_user(messages: tuple[ChatMessage, ...]) -> tuple[ChatMessage, ...]:
    """What happened after the last user text: the run so far."""
    last = next((n for n in range(len(messages) - 1, -1, -1) if messages[n].role == "user"), -1)
    return messages[last + 1 :]


def seen(run: Sequence[ChatMessage]) -> str:
    """What a run has read of files, else what else it was told."""
    told = [message for message in run if message.role == "tool" and not message.is_error]
    files = [message for message in told if ALIASES.get(message.tool_name, message.tool_name) == "read_file"]
    return "\n\n".join(message.content for message in files or told)


def calls(batch: Batch, prefix: str) -> Reply:
    wanted = [found for found in batch if found.tool]
    return Reply(
        rule=wanted[0].rule,
        calls=tuple(
            ToolCall(id=f"{prefix}_{n}", name=found.tool, arguments=found.arguments)
            for n, found in enumerate(wanted, 1)
        ),
    )


def compose(run: Sequence[ChatMessage], batches: Sequence[Batch]) -> str:
    """A paragraph per tool result, then what was said about clauses without one."""
    results = [sentence(message) for message in run if message.role == "tool"]
    words = [found.words for batch in batches for found in batch if found.words]
    return "\n\n".join([*results, *words])


def sentence(result: ChatMessage) -> str:
    shown = "\n".join(result.content.splitlines()[:RESULT_LINES])[:RESULT_CHARS]
    cut = "\n…" if len(shown) < len(result.content.rstrip()) else ""
    outcome = "failed" if result.is_error else "ok"
    return f"{result.tool_name or 'tool'} {outcome}: {shown or 'no output'}{cut}"


def echo(ask: ChatRequest, text: str) -> str:
    return f'You said: "{unmarked(text)[:QUOTE_CHARS]}"\n\n{CONNECT}\n\n{possible(by_name(ask.tools))}'


def report_of(ask: ChatRequest, called: Sequence[ChatMessage], result: str) -> ToolCall | None:
    """The call that closes the team task this run works on, unless it was made."""
    board = by_name(ask.tools).get("team_tasks")
    task = ask.metadata.get("team_task_id")
    if not task or board is None:
        return None
    made = [
        call for message in called for call in message.tool_calls if ALIASES.get(call.name, call.name) == "team_tasks"
    ]
    if any(call.arguments.get("action") == "complete" for call in made):
        return None
    return ToolCall(id="", name=board.name, arguments={"action": "complete", "task_id": str(task), "result": result})
