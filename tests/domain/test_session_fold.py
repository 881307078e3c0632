"""The markers of a journal, folded. Contract: observability.md §21, data-model.md §8."""

from __future__ import annotations

from typing import Any

import pytest

from goclaw.domain.session_past import Marker, Past, Present, fold

NOW = Present(agent_key="scout", generation=3, label="Now", model="m3", provider=None, queue="followup")


def folded(seq: int, *markers: tuple[int, dict[str, Any]]) -> Past:
    return fold([Marker(seq=at, payload=payload) for at, payload in markers], seq, NOW)


def patched(**named: Any) -> dict[str, Any]:
    return {"marker": "patched", **named}


@pytest.mark.parametrize(("seq", "model"), [(4, "m1"), (5, "m2"), (8, "m2"), (9, "m3")])
def test_what_was_patched_is_what_the_last_patch_said_or_the_next_one_found(seq: int, model: str) -> None:
    markers = ((5, patched(model="m2", was={"model": "m1"})), (9, patched(model="m3", was={"model": "m2"})))

    assert folded(seq, *markers).model == model
    assert folded(seq, *markers).label == "Now", "nobody patched it"


def test_a_patch_that_did_not_say_what_was_leaves_it_unknown() -> None:
    assert folded(1, (5, patched(label="Now")), (6, patched())).label is None


@pytest.mark.parametrize(("seq", "generation", "since"), [(2, 1, 0), (3, 2, 3), (6, 2, 3), (7, 3, 7)])
def test_a_reset_begins_a_generation_and_forgets_what_was_before(seq: int, generation: int, since: int) -> None:
    markers = (
        (2, {"marker": "compacted", "covered": [1, 1]}),
        (3, {"marker": "reset", "generation": 2}),
        (7, {"marker": "reset", "generation": 3}),
    )

    past = folded(seq, *markers)

    assert (past.generation, past.since) == (generation, since)
    assert past.compactions == (1 if seq == 2 else 0)


def test_what_was_covered_and_where_the_summary_is() -> None:
    markers = (
        (5, {"marker": "compacted", "covered": [1, 3], "count": 3}),
        (6, {"marker": "truncated", "covered": [4, 4]}),
        (9, {"marker": "compacted", "covered": [7, 7], "count": 1}),
    )

    past = folded(8, *markers)

    assert (past.covered, past.summarised_at, past.next_marker) == (((1, 3), (4, 4)), 5, 9)
    assert (folded(9, *markers).summarised_at, folded(9, *markers).next_marker) == (9, None)
    assert folded(0, *markers).covered == ()


@pytest.mark.parametrize(("seq", "agent"), [(1, "first"), (2, "second"), (5, "scout")])
def test_a_handoff_changes_who_answers(seq: int, agent: str) -> None:
    markers = (
        (2, {"marker": "handoff", "from": "first", "to": "second"}),
        (5, {"marker": "handoff", "from": "second", "to": "scout"}),
    )

    assert folded(seq, *markers).agent_key == agent


def test_a_run_whose_text_was_cut_off_is_known_from_its_marker_on() -> None:
    markers = ((2, {"marker": "cancelled", "run_id": "r"}),)

    assert (folded(1, *markers).cancelled, folded(2, *markers).cancelled) == ((), ("r",))
