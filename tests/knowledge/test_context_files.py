"""Which files a run is told and how much of them, who may write which. Contract: agent-loop.md §7."""

from __future__ import annotations

import pytest

from goclaw.domain.context_file import Scope, Text
from goclaw.knowledge import templates
from goclaw.knowledge.context_files import (
    AGENTS,
    BOOTSTRAP,
    CAPABILITIES,
    CORE,
    IDENTITY,
    MEMORY,
    ORDER,
    SEEDED,
    SOUL,
    TASK,
    TOOLS,
    USER,
    USER_PREDEFINED,
    Circumstances,
    Mode,
    blank,
    chosen,
    cut,
    fitted,
    refusal,
)
from goclaw.knowledge.identity import identity, renamed


def text(name: str, content: str = "said", scope: Scope = "agent") -> Text:
    return Text(name=name, content=content, scope=scope)


ALL = [text(name) for name in reversed(ORDER)]


def names(when: Circumstances, mode: Mode = "full") -> list[str]:
    return [found.name for found in chosen(ALL, when, mode)]


def test_a_long_file_keeps_its_head_and_its_tail() -> None:
    """AL-28."""
    long = "a" * 15_000 + "b" * 10_000 + "c" * 5_000

    (file,) = fitted([text(SOUL, long)], 20_000, 24_000)

    marker = "\n[...truncated, read SOUL.md for full content...]\n"
    assert file.text == "a" * 14_000 + marker + "c" * 4_000


@pytest.mark.parametrize("limit", [64, 100, 500, 1000, 20_000])
def test_what_is_cut_is_not_longer_than_its_limit(limit: int) -> None:
    assert len(cut(USER_PREDEFINED, "x" * 30_000, limit)) <= max(limit, 64)


def test_the_total_ends_the_list_and_scraps_are_left_out() -> None:
    files = fitted([text(AGENTS, "a" * 900), text(SOUL, "b" * 500), text(TOOLS, "c" * 70)], 1000, 960)

    assert [(file.name, len(file.text)) for file in files] == [(AGENTS, 900)], "60 characters are a scrap"
    assert [file.zone for file in fitted([text(SOUL), text(USER), text(TOOLS)], 100, 1000)] == [
        "persona",
        "dynamic",
        "stable",
    ]


def test_headings_and_comments_are_nothing() -> None:
    assert blank("# Title\n\n<!-- a hint\nover lines -->\n## More\n")
    assert blank("")
    assert blank("<!-- never closed")
    assert not blank("# Title\nword")
    assert fitted([text(USER, templates.text("USER.md"))], 1000, 1000) == ()


def test_files_come_in_load_order_and_a_users_own_stands_before_the_agents() -> None:
    texts = [text(USER, "his", "user"), text(SOUL, "own", "user"), text(SOUL, "all"), text(AGENTS, "rules")]

    assert [(one.name, one.content) for one in chosen(texts, Circumstances())] == [
        (AGENTS, "rules"),
        (SOUL, "own"),
        (USER, "his"),
    ]
    assert names(Circumstances()) == [
        AGENTS,
        SOUL,
        CAPABILITIES,
        IDENTITY,
        TOOLS,
        USER_PREDEFINED,
        USER,
        BOOTSTRAP,
        MEMORY,
    ]


def test_slim_runs_get_slim_files() -> None:
    assert names(Circumstances(kind="cron"), "task") == [TASK, CAPABILITIES, TOOLS]
    assert names(Circumstances(kind="subagent"), "minimal") == [CORE, CAPABILITIES, TOOLS]
    without = [text(AGENTS), text(TASK, "# only a title")]
    assert [one.name for one in chosen(without, Circumstances(kind="cron"), "task")] == [AGENTS]


def test_first_contact_is_between_two() -> None:
    assert BOOTSTRAP in names(Circumstances(kind="channel"))
    for when in (Circumstances(group=True), Circumstances(kind="cron"), Circumstances(kind="http")):
        assert BOOTSTRAP not in names(when)


def test_in_a_group_only_writers_are_told_who_the_agent_is() -> None:
    assert {SOUL, AGENTS}.isdisjoint(names(Circumstances(group=True, writer=False)))
    assert {SOUL, AGENTS} <= set(names(Circumstances(group=True, writer=True)))


def test_who_may_write_what() -> None:
    allowed = {
        (type, evolves, name)
        for type in ("open", "predefined")
        for evolves in (False, True)
        for name in (*ORDER, "TEAM.md")
        if not refusal(name, "text", type=type, self_evolve=evolves)
    }
    users = {USER, MEMORY}

    assert {name for type, _, name in allowed if type == "open"} == set(ORDER)
    assert {name for type, evolves, name in allowed if type == "predefined" and not evolves} == users
    assert {name for type, evolves, name in allowed if type == "predefined" and evolves} == users | {SOUL, CAPABILITIES}
    assert refusal(BOOTSTRAP, " \n", type="predefined", self_evolve=False) == ""
    assert "administrator" in refusal(BOOTSTRAP, "more", type="predefined", self_evolve=False)
    assert "file writers" in refusal(USER, "text", type="open", self_evolve=False, writer=False)


def test_every_seeded_file_has_a_template_that_names_the_agent() -> None:
    for type in ("open", "predefined"):
        for name in SEEDED[type]:
            said = templates.filled(name, agent="Ada", description="counts", type=type)
            assert said.startswith("# ")
            assert "{" not in said
    assert "settled" in templates.text(BOOTSTRAP, "predefined")
    assert [starter.key for starter in templates.starters()] == ["coder", "researcher", "writer"]
    assert all(not blank(starter.soul) for starter in templates.starters())


def test_an_identity_names_the_agent() -> None:
    said = "# Identity\n- **Name:** Ada\n* Emoji: 🦊\nAvatar: (none yet)\nDescription:  counts \nName: Second\n"

    assert identity(said) == {"display_name": "Ada", "emoji": "🦊", "description": "counts"}
    assert identity(templates.filled(IDENTITY, agent="Ada", description="counts")) == {
        "display_name": "Ada",
        "description": "counts",
    }
    assert identity("<!-- Name: hidden -->\nwords") == {}
    assert renamed(said, "Bob") == said.replace("Name:** Ada", "Name:** Bob")
    assert renamed("- Emoji: x", "Bob") == "- Emoji: x\n- Name: Bob\n"
