"""P1 to P20 of tools.md §4, without P19, which is about a tool that is switched off."""

from __future__ import annotations

from typing import Any

UNIVERSE = "read_file write_file edit_file exec web_fetch memory_search sessions_list session_status spawn message cron"
WORDS = {"P2": "edit_file exec memory_search read_file session_status sessions_list spawn web_fetch write_file"}
WORDS["P4"] = "message session_status sessions_list web_fetch"
ALL = frozenset(f"{UNIVERSE} gateway stock_price".split())

ROWS: list[tuple[str, dict[str, Any], str]] = [
    ("P1", {}, "all"),
    ("P2", {"global": {"profile": "coding"}}, WORDS["P2"]),
    ("P3", {"global": {"profile": "minimal"}}, "session_status"),
    ("P4", {"global": {"profile": "messaging"}}, WORDS["P4"]),
    ("P5", {"global": {"profile": "nope"}}, "session_status"),
    (
        "P6",
        {
            "global": {"profile": "coding", "byProvider": {"groq": {"profile": "minimal"}}},
            "run": {"provider": "groq"},
        },
        "session_status",
    ),
    ("P7", {"global": {"allow": ["group:fs", "exec"]}}, "edit_file exec read_file write_file"),
    ("P8", {"global": {"deny": ["Bash"]}}, "all - exec"),
    ("P9", {"global": {"deny": ["exec"]}, "agent": {"alsoAllow": ["exec"]}}, "all - exec"),
    ("P10", {"agent": {"deny": ["exec", "write_file"], "alsoAllow": ["exec"]}}, "all - write_file"),
    (
        "P11",
        {"global": {"profile": "messaging"}, "agent": {"alsoAllow": ["read_file"]}},
        "message read_file session_status sessions_list web_fetch",
    ),
    ("P12", {"agent": {"profile": "coding", "deny": ["group:runtime"]}}, WORDS["P2"].replace("exec ", "")),
    ("P13", {"run": {"chat": ["group:web", "message"]}}, "message web_fetch"),
    (
        "P14",
        {
            "global": {"profile": "minimal"},
            "agent": {"alsoAllow": ["exec", "message"]},
            "run": {"chat": ["message", "session_status"]},
        },
        "message session_status",
    ),
    (
        "P15",
        {"run": {"subagent": True}},
        "edit_file exec message read_file sessions_list spawn stock_price web_fetch write_file",
    ),
    (
        "P16",
        {"run": {"subagent": True, "leaf": True}},
        "edit_file exec message read_file stock_price web_fetch write_file",
    ),
    (
        "P17",
        {"global": {"profile": "coding"}, "agent": {"alsoAllow": ["group:mcp"]}},
        WORDS["P2"].replace("spawn", "spawn stock_price"),
    ),
    (
        "P18",
        {"global": {"profile": "coding", "deny": ["group:mcp:stock"]}, "agent": {"alsoAllow": ["group:mcp"]}},
        WORDS["P2"],
    ),
    (
        "P20",
        {"agent": {"byProvider": {"ollama": {"allow": ["read_file"]}}}, "run": {"provider": "ollama"}},
        "read_file",
    ),
]
VECTORS = {name: (layers, said) for name, layers, said in ROWS}


def wanted(said: str) -> list[str]:
    return sorted(ALL - {said.removeprefix("all - ")}) if said.startswith("all") else said.split()
