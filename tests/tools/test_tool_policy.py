"""Who has which tools. Contract: tools.md §4, vectors P1 to P20 (acceptance T3)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from goclaw.domain.tool_rules import NO_RULES, Rules
from goclaw.tools.groups import PROFILES
from goclaw.tools.policy import Situation, allowed, strangers

ALL = [
    "read_file",
    "write_file",
    "edit_file",
    "exec",
    "web_fetch",
    "memory_search",
    "sessions_list",
    "session_status",
    "spawn",
    "message",
    "cron",
    "gateway",
    "stock_price",
]
TOOLS = {name: (("goclaw",) if name != "stock_price" else ("mcp", "mcp:stock")) for name in ALL}
CODING = [
    "edit_file",
    "exec",
    "memory_search",
    "read_file",
    "session_status",
    "sessions_list",
    "spawn",
    "web_fetch",
    "write_file",
]
MESSAGING = ["message", "session_status", "sessions_list", "web_fetch"]


def but(*names: str) -> list[str]:
    return [name for name in sorted(ALL) if name not in names]


VECTORS: dict[str, tuple[Rules, Rules, Situation, list[str]]] = {
    "P1": (NO_RULES, NO_RULES, Situation(), but()),
    "P2": (Rules(profile="coding"), NO_RULES, Situation(), CODING),
    "P3": (Rules(profile="minimal"), NO_RULES, Situation(), ["session_status"]),
    "P4": (Rules(profile="messaging"), NO_RULES, Situation(), MESSAGING),
    "P5": (Rules(profile="nope"), NO_RULES, Situation(), ["session_status"]),
    "P6": (
        Rules(profile="coding", by_provider={"groq": Rules(profile="minimal")}),
        NO_RULES,
        Situation(provider="groq"),
        ["session_status"],
    ),
    "P7": (
        Rules(allow=("group:fs", "exec")),
        NO_RULES,
        Situation(),
        ["edit_file", "exec", "read_file", "write_file"],
    ),
    "P8": (Rules(deny=("Bash",)), NO_RULES, Situation(), but("exec")),
    "P9": (Rules(deny=("exec",)), Rules(also_allow=("exec",)), Situation(), but("exec")),
    "P10": (NO_RULES, Rules(deny=("exec", "write_file"), also_allow=("exec",)), Situation(), but("write_file")),
    "P11": (
        Rules(profile="messaging"),
        Rules(also_allow=("read_file",)),
        Situation(),
        sorted([*MESSAGING, "read_file"]),
    ),
    "P12": (
        NO_RULES,
        Rules(profile="coding", deny=("group:runtime",)),
        Situation(),
        [name for name in CODING if name != "exec"],
    ),
    "P13": (NO_RULES, NO_RULES, Situation(chat=("group:web", "message")), ["message", "web_fetch"]),
    "P14": (
        Rules(profile="minimal"),
        Rules(also_allow=("exec", "message")),
        Situation(chat=("message", "session_status")),
        ["message", "session_status"],
    ),
    "P15": (
        NO_RULES,
        NO_RULES,
        Situation(subagent=True),
        [
            "edit_file",
            "exec",
            "message",
            "read_file",
            "sessions_list",
            "spawn",
            "stock_price",
            "web_fetch",
            "write_file",
        ],
    ),
    "P16": (
        NO_RULES,
        NO_RULES,
        Situation(subagent=True, leaf=True),
        ["edit_file", "exec", "message", "read_file", "stock_price", "web_fetch", "write_file"],
    ),
    "P17": (
        Rules(profile="coding"),
        Rules(also_allow=("group:mcp",)),
        Situation(),
        sorted([*CODING, "stock_price"]),
    ),
    "P18": (
        Rules(profile="coding", deny=("group:mcp:stock",)),
        Rules(also_allow=("group:mcp",)),
        Situation(),
        CODING,
    ),
    "P20": (
        NO_RULES,
        Rules(by_provider={"ollama": Rules(allow=("read_file",))}),
        Situation(provider="ollama"),
        ["read_file"],
    ),
}


@pytest.mark.parametrize("vector", VECTORS)
def test_vectors_of_the_contract(vector: str) -> None:
    gateway, agent, at, names = VECTORS[vector]
    assert list(allowed(TOOLS, gateway, agent, at)) == names


def test_p19_a_tool_that_is_switched_off_is_not_there() -> None:
    rest = {name: groups for name, groups in TOOLS.items() if name != "web_fetch"}
    assert list(allowed(rest, Rules(also_allow=("web_fetch",)))) == but("web_fetch")


def test_a_run_that_asks_for_no_tools_gets_none() -> None:
    assert allowed(TOOLS, Rules(also_allow=("exec",)), at=Situation(request=())) == ()


names = st.lists(st.sampled_from([*ALL, "Bash", "group:fs", "group:mcp", "*", "nope"]), max_size=4).map(tuple)
rules = st.builds(Rules, profile=st.sampled_from([None, "full", *PROFILES]), allow=names, deny=names, also_allow=names)


@given(rules, rules, st.none() | names, st.none() | names, st.booleans())
def test_nobody_undoes_what_was_denied_above(
    gateway: Rules, agent: Rules, chat: tuple[str, ...] | None, request: tuple[str, ...] | None, subagent: bool
) -> None:
    free = set(allowed(TOOLS, gateway, agent))
    tight = set(allowed(TOOLS, gateway, agent, Situation(chat=chat, request=request, subagent=subagent)))
    denied = set(allowed(TOOLS, Rules(allow=gateway.deny))) if gateway.deny else set()
    assert tight <= free
    assert not free & denied


def test_entries_that_name_nothing_are_named() -> None:
    odd = Rules(allow=("exec", "exce"), deny=("group:fs", "group:nope", "*"), also_allow=("Bash",))
    assert strangers(odd, TOOLS) == ["exce", "group:nope"]
