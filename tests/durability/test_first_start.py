"""A first start that dies while it makes its schema is taken up by the next. Contract: durability.md §9.1 (K19)."""

from __future__ import annotations

from collections.abc import Callable

from tests.durability.checker import violations
from tests.durability.lives import Lives
from tests.durability.talker import Talker
from tests.fakes.scripted import ScriptedVendor


async def test_a_process_killed_while_it_makes_its_schema_goes_on_with_it(
    lives: Callable[..., Lives], vendor: ScriptedVendor
) -> None:
    """K19."""
    gateway = lives(fresh=True)

    assert not gateway.live_or_die(crash_at="migration.applying:3")
    gateway.live()

    talker = Talker(gateway, "ada")
    await talker.say("n1")
    assert violations(gateway.evidence(talker.notes, vendor)) == []
