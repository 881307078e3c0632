"""What a turn costs before a model is asked: prompt and history of a session with 400 messages.

    python -m benchmarks.prompts

The baseline is what no pipeline can do without: reading the same rows out of JSON.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import msgspec

from goclaw.actors.engine.prepare import history_of
from goclaw.agent.history import Remembered
from goclaw.agent.prompt import Facts, system_prompt
from goclaw.domain.agent import AgentProfile
from goclaw.knowledge.context_files import ContextFile
from goclaw.settings.pruning import Pruning
from goclaw.tools.tool import collect

MESSAGES, TIMES = 400, 200
WINDOW = 200_000
NOW = datetime(2026, 3, 1, tzinfo=UTC)
AGENT: dict[str, Any] = {
    field.name: 0 if field.type is int else "" for field in msgspec.structs.fields(AgentProfile) if field.required
}


def rows(result: int) -> list[Remembered]:
    """Turns of four messages: a question, a call, its result of so many characters, an answer."""
    found = []
    for number in range(MESSAGES // 4):
        id = f"call_{number}"
        call = {"id": id, "name": "read_file", "arguments": {"path": f"notes/{number}.md"}}
        found += [
            Remembered(role="user", content=f"What does note {number} say? " * 4, payload={}),
            Remembered(role="assistant", content="", payload={"tool_calls": [call]}),
            Remembered(role="tool", content="line of text " * (result // 13), payload={"tool_call_id": id}),
            Remembered(role="assistant", content="It says this and that. " * 10, payload={}),
        ]
    return found


def took(work: Callable[[], object]) -> float:
    """Milliseconds, the median of `TIMES`."""
    spent = []
    for _ in range(TIMES):
        began = time.perf_counter()
        work()
        spent.append(time.perf_counter() - began)
    return statistics.median(spent) * 1000


def main() -> None:
    specs = tuple(tool.spec for tool in collect("goclaw.tools").values())
    files = tuple(
        ContextFile(name=name, text="word " * 600, scope="user", zone="stable") for name in ("AGENTS.md", "TOOLS.md")
    )
    facts = Facts(agent=AgentProfile(**AGENT), now=NOW, tools=specs, files=files)
    print(f"{MESSAGES} messages, {len(specs)} tools: ms, the median of {TIMES}")
    for result in (200, 2_000, 8_000):
        said = rows(result)
        stored = msgspec.json.encode(said)
        floor = took(lambda stored=stored: msgspec.json.decode(stored, type=list[Remembered]))
        prompt = took(lambda: system_prompt(facts))
        system = system_prompt(facts)
        history = took(lambda said=said, system=system: history_of(said, system, specs, WINDOW, Pruning()))
        print(
            f"results of {result:5d} characters   baseline {floor:6.2f}   prompt {prompt:6.2f}   history {history:6.2f}"
        )


if __name__ == "__main__":
    main()
